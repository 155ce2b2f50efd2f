"""Splits history by time, with gaps as long as labels take to arrive.

::

    │ warm-up │   train   │ gap │ calibration │ gap │  test  │
                                ▲ train cut         ▲ calibration cut

The windows of the features are still filling during the warm-up, so its rows are not used.
A *cut* is the moment at which a part is closed: only labels reported by then count, and a
transaction without a fraud report by then is taken as genuine, as it would have been in life.
The last rows before a cut are left out for the length of the label delay, since most of their
frauds are not reported yet and would teach that fraud is genuine.
Calibration has its own gap for the same reason: without it the youngest frauds would be
missing and every score would come out too low.
The test part is judged on the labels as they finally stand; where history goes on to the present,
a third gap follows it, since the newest frauds do not stand yet.
Rows are never split at random: neighbours of a test row would be in the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.errors import TrainingError
from assay.records import DAY_MS
from assay.training.part import Part

WARM_UP_DAYS_MAX: Final = 30
WARM_UP_SHARE: Final = 0.2
CALIBRATION_SHARE: Final = 0.15
TEST_SHARE: Final = 0.2
FRAUDS_MIN: Final = {"train": 50, "calibration": 20, "test": 20}
"""Fewest frauds each part must hold; below them a model or an interval means nothing."""


@dataclass(frozen=True)
class TimeSplit:
    """Train, calibration and test parts in order of time. Prints as a small table.

    Attributes
    ----------
    start_ms, end_ms : int
        First event time, and the end of the test part, UTC milliseconds.
    label_delay_ms : int
        Length of the gaps.
    train, calibration, test : Part
    """

    start_ms: int
    end_ms: int
    label_delay_ms: int
    train: Part
    calibration: Part
    test: Part

    def facts(self) -> dict[str, Any]:
        """Return what the manifest keeps: moments and counts, no rows."""
        parts = {part.name: part.facts() for part in self.parts}
        return {
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "label_delay_ms": self.label_delay_ms,
            **parts,
        }

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        """The three parts in order of time."""
        return self.train, self.calibration, self.test

    def __str__(self) -> str:
        delay_days = self.label_delay_ms / DAY_MS
        lines = [str(part) for part in self.parts]
        return "\n".join([*lines, f"label delay  {delay_days:g} days before each next part"])


def labels_known(
    fraud: NDArray[np.int8], reported_ms: NDArray[np.int64], known_ms: int | None
) -> NDArray[np.bool_]:
    """Return which rows count as fraud for somebody who knows the reports up to a moment.

    Parameters
    ----------
    fraud : ndarray of int8, shape (n,)
        -1 unknown, 0 genuine, 1 fraud.
    reported_ms : ndarray of int64, shape (n,)
        When the label arrived, UTC milliseconds; read only where ``fraud`` is 1.
    known_ms : int or None
        The moment; None knows everything.

    Examples
    --------
    >>> labels_known(np.array([1, 1, -1], np.int8), np.array([5, 9, 0]), 5).tolist()
    [True, False, False]
    """
    known: NDArray[np.bool_] = fraud == 1
    if known_ms is not None:
        known &= reported_ms <= known_ms
    return known


def time_split(
    event_time: NDArray[np.int64],
    fraud: NDArray[np.int8],
    reported_ms: NDArray[np.int64],
    scored: NDArray[np.bool_],
    *,
    label_delay_ms: int,
    warm_up_ms: int | None = None,
    open_end: bool = False,
) -> TimeSplit:
    """Split rows by time as drawn at the top of this module.

    Cuts fall on UTC midnight. What warm-up and gaps leave is divided 65 : 15 : 20.

    Parameters
    ----------
    event_time : ndarray of int64, shape (n,)
        UTC milliseconds, in any order.
    fraud : ndarray of int8, shape (n,)
        -1 unknown, 0 genuine, 1 fraud, as it finally stands.
    reported_ms : ndarray of int64, shape (n,)
        When the label arrived; read only where ``fraud`` is 1.
    scored : ndarray of bool, shape (n,)
        Rows that may teach and judge; the others only fill windows, and their time, which may
        be anything, does not count.
    label_delay_ms : int
        Length of each gap, 0 or more.
    warm_up_ms : int, optional
        By default 30 days, at most a fifth of the span.
    open_end : bool
        The rows go on to the present, so there is a third gap after the test part.

    Raises
    ------
    TrainingError
        If the span is too short for three parts of a day each, or a part holds too few frauds.
    """
    if not scored.any():
        raise TrainingError("no row is of a kind that is scored; accepted: some authorisations")
    start_ms, end_ms = int(event_time[scored].min()), int(event_time[scored].max()) + 1
    end_ms -= label_delay_ms if open_end else 0
    edges = _edges(start_ms, end_ms, label_delay_ms, warm_up_ms)
    order = np.argsort(event_time, kind="stable")
    order = order[scored[order]]
    times = event_time[order]

    def part(name: str, first_ms: int, last_ms: int, known_ms: int | None) -> Part:
        low, high = np.searchsorted(times, [first_ms, last_ms])
        rows = order[low:high]
        known = labels_known(fraud[rows], reported_ms[rows], known_ms)
        return Part(name, first_ms, last_ms, known_ms, rows, known)

    split = TimeSplit(
        start_ms,
        end_ms,
        label_delay_ms,
        part("train", edges[0], edges[1], edges[2]),
        part("calibration", edges[2], edges[3], edges[4]),
        part("test", edges[4], end_ms, None),
    )
    _check_frauds(split)
    return split


def _edges(start_ms: int, end_ms: int, delay_ms: int, warm_up_ms: int | None) -> list[int]:
    """Return train start, train end, calibration start, calibration end, test start."""
    span_ms = end_ms - start_ms
    if warm_up_ms is None:
        warm_up_ms = min(WARM_UP_DAYS_MAX * DAY_MS, int(WARM_UP_SHARE * span_ms))
    usable_ms = span_ms - warm_up_ms - 2 * delay_ms
    test = _midnight(end_ms - int(TEST_SHARE * usable_ms))
    calibration_end = _midnight(test - delay_ms)
    calibration = _midnight(calibration_end - int(CALIBRATION_SHARE * usable_ms))
    edges = [start_ms + warm_up_ms, _midnight(calibration - delay_ms)]
    edges += [calibration, calibration_end, test]
    shortest_ms = min(edges[1] - edges[0], edges[3] - edges[2], end_ms - edges[4])
    if usable_ms <= 0 or shortest_ms < DAY_MS:
        raise TrainingError(
            f"the history spans {span_ms / DAY_MS:.1f} days, of which warm-up takes "
            f"{warm_up_ms / DAY_MS:.1f} and two label delays {2 * delay_ms / DAY_MS:.1f}; "
            "accepted: a span that leaves a day each for training, calibration and test"
        )
    assert all(a <= b for a, b in pairwise(edges)), edges
    return edges


def _midnight(time_ms: int) -> int:
    return time_ms // DAY_MS * DAY_MS


def _check_frauds(split: TimeSplit) -> None:
    for part in split.parts:
        if part.frauds < FRAUDS_MIN[part.name]:
            raise TrainingError(
                f"the {part.name} part holds {part.frauds} known frauds in {len(part.rows)} rows; "
                f"accepted: {FRAUDS_MIN[part.name]} or more, so bring more labelled history "
                "(a fraud counts once it is reported, so the newest days hold fewer)"
            )
        if part.frauds == len(part.rows):
            raise TrainingError(
                f"every row of the {part.name} part is fraud; accepted: some genuine rows too"
            )
