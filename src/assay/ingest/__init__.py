"""Bytes and files become safe events: validation, firewall, tokens, money, zones, imports."""
