"""Real processes under real faults."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

_SETTINGS = """
segment_mb = 1
snapshot_records = 1000
snapshot_s = 1
journal_days = 0
"""


class Launched:
    """A verb of Assay, started by another program if need be, in a process group of its own."""

    def __init__(self, workspace: Path, verb: str, prefix: Sequence[str]) -> None:
        port = ("--port", "0")
        command = (*prefix, sys.executable, "-m", "assay", verb)
        self.log = workspace / ".assay" / f"{verb}.log"
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "--workspace", str(workspace), "--json", *port],
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text("utf-8")[-2000:]
        self.ready: dict[str, Any] = msgspec.json.decode(line)
        self.url: str = self.ready["url"]

    @property
    def pid(self) -> int:
        """Of the first process of the group."""
        return self.process.pid

    def kill(self) -> None:
        """Kill all of it, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop it cleanly and return its exit code."""
        self._end(signal.SIGTERM)
        return self.process.returncode

    def wait(self) -> int:
        """Return its exit code when it has ended by itself."""
        self.process.communicate(timeout=60)
        return self.process.returncode

    def _end(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        self.process.communicate(timeout=60)


Launch = Callable[..., Launched]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start ``assay VERB`` over a workspace, behind a prefix; all of it is killed at the end."""
    started: list[Launched] = []

    def start(workspace: Path, verb: str = "serve", prefix: Sequence[str] = ()) -> Launched:
        started.append(Launched(workspace, verb, prefix))
        return started[-1]

    yield start
    for launched in started:
        launched.kill()


@pytest.fixture
def frequent() -> Callable[[Path], None]:
    """Make a workspace take snapshots and seal segments as often as it can."""

    def change(workspace: Path) -> None:
        with (workspace / "assay.toml").open("a", encoding="utf-8") as file:
            file.write(_SETTINGS)

    return change


@pytest.fixture
def needs() -> Callable[..., None]:
    """Skip a test if a command that it needs is missing or not permitted; in CI it fails then."""

    def check(*trial: str) -> None:
        found = shutil.which(trial[0])
        if not found or subprocess.run(trial, capture_output=True, check=False).returncode:
            end = pytest.fail if os.environ.get("CI") else pytest.skip
            end(f"{trial[0]} is missing or not permitted")

    return check
