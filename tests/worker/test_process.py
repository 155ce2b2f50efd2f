from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import pytest
from sqlalchemy import select

from assay.bootstrap.create import create_workspace
from assay.bootstrap.door import create_api_key
from assay.bootstrap.files import import_transactions
from assay.bootstrap.run import address_of
from assay.control.database import open_control
from assay.control.schema import LABELS, LIVE
from assay.datasets.stream_view import read_stream
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.records import ResolvedLabel
from assay.simulation.process import ScorerProcess
from assay.workspace import Workspace

TIME_MS = 1_780_000_000_000
COMMAND = [sys.executable, "-m", "assay", "worker", "--port", "0", "-w"]
MAPPING = """
[fields]
transaction_id = "id"
event_time = { column = "time", unit = "ms" }
card_id = "card"
amount_minor = { column = "amount", unit = "minor" }
currency = { constant = "EUR" }

[label]
column = "fraud"
delay_days = 1
"""


class WorkerProcess:
    """``assay worker`` in a process of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.log = workspace.data / "worker.log"
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*COMMAND, str(workspace.path), "--json"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.url = msgspec.json.decode(line)["url"]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


class Shop:
    """A workspace with some history, and a way to speak with its processes."""

    def __init__(self, folder: Path) -> None:
        self.workspace = create_workspace(folder)
        with (folder / "assay.toml").open("a") as file:
            file.write("table_flush_s = 1\n")
        self.workspace = Workspace.open(folder)
        rows = "".join(
            f"h-{k},{TIME_MS - 86_400_000 * 9 + k},card-{k % 5},{100 + k},{'1' if k == 9 else ''}\n"
            for k in range(10)
        )
        (folder / "history.csv").write_text("id,time,card,amount,fraud\n" + rows)
        (folder / "map.toml").write_text(MAPPING)
        report = import_transactions(
            self.workspace, folder / "history.csv", folder / "map.toml", folder / "dead.jsonl"
        )
        assert report.accepted == 10
        self.key = create_api_key(self.workspace, "test")

    def ask(
        self, url: str, path: str, body: Any = None, key: str | None = None
    ) -> tuple[int, bytes]:
        where = urlsplit(url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=10)
        content = None if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {self.key if key is None else key}"}
        connection.request("GET" if body is None else "POST", path, content, headers)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def decide(self, url: str, *ids: str) -> None:
        for k, name in enumerate(ids):
            row = {
                "transaction_id": name,
                "event_time": TIME_MS + k * 1000,
                "card_id": f"card-{k % 5}",
                "amount_minor": 100 + k,
                "currency": "EUR",
            }
            assert self.ask(url, "/v1/decisions", row)[0] == 200

    def report(self, url: str, *rows: tuple[str, bool, int]) -> None:
        body = [
            {"transaction_id": name, "fraud": fraud, "reported_at": TIME_MS + at}
            for name, fraud, at in rows
        ]
        assert self.ask(url, "/v1/labels", body) == (202, b'{"accepted":%d}' % len(rows))

    def states(self) -> dict[str, int]:
        """Count the reports by state."""
        engine = open_control(self.workspace.control)
        with engine.connect() as db:
            states = Counter(db.execute(select(LABELS.c.state)).scalars())
        engine.dispose()
        return dict(states)

    def live(self, name: str) -> dict[str, Any]:
        engine = open_control(self.workspace.control)
        with engine.connect() as db:
            text = db.execute(select(LIVE.c.document).where(LIVE.c.name == name)).scalar()
        engine.dispose()
        return msgspec.json.decode(text or "{}", type=dict[str, Any])

    def labels(self) -> list[ResolvedLabel]:
        """Return every label that the journal holds."""
        follower = Follower(self.workspace.journal)
        records = follower.read(10**6)
        return [label for s in decode_stretches(records, follower.position) for label in s.labels]


def until(holds: Callable[[], bool], what: Callable[[], object], within_s: float = 25) -> None:
    """Wait for something to become true."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, what()
        time.sleep(0.05)


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
