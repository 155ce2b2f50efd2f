"""A standby that is killed, comes back, and takes over from a scorer that was paused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from assay.bootstrap.door import internal_key
from assay.errors import UnavailableError
from assay.journal.decision_record import decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.reader import read_journal
from assay.listener import free_port
from assay.simulation.player import Reply, play
from assay.simulation.process import ScorerProcess, _Verb
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

pytestmark = pytest.mark.faults


class StandbyProcess(_Verb):
    """``assay standby`` in a process of its own."""

    def __init__(self, workspace: Path) -> None:
        super().__init__(workspace, "standby", "standby.log", ())
        self.ready = self.read_line()

    def log(self) -> str:
        return self._log.read_text("utf-8")


@dataclass
class Pair:
    """Two workspaces with the same keys and models: one decides, the other keeps its journal."""

    scenario: Scenario
    standby: Path

    @property
    def primary(self) -> Path:
        return self.scenario.workspace.path

    def promote(self, *arguments: str) -> dict[str, object]:
        command = ("standby", "promote", "--workspace", str(self.standby), "--json", *arguments)
        done = subprocess.run(
            [sys.executable, "-m", "assay", *command], capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return msgspec.json.decode(done.stdout)


@pytest.fixture
def pair(scenario: Scenario, tmp_path: Path) -> Iterator[Pair]:
    """Prepare both workspaces as docs/standby.md says."""
    workspace, standby = scenario.workspace, tmp_path / "standby"
    internal_key(workspace)
    shutil.copytree(workspace.path, standby)
    port = free_port("127.0.0.1", 0, "standby_port")
    with (workspace.path / "assay.toml").open("a") as file:
        file.write(f'sync_standby = "127.0.0.1:{port}"\n')
    with (standby / "assay.toml").open("a") as file:
        file.write(f"standby_port = {port}\nport = 0\n")
    return Pair(scenario, standby)


def answered(replies: list[Reply], bodies: list[bytes]) -> dict[bytes, bytes]:
    """Return the answer of each body that got one."""
    return {
        body: reply.body for body, reply in zip(bodies, replies, strict=True) if reply.status == 200
    }


def decided(workspace: Path) -> set[str]:
    """Return the ids of the transactions that a journal holds decisions of."""
    return {
        decode_decision(payload).transaction_id
        for _, payload in read_journal(Workspace.open(workspace).journal)
        if EntryHead.decode(payload).kind == EntryKind.decision
    }


def name_of(answer: bytes) -> str:
    return msgspec.json.decode(answer)["transaction_id"]


def waiting_for_an_answer(url: str, key: str, bodies: list[bytes]) -> Future[list[Reply]]:
    """Send bodies from a thread."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(play, url, key, bodies)
    pool.shutdown(wait=False)
    return future


def all_refused(url: str, key: str, bodies: list[bytes], within_s: float = 10.0) -> None:
    """Wait until each of some bodies gets its 503 at once."""
    until = time.monotonic() + within_s
    while True:
        replies = play(url, key, bodies)
        if all(reply.status == 503 for reply in replies):
            break
        assert time.monotonic() < until, replies
    for reply in replies:
        assert msgspec.json.decode(reply.body)["error"]["code"] == "audit_unavailable"


def test_a_killed_standby_stops_answers_until_it_is_back(pair: Pair) -> None:
    """While the standby is dead nothing is acknowledged: 503; when it is back the scorer goes on,
    and the two journals hold the same bytes.
    """
    key, bodies = pair.scenario.api_key, pair.scenario.bodies()
    standby = StandbyProcess(pair.standby)
    with ScorerProcess(pair.primary) as scorer:
        for round_ in range(2):
            part = bodies[round_ * 500 : (round_ + 1) * 500]
            playing = waiting_for_an_answer(scorer.url, key, part[:400])
            time.sleep(0.1 * round_)
            standby.kill()
            # Whatever finds the standby gone is admitted already, and waits for it.
            held = waiting_for_an_answer(scorer.url, key, part[400:401])
            time.sleep(0.3)
            all_refused(scorer.url, key, part[401:450])
            standby = StandbyProcess(pair.standby)
            for replies in (playing.result(30), held.result(30)):
                assert {reply.status for reply in replies} <= {200, 503}
            replies = play(scorer.url, key, part)
            assert {reply.status for reply in replies} == {200}
    assert standby.stop() == 0
    segments = sorted((pair.primary / ".assay" / "journal").glob("*.journal"))
    assert segments
    for path in segments:
        assert path.read_bytes() == (pair.standby / ".assay" / "journal" / path.name).read_bytes()


def test_a_paused_scorer_acknowledges_nothing_after_a_take_over(pair: Pair) -> None:
    """A scorer that is stopped, loses its place and wakes again acknowledges nothing more; the
    other has every answer that was given, and gives it again byte by byte.
    """
    key, bodies = pair.scenario.api_key, pair.scenario.bodies()
    first, under_way, later = bodies[:300], bodies[300:2300], bodies[2300:2330]
    standby, scorer = StandbyProcess(pair.standby), ScorerProcess(pair.primary)
    given = answered(play(scorer.url, key, first), first)
    assert len(given) == len(first)

    playing = waiting_for_an_answer(scorer.url, key, under_way)
    time.sleep(0.15)
    os.kill(scorer.pid, signal.SIGSTOP)
    promoted = pair.promote()
    assert promoted["epoch"] == 2
    url = str(promoted["url"])
    assert play(url, key, first[:1])[0].body == given[first[0]]
    new = answered(play(url, key, later), later)
    assert len(new) == len(later)

    os.kill(scorer.pid, signal.SIGCONT)
    refused = waiting_for_an_answer(scorer.url, key, bodies[2330:2340])
    time.sleep(1.0)
    scorer.kill()
    assert {reply.status for reply in refused.result(30)} <= {0, 503}
    given |= answered(playing.result(30), under_way)
    assert len(given) > len(first)

    again = play(url, key, list(given))
    assert {body: reply.body for body, reply in zip(given, again, strict=True)} == given
    assert standby.stop() == 0  # the process that became the scorer
    assert {name_of(answer) for answer in (given | new).values()} <= decided(pair.standby)
    with pytest.raises(UnavailableError, match=r"was promoted: .* start it with assay serve"):
        StandbyProcess(pair.standby)


@pytest.mark.slow
def test_a_dead_standby_can_be_promoted(pair: Pair) -> None:
    """A scorer becomes ready when its standby is there; when both processes are gone, the standby's
    journal takes over all the same.
    """
    key, bodies = pair.scenario.api_key, pair.scenario.bodies()[:200]
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(ScorerProcess, pair.primary)
        until = time.monotonic() + 60
        log = pair.primary / ".assay" / "scorer.log"
        while "the standby is away" not in log.read_text() if log.exists() else True:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not starting.done()
        standby = StandbyProcess(pair.standby)
        scorer = starting.result(60)
    with scorer:
        given = answered(play(scorer.url, key, bodies), bodies)
        standby.kill()
        scorer.kill()
    assert len(given) == len(bodies)
    assert pair.promote("--no-serve")["url"] is None
    with ScorerProcess(pair.standby, ["--port", "0"]) as promoted:
        again = play(promoted.url, key, bodies)
    assert {body: reply.body for body, reply in zip(given, again, strict=True)} == given
