from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from assay.bootstrap.door import create_api_key, internal_key
from assay.clock import VirtualClock
from assay.journal.entries import EntryHead
from assay.journal.log import Log
from assay.journal.mirror import TcpMirror
from assay.workspace import Workspace

RECORD = EntryHead(1, 200, 0, 24, 1, 0).encode()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without a model whose standby takes a free port."""
    path = Workspace.create(tmp_path / "workspace").path
    with (path / "assay.toml").open("a") as file:
        file.write("standby_port = 0\n")
    opened = Workspace.open(path)
    create_api_key(opened, "test")
    return opened


def assay(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (*("-m", "assay", "standby"), *arguments, "--workspace", str(workspace.path))
    return subprocess.run(
        [sys.executable, *command], capture_output=True, check=False, text=True, timeout=60
    )


@contextmanager
def standby(workspace: Workspace) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """Run a standby; give the process and the line that it prints when it is ready."""
    command = (*("-m", "assay", "standby"), "--json", "--workspace", str(workspace.path))
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process, msgspec.json.decode(process.stdout.readline())
        finally:
            process.kill()


def feed(workspace: Workspace, url: object, folder: Path) -> Log:
    """Write one record that the standby has as well."""
    secret, address = internal_key(workspace).encode(), str(url).removeprefix("tcp://")
    log = Log.open(
        folder,
        VirtualClock(),
        mirror=lambda stream, epoch: TcpMirror(folder, address, stream, epoch, secret),
    )
    log.append([RECORD])
    log.sync()
    return log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_standby_says_where_it_is(workspace: Workspace, number: signal.Signals) -> None:
    """It announces itself while it runs, and a signal ends it cleanly."""
    announced = workspace.run / "standby.json"
    with standby(workspace) as (process, ready):
        found = msgspec.json.decode(announced.read_bytes())
        assert (found["url"], found["pid"]) == (ready["url"], process.pid)
        assert (ready["position"], ready["epoch"]) == (0, 0)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert not announced.exists()


def test_a_standby_that_waits_for_another_is_refused(workspace: Workspace) -> None:
    """With sync_standby set it does not start: after a take-over nothing would be answered."""
    with (workspace.path / "assay.toml").open("a") as file:
        file.write('sync_standby = "127.0.0.1:8689"\n')
    done = assay(workspace)
    assert done.returncode == 1
    assert "sync_standby is '127.0.0.1:8689' on a standby" in done.stderr


def test_promoting_nothing_is_refused(workspace: Workspace) -> None:
    """Neither a running standby nor a stopped one takes over before it has received anything."""
    with standby(workspace) as (process, _):
        done = assay(workspace, "promote", "--json")
        assert done.returncode == 1
        assert "cannot take over: nothing has been received yet" in done.stderr
        assert process.poll() is None
    done = assay(workspace, "promote", "--json")
    assert done.returncode == 1
    assert "cannot take over: nothing has been received yet" in done.stderr


def test_a_running_standby_is_promoted(workspace: Workspace, tmp_path: Path) -> None:
    """With --no-serve it takes over and ends; a second standby in its place is refused."""
    with standby(workspace) as (process, ready):
        log = feed(workspace, ready["url"], tmp_path / "journal")
        done = assay(workspace, "promote", "--no-serve", "--json")
        assert done.returncode == 0, done.stderr
        said = msgspec.json.decode(done.stdout)
        assert said == {"epoch": 2, "position": log.position, "url": None}
        assert process.wait(20) == 0
        log._mirror.close()
        log._lock.release()
    done = assay(workspace)
    assert done.returncode == 1
    assert "was promoted: its workspace decides now" in done.stderr


def test_a_killed_standby_is_promoted(workspace: Workspace, tmp_path: Path) -> None:
    """What a killed standby left announced does not keep its journal from taking over."""
    with standby(workspace) as (process, ready):
        log = feed(workspace, ready["url"], tmp_path / "journal")
        process.kill()
        process.wait()
        done = assay(workspace, "promote", "--no-serve", "--json")
        assert done.returncode == 0, done.stderr
        assert msgspec.json.decode(done.stdout)["position"] == log.position
        log._mirror.close()
        log._lock.release()


def test_a_scorer_is_not_promoted(workspace: Workspace) -> None:
    """Where a scorer holds the journal there is nothing to take over."""
    log = Log.open(workspace.journal, VirtualClock())
    done = assay(workspace, "promote", "--json")
    assert done.returncode == 1
    assert "is in use by a scorer or another standby" in done.stderr
    log.close()
