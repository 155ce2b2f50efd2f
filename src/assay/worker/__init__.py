"""Follows the journal and feeds what is made of it: tables, monitors, labels."""
