"""The journal: what was decided, on disk before it is answered.

Whoever wants to read it uses `read_entries`.
"""

from assay.journal.entries import EntryKind
from assay.journal.entry_reader import Entry, read_entries

__all__ = ["Entry", "EntryKind", "read_entries"]
