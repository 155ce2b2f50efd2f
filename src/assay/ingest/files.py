"""Read CSV, Parquet and JSON-lines files in pieces, and survive what they hold.

CSV goes through the standard library's reader: it knows the physical line of every row, and
a ragged row or a stray quote costs that row alone.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from os import fstat
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.errors import DatasetError

PIECE_ROWS: Final = 8_192
_LINE_MAX: Final = 1 << 20
_ROW_LINES_MAX: Final = 64
_HEADER_ROWS: Final = 1000
_REPLACEMENT: Final = "\ufffd"  # what decoding puts where bytes are not UTF-8
_NOT_UTF8: Final = "bytes that are not UTF-8"


@dataclass(frozen=True)
class Unreadable:
    """A line that is no row at all."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Attributes
    ----------
    frame : DataFrame
        As the file has them: text from CSV and JSON lines, typed from Parquet.
    lines : ndarray of int64
        Line of each row, from 1 (in Parquet the row's number).
    unreadable : list of Unreadable
        Lines in between that are no rows.
    done, total : int
        How far the file is read, for a progress bar.
    """

    frame: pl.DataFrame
    lines: NDArray[np.int64]
    unreadable: list[Unreadable]
    done: int
    total: int


def read_columns(path: Path, delimiter: str = ",") -> list[str]:
    """Return the names of a file's columns; for JSON lines those of its first 1,000 rows.

    Raises
    ------
    DatasetError
        If the file cannot be opened or is of no known kind.
    """
    kind = _kind(path)
    if kind == "parquet":
        return list(_schema(path))
    if kind == "json":
        return _json_header(path)
    with _opened(path) as file:
        return _csv_header(_Lines(file), delimiter)


def read_pieces(
    path: Path, columns: frozenset[str] | None, delimiter: str = ",", rows: int = PIECE_ROWS
) -> Iterator[Piece]:
    """Yield the file's rows in pieces of at most ``rows``, reading only some columns.

    Raises
    ------
    DatasetError
        If the file cannot be opened, is damaged, or is of no known kind.
    """
    if _kind(path) == "parquet":
        yield from _parquet(path, columns, rows)
    else:
        yield from _text(path, columns, delimiter, rows)


def _kind(path: Path) -> str:
    if path.is_dir():
        raise DatasetError("the path to import is a folder; accepted: a path to a file")
    if not path.is_file():
        raise DatasetError("the file to import does not exist; accepted: a path to a file")
    kinds = {".csv": "csv", ".parquet": "parquet", ".jsonl": "json", ".ndjson": "json"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise DatasetError(
            f"the file's name ends in {path.suffix[:12]!r}; accepted: {', '.join(kinds)}"
        )
    return kind


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DatasetError(
            f"the file to import cannot be read: {error.strerror}; accepted: a readable file"
        ) from None


# --- Parquet ----------------------------------------------------------------------------------


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.read_parquet_schema(path)  # type: ignore[return-value,unused-ignore]
    except (pl.exceptions.PolarsError, OSError):
        raise DatasetError("the file is no Parquet file; accepted: a whole one") from None


def _parquet(path: Path, columns: frozenset[str] | None, rows: int) -> Iterator[Piece]:
    names = [name for name in _schema(path) if columns is None or name in columns]
    scan = pl.scan_parquet(path, glob=False).select(names)
    try:
        total = int(scan.select(pl.len()).collect().item())
        done = 0
        for frame in scan.collect_batches(chunk_size=rows, maintain_order=True):
            lines = np.arange(done + 1, done + len(frame) + 1, dtype=np.int64)
            done += len(frame)
            yield Piece(frame, lines, [], done, total)
    except pl.exceptions.PolarsError:
        raise DatasetError("the Parquet file is damaged; accepted: a whole one") from None


# --- text -------------------------------------------------------------------------------------


class _TooManyLinesError(Exception):
    """A quoted value runs over more lines than any honest one."""


class _Lines:
    """Lines of a file as text, with a way to put some back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self.number = 0
        self.bytes_read = 0
        self.row: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.row) >= _ROW_LINES_MAX:
            raise _TooManyLinesError
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.row.append(line)
        return line

    def put_back_all_but_first(self) -> str:
        """Undo the row but for its first line, and return that."""
        first, *rest = self.row
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        return first

    def _read(self) -> str:
        raw = piece = self._file.readline(_LINE_MAX)
        start = self.bytes_read
        self.bytes_read += len(raw)
        while len(piece) == _LINE_MAX and not piece.endswith(b"\n"):
            piece = self._file.readline(_LINE_MAX)  # the rest of a monstrous line is dropped
            self.bytes_read += len(piece)
        return (raw if start else raw.removeprefix(b"\xef\xbb\xbf")).decode("utf-8", "replace")


_Row = tuple[int, "tuple[str | None, ...] | list[str] | Unreadable"]


def _csv_header(lines: _Lines, delimiter: str) -> list[str]:
    try:
        names = next(csv.reader(lines, delimiter=delimiter), [])
    except (csv.Error, _TooManyLinesError):
        names = []
    binary = _broken(lines.row) or any("\0" in name for name in names)
    if not names or binary or len(set(names)) != len(names):
        raise DatasetError(
            "the first line is no header; accepted: names of columns in UTF-8, each once"
        )
    return names


def _csv_rows(lines: _Lines, delimiter: str, width: int) -> Iterator[_Row]:
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.row, start = [], lines.number + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooManyLinesError):
            reader = csv.reader(lines, delimiter=delimiter)
            yield (
                start,
                Unreadable(start, "quotes that do not match", lines.put_back_all_but_first()),
            )
            continue
        if len(values) == width and not _broken(lines.row):
            yield start, values
        elif values:
            reason = _NOT_UTF8 if _broken(lines.row) else f"{len(values)} values, not {width}"
            yield start, Unreadable(start, reason, lines.put_back_all_but_first())


def _broken(row: list[str]) -> bool:
    return any(_REPLACEMENT in line for line in row)


def _json_header(path: Path) -> list[str]:
    names: dict[str, None] = {}
    with _opened(path) as file:
        lines = _Lines(file)
        for line in islice(lines, _HEADER_ROWS):
            lines.row = []  # every line is a row of its own
            try:
                document = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(document, dict):
                names |= dict.fromkeys(document)
    if not names:
        raise DatasetError(
            f"the first {_HEADER_ROWS:,} lines hold no fields; accepted: a JSON object a line"
        )
    return list(names)


def _json_rows(lines: _Lines, names: list[str]) -> Iterator[_Row]:
    for line in lines:
        lines.row = []
        if not line.strip():
            continue
        try:
            document = msgspec.json.decode(line)
        except (ValueError, RecursionError):
            yield lines.number, Unreadable(lines.number, "a line that is not JSON", line)
            continue
        if not isinstance(document, dict) or _REPLACEMENT in line:
            reason = _NOT_UTF8 if _REPLACEMENT in line else "JSON that is no object"
            yield lines.number, Unreadable(lines.number, reason, line)
            continue
        try:
            yield lines.number, tuple(_scalar(document.get(name)) for name in names)
        except TypeError:
            reason = "an object or array as a value"
            yield lines.number, Unreadable(lines.number, reason, line)


def _scalar(value: object) -> str | None:
    """Return a JSON value as the text a CSV file would have for it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError


def _text(path: Path, columns: frozenset[str] | None, delimiter: str, rows: int) -> Iterator[Piece]:
    with _opened(path) as file:
        total = fstat(file.fileno()).st_size
        lines = _Lines(file)
        if path.suffix.lower() == ".csv":
            names = _csv_header(lines, delimiter)
            source = _csv_rows(lines, delimiter, len(names))
        else:
            names = sorted(columns) if columns is not None else _json_header(path)
            source = _json_rows(lines, names)
        while taken := list(islice(source, rows)):
            yield _piece(taken, names, columns, lines.bytes_read, total)


def _piece(
    taken: list[_Row], names: list[str], columns: frozenset[str] | None, done: int, total: int
) -> Piece:
    unreadable = [row for _, row in taken if isinstance(row, Unreadable)]
    good = [(line, row) for line, row in taken if not isinstance(row, Unreadable)]
    by_column = list(zip(*(row for _, row in good), strict=True)) or [()] * len(names)
    frame = pl.DataFrame(
        [
            pl.Series(name, values, dtype=pl.String)
            for name, values in zip(names, by_column, strict=True)
            if columns is None or name in columns
        ]
    )
    lines = np.array([line for line, _ in good], dtype=np.int64)
    return Piece(frame, lines, unreadable, done, total)
