"""Keeps one program running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from assay.clock import SystemClock
from assay.supervisor import leash
from assay.supervisor.log import Log
from assay.supervisor.probe import healthy
from assay.supervisor.program import Program
from assay.supervisor.status import Status
from assay.supervisor.timing import Timing

LEASH: Final = Path(leash.__file__)
LINE_BYTES_MAX: Final = 1 << 20


class Child:
    """One program through all its lives: started, watched, restarted, stopped.

    Used from the thread that lives as long as the supervisor: the kernel counts a program as
    orphaned when the thread that started it ends.

    Parameters
    ----------
    program : Program
    log : Path
    timing : Timing
    tell : callable
        Called with every new status.
    """

    def __init__(
        self, program: Program, log: Path, timing: Timing, tell: Callable[[Status], None]
    ) -> None:
        self._program, self._timing, self._tell = program, timing, tell
        self._log = Log(log)
        self._port = program.port
        self._process: Process | None = None
        self._stopped = asyncio.Event()
        self._failures = 0
        self.status = Status(program.name)

    async def keep(self) -> None:
        """Run the program, again and again, until `stop`."""
        while not self._stopped.is_set():
            reason = await self._live()
            if self._stopped.is_set():
                break
            if reason:
                await self._pause(reason)
            self._say(restarts=self.status.restarts + 1)
        self._say(state="stopped", url=None, pid=None)

    async def stop(self) -> None:
        """End the program: asked first, and killed when it takes too long."""
        self._stopped.set()
        if self._process is not None:
            self._say(state="stopping")
            await self._end(self._process, self._timing.stop_s)

    async def _pause(self, reason: str) -> None:
        """Wait before the next start, longer after every failure."""
        timing = self._timing
        pause_s = min(timing.backoff_s * 2**self._failures, timing.backoff_max_s)
        self._failures = min(self._failures + 1, 30)
        self._say(state="restarting", pid=None, reason=reason, retry_s=pause_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), pause_s)

    async def _live(self) -> str:
        """Run the program once; return why it failed, or nothing if it shall start anew."""
        try:
            process = self._process = await self._start()
        except OSError as error:
            return f"could not be started: {error.strerror}"
        try:
            ready = await self._ready(process)
            if ready is None:
                return self._why(process)
            self._port = urlsplit(ready["url"]).port or self._port
            self._say(state="healthy", url=ready["url"], ready=ready)
            return await self._watch(process, ready["url"])
        finally:
            await self._end(process, 0)
            await _close(process)
            self._process = None

    async def _start(self) -> Process:
        self._say(state="starting", retry_s=0.0)
        log = self._log.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LEASH), str(os.getpid())),
                *self._program.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=log,
                env={**os.environ, self._program.port_variable: str(self._port)},
                limit=LINE_BYTES_MAX,
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops in order
            )
        finally:
            os.close(log)
        self._say(pid=process.pid)
        return process

    async def _ready(self, process: Process) -> dict[str, Any] | None:
        """Wait for the line that says where it listens; None if it ended or took too long."""
        assert process.stdout is not None
        if self._stopped.is_set():
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.ready_s):
                while line := await process.stdout.readline():
                    with suppress(msgspec.DecodeError):
                        found = msgspec.json.decode(line)
                        if isinstance(found, dict) and isinstance(found.get("url"), str):
                            return found
                await process.wait()
        return None

    async def _watch(self, process: Process, url: str) -> str:
        """Ask for its health until it ends, hangs or is outdated."""
        timing, began, misses = self._timing, time.monotonic(), 0
        ended, drain = asyncio.create_task(process.wait()), asyncio.create_task(_drain(process))
        try:
            while not (await asyncio.wait({ended}, timeout=timing.interval_s))[0]:
                misses = 0 if await healthy(url, timing.timeout_s) else misses + 1
                if time.monotonic() - began > timing.steady_s:
                    self._failures = 0
                if ended.done() or self._stopped.is_set():
                    continue
                if misses >= timing.misses_max:
                    reason = f"did not answer /health {misses} times"
                    self._say(state="hung", reason=reason)
                    return reason
                if self._program.outdated():
                    self._say(state="stopping")
                    await self._end(process, timing.stop_s)
                    return ""
        finally:
            for task in (ended, drain):
                task.cancel()
            await asyncio.wait({ended, drain})
        return self._why(process)

    def _why(self, process: Process) -> str:
        """Return what is known of its end: how, and the last line of its log."""
        code = process.returncode
        if code is None:
            return f"was not ready after {self._timing.ready_s:g} s"
        how = f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        said = self._log.last_line()
        return f"{how}: {said}" if said else how

    async def _end(self, process: Process, patience_s: float) -> None:
        """Make sure that it has ended, with all that it started."""
        if process.returncode is None and patience_s:
            with suppress(ProcessLookupError):
                process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience_s)
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def _say(self, **changed: Any) -> None:
        if "state" in changed:
            changed["since_ms"] = SystemClock().now_ms()
        self.status = replace(self.status, **changed)
        if "state" in changed:
            self._tell(self.status)


async def _close(process: Process) -> None:
    """Read the rest of an ended program's output, which lets go of the pipe.

    A program of its own that it left behind may hold the other end: that is not waited for.
    """
    with suppress(TimeoutError):
        await asyncio.wait_for(_drain(process), 1)


async def _drain(process: Process) -> None:
    """Take what it prints after it was ready, so that it never waits for us."""
    assert process.stdout is not None
    while await process.stdout.read(65_536):
        pass
