"""What an audit found that is not as the journal says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.journal.decision_record import decision_id


class Differences:
    """Counts what differs, and keeps the first in order of arrival.

    Parameters
    ----------
    stream : str
        Name of the journal's stream, for decision ids.

    Attributes
    ----------
    decisions : int
        Decisions with any difference.
    counts : Counter of str
        Differences by what differs.
    first : dict or None
        ``decision_id``, ``arrival``, ``what``, ``journalled`` and ``recomputed``.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self.decisions = 0
        self.counts: Counter[str] = Counter()
        self.first: dict[str, Any] | None = None

    def add(
        self,
        arrivals: NDArray[np.uint64],
        wrong: dict[str, NDArray[np.bool_]],
        tell: Callable[[str, int], tuple[Any, Any]],
    ) -> None:
        """Count the differences of n decisions, in order of arrival.

        Parameters
        ----------
        arrivals : ndarray of uint64, shape (n,)
        wrong : dict of str to ndarray of bool, shape (n,)
            What differs, and where.
        tell : callable
            Gives what was journalled and what was recomputed, of one thing in one row.
        """
        rows = np.any(list(wrong.values()), axis=0)
        if not rows.any():
            return
        self.decisions += int(rows.sum())
        self.counts.update({what: int(where.sum()) for what, where in wrong.items()})
        row = int(rows.argmax())
        arrival = int(arrivals[row])
        if self.first is None or arrival < self.first["arrival"]:
            what = next(what for what, where in wrong.items() if where[row])
            journalled, recomputed = tell(what, row)
            self.first = {
                "decision_id": decision_id(self._stream, arrival),
                "arrival": arrival,
                "what": what,
                "journalled": journalled,
                "recomputed": recomputed,
            }

    def document(self) -> dict[str, Any]:
        """Return what was found, as builtins."""
        return {
            "different": self.decisions,
            "differences": {what: count for what, count in self.counts.items() if count},
            "first_difference": self.first,
        }
