"""A file of labels: what of it can be reported, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.errors import InputError
from assay.records import Label

_FRAUD: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_LINES_SHOWN: Final = 5
_ID_MAX: Final = 128
_DIGITS_MAX: Final = 18
_CONFLICT: Final = InputError(
    "fraud", "both verdicts about one transaction and time", "one verdict, so none is reported"
)


class Piece(Protocol):
    """Some rows of a file."""

    @property
    def frame(self) -> pl.DataFrame:
        """The columns as the file has them."""
        ...

    @property
    def lines(self) -> NDArray[np.int64]:
        """Line of each row."""
        ...

    @property
    def unreadable(self) -> Sequence[Any]:
        """Lines between that are no rows, each with ``line`` and ``reason``."""
        ...


class Letters(Protocol):
    """Keeps refused rows."""

    def write(self, line: int, error: InputError, raw: pl.DataFrame, row: int) -> None:
        """Keep a row."""
        ...

    def write_unreadable(self, row: Any, error: InputError) -> None:
        """Keep what may be kept of a line that is no row."""
        ...


@dataclass
class LabelFile:
    """The labels of a file, each once; `read` is their number and the three counts after it.

    Attributes
    ----------
    read : int
        Rows of the file.
    duplicates : int
        Rows that say what another one says: same transaction, verdict and time.
    conflicts : list of int
        Lines of rows about one transaction and time that give both verdicts. Nobody knows which
        is right, so neither is reported.
    rejected : int
        Rows that are no label.
    reasons : dict
        Per reason of a rejection its ``count`` and the first ``lines``.
    """

    read: int = 0
    duplicates: int = 0
    conflicts: list[int] = field(default_factory=list)
    rejected: int = 0
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)
    _verdicts: dict[tuple[str, int], bool | None] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        pieces: Callable[[], Iterable[Piece]],
        columns: tuple[str, str, str],
        check: Callable[[str, str | int], int],
        letters: Letters,
    ) -> LabelFile:
        """Read a file of labels; one whose rows contradict each other is read twice.

        Parameters
        ----------
        pieces : callable
            Reads the file from its beginning.
        columns : tuple of str
            Names of the columns with transaction id, verdict, and time of report.
        check : callable
            Given transaction id and time of report, returns the time in UTC milliseconds;
            raises `InputError` if the scorer would refuse either.
        letters : Letters
        """
        out = cls()
        for piece in pieces():
            for bad in piece.unreadable:
                error = InputError("", bad.reason, "a row as the header says")
                out._reject(bad.line, error)
                letters.write_unreadable(bad, error)
            for row, line, label in _labels(piece, columns, check):
                if isinstance(label, InputError):
                    out._reject(line, label)
                    letters.write(line, label, piece.frame, row)
                else:
                    out._take(label)
        torn = {key for key, fraud in out._verdicts.items() if fraud is None}
        for piece in pieces() if torn else ():
            for row, line, label in _labels(piece, columns, check):
                if not isinstance(label, InputError) and _key(label) in torn:
                    out.conflicts.append(line)
                    letters.write(line, _CONFLICT, piece.frame, row)
        for key in torn:
            del out._verdicts[key]
        out.duplicates = out.read - len(out) - len(out.conflicts) - out.rejected
        return out

    def __len__(self) -> int:
        return len(self._verdicts)

    def labels(self) -> Iterator[Label]:
        """Yield the labels in the order of the file."""
        for (name, reported_ms), fraud in self._verdicts.items():
            assert fraud is not None, "conflicts are taken out"
            yield Label(name, fraud, reported_ms)

    def _take(self, label: Label) -> None:
        self.read += 1
        if self._verdicts.setdefault(_key(label), label.fraud) is not label.fraud:
            self._verdicts[_key(label)] = None

    def _reject(self, line: int, error: InputError) -> None:
        self.read += 1
        self.rejected += 1
        reason = self.reasons.setdefault(str(error), {"count": 0, "lines": []})
        reason["count"] += 1
        if len(reason["lines"]) < _LINES_SHOWN:
            reason["lines"].append(line)


def _key(label: Label) -> tuple[str, int]:
    assert isinstance(label.reported_at, int), "times were read"
    return label.transaction_id, label.reported_at


def _labels(
    piece: Piece, columns: tuple[str, str, str], check: Callable[[str, str | int], int]
) -> Iterator[tuple[int, int, Label | InputError]]:
    """Yield place in the piece, line in the file, and the label or what is wrong with it."""
    rows = piece.frame.select(columns).iter_rows()
    for row, (line, (name, fraud, at)) in enumerate(zip(piece.lines.tolist(), rows, strict=True)):
        try:
            yield row, line, _label(name, fraud, at, check)
        except InputError as error:
            yield row, line, error


def _label(name: Any, fraud: Any, at: Any, check: Callable[[str, str | int], int]) -> Label:
    verdict = _FRAUD.get(str(fraud).strip().lower().removesuffix(".0"))
    if name is None or not 1 <= len(str(name)) <= _ID_MAX:
        accepted = f"text of 1 to {_ID_MAX} characters"
        raise InputError("transaction_id", "nothing" if name is None else "other text", accepted)
    if verdict is None:
        raise InputError("fraud", "a value that is no verdict", ", ".join(_FRAUD))
    if at is None:
        raise InputError("reported_at", "nothing", "a time")
    return Label(str(name), verdict, check(str(name), _time(at)))


def _time(value: Any) -> str | int:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return int(value.timestamp() * 1000)
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else text
