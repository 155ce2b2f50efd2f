from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import create_engine, select

from assay.clock import VirtualClock
from assay.control.schema import LABELS, METADATA, PROGRESS
from assay.errors import ControlError
from assay.feedback.book import HOLD_MS, LabelBook
from assay.feedback.resolve import Resolver
from assay.records import EVENT, Batch, Events, LabelReport, ResolvedLabel, Stretch, empty_events

START_MS = 1_780_000_000_000
STORED = [name for name in EVENT.names if not name.startswith("reserved")]


class KilledError(Exception):
    """The process ends here."""


def hash_of(transaction_id: str) -> int:
    """Give several ids one hash, so that the ids themselves must tell them apart."""
    return int(transaction_id.removeprefix("t-")) % 4 + 1


class Desk:
    """A book with a journal, a scorer and tables as small as they can be, all of them real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock(START_MS)
        self.journal: list[str | LabelReport | ResolvedLabel] = []
        self.arrived_ms: list[int] = []
        self.unwritten: list[tuple[str, Events]] = []
        self.parts: list[Path] = []
        self.imports: dict[str, tuple[int, bool] | None] = {}
        self.late: list[ResolvedLabel] = []
        self.scorer = "up"
        self.reset()

    def reset(self) -> None:
        """Lose the control database."""
        self.engine = create_engine("sqlite://")
        METADATA.create_all(self.engine, tables=[LABELS, PROGRESS])
        self.start()

    def start(self) -> None:
        """Begin again with what the database and the journal hold."""
        self.book = LabelBook(
            self.engine,
            Resolver(lambda: self.parts),
            self.submit,
            hash_of,
            self.clock,
            behind_bytes=lambda: len(self.journal) - self.position,
        )
        self.book.follow("stream")
        self.position = self.book.position

    def submit(self, labels: list[ResolvedLabel]) -> bool:
        """Be the scorer, in whatever state it is."""
        if self.scorer in {"down", "killed before"}:
            if self.scorer != "down":
                raise KilledError
            return False
        if self.scorer == "slow":
            self.late += labels
            return False
        for label in labels:
            self.write(label)
        if self.scorer == "killed after":
            raise KilledError
        return self.scorer == "up"

    def write(self, record: str | LabelReport | ResolvedLabel) -> int:
        self.journal.append(record)
        self.arrived_ms.append(self.clock.now_ms())
        return len(self.journal)

    def report(self, transaction_id: str, at: int, *, fraud: bool) -> None:
        arrival = len(self.journal) + 1
        now_ms = self.clock.now_ms()
        self.write(LabelReport(arrival, now_ms, transaction_id, fraud, START_MS + at, "bank"))

    def decide(self, transaction_id: str) -> None:
        arrival = self.write(transaction_id)
        self.unwritten.append((transaction_id, event_of(transaction_id, arrival, START_MS)))

    def flush(self) -> None:
        """Add what was decided to the tables."""
        if self.unwritten:
            self.parts.append(write_part(self.folder, len(self.parts), self.unwritten))
            self.unwritten = []

    def bring_in(self, transaction_id: str, label: tuple[int, bool] | None) -> None:
        """Import a transaction, perhaps with its label."""
        self.imports[transaction_id] = label
        row = [(transaction_id, event_of(transaction_id, 0, 0))]
        self.parts.insert(0, write_part(self.folder, len(self.parts), row, label or (-1, None)))

    def read(self, records: int) -> None:
        """Follow the journal for some records."""
        end = min(len(self.journal), self.position + records)
        if end > self.position:
            self.book.take(self.stretch(self.position, end))
            self.position = end

    def stretch(self, start: int, end: int) -> Stretch:
        own = range(start, end)
        decided = [k for k in own if isinstance(self.journal[k], str)]
        ids = [self.journal[k] for k in decided]
        events = np.concatenate(
            [empty_events(0)] + [event_of(self.journal[k], k + 1, START_MS) for k in decided]
        )
        events["arrival_ms"] = [self.arrived_ms[k] for k in decided]
        labels = [
            ResolvedLabel(k + 1, self.arrived_ms[k], r.report, r.fraud, r.reported_ms, r.event)
            for k in own
            if isinstance(r := self.journal[k], ResolvedLabel)
        ]
        return Stretch(
            end,
            Batch(events, np.zeros((len(ids), 0), np.float32)),
            np.ones(len(ids), np.uint64),
            np.array(decided, np.int64),
            ids,
            [b"{}"] * len(ids),
            reports=[r for k in own if isinstance(r := self.journal[k], LabelReport)],
            labels=labels,
        )

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something that the process may not survive."""
        try:
            action()
        except KilledError:
            self.scorer = "up"
            self.start()

    def commit(self) -> None:
        self.attempt(lambda: self.book.commit(self.position))

    def arrive_late(self) -> None:
        """Let the slow scorer write what it was given."""
        for label in self.late:
            self.write(label)
        self.late = []

    def settle(self) -> None:
        """Let everything come to its end."""
        self.scorer = "up"
        self.flush()
        for _ in range(4):
            self.arrive_late()
            self.clock.advance(HOLD_MS + 1)
            self.read(10**6)
            self.commit()

    def states(self) -> dict[int, str]:
        with self.engine.connect() as db:
            return dict(map(tuple, db.execute(select(LABELS.c.report, LABELS.c.state))))

    def sent(self) -> Counter[int]:
        """Return how often the journal holds the label of each report."""
        return Counter(r.report for r in self.journal if isinstance(r, ResolvedLabel))

    def expected(self) -> dict[int, str]:
        """Say what must have become of every report, from the journal and the imports alone."""
        known = {r: None for r in self.journal if isinstance(r, str)} | self.imports
        out = {}
        for report in self.journal:
            if not isinstance(report, LabelReport):
                continue
            name, at, fraud = report.transaction_id, report.reported_ms, report.fraud
            if name not in known:
                out[report.arrival] = "waiting"
            elif known[name] is None:
                out[report.arrival], known[name] = "matched", (at, fraud)
            elif known[name][1] == fraud:
                out[report.arrival], known[name] = "duplicate", (max(at, known[name][0]), fraud)
            elif at > known[name][0]:
                out[report.arrival], known[name] = "matched", (at, fraud)
            else:
                out[report.arrival] = "conflict"
        return out

    def check(self) -> None:
        """Check that everything ended as it must."""
        expected = self.expected()
        assert self.states() == expected
        matched = {report for report, state in expected.items() if state == "matched"}
        assert self.sent() == Counter(dict.fromkeys(matched, 1))
        assert +self.book.counts == +Counter(expected.values())
        for label in (r for r in self.journal if isinstance(r, ResolvedLabel)):
            report = self.journal[label.report - 1]
            assert isinstance(report, LabelReport)
            assert (label.fraud, label.reported_ms) == (report.fraud, report.reported_ms)
            number = int(report.transaction_id.removeprefix("t-"))
            assert int(label.event["card"][0]) == 100 + number


def event_of(transaction_id: str, arrival: int, arrival_ms: int) -> Events:
    event = empty_events(1)
    event["arrival"], event["arrival_ms"], event["event_time"] = arrival, arrival_ms, START_MS
    event["transaction"] = hash_of(transaction_id)
    event["card"] = 100 + int(transaction_id.removeprefix("t-"))
    return event


def write_part(
    folder: Path,
    number: int,
    rows: list[tuple[str, Events]],
    label: tuple[int, bool | None] | None = None,
) -> Path:
    """Write a Parquet part as the tables do; with a label column if it is an import."""
    events = np.concatenate([event for _, event in rows])
    frame = pl.DataFrame({name: events[name] for name in STORED})
    frame = frame.with_columns(pl.Series("transaction_id", [name for name, _ in rows]))
    if label is not None:
        fraud = -1 if label[1] is None else int(label[1])
        frame = frame.with_columns(fraud=pl.lit(fraud, pl.Int8), reported_ms=pl.lit(label[0]))
    path = folder / f"{number:04d}.parquet"
    frame.write_parquet(path)
    return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class LabelBookMachine(RuleBasedStateMachine):
    """Reports, decisions, imports, faults and crashes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.desk = Desk(self.folder)

    def teardown(self) -> None:
        try:
            self.desk.settle()
            self.desk.check()
        finally:
            shutil.rmtree(self.folder)

    @rule(number=st.integers(0, 9), at=st.integers(0, 3), fraud=st.booleans())
    def report(self, number: int, at: int, fraud: bool) -> None:
        self.desk.report(f"t-{number}", at, fraud=fraud)

    @rule(number=st.integers(0, 4))
    def decide(self, number: int) -> None:
        if f"t-{number}" not in self.desk.journal:
            self.desk.decide(f"t-{number}")

    @rule(
        number=st.integers(5, 9),
        label=st.none() | st.tuples(st.integers(START_MS, START_MS + 3), st.booleans()),
    )
    def bring_in(self, number: int, label: tuple[int, bool] | None) -> None:
        if f"t-{number}" not in self.desk.imports:
            self.desk.bring_in(f"t-{number}", label)

    @rule()
    def flush(self) -> None:
        self.desk.flush()

    @rule(records=st.integers(1, 10))
    def read(self, records: int) -> None:
        self.desk.read(records)

    @rule()
    def commit(self) -> None:
        self.desk.commit()

    @rule(advance_ms=st.sampled_from([1, 1_000, HOLD_MS + 1]))
    def wait(self, advance_ms: int) -> None:
        self.desk.arrive_late()
        self.desk.clock.advance(advance_ms)

    @rule(state=st.sampled_from(["up", "down", "lost", "slow", "killed before", "killed after"]))
    def scorer_becomes(self, state: str) -> None:
        self.desk.scorer = state

    @rule()
    def crash(self) -> None:
        self.desk.start()

    @rule()
    def lose_database(self) -> None:
        self.desk.arrive_late()
        self.desk.clock.advance(1)
        self.desk.reset()


TestLabelBook = LabelBookMachine.TestCase
TestLabelBook.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_correction_follows_its_report(desk: Desk) -> None:
    """A later other verdict is sent too; the same again, and one that contradicts, are not."""
    desk.decide("t-1")
    for at, fraud in ((10, True), (10, True), (10, False), (20, False), (30, False)):
        desk.report("t-1", at, fraud=fraud)
    desk.settle()
    states = ["matched", "duplicate", "conflict", "matched", "duplicate"]
    assert [*desk.states().values()] == states
    desk.check()


def test_an_unknown_transaction_waits_without_being_searched(desk: Desk) -> None:
    """A report that nobody can match costs a look into new files only."""
    asked: list[int] = []
    resolver = desk.book._transactions
    find = resolver.find
    resolver.find = lambda hashes: asked.append(len(hashes)) or find(hashes)  # type: ignore[method-assign]
    desk.report("t-1", 0, fraud=True)
    desk.settle()
    desk.settle()
    assert asked == [1]
    assert desk.book.counts["waiting"] == 1
    desk.decide("t-1")
    desk.settle()
    assert asked == [1, 1]
    assert desk.book.counts == {"matched": 1, "waiting": 0, "duplicate": 0, "conflict": 0}


def test_more_labels_than_one_request_holds(desk: Desk) -> None:
    """A thousand and a half labels go in two requests, each once."""
    for number in range(1_500):
        desk.decide(f"t-{number}")
        desk.report(f"t-{number}", 0, fraud=number % 2 == 0)
    desk.settle()
    desk.check()
    assert desk.book.counts["matched"] == 1_500


def test_another_stream_is_refused(desk: Desk) -> None:
    """The reports of another journal have the same numbers, so they are not mixed in."""
    desk.report("t-1", 0, fraud=True)
    desk.settle()
    desk.start()
    with pytest.raises(ControlError, match="move"):
        desk.book.follow("other")


def test_a_stale_owner_writes_nothing(desk: Desk) -> None:
    """The owner is checked ahead of every write."""

    def taken_over() -> None:
        raise KilledError

    desk.book._owner_check = taken_over
    desk.report("t-1", 0, fraud=True)
    desk.read(1)
    with pytest.raises(KilledError):
        desk.book.commit(1)
    assert desk.states() == {}


def test_only_waiting_reports_are_remembered(desk: Desk) -> None:
    """What is settled stays in the database alone."""
    desk.decide("t-1")
    for at in range(50):
        desk.report("t-1", at, fraud=at % 2 == 0)
    desk.settle()
    assert desk.book.counts["matched"] == 50
    assert not desk.book._held
    assert not desk.book._fresh
    assert not desk.book._unknown
