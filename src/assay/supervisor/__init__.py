"""Keeps the processes of a workspace running: starts, watches, restarts and stops them."""
