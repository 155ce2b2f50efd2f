"""Scores, events, features and rules → actions with reasons; pure array operations."""
