from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assay.supervisor.program import Program
from assay.supervisor.status import Status
from assay.supervisor.supervisor import Supervisor
from assay.supervisor.timing import Timing

HERE = Path(__file__).parent
QUICK = Timing(ready_s=5, interval_s=0.05, timeout_s=0.3, misses_max=2, backoff_s=0.05, stop_s=1)


def toy(name: str = "toy", *arguments: str) -> Program:
    command = [sys.executable, str(HERE / "program.py"), *arguments]
    return Program(name, lambda: command, "TOY_PORT")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


class Watch:
    """A running supervisor, and every status it told."""

    def __init__(self, supervisor: Supervisor, told: list[Status]) -> None:
        self.supervisor, self.told = supervisor, told

    async def until(
        self, holds: Callable[[list[Status]], bool], within_s: float = 10
    ) -> list[Status]:
        deadline = time.monotonic() + within_s
        while not holds(self.supervisor.statuses):
            assert time.monotonic() < deadline, self.told
            await asyncio.sleep(0.01)
        return self.supervisor.statuses

    async def healthy(self, restarts: int = 0) -> list[Status]:
        return await self.until(
            lambda all_: all(s.state == "healthy" and s.restarts >= restarts for s in all_)
        )


@asynccontextmanager
async def running(
    tmp_path: Path, *programs: Program, timing: Timing = QUICK
) -> AsyncIterator[Watch]:
    told: list[Status] = []
    supervisor = Supervisor(programs, tmp_path / "run", told.append, timing)
    stop = asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop))
    try:
        yield Watch(supervisor, told)
    finally:
        stop.set()
        await asyncio.wait_for(task, 15)
        pids = {status.pid for status in told if status.pid}
        assert not any(alive(pid) for pid in pids)


def ask(url: str, path: str = "/health") -> str:
    with urllib.request.urlopen(url + path, timeout=5) as answer:
        return str(answer.read().decode())


async def test_a_killed_program_is_restarted_where_it_was(tmp_path: Path) -> None:
    """After kill -9 a program comes back at the same address, and the others are left alone."""
    async with running(tmp_path, toy("a"), toy("b")) as watch:
        first, other = await watch.healthy()
        assert first.pid
        os.kill(first.pid, signal.SIGKILL)
        await watch.until(lambda all_: all_[0].restarts == 1)
        again, same = await watch.healthy()
        assert (again.url, again.restarts) == (first.url, 1)
        assert again.pid != first.pid
        assert again.reason == "ended by SIGKILL"
        assert (same.pid, same.restarts) == (other.pid, 0)
        assert again.url
        assert ask(again.url).startswith(str(again.pid))


async def test_a_stopped_program_counts_as_hung(tmp_path: Path) -> None:
    """A program that does not answer (SIGSTOP) is killed and replaced."""
    async with running(tmp_path, toy()) as watch:
        (first,) = await watch.healthy()
        assert first.pid
        os.kill(first.pid, signal.SIGSTOP)
        (again,) = await watch.healthy(restarts=1)
        assert [s.state for s in watch.told[-4:]] == ["hung", "restarting", "starting", "healthy"]
        assert "did not answer /health 2 times" in again.reason
        assert not alive(first.pid)


async def test_a_sick_program_counts_as_hung(tmp_path: Path) -> None:
    """A program whose /health is no 200 is replaced, too."""
    async with running(tmp_path, toy()) as watch:
        (first,) = await watch.healthy()
        assert first.url
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(first.url, "/sick")
        caught.value.close()
        (again,) = await watch.healthy(restarts=1)
        assert again.pid != first.pid


async def test_pauses_grow_for_one_that_keeps_dying(tmp_path: Path) -> None:
    """Each restart waits twice as long up to the most, and its last line says why."""
    timing = Timing(backoff_s=0.02, backoff_max_s=0.1)
    async with running(tmp_path, toy("toy", "dies"), timing=timing) as watch:
        await watch.until(lambda all_: all_[0].restarts == 4)
        pauses = [s.retry_s for s in watch.told if s.state == "restarting"]
        assert pauses[:4] == [0.02, 0.04, 0.08, 0.1]
        assert watch.told[-1].reason == "exit code 1: assay: nothing to �[31mload"


async def test_a_steady_program_begins_with_the_first_pause(tmp_path: Path) -> None:
    """A program that was healthy for long is restarted at once, however often it died before."""
    timing = Timing(interval_s=0.05, backoff_s=0.01, steady_s=0.2)
    async with running(tmp_path, toy(), timing=timing) as watch:
        for n in range(3):
            (now,) = await watch.healthy(restarts=n)
            assert now.pid
            if n == 2:
                await asyncio.sleep(0.6)
            os.kill(now.pid, signal.SIGKILL)
        await watch.healthy(restarts=3)
        pauses = [s.retry_s for s in watch.told if s.state == "restarting"]
        assert pauses == [0.01, 0.02, 0.01]


async def test_a_slow_start_is_waited_for(tmp_path: Path) -> None:
    """While a program has not said that it is ready and lives, it is not asked and not killed."""
    async with running(tmp_path, toy("toy", "slow")) as watch:
        (status,) = await watch.healthy()
        assert status.restarts == 0


async def test_a_start_without_end_is_given_up(tmp_path: Path) -> None:
    """A program that is not ready in time is killed, and started again."""
    timing = Timing(ready_s=0.3, backoff_s=0.05)
    async with running(tmp_path, toy("toy", "silent"), timing=timing) as watch:
        (status,) = await watch.until(lambda all_: all_[0].restarts == 1)
        assert status.reason == "was not ready after 0.3 s"


async def test_a_program_may_print_what_it_likes(tmp_path: Path) -> None:
    """Lines before the ready line are passed over, and what comes after never blocks it."""
    async with running(tmp_path, toy("toy", "chatty")) as watch:
        (status,) = await watch.healthy()
        await asyncio.sleep(0.3)
        assert status.ready["kind"] == "chatty"
        assert status.url
        assert ask(status.url).startswith(str(status.pid))


async def test_an_outdated_program_is_started_anew(tmp_path: Path) -> None:
    """A program that shall start anew is stopped cleanly, and started with its new command."""
    arguments, old = ["good"], True

    def command() -> list[str]:
        return [sys.executable, str(HERE / "program.py"), *arguments]

    def outdated() -> bool:
        nonlocal old
        was, old = old, False
        arguments[:] = ["good", "new"]
        return was

    program = Program("toy", command, "TOY_PORT", outdated=outdated)
    async with running(tmp_path, program) as watch:
        (status,) = await watch.healthy(restarts=1)
        assert status.url
        assert "'new'" in ask(status.url)
        assert "restarting" not in {s.state for s in watch.told}


async def test_a_stubborn_program_is_killed_in_the_end(tmp_path: Path) -> None:
    """What does not stop when asked is killed, so that stopping always ends."""
    async with running(tmp_path, toy("toy", "stubborn"), toy("good")) as watch:
        await watch.healthy()
    order = [s.name for s in watch.told if s.state == "stopped"]
    assert order == ["good", "toy"]


async def test_stopping_while_it_starts_or_waits(tmp_path: Path) -> None:
    """A stop is obeyed at once while programs start, or wait for their next start."""
    timing = Timing(backoff_s=20, stop_s=5)
    began = time.monotonic()
    async with running(tmp_path, toy("a", "silent"), toy("b", "dies"), timing=timing) as watch:
        await watch.until(lambda all_: all_[1].state == "restarting")
    assert time.monotonic() - began < 5
    assert {s.state for s in watch.supervisor.statuses} == {"stopped"}


async def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    """When the system cannot start a program, the reason is told and it is tried again."""
    async with running(tmp_path, toy()) as watch:
        (status,) = await watch.healthy()
        log = tmp_path / "run" / "toy.log"
        log.unlink()
        log.mkdir()
        assert status.pid
        os.kill(status.pid, signal.SIGKILL)
        await watch.until(lambda all_: "could not be started" in all_[0].reason)
        log.rmdir()
        await watch.until(lambda all_: all_[0].state == "healthy")


async def test_logs_are_kept(tmp_path: Path) -> None:
    """A log is for its owner's eyes, and the one of the supervisor's run before is kept."""
    for _ in range(2):
        async with running(tmp_path, toy("toy", "dies")) as watch:
            await watch.until(lambda all_: all_[0].restarts == 2)
    log, before = tmp_path / "run" / "toy.log", tmp_path / "run" / "toy.log.1"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for path in (log, before):
        assert path.read_text().count("nothing to") >= 2


def supervised(tmp_path: Path) -> tuple[subprocess.Popen[str], dict[str, int]]:
    """Start a supervisor in a process of its own; return it and its programs, once healthy."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "supervised.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    pids: dict[str, int] = {}
    assert process.stdout is not None
    while len(pids) < 3:
        status = json.loads(process.stdout.readline())
        if status["state"] == "healthy":
            pids[status["name"]] = status["pid"]
    return process, pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT and SIGTERM end the programs, last first, with exit code 0 and nothing left."""
    process, pids = supervised(tmp_path)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    ends = [s["name"] for s in map(json.loads, out.splitlines()) if s["state"] == "stopped"]
    assert process.returncode == 0
    assert ends == ["three", "two", "one"]
    assert not any(map(alive, pids.values()))


def test_programs_die_with_their_supervisor(tmp_path: Path) -> None:
    """After kill -9 of the supervisor no program is left."""
    process, pids = supervised(tmp_path)
    process.kill()
    process.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while any(map(alive, pids.values())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids.values()))
