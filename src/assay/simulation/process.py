"""Starts and stops a real scorer process over a workspace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from assay.errors import UnavailableError


class ScorerProcess:
    """``assay serve`` in a process of its own, on a free port of the loopback.

    Parameters
    ----------
    workspace : Path
    arguments : sequence of str
        More options of ``assay serve``.

    Attributes
    ----------
    url : str
    ready : dict
        What it printed when it was ready: ``url``, ``recovered``, ``cut_bytes``.

    Raises
    ------
    UnavailableError
        If it does not become ready; the message is its last line.
    """

    def __init__(self, workspace: Path, arguments: Sequence[str] = ()) -> None:
        self._log = workspace / ".assay" / "scorer.log"
        with self._log.open("wb") as errors:
            self._process = self._start(workspace, arguments, errors)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._log.read_text("utf-8").strip().splitlines() or ["no message"]
            raise UnavailableError(f"the scorer did not start: {said[-1]}")
        self.ready: dict[str, Any] = msgspec.json.decode(line)
        self.url: str = self.ready["url"]

    @staticmethod
    def _start(
        workspace: Path, arguments: Sequence[str], errors: BinaryIO
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 — our own program
            [
                sys.executable,
                *("-m", "assay", "serve", "--workspace", str(workspace), "--json"),
                *("--port", "0", *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the processor seconds it has used, user and system, over all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Stop it cleanly and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=30)
        return self._process.returncode

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.communicate(timeout=30)
