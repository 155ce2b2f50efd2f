from __future__ import annotations

from typing import Any

import pytest

from assay.monitoring.processes import STALE_MS, Written, processes

NOW_MS = 1_000_000
HEALTH = {"status": "ok", "model": "m-2", "started_ms": 900_000}


def found(
    worker_ms: int, scorer_ms: int, health: dict[str, Any] | None, **scorer: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return worker and scorer, as they were written so long ago."""
    written = {
        "worker": Written({"up": True, "since_ms": 1, "position": 7}, NOW_MS - worker_ms),
        "scorer": Written({"up": True, "since_ms": 2, "model": "m-1"} | scorer, NOW_MS - scorer_ms),
    }
    written["journal"] = Written({"state": "ok"}, NOW_MS - worker_ms)
    out = processes(written, NOW_MS, lambda: health)
    assert out["journal"] == ({"state": "ok"} if worker_ms <= STALE_MS else None)
    assert out["worker"] is not None
    assert out["scorer"] is not None
    return out["worker"], out["scorer"]


def test_a_worker_that_writes_is_believed() -> None:
    """Up to ten seconds both documents are as they were written, and nobody is asked."""
    worker, scorer = found(STALE_MS, STALE_MS, None)
    assert worker == {"up": True, "since_ms": 1, "position": 7}
    assert scorer == {"up": True, "since_ms": 2, "model": "m-1"}


def test_a_killed_worker_is_down_and_the_scorer_is_asked() -> None:
    """A worker that stopped writing is down since then; the scorer is as it answers."""
    worker, scorer = found(STALE_MS + 1, STALE_MS + 1, HEALTH)
    assert worker == {"up": False, "since_ms": NOW_MS - STALE_MS - 1, "position": 7}
    assert scorer == HEALTH | {"up": True, "since_ms": 900_000}
    _, scorer = found(STALE_MS + 1, 0, HEALTH | {"status": "failed"})
    assert scorer["up"] is False
    worker, scorer = found(0, STALE_MS + 1, HEALTH)
    assert (worker["up"], scorer["model"]) == (True, "m-2")


@pytest.mark.parametrize(("up", "since_ms"), [(True, None), (False, 2)])
def test_a_scorer_that_nobody_watches_is_down(up: bool, since_ms: int | None) -> None:
    """Without an answer it is down: since when the worker saw it, if it did."""
    _, scorer = found(STALE_MS + 1, STALE_MS + 1, None, up=up)
    assert scorer == {"status": "down", "up": False, "since_ms": since_ms, "model": "m-1"}


def test_a_worker_that_left_is_not_believed() -> None:
    """After a worker that said goodbye the scorer is asked at once; it stays down since then."""
    left = {
        "worker": Written({"up": False, "since_ms": 5}, NOW_MS - 60_000),
        "scorer": Written({"up": True, "since_ms": 2}, NOW_MS),
        "journal": Written({"state": "ok"}, NOW_MS),
    }
    out = processes(left, NOW_MS, lambda: HEALTH)
    assert out["worker"] == {"up": False, "since_ms": 5}
    assert out["journal"] is None
    assert out["scorer"] == HEALTH | {"up": True, "since_ms": 900_000}


def test_before_any_worker() -> None:
    """Nothing is known of what never ran; a scorer alone is there."""
    assert processes({}, NOW_MS, lambda: None) == dict.fromkeys(("scorer", "worker", "journal"))
    assert processes({}, NOW_MS, lambda: HEALTH)["scorer"] == HEALTH | {
        "up": True,
        "since_ms": 900_000,
    }
