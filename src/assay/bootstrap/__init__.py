"""Builds the running system from a workspace: the only package that knows every stage."""
