"""A workspace with some history, and the processes that work on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import select

from assay.bootstrap.create import create_workspace
from assay.bootstrap.door import create_api_key
from assay.bootstrap.files import import_transactions
from assay.control.database import open_control
from assay.control.schema import LABELS, LIVE
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.records import ResolvedLabel
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

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.workspace = create_workspace(folder)
        with (folder / "assay.toml").open("a") as file:
            for name, value in ({"table_flush_s": 1} | changes).items():
                file.write(f"{name} = {value}\n")
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
