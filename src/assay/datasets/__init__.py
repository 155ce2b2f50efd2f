"""Versioned tables of past transactions and their labels."""
