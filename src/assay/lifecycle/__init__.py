"""Candidate to live model and back: requests for a release, what was live, what bundles say."""
