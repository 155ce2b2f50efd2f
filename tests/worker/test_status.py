from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, update

from assay.clock import VirtualClock
from assay.control.schema import LIVE, METADATA
from assay.errors import UnavailableError
from assay.journal.follower import Follower
from assay.worker.causes import Causes
from assay.worker.live_documents import LiveDocuments
from assay.worker.meter import STUCK_S, Meter
from assay.worker.scorer_watch import ScorerWatch
from assay.worker.status import BEHIND_BYTES, Status


class Scorer:
    """A scorer that is up or down."""

    up = True

    def health(self) -> dict[str, Any]:
        if not self.up:
            raise UnavailableError("down")
        return {"status": "ok", "model": "m-1"}

    def counters(self) -> dict[str, Any]:
        return {"decisions": 5}


class Behind(Follower):
    """A follower that is as far behind as it is told."""

    bytes = 0

    def behind_bytes(self) -> int:
        return self.bytes


@pytest.fixture
def engine() -> Engine:
    engine = create_engine("sqlite://")
    METADATA.create_all(engine, tables=[LIVE])
    return engine


def test_since_when_survives_a_restart() -> None:
    """The time of going up or down stays while the state does, over the watcher's restarts."""
    clock, scorer = VirtualClock(1_000), Scorer()
    watch = ScorerWatch(scorer, clock, None)
    watch.poll()
    assert watch.document == {"up": True, "since_ms": 1_000, "status": "ok", "model": "m-1"}
    assert watch.reading() == ({"decisions": 5}, 1_000)
    assert watch.reading() is None
    clock.advance(500)
    watch = ScorerWatch(scorer, clock, watch.document)
    watch.poll()
    assert watch.document["since_ms"] == 1_000
    scorer.up = False
    watch.poll()
    assert watch.document == {"up": False, "since_ms": 1_500, "status": "down", "model": "m-1"}
    clock.advance(500)
    watch.poll()
    assert watch.document["since_ms"] == 1_500


def test_live_documents(engine: Engine) -> None:
    """A document is replaced as a whole; one that is missing or damaged is none."""
    live = LiveDocuments(engine, VirtualClock(5))
    assert live.read("scorer") is None
    live.write({"scorer": {"up": True, "old": 1}, "worker": {}})
    live.write({"scorer": {"up": False}})
    assert live.read("scorer") == {"up": False}
    assert live.read("worker") == {}
    with engine.begin() as db:
        db.execute(update(LIVE).values(document="{"))
    assert live.read("scorer") is None


def test_what_is_told(engine: Engine, tmp_path: Path) -> None:
    """All of it is there; far behind is told with its beginning; a stop is told too."""
    clock, follower, readings = VirtualClock(1_000), Behind(tmp_path), []
    causes: list[Causes] = []
    damaged: list[dict[str, Any]] = []
    watch, live, meter = ScorerWatch(Scorer(), clock, None), LiveDocuments(engine, clock), Meter(1)
    status = Status(
        follower,
        watch,
        live,
        meter,
        clock,
        labels=lambda: {"waiting": 3},
        on_reading=lambda counters, at_ms: readings.append((counters, at_ms)),
        journal=lambda: {"state": "ok", "checks": 4, "quarantined": damaged},
        on_causes=causes.append,
    )
    status.tell()
    assert live.read("scorer") is None
    watch.poll()
    for behind, time_ms in ((0, 10), (BEHIND_BYTES, 20), (BEHIND_BYTES * 2, 30)):
        clock.advance(time_ms)
        follower.bytes = behind
        status.tell()
    assert readings == [({"decisions": 5}, 1_000)]
    assert (live.read("scorer") or {})["up"] is True
    document = live.read("worker") or {}
    assert document["behind_since_ms"] == 1_030
    assert (document["up"], document["since_ms"], document["labels"]) == (
        True,
        1_000,
        {"waiting": 3},
    )
    assert b'assay_worker_labels{state="waiting"} 3.0' in meter.text()
    assert live.read("journal") == {"state": "ok", "checks": 4, "quarantined": [], "disk": None}
    assert b"assay_worker_state_checks 4.0" in meter.text()
    damaged.append({"number": 5, "offset": 7, "what": "torn"})
    status.tell()
    assert (causes[-2]["journal_damage"], "torn" in (causes[-1]["journal_damage"] or "")) == (
        None,
        True,
    )
    assert b"assay_worker_segments_quarantined 1.0" in meter.text()
    status.leave()
    assert (live.read("worker") or {})["up"] is False


def test_a_worker_that_never_turned(engine: Engine, tmp_path: Path) -> None:
    """A worker that leaves before its first turn is down, and was not behind."""
    clock = VirtualClock(1_000)
    watch, live = ScorerWatch(Scorer(), clock, None), LiveDocuments(engine, clock)
    follower = Behind(tmp_path)
    told: dict[str, Any] = {
        "labels": dict,
        "on_reading": print,
        "journal": dict,
        "on_causes": print,
    }
    Status(follower, watch, live, Meter(1), clock, **told).leave()
    assert live.read("worker") == {"up": False, "since_ms": 1_000, "behind_since_ms": None}


def test_a_stuck_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has not turned for ten seconds is stuck; a long round of commits is not."""
    now_s = [100.0]
    monkeypatch.setattr("assay.worker.meter.time.monotonic", lambda: now_s[0])
    meter = Meter(1)
    now_s[0] += STUCK_S - 1
    assert meter.health()["status"] == "ok"
    meter.flushed("table", 1.0, 5)
    now_s[0] += STUCK_S - 1
    assert meter.health()["status"] == "ok"
    now_s[0] += 2
    assert meter.health() == {"status": "stuck", "turned_s_ago": 11.0}
    meter.turned(0.1, 5, read=True)
    assert meter.health()["status"] == "ok"
