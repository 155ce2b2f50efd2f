from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from shop import COMMAND, Shop, WorkerProcess, until

from assay.bootstrap.run import address_of
from assay.datasets.stream_view import read_stream
from assay.simulation.process import ScorerProcess


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop") / "w")


@pytest.fixture(scope="module")
def scorer(shop: Shop) -> Iterator[ScorerProcess]:
    with ScorerProcess(shop.workspace.path, ["--rules-only"]) as process:
        yield process


def test_labels_find_their_transactions_through_a_kill(shop: Shop, scorer: ScorerProcess) -> None:
    """Whatever comes in whatever order, and a kill in the middle: each label ends as it must."""
    url = scorer.url
    with WorkerProcess(shop.workspace) as worker:
        shop.decide(url, *(f"d-{k}" for k in range(12)))
        shop.report(url, *((f"d-{k}", True, k) for k in range(5)))
        shop.report(url, ("u-1", True, 0), ("u-2", False, 0), ("h-1", True, 0))
        until(lambda: shop.states().get("matched") == 6, shop.states)
        shop.report(url, ("d-0", True, 0), ("d-1", False, 1), ("d-2", False, 99), ("h-9", True, 0))
        shop.report(url, *((f"d-{k}", False, k) for k in range(5, 12)))
        worker.end(signal.SIGKILL)
    with WorkerProcess(shop.workspace) as worker:
        shop.decide(url, "u-1")
        expected = {"matched": 6 + 1 + 7 + 1, "waiting": 1, "duplicate": 2, "conflict": 1}
        until(lambda: shop.states() == expected, shop.states)
        until(lambda: read_stream(shop.workspace.stream).label_rows == 15, shop.labels)
        until(lambda: shop.live("worker")["labels"] == expected, worker.log.read_text)
        counts = [*Counter(label.report for label in shop.labels()).values()]
        assert counts == [1] * 15
        assert worker.end(signal.SIGTERM) == 0
    assert shop.states() == expected
    assert all(int(label.event["card"][0]) for label in shop.labels())


def test_front_and_a_clean_stop(shop: Shop, scorer: ScorerProcess) -> None:
    """Health needs no key and metrics do; a second worker is refused; a stop commits everything."""
    with WorkerProcess(shop.workspace) as worker:
        assert address_of(shop.workspace, "worker").url == worker.url
        status, body = shop.ask(worker.url, "/health", key="")
        assert (status, msgspec.json.decode(body)["status"]) == (200, "ok")
        assert shop.ask(worker.url, "/metrics", key="")[0] == 401
        assert shop.ask(worker.url, "/secret")[0] == 404
        assert shop.ask(worker.url, "/metrics", {})[0] == 405
        line = b'assay_worker_consumer_position{consumer="table"}'
        until(lambda: line in shop.ask(worker.url, "/metrics")[1], worker.log.read_text)
        second = subprocess.run(
            [*COMMAND, str(shop.workspace.path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 1
        assert "another worker is running" in second.stderr.splitlines()[-1]
        before = read_stream(shop.workspace.stream).rows
        shop.decide(scorer.url, *(f"e-{k}" for k in range(9)))
        time.sleep(0.3)  # read by now, and not flushed yet
        assert worker.end(signal.SIGINT) == 0
    assert address_of(shop.workspace, "worker") is None
    assert read_stream(shop.workspace.stream).rows == before + 9
    assert shop.live("worker")["up"] is False


def test_scorer_down_and_a_cut_journal(tmp_path: Path) -> None:
    """The worker says since when the scorer is away; a journal that was cut ends it, loudly."""
    shop = Shop(tmp_path / "w")
    with (
        ScorerProcess(shop.workspace.path, ["--rules-only"]) as scorer,
        WorkerProcess(shop.workspace) as worker,
    ):
        shop.decide(scorer.url, "d-1", "d-2")
        until(lambda: shop.live("scorer").get("up") is True, worker.log.read_text)
        until(lambda: read_stream(shop.workspace.stream).rows == 2, worker.log.read_text)
        before_ms = time.time() * 1000
        scorer.kill()
        until(lambda: shop.live("scorer").get("up") is False, worker.log.read_text)
        down = shop.live("scorer")
        assert before_ms - 1 <= down["since_ms"] <= time.time() * 1000
        assert down["model"] == "none"
        os.truncate(next(shop.workspace.journal.glob("*.journal")), 200)
        worker.process.communicate(timeout=20)
        assert worker.process.returncode == 1
        assert "the worker stopped: JournalError" in worker.log.read_text().splitlines()[-1]
