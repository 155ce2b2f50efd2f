import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.clock import SystemClock
from assay.journal.log import Log

CHILD = Path(__file__).with_name("writer_child.py")
SEED = 20


def command(folder: Path, first: int = 1, seed: int = SEED, file_bytes_max: int = 0) -> list[str]:
    """Return the command line of the writing child."""
    return [sys.executable, str(CHILD), *map(str, (folder, first, seed, file_bytes_max))]


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


def test_killed_twenty_times(tmp_path: Path) -> None:
    """After kill -9 at random moments every acknowledged record is there, once."""
    delays = random.Random(SEED)
    acks: dict[int, int] = {}
    for turn in range(20):
        first = turn * 1_000_000 + 1
        with subprocess.Popen(
            command(tmp_path / "j", first, turn), stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            start = child.stdout.readline().decode()
            time.sleep(delays.uniform(0, 0.04))
            child.kill()
            acks |= acknowledged(start + child.stdout.read().decode())
    assert len(acks) > 100
    check_all_there(tmp_path / "j", acks)


def test_file_size_limit(tmp_path: Path) -> None:
    """A write cut short by a limit stops the log for good; what was acknowledged stays."""
    output = run([], command(tmp_path / "j", file_bytes_max=70_001))
    assert "error 00000001.journal: " in output
    assert "the file may not grow further" in output
    assert "again 2 the journal takes no more records" in output
    acks = acknowledged(output)
    assert acks
    assert check_all_there(tmp_path / "j", acks) > 0


@pytest.mark.skipif(not works("unshare", "-Urm", "true"), reason="no user namespaces here")
def test_disk_full(tmp_path: Path) -> None:
    """On a full disk nothing acknowledged is lost, and the torn group is cut afterwards."""
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    script = (
        'mount -t tmpfs -o size=64k tmpfs "$0" && out=$1 && shift && "$@" && cp -r "$0/j" "$out"'
    )
    output = run(
        ["unshare", "-Urm", "sh", "-c", script, str(small), str(kept)], command(small / "j")
    )
    assert "the disk is full" in output
    acks = acknowledged(output)
    assert acks
    assert check_all_there(kept, acks) > 0


STRACE = ["strace", "-f", "-o"]


@pytest.mark.skipif(
    not works("strace", "-o", "/dev/null", "true"), reason="strace is missing or not permitted"
)
def test_failed_sync_is_not_retried(tmp_path: Path) -> None:
    """A sync that fails acknowledges nothing, stops the log, and is never tried again."""
    trace = tmp_path / "trace"
    inject = "inject=fdatasync:error=EIO:when=3"
    output = run(
        [*STRACE, str(trace), "-e", "trace=fdatasync", "-e", inject], command(tmp_path / "j")
    )
    assert "sync of 00000001.journal failed: the disk reports an error" in output
    assert "again 2 the journal takes no more records" in output
    assert trace.read_text().count("fdatasync(") == 3
    check_all_there(tmp_path / "j", acknowledged(output))


@pytest.mark.skipif(
    not works("strace", "-o", "/dev/null", "true"), reason="strace is missing or not permitted"
)
def test_failed_rotation_stops_the_log(tmp_path: Path) -> None:
    """Rotation syncs the old segment, then its folder; if that fails no new one is begun."""
    trace, folder = tmp_path / "trace", tmp_path / "j"
    inject = "inject=fsync:error=EIO:when=6"
    output = run([*STRACE, str(trace), "-y", "-e", "trace=fsync", "-e", inject], command(folder))
    assert "beginning a segment failed: the disk reports an error" in output
    calls = [line for line in trace.read_text().splitlines() if "fsync(" in line]
    assert len(calls) == 6
    assert f"<{folder}/00000001.journal>" in calls[4]
    assert f"<{folder}>" in calls[5]
    assert not (folder / "00000002.journal").exists()
    check_all_there(folder, acknowledged(output))
