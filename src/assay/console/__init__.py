"""Pages for people, each with a JSON twin: what runs, how well, and from what."""
