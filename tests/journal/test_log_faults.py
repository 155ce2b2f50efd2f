"""The log in real processes that are killed, paused, and refused by the disk."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assay.clock import SystemClock
from assay.errors import JournalError
from assay.journal.log import Log

CHILD = Path(__file__).with_name("writer_child.py")
SEED = int(os.environ.get("ASSAY_FAULT_SEED", "20"))


def payload(number: int) -> bytes:
    """Return record `number` as the child makes it."""
    head = b"\x01\xc8\x00\x00\x18\x00\x00\x00" + number.to_bytes(8, "little") + bytes(8)
    return head + b"%d." % number * (number % 97)


def acknowledged(output: str) -> dict[int, int]:
    """Return number -> position from the child's complete lines."""
    lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
    return {int(a): int(b) for a, b in (line for line in lines if line[0].isdecimal())}


def check_all_there(folder: Path, acks: dict[int, int]) -> int:
    """Check that each acknowledged record is there, and return how many bytes were cut."""
    log = Log.open(folder, SystemClock())
    present = dict(log.scan())
    assert len(set(present.values())) == len(present), "a record is there twice"
    for number, position in acks.items():
        assert present[position] == log.read(position) == payload(number)
    log.close()
    return log.cut_bytes


def command(folder: Path, *options: str, first: int = 1, seed: int = SEED) -> list[str]:
    """Return the command line of the writing child."""
    return [sys.executable, str(CHILD), str(folder), str(first), str(seed), *options]


def run(prefix: list[str], child: list[str]) -> str:
    """Run the child to its end and return what it printed."""
    done = subprocess.run(
        [*prefix, *child], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def works(*trial: str) -> bool:
    """Tell whether a command is there and permitted."""
    return (
        bool(shutil.which(trial[0]))
        and not subprocess.run(trial, capture_output=True, check=False, timeout=20).returncode
    )


INSISTS = "CI" in os.environ
"""Continuous integration skips no fault: where a tool is missing, its tests fail."""

needs_strace = pytest.mark.skipif(
    not INSISTS and not works("strace", "-o", "/dev/null", "true"),
    reason="strace is missing or not permitted",
)
needs_namespaces = pytest.mark.skipif(
    not INSISTS and not works("unshare", "-Urm", "true"), reason="no user namespaces here"
)


class Nursery:
    """Forks writing children, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, folder: Path, first: int, seed: int) -> int:
        """Start a child and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder} {first} {seed}\n")
        self._process.stdin.flush()
        return int(self._line().removeprefix("pid "))

    def output(self) -> str:
        """Return what the child printed until it was dead."""
        out = []
        while (line := self._line()) != "dead\n":
            out.append(line)
        return "".join(out)

    def until_acknowledged(self) -> str:
        """Return what the child printed up to its first acknowledgement."""
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return line


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Give a nursery of writing children."""
    with subprocess.Popen(
        [sys.executable, str(CHILD), "nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def kill_loop(folder: Path, times: int) -> None:
    """Kill as many children at random moments of their start and work, then compare."""
    print(f"seed {SEED}")  # noqa: T201 - whoever sees a failure needs it
    delays = random.Random(SEED)
    acks: dict[int, int] = {}
    with nursery() as children:
        for turn in range(times):
            pid = children.start(folder, turn * 1_000_000 + 1, turn)
            time.sleep(delays.uniform(0, 0.06))
            os.kill(pid, signal.SIGKILL)
            acks |= acknowledged(children.output())
    print(f"{times} kills, {len(acks)} records acknowledged")  # noqa: T201 - the evidence
    assert len(acks) > 10 * times
    check_all_there(folder, acks)


def test_killed_twenty_times(tmp_path: Path) -> None:
    """After kill -9 at random moments every acknowledged record is there, once."""
    kill_loop(tmp_path / "j", 20)


@pytest.mark.faults
def test_killed_two_hundred_times(tmp_path: Path) -> None:
    """The same, two hundred times in one journal."""
    kill_loop(tmp_path / "j", 200)


def test_a_paused_writer_writes_nothing_more(tmp_path: Path) -> None:
    """A writer that is paused keeps others out; once one has taken over all the same, it stops.

    Nothing that it does after it goes on is acknowledged, or becomes part of the journal.
    """
    folder, acks = tmp_path / "j", {}
    delays = random.Random(SEED)
    with nursery() as children:
        for turn in range(8):
            pid = children.start(folder, turn * 1_000_000 + 1, turn)
            before = children.until_acknowledged()
            time.sleep(delays.uniform(0, 0.03))
            os.kill(pid, signal.SIGSTOP)
            with pytest.raises(JournalError, match="in use by another scorer"):
                Log.open(folder, SystemClock())
            (folder / "lock").unlink()  # what an operator must not do, or a lost file system lock
            new = Log.open(folder, SystemClock())
            there = dict(new.scan())
            number = (turn + 1) * 1_000_000
            (position,) = new.append([payload(number)])
            new.sync()
            os.kill(pid, signal.SIGCONT)
            output = before + children.output()
            assert "is stale" in output
            assert "again 2 the journal takes no more records" in output
            new.close()
            acks |= acknowledged(output) | {number: position}
            again = Log.open(folder, SystemClock())
            assert dict(again.scan()) == there | {position: payload(number)}
            again.close()
    check_all_there(folder, acks)


def test_file_size_limit(tmp_path: Path) -> None:
    """A write cut short by a limit stops the log for good; what was acknowledged stays."""
    output = run([], command(tmp_path / "j", "file_bytes_max=70001"))
    assert "error 00000001.journal: " in output
    assert "the file may not grow further" in output
    assert "again 2 the journal takes no more records" in output
    acks = acknowledged(output)
    assert acks
    assert check_all_there(tmp_path / "j", acks) > 0


FULL_DISK = """
mount -t tmpfs -o size=512k tmpfs "$0" && out=$1 && shift
head -c 400k /dev/zero >"$0/other"
"$@" >"$out.txt" &
until grep -q stalled "$out.txt"; do sleep 0.01; done
rm "$0/other"
until [ -e "$0/j/00000002.journal" ] && tail -n 1 "$out.txt" | grep -q stalled; do sleep 0.01; done
kill -9 $!
wait
cp -r "$0/j" "$out"
"""


@needs_namespaces
def test_disk_full(tmp_path: Path) -> None:
    """On a full disk the log stalls and goes on by itself when there is room; nothing is lost."""
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    (tmp_path / "kept.txt").touch()
    run(["unshare", "-Urm", "bash", "-c", FULL_DISK, str(small), str(kept)], command(small / "j"))
    output = (tmp_path / "kept.txt").read_text()
    assert "the disk is full; free some, and it goes on" in output
    begin, _, end = output.partition("stalled")
    first, second = acknowledged(begin), acknowledged(end.partition("\n")[2])
    assert first
    assert second
    assert min(second) == max(first) + 1
    check_all_there(kept, first | second)


# --- strace makes the kernel's answers ------------------------------------------------------------


def traced(trace: Path, *expressions: str, path: Path | None = None) -> list[str]:
    """Return the command that runs another and tampers with its calls."""
    only = ["-P", str(path)] if path else []
    options = [part for expression in expressions for part in ("-e", expression)]
    return ["strace", "-f", "--seccomp-bpf", "-ttt", "-y", "-o", str(trace), *only, *options]


@needs_strace
def test_failed_sync_is_not_retried(tmp_path: Path) -> None:
    """A sync that fails acknowledges nothing, stops the log, and is never tried again."""
    trace = tmp_path / "trace"
    output = run(
        traced(trace, "trace=fdatasync", "inject=fdatasync:error=EIO:when=3"),
        command(tmp_path / "j"),
    )
    assert "sync of 00000001.journal failed: the disk reports an error" in output
    assert "again 2 the journal takes no more records" in output
    assert trace.read_text().count("fdatasync(") == 3
    check_all_there(tmp_path / "j", acknowledged(output))


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_sync_that_fails_for_want_of_space_is_fatal(tmp_path: Path, error: str) -> None:
    """Even then nobody knows what the disk holds: it is not a stall, and not retried."""
    output = run(
        traced(tmp_path / "trace", "trace=fdatasync", f"inject=fdatasync:error={error}:when=2"),
        command(tmp_path / "j"),
    )
    assert "stalled" not in output
    assert "error sync of 00000001.journal failed: the disk" in output
    check_all_there(tmp_path / "j", acknowledged(output))


@needs_strace
def test_failed_rotation_stops_the_log(tmp_path: Path) -> None:
    """Rotation syncs the old segment, then its folder; if that fails no new one is begun."""
    trace, folder = tmp_path / "trace", tmp_path / "j"
    output = run(traced(trace, "trace=fsync", "inject=fsync:error=EIO:when=7"), command(folder))
    assert "beginning a segment failed: the disk reports an error" in output
    calls = [line for line in trace.read_text().splitlines() if "fsync(" in line]
    assert len(calls) == 7
    assert f"<{tmp_path}>" in calls[0], "a new folder's own name is durable first"
    assert f"<{folder}/00000001.journal>" in calls[5]
    assert f"<{folder}>" in calls[6]
    assert not (folder / "00000002.journal").exists()
    check_all_there(folder, acknowledged(output))


@needs_strace
@pytest.mark.parametrize(
    ("call", "when"), [("write", "3..5"), ("link,linkat", "2..3")], ids=["append", "rotation"]
)
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_full_disk_is_tried_again(tmp_path: Path, call: str, when: str, error: str) -> None:
    """While the kernel says that there is no room nothing is acknowledged; then it goes on."""
    folder = tmp_path / "j"
    output = run(
        traced(
            tmp_path / "trace",
            f"trace={call}",
            f"inject={call}:error={error}:when={when}",
            path=folder / "00000001.journal" if call == "write" else None,
        ),
        command(folder, "groups=300"),
    )
    stalls = output.count("stalled")
    assert stalls == (3 if call == "write" else 2)
    last = output.rpartition("stalled")[2].partition("\n")[2]
    assert acknowledged(last), "it goes on"
    acks = acknowledged(output)
    assert sorted(acks) == list(range(1, max(acks) + 1))
    check_all_there(folder, acks)


@needs_strace
def test_what_is_cut_back_is_synced(tmp_path: Path) -> None:
    """The remains of a refused write are gone from the disk before another takes their place.

    Else a power cut might leave sectors of both, which would look like damage.
    """
    folder, trace = tmp_path / "j", tmp_path / "trace"
    run(
        traced(
            trace,
            "trace=write,ftruncate,fsync,fdatasync",
            "inject=write:error=ENOSPC:when=3",
            path=folder / "00000001.journal",
        ),
        command(folder, "groups=3"),
    )
    calls = [line.split()[2].split("(")[0] for line in trace.read_text().splitlines()]
    synced = ["write", "fdatasync"]
    assert calls[:9] == [*synced, *synced, "write", "ftruncate", "fsync", *synced]


@needs_strace
def test_what_cannot_be_cut_back_stops_the_log(tmp_path: Path) -> None:
    """If the remains of a refused write cannot be removed, the log stops."""
    folder = tmp_path / "j"
    output = run(
        traced(
            tmp_path / "trace",
            "trace=write,ftruncate",
            "inject=write:error=ENOSPC:when=3",
            "inject=ftruncate:error=EIO:when=1",
            path=folder / "00000001.journal",
        ),
        command(folder),
    )
    assert "stalled" not in output
    assert "error 00000001.journal: cutting it back to" in output
    assert "again 2 the journal takes no more records" in output
    check_all_there(folder, acknowledged(output))


@needs_strace
def test_slow_sync_is_waited_for(tmp_path: Path) -> None:
    """With a disk that takes half a second, each acknowledgement waits for its sync."""
    trace = tmp_path / "trace"
    output = run(
        traced(trace, "trace=fdatasync,write", "inject=fdatasync:delay_exit=500000"),
        command(tmp_path / "j", "groups=3"),
    )
    calls = [line for line in trace.read_text().splitlines() if "(" in line]
    times = {
        kind: [float(line.split()[1]) for line in calls if f" {kind}(" in line and what in line]
        for kind, what in {"fdatasync": ".journal>", "write": "pipe:"}.items()
    }
    waited = [b - a for a, b in zip(times["fdatasync"], times["write"], strict=True)]
    assert len(waited) == 3
    assert min(waited) >= 0.5
    acks = acknowledged(output)
    assert acks
    check_all_there(tmp_path / "j", acks)
