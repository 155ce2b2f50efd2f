from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from made_journal import HOUR_MS, START_MS, Journal, Row, grids_document, ordinary
from sqlalchemy import Engine, event, select

from assay.clock import VirtualClock
from assay.control.database import open_control
from assay.control.schema import ALERTS, DRIFT, FINDINGS, KPI, LIVE, PROGRESS, SWITCHES
from assay.errors import ControlError, OwnerError
from assay.monitoring.grids import Grids
from assay.monitoring.monitor import Monitor
from assay.records import DAY_MS, Flag, Kind, Switch

DOCUMENTS = {"m-1": grids_document(), "m-2": grids_document(5)}


def make(engine: Engine, **more: Any) -> Monitor:
    values = {"grids_of": DOCUMENTS.get, "clock": VirtualClock(1), "bucket_s": 60}
    values |= {"drift_window_h": 24, "owner_check": lambda: None}
    return Monitor(engine, **(values | more))


def rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    found = open_control(tmp_path / "control.sqlite")
    yield found
    found.dispose()


def feed(monitor: Monitor, journal: Journal, step: int = 400) -> None:
    """Give a monitor what it has not taken, committing on the way as the worker would."""
    for first in range(monitor.position // 10, len(journal.entries), step):
        last = min(first + step, len(journal.entries))
        monitor.take(journal.stretch(first, last))
        monitor.commit(10 * last)


def by_hand(journal: Journal) -> tuple[dict[Any, dict[str, Any]], dict[Any, Any]]:
    """Count KPI and drift one decision at a time."""
    kpi: dict[Any, dict[str, Any]] = {}
    drift: dict[Any, Any] = {}
    newest = 0
    grids = {name: Grids.load(document) for name, document in DOCUMENTS.items()}
    for place, row in enumerate(journal.entries):
        if isinstance(row, Switch):
            continue
        newest = newest if row.flags else max(newest, row.time_ms)
        at = newest if row.flags and newest else row.time_ms
        model, payment = journal.model(place), row.kind in (1, 5)
        sums = kpi.setdefault((at // 60_000 * 60_000, model), dict.fromkeys(KPI.c.keys()[2:], 0))
        action = ["approve", "challenge", "review", "decline"][row.action]
        sums["events"] += 1
        sums["late"] += row.flags == Flag.late
        sums["future"] += row.flags == Flag.future
        if not payment:
            continue
        sums["payments"] += 1
        sums[action] += 1
        sums["degraded"] += row.mode != 0
        sums["score_sum"] += 0 if math.isnan(row.score) else float(np.float32(row.score))
        money = max(row.amount_ref, 0)
        sums["approved_ref"] += money * (action in ("approve", "challenge"))
        sums["stopped_ref"] += money * (action in ("review", "decline"))
        if model in grids:
            batch = journal.stretch(place, place + 1).batch
            counts = grids[model].count(batch.features, batch.scores)
            key = (at // HOUR_MS * HOUR_MS, model)
            drift[key] = drift.get(key, 0) + counts
    return kpi, drift


def assert_counted(engine: Engine, journal: Journal) -> None:
    """The tables hold what counting by hand gives."""
    kpi, drift = by_hand(journal)
    for row in rows(engine, KPI):
        want = kpi.pop((row.pop("bucket_ms"), row.pop("model")))
        assert row.pop("score_sum") == pytest.approx(want.pop("score_sum"))
        assert row == want
    assert kpi == {}
    for row in rows(engine, DRIFT):
        want = drift.pop((row["bucket_ms"], row["model"]))
        assert np.frombuffer(row["counts"], np.int64).tolist() == want.ravel().tolist()
    assert drift == {}


ROWS = st.builds(
    Row,
    time_ms=st.integers(START_MS, START_MS + 3 * HOUR_MS),
    features=st.tuples(*[st.floats(0, 500, width=32) | st.just(float("nan"))] * 3),
    score=st.floats(0, 1, width=32) | st.just(float("nan")),
    action=st.integers(0, 3),
    mode=st.integers(0, 3),
    kind=st.sampled_from([int(kind) for kind in Kind]),
    flags=st.sampled_from([0, 0, 0, int(Flag.late), int(Flag.future)]),
    amount_ref=st.integers(-1, 10**12),
)


class KilledMonitor(RuleBasedStateMachine):
    """A monitor that is killed, cut off and restarted while a journal grows."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.engine = open_control(self.folder / "control.sqlite")
        self.journal = Journal()
        self.journal.switch("m-1")
        self.restart()

    @rule(new=st.lists(ROWS, min_size=1, max_size=12))
    def decide(self, new: list[Row]) -> None:
        self.journal.add(*new)

    @rule(model=st.sampled_from(["m-1", "m-2", "none"]))
    def switch(self, model: str) -> None:
        self.journal.switch(model, "promote")

    @rule(share=st.floats(0, 1), again=st.integers(0, 9))
    def take(self, share: float, again: int) -> None:
        """Take a stretch that may begin before what was taken."""
        first = max(0, self.taken - again)
        last = self.taken + math.ceil(share * (len(self.journal.entries) - self.taken))
        self.monitor.take(self.journal.stretch(first, last))
        self.taken = max(self.taken, last)

    @rule()
    def commit(self) -> None:
        self.monitor.commit(10 * self.taken)

    @rule(back=st.integers(0, 500))
    def another_is_behind(self, back: int) -> None:
        """Another consumer catches up: what it has come to is no news for this one."""
        before = self.monitor.position
        self.monitor.commit(max(0, before - back))
        assert self.monitor.position == before

    @rule()
    def commit_fails(self) -> None:
        """The disk is full at the very end; the same monitor tries again later."""

        def fail(_connection: Any) -> None:
            raise OSError

        event.listen(self.engine, "commit", fail)
        try:
            self.monitor.commit(10 * self.taken)
        except OSError:
            pass
        finally:
            event.remove(self.engine, "commit", fail)

    @rule()
    def restart(self) -> None:
        """Kill it: what it had in memory is gone."""
        self.monitor = make(self.engine)
        self.taken = self.monitor.position // 10

    @invariant()
    def position_is_durable(self) -> None:
        written = [row["position"] for row in rows(self.engine, PROGRESS)]
        assert self.monitor.position == (written[0] if written else 0)

    def teardown(self) -> None:
        feed(self.monitor, self.journal)
        assert_counted(self.engine, self.journal)
        switches = [e for e in self.journal.entries if isinstance(e, Switch)]
        assert [row["model"] for row in rows(self.engine, SWITCHES)] == [s.model for s in switches]
        self.engine.dispose()
        shutil.rmtree(self.folder)


TestKilledMonitor = KilledMonitor.TestCase
TestKilledMonitor.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_nothing_to_say_yet(engine: Engine) -> None:
    """An empty journal leaves an empty database, and one with a boot record only names it."""
    monitor, journal = make(engine), Journal()
    monitor.commit(0)
    assert (monitor.position, monitor.stream_ms, rows(engine, PROGRESS)) == (0, 0, [])
    journal.switch("m-1")
    feed(monitor, journal)
    assert rows(engine, SWITCHES)[0]["first_event_ms"] is None
    assert (rows(engine, KPI), rows(engine, FINDINGS), rows(engine, ALERTS)) == ([], [], [])


def test_ordinary_traffic_is_no_drift(engine: Engine) -> None:
    """Traffic like the history gives findings of every subject once a window is full, no alert."""
    monitor, journal = make(engine), Journal()
    journal.switch("m-1")
    journal.add(*ordinary(3000, START_MS, START_MS + DAY_MS - HOUR_MS, 1))
    feed(monitor, journal)
    assert [row["monitor"] for row in rows(engine, FINDINGS)] == ["degraded"]
    journal.add(*ordinary(200, START_MS + DAY_MS - HOUR_MS, START_MS + DAY_MS + HOUR_MS, 2))
    feed(monitor, journal)
    found = {row["subject"]: row for row in rows(engine, FINDINGS)}
    assert set(found) == {"amount", "kind_of_shop", "age", "score", "payments"}
    assert all(row["value"] < row["threshold"] and row["rows"] >= 1000 for row in found.values())
    assert rows(engine, ALERTS) == []


def drifted(engine: Engine) -> tuple[Monitor, Journal, int]:
    monitor, journal = make(engine), Journal()
    journal.switch("m-1")
    journal.add(*ordinary(2000, START_MS, START_MS + DAY_MS, 1))
    journal.add(*ordinary(2000, START_MS + DAY_MS, at := START_MS + 2 * DAY_MS, 2, shift=3.0))
    feed(monitor, journal)
    return monitor, journal, at


def test_drift_is_alerted_once_and_closes(engine: Engine) -> None:
    """A shifted feature opens one alert that names it, which closes after the shift has passed."""
    _, journal, at = drifted(engine)
    (alert,) = rows(engine, ALERTS)
    assert (alert["monitor"], alert["model"], alert["closed_ms"]) == ("feature_drift", "m-1", None)
    assert alert["message"].startswith("1 of 3 features looks unlike training, most of all amount")
    assert alert["value"] > alert["threshold"]
    assert START_MS + DAY_MS < alert["stream_ms"] < at
    journal.add(*ordinary(3000, at, at + DAY_MS + 2 * HOUR_MS, 3))
    feed(make(engine), journal)
    (alert,) = rows(engine, ALERTS)
    assert alert["closed_ms"] is not None


def test_another_model_begins_anew(engine: Engine) -> None:
    """A switch closes the old model's alert; the new one is compared after its own full window."""
    monitor, journal, at = drifted(engine)
    journal.switch("m-2", "promote")
    journal.add(*ordinary(1500, at, at + DAY_MS - HOUR_MS, 3, shift=3.0))
    feed(monitor, journal)
    (old,) = rows(engine, ALERTS)
    assert old["closed_ms"] is not None
    assert {row["monitor"] for row in rows(engine, FINDINGS)} == {"degraded"}
    journal.add(*ordinary(500, at + DAY_MS - HOUR_MS, at + DAY_MS + HOUR_MS, 4, shift=3.0))
    feed(monitor, journal)
    _, new = rows(engine, ALERTS)
    assert (new["model"], new["closed_ms"]) == ("m-2", None)
    assert {row["model"] for row in rows(engine, FINDINGS)} == {"m-2"}


def test_a_restart_does_not_begin_anew(engine: Engine) -> None:
    """The same model after a restart of the scorer keeps its window."""
    monitor, journal = make(engine), Journal()
    journal.switch("m-1")
    journal.add(*ordinary(1500, START_MS, START_MS + DAY_MS // 2, 1))
    journal.switch("m-1")
    journal.add(*ordinary(1500, START_MS + DAY_MS // 2, START_MS + DAY_MS + HOUR_MS, 2))
    feed(monitor, journal)
    assert len(rows(engine, FINDINGS)) == 5


def test_decisions_without_the_model_are_alerted(engine: Engine) -> None:
    """More than one payment in a hundred on a lower rung opens an alert with the share."""
    monitor, journal = make(engine), Journal()
    journal.switch("none")
    some = ordinary(1500, START_MS, START_MS + HOUR_MS, 1)
    for row in some[::20]:
        row.mode, row.score = 2, float("nan")
    journal.add(*some)
    feed(monitor, journal)
    (alert,) = rows(engine, ALERTS)
    assert (alert["monitor"], alert["model"]) == ("degraded", "none")
    assert alert["message"].startswith("5.0% of ")


def test_damaged_grids_stop_drift_only(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A model whose grids cannot be read is counted all the same, and the log says why."""
    monitor, journal = make(engine, grids_of=lambda _: {"grid": []}), Journal()
    journal.switch("m-1")
    journal.add(*ordinary(1500, START_MS, START_MS + 25 * HOUR_MS, 1))
    feed(monitor, journal)
    assert sum(row["payments"] for row in rows(engine, KPI)) == 1500
    assert rows(engine, DRIFT) == []
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "drift of m-1 cannot be watched"
    ]


def test_a_wrong_clock_moves_no_window(engine: Engine) -> None:
    """An event flagged future or late counts when it came, and stream time stays."""
    monitor, journal = make(engine), Journal()
    journal.switch("m-1")
    journal.add(Row(START_MS, (1, 1, 1)))
    journal.add(Row(START_MS * 9, (1, 1, 1), flags=int(Flag.future)))
    journal.add(Row(5, (1, 1, 1), flags=int(Flag.late)))
    feed(monitor, journal)
    assert monitor.stream_ms == START_MS
    (row,) = rows(engine, KPI)
    assert (row["bucket_ms"], row["payments"], row["late"], row["future"]) == (START_MS, 3, 1, 1)


def test_recent_decisions_survive_a_restart(engine: Engine) -> None:
    """The last fifty decisions about payments are kept, with sentences, whatever restarts."""
    journal = Journal()
    journal.switch("m-1")
    journal.add(*[Row(START_MS + i, (1, 1, 1)) for i in range(40)])
    feed(make(engine), journal, step=7)
    journal.add(Row(START_MS + 50, (1, 1, 1), kind=int(Kind.login)))
    journal.add(*[Row(START_MS + 60 + i, (1, 1, 1), score=float("nan")) for i in range(20)])
    feed(make(engine), journal, step=7)
    (live,) = [row for row in rows(engine, LIVE) if row["name"] == "recent"]
    found = msgspec.json.decode(live["document"])["decisions"]
    assert [row["arrival"] for row in found] == [*range(62, 42, -1), *range(41, 11, -1)]
    assert found[0] == {
        "arrival": 62,
        "transaction_id": "t61",
        "event_ms": START_MS + 79,
        "merchant": "<b>x</b>",
        "amount_minor": None,
        "currency": None,
        "kind": "authorisation",
        "action": "approve",
        "score": None,
        "reasons": ["m-1 says so"],
        "model": "m-1",
        "mode": "full",
    }


def test_a_stale_worker_writes_nothing(engine: Engine) -> None:
    """A worker that was taken over is refused before it writes."""

    def stale() -> None:
        raise OwnerError("taken over")

    monitor, journal = make(engine, owner_check=stale), Journal()
    journal.switch("m-1")
    monitor.take(journal.stretch(0, 1))
    with pytest.raises(OwnerError):
        monitor.commit(10)
    with pytest.raises(OwnerError):
        monitor.reading({}, 1)
    assert rows(engine, SWITCHES) == []


def test_another_stream_is_refused(engine: Engine) -> None:
    """What was counted of one stream is never mixed with another."""
    monitor, journal = make(engine), Journal()
    monitor.follow("abc")
    journal.switch("m-1")
    feed(monitor, journal)
    make(engine).follow("abc")
    with pytest.raises(ControlError, match="counts stream abc, the journal is of xyz"):
        make(engine).follow("xyz")


def test_old_histograms_are_removed(engine: Engine) -> None:
    """Histograms older than the window and thirty days are pruned; key figures stay."""
    monitor, journal = make(engine), Journal()
    journal.switch("m-1")
    days = (0, 1, 10, 32)
    journal.add(*[Row(START_MS + day * DAY_MS, (1, 1, 1)) for day in days])
    feed(monitor, journal, step=1)
    assert [(row["bucket_ms"] - START_MS) // DAY_MS for row in rows(engine, DRIFT)] == [1, 10, 32]
    assert len(rows(engine, KPI)) == 4
