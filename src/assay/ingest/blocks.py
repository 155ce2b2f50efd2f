"""Pieces of a file as checked transactions: what imports and replays both start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.errors import InputError
from assay.ingest.decode import TIME_ACCEPTED, translated
from assay.ingest.files import Unreadable, read_columns, read_pieces
from assay.ingest.mapping import Mapping
from assay.ingest.quality import UNREPORTED
from assay.records import Transaction

UNNAMED: Final = "-"
"""Stands for the transaction id until one is made."""

_NOT_FIELDS: Final = ("label", "reported_ms")
_ACCEPTED: Final = {
    "event_time": f"{TIME_ACCEPTED}, or what the mapping declares",
    "amount_minor": "an amount as a decimal number",
    "label": "1 or 0, true or false, yes or no",
    "latitude": "a finite number",
    "longitude": "a finite number",
    "utc_offset_min": "a whole number",
}


@dataclass(frozen=True)
class Block:
    """Some rows of a file, mapped.

    Attributes
    ----------
    raw : DataFrame
        The mapped columns as the file has them.
    mapped : DataFrame
        The same rows, one column per field.
    lines : ndarray of int64
        Of each row in the file.
    rows : list of Transaction or InputError
    fraud : ndarray of int8
        1, 0, or -1 where unknown.
    reported_ms : ndarray of int64
        When the label was known; -1 where it is unknown, `UNREPORTED` where it has no time.
    unreadable : list of Unreadable
    outside : int
        How many more rows lie outside the wanted time.
    done, total : int
        How far the file is read.
    """

    raw: pl.DataFrame
    mapped: pl.DataFrame
    lines: NDArray[np.int64]
    rows: list[Transaction | InputError]
    fraud: NDArray[np.int8]
    reported_ms: NDArray[np.int64]
    unreadable: list[Unreadable]
    outside: int
    done: int
    total: int


def read_blocks(
    path: Path, mapping: Mapping, since_ms: int | None = None, until_ms: int | None = None
) -> Iterator[Block]:
    """Yield a file's rows with an event time in [since_ms, until_ms), in file order.

    Rows whose time cannot be read are among them, as errors.

    Raises
    ------
    SettingsError
        If a mapped column is missing from the file.
    DatasetError
        If the file cannot be read.
    """
    present = read_columns(path, mapping.delimiter)
    mapping.unmapped(present)
    for piece in read_pieces(path, mapping.columns(), mapping.delimiter):
        mapped, bad = mapping.apply(piece.frame)
        inside = _inside(mapped["event_time"], since_ms, until_ms)
        outside = len(mapped) - int(inside.sum())
        raw, lines = piece.frame, piece.lines
        if outside:
            raw, mapped, lines = raw.filter(inside), mapped.filter(inside), lines[inside.to_numpy()]
            bad = {name: flags.filter(inside) for name, flags in bad.items()}
        fraud, reported_ms = _labels(mapped)
        mapped = mapped.drop(_NOT_FIELDS, strict=False)
        yield Block(
            raw,
            mapped,
            lines,
            _transactions(mapped, bad, mapping),
            fraud,
            reported_ms,
            piece.unreadable,
            outside,
            piece.done,
            piece.total,
        )


def _inside(time_ms: pl.Series, since_ms: int | None, until_ms: int | None) -> pl.Series:
    inside = pl.repeat(value=True, n=len(time_ms), eager=True)
    if since_ms is not None:
        inside &= (time_ms >= since_ms).fill_null(value=True)
    if until_ms is not None:
        inside &= (time_ms < until_ms).fill_null(value=True)
    return inside


def _labels(mapped: pl.DataFrame) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    if "label" not in mapped.columns:
        return np.full(len(mapped), -1, np.int8), np.full(len(mapped), -1, np.int64)
    fraud = mapped["label"].fill_null(-1).to_numpy().astype(np.int8)
    reported_ms = mapped["reported_ms"].fill_null(-1).to_numpy().astype(np.int64)
    timeless = (fraud >= 0) & (reported_ms < 0)
    reported_ms = np.where(timeless, UNREPORTED, np.where(fraud < 0, -1, reported_ms))
    return np.where(timeless, np.int8(-1), fraud), reported_ms


def _transactions(
    mapped: pl.DataFrame, bad: dict[str, pl.Series], mapping: Mapping
) -> list[Transaction | InputError]:
    documents = mapped.to_dicts()
    if mapping.makes_id:
        for document in documents:
            document["transaction_id"] = UNNAMED
    attributes = [name for name in mapped.columns if name.startswith("attributes.")]
    if attributes:
        for document in documents:
            _nest(document, attributes)
    failed = _failures(bad)
    if not failed:
        try:
            return [*msgspec.convert(documents, list[Transaction])]
        except msgspec.ValidationError:
            pass
    return [failed.get(row) or _transaction(doc) for row, doc in enumerate(documents)]


def _transaction(document: dict[str, Any]) -> Transaction | InputError:
    try:
        return msgspec.convert(document, Transaction)
    except msgspec.ValidationError as error:
        return translated(error, Transaction)


def _failures(bad: dict[str, pl.Series]) -> dict[int, InputError]:
    out: dict[int, InputError] = {}
    for name, flags in bad.items():
        error = InputError(name, "a value that cannot be read", _ACCEPTED.get(name, _LISTED))
        out |= dict.fromkeys(flags.arg_true().to_list(), error)
    return out


_LISTED: Final = "a value that the mapping's values translate"


def _nest(document: dict[str, Any], names: list[str]) -> None:
    inner = {name.partition(".")[2]: document.pop(name) for name in names}
    given = {name: value for name, value in inner.items() if value is not None}
    document["attributes"] = given or None
