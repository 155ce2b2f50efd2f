"""A running console over sample documents: the real application on the real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sample_documents as sample

from assay.clock import Clock, SystemClock
from assay.console import server
from assay.console.app import Console, build
from assay.console.entrance import Entrance
from assay.console.sessions import Sessions
from assay.control.database import open_control
from assay.errors import AssayError, ReleaseError
from assay.listener import free_port

API_KEY = "ak_sample"


@dataclass
class SampleReports:
    """Holds documents, and keeps what it was asked to do."""

    documents: dict[str, Any] = field(default_factory=dict)
    revision: int = 3
    failure: AssayError | Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=lambda: {f"Bearer {API_KEY}": "sample"})

    def _of(self, name: str, default: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return self.documents.get(name, default)

    def models(self) -> Any:
        return self._of("models", sample.models()) | {"revision": self.revision}

    def compare(self, a: str, b: str) -> Any:
        return self._of("compare", sample.compare(a, b))

    def promote(self, model: str, by: str, expected_revision: int) -> Any:
        return self._switch("promote", model, by, expected_revision)

    def rollback(self, by: str, expected_revision: int) -> Any:
        return self._switch("rollback", "boosting-0.1.0", by, expected_revision)

    def _switch(self, cause: str, model: str, by: str, expected: int) -> Any:
        if expected != self.revision:
            raise ReleaseError(
                f"revision {self.revision} was asked for by somebody else; accepted: reload"
            )
        self.revision += 1
        self.asked.append((cause, model, by))
        return {"revision": self.revision, "model": model, "live": True, "took_ms": 212.4}

    def live(self, hours: int) -> Any:
        return self._of("live", sample.live(hours))

    def performance(self, from_ms: int | None, to_ms: int | None, model: str | None) -> Any:
        self.asked.append(("performance", from_ms, to_ms, model))
        return self._of("performance", sample.performance())

    def data(self) -> Any:
        return self._of("data", sample.data())

    def state(self) -> Any:
        live = self.documents.get("live", sample.live(24))
        return {name: live.get(name) for name in ("scorer", "worker", "journal")}

    def stream_ms(self) -> int | None:
        return sample.END_MS

    def demo(self) -> Any:
        return self.documents.get("demo")

    def play(self, name: str, *, on: bool) -> None:
        self.asked.append(("play", name, on))


@dataclass
class Running:
    """Where a sample console is, and what it is made of."""

    url: str
    port: int
    reports: SampleReports
    sessions: Sessions
    console: Console

    def link(self) -> str:
        return f"{self.url}/sign-in?link={self.sessions.make_link()}"


@contextmanager
def running_console(
    folder: Path,
    reports: SampleReports | None = None,
    clock: Clock | None = None,
    *,
    public: str = "",
    auto_sign_in: bool = False,
) -> Iterator[Running]:
    """Serve until the block ends; the server lives in a thread of this process."""
    engine = open_control(folder / "control.sqlite")
    made = reports or SampleReports()
    sessions = Sessions(engine, clock or SystemClock())
    port = free_port("127.0.0.1", 0, "console_port")
    ready, stopping, consoles = threading.Event(), [], []

    def make() -> Console:
        consoles.append(
            build(
                made,
                sessions,
                lambda header: made.keys.get(header or ""),
                {"JPY": 0, "KWD": 3},
                Entrance("127.0.0.1", port, public),
                auto_sign_in=auto_sign_in,
            )
        )
        return consoles[0]

    async def main() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        await server.serve_until(stop, make(), "127.0.0.1", port, ready.set)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20), "the sample console did not start"
        yield Running(f"http://127.0.0.1:{port}", port, made, sessions, consoles[0])
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        engine.dispose()
        assert not thread.is_alive(), "the sample console did not stop"
