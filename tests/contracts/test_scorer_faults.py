"""Faults of the machine under a real scorer: nothing is lost, and it says what it can do."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import pytest

from assay import durable
from assay.clock import SystemClock
from assay.errors import JournalError
from assay.journal.decision_record import DecisionRecord, decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.serving.work import WAITERS_MAX
from assay.simulation.player import Reply, play
from assay.simulation.scenario import Scenario

pytestmark = pytest.mark.faults

_STRACE = ("strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync")


def ask(
    url: str, path: str, key: str = "", body: bytes | None = None
) -> tuple[int, float, dict[str, str], Any]:
    """Return status, milliseconds, headers and document of an answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    with closing(connection):
        connection.connect()
        started = time.perf_counter()
        given = {"authorization": f"Bearer {key}"}
        connection.request("GET" if body is None else "POST", path, body=body, headers=given)
        response = connection.getresponse()
        content = response.read()
        took_ms = (time.perf_counter() - started) * 1000
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, took_ms, headers, json.loads(content)


def names_of(replies: list[Reply]) -> dict[str, bytes]:
    """Return the bodies of what was decided, by transaction id."""
    return {r.decision()["transaction_id"]: r.body for r in replies if r.status == 200}


def records_of(folder: Path) -> dict[str, DecisionRecord]:
    """Return the journalled decisions by transaction id, none twice."""
    found: dict[str, DecisionRecord] = {}
    for _, payload in read_journal(folder):
        if EntryHead.decode(payload).kind == EntryKind.decision:
            record = decode_decision(payload)
            assert record.transaction_id not in found, "a transaction was decided twice"
            found[record.transaction_id] = record
    return found


def wait_for(wanted: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def settings(scenario: Scenario, **changed: Any) -> Path:
    """Return the workspace's folder with other settings."""
    folder = scenario.workspace.path
    with (folder / "assay.toml").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = {value}\n" for name, value in changed.items())
    return folder


def fill(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    time.sleep(0.1)  # the scorer looks every 50 ms; its reserve lasts longer than that elsewhere


def test_a_full_disk_refuses_at_once_and_recovers(
    scenario: Scenario, launch: Any, needs: Any
) -> None:
    """On a full disk each request gets 503 at once, half of them within 10 ms and all within
    100 ms; nothing acknowledged is lost, health and metrics say why, repeats are answered, and
    when there is room decisions go on unaided.
    """
    needs("unshare", "-Urm", "true")
    folder = settings(scenario, disk_reserve_mb=1, segment_mb=1, disk_alarm_percent=50)
    key, bodies = scenario.api_key, scenario.bodies()
    journal = folder / ".assay" / "journal"
    journal.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size=8m tmpfs "{journal}" && exec "$@"'
    scorer = launch(folder, prefix=("unshare", "-Urm", "sh", "-c", mount, "sh"))
    small = Path(f"/proc/{scorer.pid}/root{journal}")
    before = names_of(play(scorer.url, key, bodies[:300]))
    assert len(before) == 300
    assert ask(scorer.url, "/health")[3]["stalled"] is None

    filler, took = small / "filler", []
    fill(filler)
    for i in range(40):
        status, took_ms, headers, answer = ask(scorer.url, "/v1/decisions", key, bodies[300 + i])
        assert (status, answer["error"]["code"]) == (503, "audit_unavailable")
        assert headers["retry-after"] == "1"
        took.append(took_ms)
    print(f"503 after {sorted(took)[20]:.1f} ms, at most {max(took):.1f} ms")  # noqa: T201
    assert sorted(took)[20] < 10
    assert max(took) < 100
    label = {"transaction_id": "p", "fraud": True, "reported_at": "2026-06-01T00:00:00Z"}
    status, _, _, answer = ask(scorer.url, "/v1/labels", key, json.dumps(label).encode())
    assert (status, answer["error"]["code"]) == (503, "audit_unavailable")
    status, _, _, health = ask(scorer.url, "/health")
    assert (status, health["status"], health["stalled"]) == (200, "ok", "the disk is full")
    assert health["disk"]["full"]
    assert health["disk"]["alarm"]
    assert names_of(play(scorer.url, key, bodies[:300])) == before

    filler.unlink()
    wait_for(lambda: ask(scorer.url, "/health")[3]["stalled"] is None)
    after = names_of(play(scorer.url, key, bodies[:600]))
    assert len(after) == 600
    assert before.items() <= after.items()
    assert scorer.log.read_text("utf-8").count("the journal's disk is") == 1
    kept = folder / "kept"
    shutil.copytree(small, kept)
    assert scorer.stop() == 0
    assert records_of(kept).keys() == after.keys()


def test_a_disk_that_fills_under_load(scenario: Scenario, launch: Any, needs: Any) -> None:
    """When the disk fills in the middle of the traffic, what was admitted is answered once there
    is room again; nothing answered is lost and nothing is decided twice.
    """
    needs("unshare", "-Urm", "true")
    folder = settings(scenario, disk_reserve_mb=1, segment_mb=1)
    key, bodies = scenario.api_key, scenario.bodies()
    journal = folder / ".assay" / "journal"
    journal.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size=4200k tmpfs "{journal}" && exec "$@"'
    scorer = launch(folder, prefix=("unshare", "-Urm", "sh", "-c", mount, "sh"))
    small = Path(f"/proc/{scorer.pid}/root{journal}")
    (small / "filler").write_bytes(bytes(2 << 20))

    def make_room() -> None:
        wait_for(lambda: ask(scorer.url, "/health")[3]["stalled"], 60)
        time.sleep(0.3)
        (small / "filler").unlink()

    helper = threading.Thread(target=make_room)
    helper.start()
    replies = play(scorer.url, key, bodies[:1500])
    helper.join()
    assert 200 in {reply.status for reply in replies} <= {200, 503}
    acknowledged = names_of(replies)
    kept = folder / "kept"
    shutil.copytree(small, kept)
    assert records_of(kept).keys() == acknowledged.keys()
    assert play(scorer.url, key, bodies[1500:1510])[0].status == 200
    assert scorer.stop() == 0


def test_a_slow_disk_sheds(scenario: Scenario, launch: Any, needs: Any) -> None:
    """When a sync takes half a second, commits grow, what is too much gets 503 without waiting for
    one, half of it within 100 ms; what was admitted is answered, and health answers within 1 s.
    """
    needs("strace", "--seccomp-bpf", "-f", "-o", "/dev/null", "true")
    folder = settings(scenario, queue_rows_max=64, batch_rows_max=64)
    slow = (*_STRACE, "-e", "inject=fdatasync:delay_exit=500000:when=3+")
    scorer = launch(folder, prefix=slow)
    replies: list[Reply] = []
    key, bodies = scenario.api_key, scenario.bodies()[:1500]
    sender = threading.Thread(
        target=lambda: replies.extend(play(scorer.url, key, bodies, connections=150))
    )
    sender.start()
    took = []
    while sender.is_alive():
        status, took_ms, _, health = ask(scorer.url, "/health")
        assert (status, health["status"]) == (200, "ok")
        took.append(took_ms)
        time.sleep(0.05)
    sender.join()
    assert {reply.status for reply in replies} == {200, 503}
    shed = sorted(reply.latency_ms for reply in replies if reply.status == 503)
    decided = names_of(replies)
    print(  # noqa: T201
        f"{len(decided)} decided, {len(shed)} shed after {shed[len(shed) // 2]:.1f} ms, "
        f"health within {max(took):.0f} ms"
    )
    assert len(decided) >= 64
    assert shed[len(shed) // 2] < 100
    assert max(took) < 1000
    again = play(scorer.url, key, [bodies[i] for i, r in enumerate(replies) if r.status == 200])
    assert names_of(again) == decided
    scorer.kill()
    assert records_of(scenario.workspace.journal).keys() == decided.keys()


def test_a_sync_that_fails_stops_the_scorer(scenario: Scenario, launch: Any, needs: Any) -> None:
    """After a sync that fails nothing more is acknowledged, the process ends with an error, and
    the next start has all that was answered. What was written is told to be in doubt; a refusal,
    503, is never in the journal.
    """
    needs("strace", "--seccomp-bpf", "-f", "-o", "/dev/null", "true")
    folder, key, bodies = settings(scenario), scenario.api_key, scenario.bodies()[:2000]
    broken = (*_STRACE, "-e", "inject=fdatasync:error=EIO:when=40")
    scorer = launch(folder, prefix=broken)
    replies = play(scorer.url, key, bodies)
    assert scorer.wait() != 0
    assert "the disk reports an error" in scorer.log.read_text("utf-8")
    acknowledged = names_of(replies)
    assert 0 < len(acknowledged) < len(bodies)
    assert {reply.status for reply in replies} <= {0, 200, 503, 504}
    ids = [json.loads(body)["transaction_id"] for body in bodies]
    by_status = {status: set[str]() for status in (0, 200, 503, 504)}
    for name, reply in zip(ids, replies, strict=True):
        by_status[reply.status].add(name)
        if reply.status == 504:
            assert json.loads(reply.body)["error"]["code"] == "outcome_unknown"
    recovered = records_of(scenario.workspace.journal).keys()
    print({status: len(names) for status, names in by_status.items()})  # noqa: T201
    assert by_status[200] <= recovered
    assert not recovered & by_status[503]
    scorer = launch(folder)
    again = names_of(play(scorer.url, key, bodies))
    assert len(again) == len(bodies)
    assert acknowledged.items() <= again.items()
    assert scorer.stop() == 0
    assert records_of(scenario.workspace.journal).keys() == again.keys()


def reset(url: str, key: str, body: bytes) -> None:
    """Send a request and reset the connection without waiting for its answer."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        head = f"POST /v1/decisions HTTP/1.1\r\nHost: assay\r\nAuthorization: Bearer {key}\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(0.001)


def give_up(url: str, key: str, body: bytes, clients: int) -> None:
    """Send a request from a number of clients at once, none of which waits for long."""
    address = urlsplit(url)
    head = f"POST /v1/decisions HTTP/1.1\r\nHost: assay\r\nAuthorization: Bearer {key}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ExitStack() as connections:
        for _ in range(clients):
            client = socket.create_connection((address.hostname, address.port))
            connections.enter_context(client).sendall(request)
        time.sleep(0.2)


def test_clients_that_give_up_make_room(scenario: Scenario, launch: Any, needs: Any) -> None:
    """While a decision waits for a slow disk its clients give up and ask again, more often than may
    wait at once: the last of them gets the answer.
    """
    needs("strace", "--seccomp-bpf", "-f", "-o", "/dev/null", "true")
    slow = (*_STRACE, "-e", "inject=fdatasync:delay_exit=2000000:when=3+")
    scorer = launch(scenario.workspace.path, prefix=slow)
    key, (body, *others) = scenario.api_key, scenario.bodies()[:3]
    assert len(names_of(play(scorer.url, key, others, connections=1))) == 2  # its first two syncs
    for _ in range(3):
        give_up(scorer.url, key, body, WAITERS_MAX // 2)
    assert ask(scorer.url, "/v1/counters", key)[3]["waiting"] == 1
    assert ask(scorer.url, "/v1/decisions", key, body)[0] == 200
    counters = ask(scorer.url, "/v1/counters", key)[3]
    assert (counters["decisions"], counters["refused"]) == (3, 0)
    assert counters["repeats"] > WAITERS_MAX


def test_a_client_that_dies_before_its_answer(scenario: Scenario, launch: Any) -> None:
    """A request whose client resets the connection is decided, once; the retry gets its answer."""
    key, bodies = scenario.api_key, scenario.bodies()[:60]
    scorer = launch(scenario.workspace.path)
    for body in bodies:
        reset(scorer.url, key, body)
    wait_for(lambda: ask(scorer.url, "/v1/counters", key)[3]["waiting"] == 0)
    decided = ask(scorer.url, "/v1/counters", key)[3]["decisions"]
    assert decided > 0, "every connection was reset before its request was read"
    replies = play(scorer.url, key, bodies)
    assert {reply.status for reply in replies} == {200}
    counters = ask(scorer.url, "/v1/counters", key)[3]
    assert counters["decisions"] == len(bodies)
    assert counters["repeats"] == decided
    assert scorer.stop() == 0
    assert len(records_of(scenario.workspace.journal)) == len(bodies)


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_suspended_scorer(scenario: Scenario, launch: Any, *, taken_over: bool) -> None:
    """While a scorer is suspended no other can write its journal. Resumed, it goes on; if it was
    taken over meanwhile, by a higher epoch, it acknowledges nothing more, ends, and says why.
    """
    key, bodies, journal = scenario.api_key, scenario.bodies(), scenario.workspace.journal
    scorer = launch(scenario.workspace.path)
    before = names_of(play(scorer.url, key, bodies[:200]))
    os.kill(scorer.pid, signal.SIGSTOP)
    try:
        options = {"segment_bytes": 1 << 20, "ids_max": 100, "horizon_ms": 1000}
        with pytest.raises(JournalError, match="another"):
            Ledger(journal, SystemClock(), **options)
        if taken_over:
            take_over(journal)
    finally:
        os.kill(scorer.pid, signal.SIGCONT)
    after = play(scorer.url, key, bodies[200:300])
    if taken_over:
        assert 200 not in {reply.status for reply in after}
        assert scorer.wait() != 0
        assert "epoch 1 is stale, 2 is in force" in scorer.log.read_text("utf-8")
    else:
        assert {reply.status for reply in after} == {200}
        assert scorer.stop() == 0
    assert records_of(journal).keys() == before.keys() | names_of(after).keys()


def take_over(journal: Path) -> None:
    """Raise the epoch as a writer does that takes the lock of one that is gone."""
    path = journal / "epoch"
    epoch, stream = struct.unpack_from("<Q16s", path.read_bytes())
    body = struct.pack("<Q16s", epoch + 1, stream)
    durable.replace(path, body + google_crc32c.value(body).to_bytes(4, "little"))
