from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_journal import HOUR_MS, START_MS, Journal, grids_document, ordinary
from sqlalchemy import insert, update

from assay.bootstrap.monitoring import live_report, make_monitor, performance_report
from assay.cli.monitor import monitor
from assay.clock import VirtualClock
from assay.control.database import open_control
from assay.control.schema import LABELS, LIVE, PROGRESS
from assay.datasets.stream_table import StreamTable
from assay.datasets.stream_view import read_stream
from assay.monitoring.monitor import Monitor
from assay.records import DAY_MS, Kind, ResolvedLabel
from assay.workspace import Workspace

LIVE_KEYS = [
    *("stream_ms", "updated_ms", "currency", "scorer", "worker", "journal", "window_ms", "totals"),
    *("series", "latency", "recent", "alerts", "findings", "labels", "error"),
]
PERFORMANCE_KEYS = [
    *("from_ms", "to_ms", "model", "models", "matured_ms", "currency", "labels", "summary"),
    *("series", "thresholds", "chosen", "error"),
]
NOW_MS = START_MS * 2


def mature(workspace: Workspace, days: int) -> Workspace:
    """Return the workspace with another age at which payments are judged."""
    settings = workspace.path / "assay.toml"
    lines = [line for line in settings.read_text().splitlines() if "maturity" not in line]
    settings.write_text("\n".join([*lines, f"label_maturity_days = {days}", ""]))
    return Workspace.open(workspace.path)


@pytest.fixture
def empty(tmp_path: Path) -> Workspace:
    return mature(Workspace.create(tmp_path / "workspace"), 1)


@pytest.fixture
def running(empty: Workspace) -> Workspace:
    """Two days of traffic under two models, as the worker leaves it; every fifth is labelled.

    A day is what payments take to mature. Of the second day every fourth is declined, and the
    one before it challenged; five labelled frauds are logins.
    """
    journal, clock = Journal(), VirtualClock(NOW_MS)
    journal.switch("m-1")
    first = ordinary(1000, START_MS, START_MS + DAY_MS, 1)
    journal.add(*first)
    journal.switch("m-2", "promote")
    second = ordinary(1100, START_MS + DAY_MS, START_MS + 2 * DAY_MS, 2)
    for row in second[::4]:
        row.action = 3
    for row in second[3::4]:
        row.action = 1
    for row in second[-100::20]:
        row.kind = int(Kind.login)
    journal.add(*second)
    stretch = journal.stretch(0, len(journal.entries))
    events = stretch.batch.events
    events["transaction"] = np.arange(1, len(events) + 1)
    stretch.labels = [
        ResolvedLabel(9000 + i, 0, 1, i % 10 == 0, START_MS * 2, events[i : i + 1])
        for i in range(0, len(events), 5)
    ]
    table = StreamTable(empty.stream, lambda: None, clock, flush_s=0)
    engine = open_control(empty.control)
    document = grids_document()
    follower = Monitor(engine, lambda _: document, clock, 60, 24, lambda: None)
    for consumer in (table, follower):
        consumer.follow("stream")
        consumer.take(stretch)
        consumer.commit(journal.end)
    le = {"le": [1.0, 2.0]}
    for at, n in ((1000, 0), (2000, 10), (3000, 30)):
        counts = {"latency_ms": le | {"counts": [0, n, n]}, "refused": 0, "errors": 0}
        follower.reading(counts, clock.now_ms() + at)
    label = {"fraud": True, "reported_ms": 1, "arrived_ms": 1, "transaction_id": "t"}
    with engine.begin() as connection:
        states = ["matched", "matched", "waiting"]
        connection.execute(
            insert(LABELS), [label | {"report": i, "state": s} for i, s in enumerate(states)]
        )
        for name in ("scorer", "worker"):
            up = {"document": json.dumps({"up": True, "since_ms": 5}), "updated_ms": NOW_MS}
            connection.execute(insert(LIVE).values(name=name, **up))
    engine.dispose()
    return empty


def test_nothing_yet(empty: Workspace) -> None:
    """In a workspace without data the documents have their shape, and nothing in them."""
    live, judged = live_report(empty), performance_report(empty, threshold=0.5)
    assert (list(live), list(judged)) == (LIVE_KEYS, PERFORMANCE_KEYS)
    assert (live["stream_ms"], live["error"], judged["error"]) == (None, None, None)
    assert (live["totals"]["payments"], live["alerts"], judged["summary"]) == (0, [], [])
    assert set(map(len, [*live["series"].values(), *judged["series"].values()])) == {0}


def test_live_report_says_what_was_decided(running: Workspace) -> None:
    """Totals and series of the last day are what the journal holds of it."""
    live = live_report(running, clock=VirtualClock(NOW_MS))
    assert list(live) == LIVE_KEYS
    assert live["stream_ms"] == live["window_ms"][1] - 1
    assert live["window_ms"][1] - live["window_ms"][0] == DAY_MS + 1
    totals, series = live["totals"], live["series"]
    assert {name: totals[name] for name in ("decline", "review", "degraded")} == {
        "decline": 270, "review": 0, "degraded": 0
    }  # fmt: skip
    for name in ("payments", "approve", "decline", "approved_ref", "stopped_ref"):
        assert sum(series[name]) == totals[name]
    assert abs(totals["payments"] - 1095) <= 2
    assert totals["approved_ref"] == 100 * (totals["approve"] + totals["challenge"])
    assert totals["stopped_ref"] == 100 * totals["decline"]
    assert totals["challenge"] == 275
    assert totals["reported_fraud"] == 105
    assert 0.0 < np.nanmean(np.array(series["fraud_rate"], float)) < 0.2
    assert set(map(len, series.values())) == {len(series["bucket_ms"])}
    assert len(series["bucket_ms"]) <= 120
    assert np.nanmean(np.array(series["mean_score"], float)) == pytest.approx(1 / 31, rel=0.1)
    assert (len(live["recent"]), live["recent"][0]["model"]) == (50, "m-2")
    assert live["scorer"] == {"up": True, "since_ms": 5}
    assert live["worker"] == {"up": True, "since_ms": 5}
    assert live["labels"] == {"matched": 2, "waiting": 1, "duplicate": 0, "conflict": 0}
    assert live["latency"]["per_s"] == [10.0, 20.0]
    assert live["latency"]["p50_ms"] == [1.5, 1.5]
    assert [row["monitor"] for row in live["findings"]] == ["degraded"]


def test_a_longer_look_back_merges_buckets(running: Workspace) -> None:
    """Over a week both days are there, in wider buckets, with the same sums."""
    live = live_report(running, hours=24 * 7)
    assert sum(live["series"]["payments"]) == live["totals"]["payments"] == 2095
    assert len(live["series"]["bucket_ms"]) <= 120


def test_performance_is_by_release(running: Workspace) -> None:
    """Each model answers for its own decisions, and a period or a model can be picked."""
    judged = performance_report(running, threshold=0.05)
    assert list(judged) == PERFORMANCE_KEYS
    assert judged["models"] == ["m-1", "m-2"]
    first, second = judged["summary"]
    assert (first["payments"], first["matured"], first["frauds"]) == (1000, 1000, 100)
    assert (first["recall"], first["labelled_early"]) == (0.0, 0)
    assert (second["matured"], second["labelled_early"], second["flagged"]) == (0, 215, None)
    assert judged["chosen"]["threshold"] == 0.05
    assert START_MS < judged["matured_ms"] < START_MS + DAY_MS
    alone = performance_report(running, model="m-2", threshold=0.05)
    assert sum(alone["series"]["payments"]) == 1095
    assert (alone["thresholds"], alone["chosen"]) == ([], None)
    all_old = performance_report(mature(running, 0), model="m-2", threshold=0.05)
    row = all_old["summary"][1]
    assert (row["matured"], row["labelled_early"], row["frauds"]) == (1095, 0, 105)
    assert (row["flagged"], row["stopped_fraud_ref"], row["missed_fraud_ref"]) == (545, 5000, 5500)
    assert (row["stopped_fraud_ref"], row["approved_ref"]) == (5000, 82_500)
    flagged = all_old["chosen"]["flagged"]
    assert all_old["chosen"]["per_day"] == pytest.approx(flagged, rel=0.01)
    early = performance_report(running, from_ms=START_MS, to_ms=START_MS + 6 * HOUR_MS)
    assert [row["payments"] for row in early["summary"]] == [250]
    gone = performance_report(running, model="m-9")
    assert (gone["thresholds"], sum(gone["series"]["payments"])) == ([], 0)
    assert performance_report(running, from_ms=5, to_ms=5)["summary"] == []


def test_without_a_newest_event_there_is_no_period(running: Workspace) -> None:
    """Before anything was decided the period is None, not one that begins in 1970."""
    engine = open_control(running.control)
    with engine.begin() as connection:
        connection.execute(update(PROGRESS).values(stream_ms=0))
    engine.dispose()
    judged = performance_report(running)
    assert (judged["from_ms"], judged["to_ms"], judged["matured_ms"]) == (None, None, None)
    assert live_report(running)["stream_ms"] is None


def test_a_killed_worker_is_down(running: Workspace) -> None:
    """Ten seconds after the worker last wrote it is down, and the scorer as it answers or not."""
    live = live_report(running, clock=VirtualClock(NOW_MS + 10_001))
    assert live["worker"] == {"up": False, "since_ms": NOW_MS}
    assert live["scorer"] == {"up": False, "since_ms": None, "status": "down"}
    assert live["totals"]["payments"] > 0


OF_LABELS = {
    *("frauds", "labelled_early", "precision", "recall", "average_precision", "roc_auc"),
    *("stopped_fraud_ref", "missed_fraud_ref", "false_positive_ratio", "false_positives"),
}


def test_damaged_labels_are_no_zeros(running: Workspace) -> None:
    """Where labels cannot be read all that they say is None, and the rest is shown."""
    whole, before = live_report(running), performance_report(running, threshold=0.05)
    for part in read_stream(running.stream).parts:
        if part.labels:
            (running.stream / part.file).write_bytes(b"PAR1")
    live, judged = live_report(running), performance_report(running, threshold=0.05)
    assert "accepted" in live["error"]
    assert "accepted" in judged["error"]
    assert live["totals"] == whole["totals"] | {"reported_fraud": None}
    assert set(live["series"]["fraud_rate"]) == {None}
    now = [*judged["summary"], *judged["thresholds"], judged["chosen"]]
    was = [*before["summary"], *before["thresholds"], before["chosen"]]
    assert len(now) > 30
    for row, old in zip(now, was, strict=True):
        assert row == {name: None if name in OF_LABELS else old[name] for name in old}
    for name, column in judged["series"].items():
        assert column == ([None] * len(column) if name in OF_LABELS else before["series"][name]), (
            name
        )


def damage_table(workspace: Workspace) -> None:
    (workspace.stream / "manifest.json").write_text("{")


def damage_control(workspace: Workspace) -> None:
    workspace.control.with_name("control.sqlite-wal").unlink(missing_ok=True)
    workspace.control.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("damage", [damage_table, damage_control])
def test_damage_is_said_and_the_rest_is_shown(running: Workspace, damage: Any) -> None:
    """What cannot be read is named in the documents, which keep their shape."""
    damage(running)
    live, judged = live_report(running), performance_report(running)
    assert (list(live), list(judged)) == (LIVE_KEYS, PERFORMANCE_KEYS)
    assert "accepted" in live["error"]
    assert "accepted" in judged["error"]
    assert live["totals"]["reported_fraud"] is None
    assert (live["stream_ms"] is None) == (damage is damage_control)
    assert (live["totals"]["payments"] is None) == (damage is damage_control)
    assert (live["labels"]["matched"] is None) == (damage is damage_control)
    assert judged["labels"] == live["labels"]


def test_the_monitor_of_a_workspace(empty: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """It counts decisions of a model whose bundle is gone, and says that drift is not watched."""
    engine = open_control(empty.control)
    made = make_monitor(empty, engine, VirtualClock(1), lambda: None)
    journal = Journal()
    for model in ("none", "gone-1"):
        journal.switch(model)
        journal.add(*ordinary(3, START_MS, START_MS + 5, 1))
    made.take(journal.stretch(0, len(journal.entries)))
    made.commit(journal.end)
    engine.dispose()
    assert live_report(empty)["totals"]["payments"] == 6
    assert [record.args[0] for record in caplog.records] == ["gone-1"]  # type: ignore[index]


def test_the_command_shows_what_the_page_shows(
    running: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """``assay monitor`` prints the figures, and with --json the document."""
    monitor(running.path)
    text = capsys.readouterr().out
    assert "decline            270 (24.64%)" in text
    assert "worker             up since 1970-01-01 00:00:00 UTC" in text
    assert "m-2" in text
    monitor(running.path, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in document["performance"]] == ["m-1", "m-2"]
    assert document["totals"] == live_report(running)["totals"]


def test_the_command_before_any_data(empty: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Without data ``assay monitor`` says so in a sentence."""
    monitor(empty.path)
    assert capsys.readouterr().out.startswith("Nothing was decided yet")
