"""What a report adds to what is known about its transaction."""

from __future__ import annotations

from typing import Final, Literal

State = Literal["waiting", "matched", "duplicate", "conflict"]

STATES: Final[tuple[State, ...]] = ("matched", "waiting", "duplicate", "conflict")


class Verdict:
    """What is known about one transaction, and how late a report it rests on.

    Reports are judged in order of arrival, and what came later never changes an earlier
    judgement: whoever reads the same reports comes to the same states.

    Parameters
    ----------
    known : (int, bool) or None
        Time of report and verdict that were known before the first report.

    Examples
    --------
    >>> verdict = Verdict((100, True))
    >>> verdict.judge(100, fraud=False), verdict.judge(200, fraud=True)
    ('conflict', 'duplicate')
    >>> verdict.judge(150, fraud=False), verdict.judge(300, fraud=False)
    ('conflict', 'matched')
    """

    def __init__(self, known: tuple[int, bool] | None = None) -> None:
        self._known = known

    def judge(self, reported_ms: int, *, fraud: bool) -> State:
        """Return what becomes of a report.

        The first matches. Then the same verdict is a duplicate; another one is a correction,
        which matches, if it is later than every report that agrees with what is known, and a
        conflict otherwise: what is known stays.
        """
        if self._known is not None and fraud != self._known[1] and reported_ms <= self._known[0]:
            return "conflict"
        state: State = "duplicate" if self._known and fraud == self._known[1] else "matched"
        self.learn(reported_ms, fraud=fraud)
        return state

    def learn(self, reported_ms: int, *, fraud: bool) -> None:
        """Know a report that was judged before and was no conflict."""
        latest_ms = self._known[0] if self._known else reported_ms
        self._known = max(latest_ms, reported_ms), fraud
