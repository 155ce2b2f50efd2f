"""Rows that were not accepted, kept with their reason and without any secret."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from assay.errors import InputError
from assay.ingest.files import Unreadable
from assay.ingest.firewall import masked, shape

_MASK: Final = "[masked]"
_TEXT_MAX: Final = 2_000


class DeadLetters:
    """Writes one JSON line per row: ``line``, ``field``, ``reason``, and ``row`` or ``shape``.

    Columns mapped to a card, customer, device or address are always masked, wherever else
    the card's value stands in the row too; columns that are not mapped are left out.
    Of a line that is no row only the shape is kept, since nobody knows where its card is.
    The file appears under its name when the ``with`` block ends without an error.

    Parameters
    ----------
    path : Path
        Is replaced if it exists.
    secret : frozenset of str
        Columns to mask.
    """

    def __init__(self, path: Path, secret: frozenset[str]) -> None:
        self._path = path
        self._secret = secret
        self._partial = path.with_name(path.name + ".tmp")

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink()

    def write(self, line: int, error: InputError, raw: pl.DataFrame, row: int) -> None:
        """Keep row number ``row`` of a piece of the file."""
        values = raw.row(row, named=True)
        secrets = [str(values[name]) for name in self._secret if values[name] is not None]
        shown = {
            masked(name): _MASK if name in self._secret else _hidden(value, secrets)
            for name, value in values.items()
            if value is not None
        }
        self._put({"line": line, "field": error.field, "reason": str(error), "row": shown})

    def write_unreadable(self, row: Unreadable, error: InputError) -> None:
        """Keep the shape of a line that is no row."""
        text = shape(row.text[:_TEXT_MAX].rstrip("\r\n"))
        self._put({"line": row.line, "field": "", "reason": str(error), "shape": text})

    def _put(self, document: dict[str, object]) -> None:
        self._file.write(json.dumps(document) + "\n")


def _hidden(value: object, secrets: list[str]) -> str:
    text = str(value)[:_TEXT_MAX]
    for secret in secrets:
        if len(secret) >= 6:  # shorter ones are no card and would mask by accident
            text = text.replace(secret, _MASK)
    return masked(text)
