"""What an import found: counts, reasons, and how complete the fields are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from assay.errors import InputError

UNREPORTED: Final = -2
"""Time of a label whose time is not known: nobody can say when it could be learnt from."""

_LINES_SHOWN: Final = 5
_QUANTILES: Final = {"min": 0.0, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p99": 0.99, "max": 1.0}


@dataclass
class QualityReport:
    """The outcome of one import; ``read`` is the sum of the five counts after it.

    Attributes
    ----------
    outside : int
        Rows before ``since_ms`` or from ``until_ms`` on.
    duplicates, conflicts : int
        Rows whose id was there already, with an equal or with another body.
    reasons : dict
        Per reason its ``count`` and the first ``lines``.
    presence : dict
        Per field the share of accepted rows that have it, in [0, 1].
    first_ms, last_ms : int or None
        Earliest and latest event time, UTC milliseconds.
    amounts_ref : dict
        Quantiles of the amount, in minor units of the reference currency.
    labels : dict
        How many rows are ``fraud``, ``genuine``, ``unknown``, and ``unreported``: labelled,
        but without a time of report, and so kept as unknown.
    unmapped : list of str
        Columns of the file that were not read.
    """

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    conflicts: int = 0
    outside: int = 0
    reasons: dict[str, dict[str, object]] = field(default_factory=dict)
    presence: dict[str, float] = field(default_factory=dict)
    first_ms: int | None = None
    last_ms: int | None = None
    amounts_ref: dict[str, float] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)

    def count_rejection(self, line: int, error: InputError) -> None:
        """Count one more row that is not acceptable."""
        self.rejected += 1
        reason = self.reasons.setdefault(str(error), {"count": 0, "lines": []})
        reason["count"] += 1  # type: ignore[operator]
        lines = reason["lines"]
        assert isinstance(lines, list)
        if len(lines) < _LINES_SHOWN:
            lines.append(line)

    def describe(
        self, events: NDArray[np.void], fraud: NDArray[np.int8], reported_ms: NDArray[np.int64]
    ) -> None:
        """Fill in times, amounts and labels from what was accepted."""
        self.accepted = len(events)
        for name, code in (("fraud", 1), ("genuine", 0), ("unknown", -1)):
            self.labels[name] = int(np.count_nonzero(fraud == code))
        self.labels["unreported"] = int(np.count_nonzero(reported_ms == UNREPORTED))
        self.labels["unknown"] -= self.labels["unreported"]
        if len(events):
            self.first_ms = int(events["event_time"].min())
            self.last_ms = int(events["event_time"].max())
        amounts = events["amount_ref"][events["amount_ref"] >= 0]
        if len(amounts):
            values = np.quantile(amounts, list(_QUANTILES.values()), method="nearest")
            self.amounts_ref = dict(zip(_QUANTILES, map(float, values), strict=True))


def duplicate_error(*, equal: bool) -> InputError:
    """Return the reason for a row whose transaction id was there already."""
    got = "an id that was there already" + ("" if equal else " with another body")
    return InputError("transaction_id", got, "each id once")
