"""The book of labels: every report that came, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from assay.clock import Clock
from assay.control.schema import LABELS, PROGRESS
from assay.errors import ControlError
from assay.feedback.resolve import Found
from assay.feedback.verdict import STATES, State, Verdict
from assay.records import Flag, LabelReport, ResolvedLabel, Stretch

HOLD_MS: Final = 5_000
"""How long after a label was sent, or may have been, the journal is given to show it."""

SEND_MAX: Final = 200
"""Most labels in one request: they stand in line with payments, which must not wait long."""

_LOOKUP_MAX: Final = 8_000
_IDS_MAX: Final = 500


class Transactions(Protocol):
    """Where transactions are looked up, as `Resolver` does."""

    def arrived(self, hashes: Collection[int]) -> set[int]:
        """Return those of the hashes that came since the last call."""
        ...

    def find(self, hashes: Collection[int]) -> dict[str, Found]:
        """Return the transactions with these hashes, by their id."""
        ...


class LabelBook:
    """Matches label reports with their transactions and sends them into the scorer's stream.

    The journal alone says what was sent: a report is *matched* once its label is read there,
    and a label is sent again only when the journal has been read beyond the time at which the
    last attempt, of this process or of one before it, can have written it. So an answer that was
    lost, a crash and a lost database all lead to the same end.

    A report whose transaction nobody knows waits, and is looked for in new files only.
    A waiting report takes about 200 bytes of memory.

    Parameters
    ----------
    engine : Engine
        Of the control database.
    transactions : Transactions
    submit : callable
        Sends at most `SEND_MAX` labels to the scorer; False if it surely or maybe failed.
    hash_of : callable
        From a transaction id to its 64-bit hash.
    clock : Clock
    behind_bytes : callable
        Gives how much of the journal is not read yet.
    owner_check : callable
        Raises if this process may not write any more.

    Attributes
    ----------
    name : str
    position : int
        Every report before it is in the book.
    counts : Counter of str
        Reports by state.
    """

    name = "labels"

    def __init__(
        self,
        engine: Engine,
        transactions: Transactions,
        submit: Callable[[list[ResolvedLabel]], bool],
        hash_of: Callable[[str], int],
        clock: Clock,
        *,
        behind_bytes: Callable[[], int],
        owner_check: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._transactions, self._submit = engine, transactions, submit
        self._hash_of, self._clock = hash_of, clock
        self._behind_bytes, self._owner_check = behind_bytes, owner_check
        self._started_ms = clock.now_ms()
        self._new: list[LabelReport] = []
        self._journalled: list[int] = []
        # A waiting report is in one of these, by its number, with the hash of its transaction.
        self._held: dict[int, tuple[int, int]] = {}  # and until when: its label may be under way
        self._fresh: dict[int, int] = {}  # to be looked up everywhere
        self._unknown: dict[int, int] = {}  # was looked up, in vain
        self._arrival_ms = self._stream_ms = 0
        self._load()

    def _load(self) -> None:
        row = LABELS.c
        with self._engine.connect() as db:
            progress = db.execute(select(PROGRESS).where(PROGRESS.c.reader == self.name)).first()
            self._stream = progress.stream if progress else ""
            self.position = progress.position if progress else 0
            self._stream_ms = progress.stream_ms if progress else 0
            self._last = db.execute(select(func.max(row.report))).scalar() or 0
            self.counts = Counter[str](dict.fromkeys(STATES, 0))
            for state, n in db.execute(select(row.state, func.count()).group_by(row.state)):
                self.counts[state] = n
            waiting = select(row.report, row.transaction_id).where(row.state == "waiting")
            until_ms = self._started_ms + HOLD_MS
            for report, transaction_id in db.execute(waiting):
                self._held[report] = (self._hash_of(transaction_id), until_ms)

    def follow(self, stream: str) -> None:
        """Learn whose journal the stretches come from.

        Raises
        ------
        ControlError
            If the book is of another stream: its reports have the same numbers.
        """
        if self._stream not in {"", stream}:
            raise ControlError(
                f"the labels in the control database are of stream {self._stream}, the journal of "
                f"{stream}; accepted: the journal that they came from, or none: move "
                ".assay/control.sqlite away with it"
            )
        self._stream = stream

    def take(self, stretch: Stretch) -> None:
        """Remember what a stretch of the journal tells of labels."""
        self._new += [report for report in stretch.reports if report.arrival > self._last]
        if self._new:
            self._last = max(self._last, self._new[-1].arrival)
        self._journalled += [label.report for label in stretch.labels]
        events = stretch.batch.events
        if len(events):
            sound = events["event_time"][events["flags"] & Flag.future == 0]
            self._stream_ms = max(self._stream_ms, int(sound.max(initial=0)))
            self._arrival_ms = max(self._arrival_ms, int(events["arrival_ms"][-1]))
        for rows in (stretch.switches, stretch.reports, stretch.labels):
            self._arrival_ms = max(self._arrival_ms, *(row.arrival_ms for row in rows[-1:]), 0)

    def commit(self, position: int) -> None:
        """Write down what was taken, then match and send what can be.

        A report is in the book before its label is sent: after a crash it is known which labels
        may be under way.
        """
        self._owner_check()
        if self._new or self._journalled or position > self.position:
            self._store(max(position, self.position))
        self._release()
        self._match()

    def _store(self, position: int) -> None:
        for report in self._new:
            self._held[report.arrival] = (self._hash_of(report.transaction_id), self._started_ms)
        self.counts["waiting"] += len(self._new)
        shown = {report for report in self._journalled if self._waits(report)}
        with self._engine.begin() as db:
            if self._new:
                db.execute(insert(LABELS), [_row(report) for report in self._new])
            _set_states(db, dict.fromkeys(shown, "matched"))
            self._store_progress(db, position)
        self._settle(dict.fromkeys(shown, "matched"))
        self._new, self._journalled, self.position = [], [], position

    def _store_progress(self, db: Connection, position: int) -> None:
        values = {
            "stream": self._stream,
            "position": position,
            "stream_ms": self._stream_ms,
            "updated_ms": self._clock.now_ms(),
        }
        mine = PROGRESS.c.reader == self.name
        if not db.execute(update(PROGRESS).where(mine).values(values)).rowcount:
            db.execute(insert(PROGRESS).values(values | {"reader": self.name}))

    def _release(self) -> None:
        """Free what was held until the journal surely would have shown its label."""
        now_ms = self._clock.now_ms()
        all_read = not self._behind_bytes()
        free = {
            report: key
            for report, (key, until_ms) in self._held.items()
            if now_ms >= until_ms and (all_read or self._arrival_ms > until_ms)
        }
        for report in free:
            del self._held[report]
        self._fresh |= free

    def _match(self) -> None:
        """Look waiting reports up, judge those that are found, and send what matches."""
        came = self._transactions.arrived(self._unknown.values())
        if came:
            for report in [r for r, key in self._unknown.items() if key in came]:
                self._fresh[report] = self._unknown.pop(report)
        batch = dict(islice(self._fresh.items(), _LOOKUP_MAX))
        if not batch:
            return
        found = self._transactions.find(set(batch.values()))
        states: dict[int, State] = {}
        labels: list[ResolvedLabel] = []
        with self._engine.connect() as db:
            for transaction_id, rows in _reports(db, list(found)):
                labels += self._judge(found[transaction_id], rows, states)
        for report in batch.keys() - states.keys() - {label.report for label in labels}:
            if report in self._fresh:
                self._unknown[report] = self._fresh.pop(report)
        if states:
            with self._engine.begin() as db:
                _set_states(db, states)
            self._settle(states)
        self._send(labels)

    def _judge(
        self, found: Found, rows: Sequence[Any], states: dict[int, State]
    ) -> Iterator[ResolvedLabel]:
        """Fold a transaction's reports; yield what matches and is not under way."""
        verdict = Verdict(found.label)
        for row in rows:
            if row.state in {"matched", "duplicate"}:
                verdict.learn(row.reported_ms, fraud=row.fraud)
            elif row.state == "waiting":
                state = verdict.judge(row.reported_ms, fraud=row.fraud)
                if state != "matched":
                    states[row.report] = state
                elif row.report not in self._held:
                    yield ResolvedLabel(0, 0, row.report, row.fraud, row.reported_ms, found.event)

    def _send(self, labels: list[ResolvedLabel]) -> None:
        """Send labels until one request fails; all are held, whatever became of them."""
        going = True
        for start in range(0, len(labels), SEND_MAX):
            piece = labels[start : start + SEND_MAX]
            going = going and self._submit(piece)
            until_ms = self._clock.now_ms() + HOLD_MS
            for label in piece:
                key = self._fresh.pop(label.report, None) or self._unknown.pop(label.report)
                self._held[label.report] = (key, until_ms)

    def _waits(self, report: int) -> bool:
        return report in self._held or report in self._fresh or report in self._unknown

    def _settle(self, states: Mapping[int, State]) -> None:
        for report, state in states.items():
            for place in (self._held, self._fresh, self._unknown):
                place.pop(report, None)
            self.counts["waiting"] -= 1
            self.counts[state] += 1


def _row(report: LabelReport) -> dict[str, object]:
    return {
        "report": report.arrival,
        "transaction_id": report.transaction_id,
        "fraud": report.fraud,
        "reported_ms": report.reported_ms,
        "arrived_ms": report.arrival_ms,
        "state": "waiting",
    }


def _set_states(db: Connection, states: Mapping[int, State]) -> None:
    if states:
        change = update(LABELS).where(LABELS.c.report == bindparam("one"))
        rows = [{"one": report, "to": state} for report, state in states.items()]
        db.execute(change.values(state=bindparam("to")), rows)


def _reports(db: Connection, ids: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield every report about some transactions, by transaction, in order of arrival."""
    row = LABELS.c
    for start in range(0, len(ids), _IDS_MAX):
        some = ids[start : start + _IDS_MAX]
        wanted = select(LABELS).where(row.transaction_id.in_(some))
        rows = db.execute(wanted.order_by(row.transaction_id, row.report))
        for transaction_id, group in groupby(rows, key=lambda found: str(found.transaction_id)):
            yield transaction_id, list(group)
