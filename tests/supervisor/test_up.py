"""`assay up` over the real scorer, worker and console."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.bootstrap.create import create_workspace
from assay.bootstrap.door import create_api_key
from assay.bootstrap.lifecycle import models, promote, rollback
from assay.bootstrap.live import scorer_health
from assay.owner import Owner
from assay.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "lifecycle"))  # for small_bundle.py
from small_bundle import write_small_bundle

NAMES = ("scorer", "worker", "console")


class Up:
    """A running `assay up --json`, and what it said."""

    def __init__(self, workspace: Workspace) -> None:
        ports = [f"--{name}port=0" for name in ("", "console-", "worker-")]
        verb = ["up", "--workspace", str(workspace.path), "--json", *ports]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "assay", *verb],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read),
            threading.Thread(target=lambda: self._errors.extend(self.process.stderr or ())),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def until(self, holds: Callable[[dict[str, Any]], bool], within_s: float = 60) -> Any:
        """Wait for an event."""
        deadline = time.monotonic() + within_s
        while not (found := [event for event in self.events if holds(event)]):
            assert time.monotonic() < deadline, (self.events, self._errors)
            time.sleep(0.05)
        return found[0]

    def healthy(self, name: str, restarts: int = 0) -> Any:
        return self.until(
            lambda e: (
                (e["event"], e.get("name"), e.get("state"), e.get("restarts"))
                == ("state", name, "healthy", restarts)
            )
        )

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(40)
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    @property
    def pids(self) -> set[int]:
        return {e["pid"] for e in self.events if e.get("pid")}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = create_workspace(tmp_path / "w")
    create_api_key(made, "tests")
    return made


@pytest.fixture
def up(workspace: Workspace) -> Iterator[Up]:
    running = Up(workspace)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def test_each_process_is_restarted_where_it_was(up: Up, workspace: Workspace) -> None:
    """Scorer, worker and console come back after kill -9, and one signal ends them all."""
    ready = up.until(lambda e: e["event"] == "ready")
    assert "link=" in ready["sign_in"]
    assert up.events[0]["event"] == "note"  # there is no model: it says what that means
    assert (scorer_health(workspace) or {})["rules_only"]
    for name in NAMES:
        os.kill(up.healthy(name)["pid"], signal.SIGKILL)
    for name in NAMES:
        again = up.healthy(name, restarts=1)
        assert again["url"] == ready[name]
        assert again["reason"].startswith("ended by SIGKILL")
    assert up.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in up.pids)
    assert [e["name"] for e in up.events[-6:] if e["state"] == "stopped"] == [*reversed(NAMES)]


def test_a_second_one_is_refused(workspace: Workspace) -> None:
    """Over one workspace runs one supervisor: a second ends at once, and says why."""
    with Owner(workspace.run / "supervisor", "supervisor"):
        second = subprocess.run(
            [sys.executable, "-m", "assay", "up", "-w", str(workspace.path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert second.returncode == 1
    assert "another supervisor is running" in second.stderr


@pytest.mark.slow
def test_a_hung_console_is_replaced(up: Up) -> None:
    """A console that is stopped (SIGSTOP) is noticed by its silence, killed and started again."""
    up.until(lambda e: e["event"] == "ready")
    os.kill(up.healthy("console")["pid"], signal.SIGSTOP)
    again = up.healthy("console", restarts=1)
    assert "did not answer" in again["reason"]


@pytest.mark.slow
def test_the_first_model_goes_live_by_itself(up: Up, workspace: Workspace) -> None:
    """After a first promotion the scorer starts anew with the model; later ones switch it."""
    up.until(lambda e: e["event"] == "ready")
    for version in ("0.1.0", "0.2.0"):
        write_small_bundle(workspace, version)
    waiting = promote(workspace, "boosting-0.1.0", "ana")
    assert not waiting["live"]
    assert up.healthy("scorer", restarts=1)["reason"] == ""
    health = scorer_health(workspace)
    assert health is not None
    assert (health["model"], health["revision"]) == ("boosting-0.1.0", 1)
    second = promote(workspace, "boosting-0.2.0", "ana")
    assert second["live"]
    assert second["took_ms"] < 2_000
    assert rollback(workspace, "ben")["model"] == "boosting-0.1.0"
    document = models(workspace)
    assert document["live"]["model"] == "boosting-0.1.0"
    assert document["previous"] == "boosting-0.2.0"
