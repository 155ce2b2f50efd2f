"""The journal: what was decided, on disk before it is answered."""
