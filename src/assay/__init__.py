"""Assay decides, while a card payment waits, whether it is fraud."""

__version__ = "0.1.0"
