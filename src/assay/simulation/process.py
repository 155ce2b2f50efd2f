"""Starts and stops real Assay processes over a workspace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import msgspec

from assay.errors import UnavailableError

_STOP_S: Final = 45
"""Longer than the three processes under ``assay up`` may take one after the other."""


class _Verb:
    """A verb of Assay in a process of its own, which prints a line of JSON when it is ready."""

    def __init__(self, workspace: Path, verb: str, log: str, arguments: Sequence[str]) -> None:
        self._verb, self._log = verb, workspace / ".assay" / log
        command = (*("-m", "assay", verb), *("--workspace", str(workspace), "--json"), *arguments)
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 — our own program
                [sys.executable, *command], stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def read_line(self) -> dict[str, Any]:
        """Return the next line that it prints.

        Raises
        ------
        UnavailableError
            If it ends instead; the message is the last line of its errors.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._process.stdout.close()
            said = self._log.read_text("utf-8").strip().splitlines() or ["no message"]
            raise UnavailableError(f"assay {self._verb} did not start: {said[-1]}")
        decoded = msgspec.json.decode(line)
        assert isinstance(decoded, dict)
        return decoded

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> int:
        """Stop it cleanly and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        self._finish()
        return self._process.returncode

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        self._process.kill()
        self._finish()

    def _finish(self) -> None:
        self._process.communicate(timeout=_STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()


class ScorerProcess(_Verb):
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
        super().__init__(workspace, "serve", "scorer.log", ("--port", "0", *arguments))
        self.ready = self.read_line()
        self.url: str = self.ready["url"]

    def cpu_s(self) -> float:
        """Return the processor seconds it has used, user and system, over all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class UpProcess(_Verb):
    """``assay up``: scorer, worker and console, on free ports of the loopback.

    Parameters
    ----------
    workspace : Path
    arguments : sequence of str
        More options of ``assay up``.

    Attributes
    ----------
    scorer, worker, console : str
        Their addresses; a restart keeps them.
    sign_in : str or None
        One-time link of the console.
    states : dict
        The last health line of each part, by its name.

    Raises
    ------
    UnavailableError
        If they do not become ready.
    """

    def __init__(self, workspace: Path, arguments: Sequence[str] = ()) -> None:
        ports = (f"{name}=0" for name in ("--port", "--console-port", "--worker-port"))
        super().__init__(workspace, "up", "up.log", (*ports, *arguments))
        self.states: dict[str, dict[str, Any]] = {}
        while (line := self.read_line()).get("event") != "ready":
            self._note(line)
        self.scorer: str = line["scorer"]
        self.worker: str = line["worker"]
        self.console: str = line["console"]
        self.sign_in: str | None = line["sign_in"]
        self._reader = Thread(target=self._listen, name="up", daemon=True)
        self._reader.start()

    def _note(self, line: dict[str, Any]) -> None:
        if line.get("event") == "state":
            self.states[str(line.get("name"))] = line

    def _listen(self) -> None:
        """Read on, or it would wait for room in the pipe."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(msgspec.json.decode(line))

    def _finish(self) -> None:
        self._process.wait(timeout=_STOP_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
