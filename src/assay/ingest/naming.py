"""Transaction ids for files that have none, independent of the order of rows."""

from __future__ import annotations

from typing import Final

from assay.ingest.encode import Encoder
from assay.records import Imported

# Letters alone: digits of a digest could look like a card number by chance.
_LETTERS: Final = bytes.maketrans(b"0123456789", b"ghijklmnop")


class Namer:
    """Makes an id from a row's keyed digest and its ordinal among equal rows.

    The digest is taken after tokenisation, so no card number is hashed without the key, and
    it leaves the label out: a row keeps its id when its truth becomes known.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._seen: dict[bytes, int] = {}

    def name(self, row: Imported) -> Imported:
        """Return the row under its id."""
        digest = self._encoder.tokeniser.digest("row", row.canonical)[:16]
        ordinal = self._seen.get(digest, 0)
        self._seen[digest] = ordinal + 1
        letters = digest.hex().encode().translate(_LETTERS).decode()
        return self._encoder.renamed(row, f"row_{letters}_{ordinal}")
