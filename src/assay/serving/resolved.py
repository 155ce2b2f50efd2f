"""Remembers which resolved labels came, for one that is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from assay.records import LabelReport, ResolvedLabel

RESOLVED_MAX: Final = 100_000
"""How many resolved labels are remembered, in case one is sent again."""


class Resolved:
    """The resolved labels of this process.

    A request cannot outlive the process, so no others need to be known.
    """

    def __init__(self) -> None:
        self._reports: dict[int, None] = {}

    def fresh(
        self, rows: Sequence[LabelReport | ResolvedLabel]
    ) -> list[LabelReport | ResolvedLabel]:
        """Leave out labels that were sent again while the first request was still on its way."""
        out: list[LabelReport | ResolvedLabel] = []
        for row in rows:
            if isinstance(row, ResolvedLabel):
                if row.report in self._reports:
                    continue
                self._reports[row.report] = None
            out.append(row)
        for report in list(islice(self._reports, max(0, len(self._reports) - RESOLVED_MAX))):
            del self._reports[report]
        return out
