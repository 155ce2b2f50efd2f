from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from assay.clock import VirtualClock
from assay.errors import JournalError, StalledError
from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead
from assay.journal.folder import Folder
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.journal.recovery import recalled_ids
from assay.journal.sealer import seal, sealable
from assay.journal.stretch import decode_stretches
from assay.records import EVENT, Batch, LabelReport, ResolvedLabel

BOOT = BootRecord(
    model="m-1",
    policy="p",
    feature_set="f",
    runtime="r",
    fx="x",
    time_zones="t",
    dataset="snapshot",
)


def open_ledger(folder: Path, clock: VirtualClock) -> tuple[Ledger, list[int]]:
    """Open, recover and start a ledger; also return the arrivals that were folded."""
    ledger = Ledger(folder, clock, segment_bytes=1 << 20, ids_max=10_000, horizon_ms=86_400_000)
    folded: list[int] = []
    ledger.recover(
        101, lambda events: folded.extend(events["arrival"].tolist()), lambda _rows: None
    )
    ledger.start(BOOT)
    return ledger, folded


def commit(ledger: Ledger, make_batch: Any, n: int, now_ms: int, first: int) -> list[int]:
    """Commit one batch of n decisions whose ids begin at a number; return their arrivals."""
    made, _ = make_batch(3, n, 5)
    batch = Batch(
        made.events.copy(), made.features, made.scores, made.actions, made.reasons, made.modes
    )
    batch.events["transaction"] = np.arange(first, first + n)
    ledger.stamp(batch.events, now_ms)
    canonicals = [b'{"transaction_id":"t-%d"}' % (first + i) for i in range(n)]
    leaves = ledger.commit(
        [(ledger.boot, batch, canonicals, np.arange(first, first + n, dtype=np.uint64))]
    )
    assert [len(leaf) for leaf in leaves[0]] == [32] * n
    return [int(arrival) for arrival in batch.events["arrival"]]


@pytest.mark.parametrize("sizes", [[0], [1], [2], [1, 1], [0, 0, 3], [5, 0, 1], [0, 1, 0, 0, 2]])
def test_arrivals_never_repeat_over_restarts(
    tmp_path: Path, make_batch: Any, sizes: list[int]
) -> None:
    """However few decisions lie between restarts, arrival numbers only grow, boots included."""
    clock = VirtualClock(1_700_000_000_000)
    seen: list[int] = []
    for restart, n in enumerate([*sizes, 0]):
        ledger, folded = open_ledger(tmp_path, clock)
        assert folded == [arrival for arrival in seen if arrival not in ledger.boots]
        assert ledger.base == "snapshot"
        assert len(ledger.boots) == restart + 1
        seen.append(ledger.boot)
        if n:
            seen += commit(ledger, make_batch, n, clock.now_ms(), 100 * restart + 1)
        assert seen == sorted(set(seen))
        ledger.close()
    assert seen[0] == 101


def test_decisions_are_found_again(tmp_path: Path, make_batch: Any) -> None:
    """A decided id is found before and after a restart, with the same leaf and versions."""
    clock = VirtualClock(1_700_000_000_000)
    ledger, _ = open_ledger(tmp_path, clock)
    commit(ledger, make_batch, 4, clock.now_ms(), 1)
    before = ledger.find("t-2", 2, 2)
    boot = ledger.boot
    ledger.close()
    ledger, _ = open_ledger(tmp_path, clock)
    after = ledger.find("t-2", 2, 2)
    assert before is not None
    assert after is not None
    assert before[1] == after[1]
    assert after[0].boot == boot != ledger.boot
    assert ledger.find("t-9", 9, 9) is None
    assert ledger.find("another id with this hash", 2, 2) is None
    ledger.close()


def test_time_does_not_run_backwards(tmp_path: Path, make_batch: Any) -> None:
    """A clock that steps back leaves arrival times where they were, over restarts too."""
    clock = VirtualClock(1_700_000_000_000)
    ledger, _ = open_ledger(tmp_path, clock)
    commit(ledger, make_batch, 1, clock.now_ms(), 1)
    ledger.close()
    clock.time_ms -= 3_600_000
    ledger, _ = open_ledger(tmp_path, clock)
    commit(ledger, make_batch, 1, clock.now_ms(), 2)
    assert ledger.last_arrival_ms == 1_700_000_000_000
    ledger.close()


def test_labels_and_switches_keep_their_place(tmp_path: Path, make_batch: Any) -> None:
    """What is committed together is in the journal in the order of its arrivals, each decision
    names its own boot record, and a restart goes on after all of it.
    """
    clock = VirtualClock(1_700_000_000_000)
    ledger, _ = open_ledger(tmp_path, clock)
    first, now_ms = ledger.boot, clock.now_ms()
    digests = np.array([1, 2], np.uint64)

    def decided(boot: int, start: int) -> Any:
        batch, canonicals = make_batch(start, 2, 5)
        ledger.stamp(batch.events, now_ms)
        return boot, batch, canonicals, digests

    before = decided(first, 1)
    report = LabelReport(0, 0, "t-1", True, 5, "bank")
    reports = ledger.enter([report], now_ms)
    second, boots = ledger.switch(replace(BOOT, cause="promote"), now_ms)
    after = decided(second, 2)
    labels = ledger.enter([ResolvedLabel(0, 0, 104, True, 5, np.zeros(1, EVENT))], now_ms)
    leaves = ledger.commit([before, reports, boots, after, labels])
    assert [len(part) for part in leaves] == [2, 0, 0, 2, 0]
    ledger.close()

    (stretch,) = decode_stretches([*read_journal(tmp_path)], 0)
    assert stretch.boots.tolist() == [first, first, second, second]
    assert stretch.batch.events["arrival"].tolist() == [102, 103, 106, 107]
    assert [found.arrival for found in stretch.reports] == [104]
    assert [found.arrival for found in stretch.switches] == [101, 105]
    assert [(found.arrival, found.report) for found in stretch.labels] == [(108, 104)]
    ledger, folded = open_ledger(tmp_path, clock)
    assert folded == [102, 103, 106, 107]
    assert ledger.boot == 109
    ledger.close()


class Standby:
    """Another disk that may be away."""

    def __init__(self) -> None:
        self.here = True

    def send(self, position: int) -> None:
        """Do nothing: what counts is whether it is there when it is waited for."""

    def wait(self, _position: int) -> None:
        """Stall while it is away."""
        if not self.here:
            raise StalledError("the standby is away")

    def close(self) -> None:
        """Do nothing."""


def with_standby(folder: Path, standby: Standby) -> Ledger:
    ledger = Ledger(
        folder,
        VirtualClock(1_700_000_000_000),
        segment_bytes=1 << 20,
        ids_max=10_000,
        horizon_ms=86_400_000,
        mirror=lambda _stream, _epoch: standby,
    )
    ledger.recover(101, lambda _events: None, lambda _rows: None)
    ledger.start(BOOT)
    return ledger


def wait_for(wanted: Any) -> None:
    deadline = time.monotonic() + 5
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_stall_is_waited_out(tmp_path: Path, make_batch: Any) -> None:
    """While the journal takes nothing a commit waits and says why; then it goes on by itself, and
    what waited is there once.
    """
    standby = Standby()
    ledger = with_standby(tmp_path, standby)
    standby.here = False
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(commit, ledger, make_batch, 4, 1_700_000_000_000, 1)
        wait_for(lambda: ledger.stalled)
        assert ledger.unavailable() == ledger.stalled == "the standby is away"
        assert not waiting.done()
        standby.here = True
        arrivals = waiting.result(5)
    assert ledger.unavailable() is None
    ledger.close()
    _, folded = open_ledger(tmp_path, VirtualClock(1_700_000_000_000))
    assert folded == arrivals


def test_giving_up_ends_a_stall(tmp_path: Path, make_batch: Any) -> None:
    """Who stops does not wait for room: the commit that waits fails, and a later one too."""
    standby = Standby()
    ledger = with_standby(tmp_path, standby)
    standby.here = False
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(commit, ledger, make_batch, 4, 1_700_000_000_000, 1)
        wait_for(lambda: ledger.stalled)
        ledger.give_up()
        with pytest.raises(StalledError):
            waiting.result(5)
    assert ledger.written, "the next start finds what failed"
    with pytest.raises(StalledError):
        commit(ledger, make_batch, 1, 1_700_000_000_000, 9)
    ledger.close()
    assert open_ledger(tmp_path, VirtualClock(1_700_000_000_000))[0].find("t-2", 2, 2)


def test_what_was_not_written_is_known(tmp_path: Path, make_batch: Any) -> None:
    """A commit that fails before anything was written is told apart: no start will find it."""
    open_ledger(tmp_path, VirtualClock(1_700_000_000_000))[0].close()
    ledger = Ledger(
        tmp_path,
        VirtualClock(1_700_000_000_000),
        segment_bytes=1 << 20,
        ids_max=10_000,
        horizon_ms=86_400_000,
        reserve_bytes=1 << 60,
    )
    ledger.recover(101, lambda _events: None, lambda _rows: None)
    ledger.give_up()
    with pytest.raises(StalledError):
        commit(ledger, make_batch, 4, 1_700_000_000_000, 1)
    assert not ledger.written
    ledger.close()
    ledger, folded = open_ledger(tmp_path, VirtualClock(1_700_000_000_000))
    assert folded == []
    ledger.close()


def test_the_reserve_is_kept(tmp_path: Path) -> None:
    """With less free than the reserve nothing is admitted, before anything was tried."""
    ledger, _ = open_ledger(tmp_path, VirtualClock(1_700_000_000_000))
    ledger.close()
    ledger = Ledger(
        tmp_path,
        VirtualClock(1_700_000_000_000),
        segment_bytes=1 << 20,
        ids_max=10_000,
        horizon_ms=86_400_000,
        reserve_bytes=1 << 60,
        alarm_percent=1,
    )
    assert ledger.unavailable() == "the disk is full"
    assert ledger.stalled is None
    assert ledger.disk()["full"]
    assert ledger.disk()["alarm"]
    ledger.close()


def test_a_clock_set_forward_forgets_no_ids(tmp_path: Path, make_batch: Any) -> None:
    """When the wall clock jumps by a day, what was decided a moment ago is still a repeat."""
    clock = VirtualClock(1_700_000_000_000)
    ledger, _ = open_ledger(tmp_path, clock)
    commit(ledger, make_batch, 4, clock.now_ms(), 1)
    clock.advance(2 * 86_400_000)
    commit(ledger, make_batch, 1, clock.now_ms(), 9)
    assert ledger.find("t-2", 2, 2) is not None
    assert ledger.counts() == {"ids_expired": 0, "ids_dropped": 0, "clock_steps": 1}
    ledger.close()


@pytest.mark.parametrize("sizes", [[1], [3, 200], [70, 1, 130], [1] * 40, [300, 64, 64]])
@pytest.mark.parametrize("segment_bytes", [1 << 14, 1 << 20])
def test_every_arrival_is_found(
    tmp_path: Path, make_batch: Any, sizes: list[int], segment_bytes: int
) -> None:
    """Each record is found by its arrival as it is written, after a restart, and where other
    processes sealed what it stands in; others are not.
    """
    clock = VirtualClock(1_700_000_000_000)

    def opened() -> Ledger:
        ledger = Ledger(
            tmp_path, clock, segment_bytes=segment_bytes, ids_max=10_000, horizon_ms=86_400_000
        )
        ledger.recover(101, lambda _events: None, lambda _rows: None)
        ledger.start(BOOT)
        return ledger

    def check(ledger: Ledger) -> None:
        there = {EntryHead.decode(p).arrival: p for _, p in read_journal(tmp_path)}
        assert sorted(there) == list(range(101, ledger.next_arrival))
        for arrival in range(99, ledger.next_arrival + 2):
            assert ledger.find_arrival(arrival) == there.get(arrival)

    ledger = opened()
    for i, n in enumerate(sizes):
        commit(ledger, make_batch, n, clock.now_ms(), 1000 * i + 1)
        ledger.commit([ledger.check(i, 5, clock.now_ms())])
    check(ledger)
    for number in sealable(Folder(tmp_path)):
        seal(Folder(tmp_path), number, clock)
    check(ledger)
    ledger.close()
    ledger = opened()
    check(ledger)
    assert ledger.versions(101) == BOOT
    ledger.close()


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_mended_clock_forgets_no_ids_over_a_restart(
    tmp_path: Path, make_batch: Any, *, snapshot: bool
) -> None:
    """After a minute in which the clock was a day ahead, a restart still knows what was decided a
    minute ago; arrivals keep their order, and ids from before keep their age.
    """
    clock = VirtualClock(1_700_000_000_000)
    ledger, _ = open_ledger(tmp_path, clock)
    commit(ledger, make_batch, 1, clock.now_ms(), 1)
    clock.advance(6 * 3_600_000)
    commit(ledger, make_batch, 1, clock.now_ms(), 2)
    clock.advance(25 * 3_600_000)
    commit(ledger, make_batch, 1, clock.now_ms(), 3)
    mark = Taken(ledger.position, ledger.next_arrival, ledger.last_arrival_ms, 3)
    ledger.close()
    clock.time_ms -= 25 * 3_600_000 - 60_000
    jumped_ms = mark.arrival_ms

    def reopened() -> Ledger:
        ledger = Ledger(
            tmp_path, clock, segment_bytes=1 << 20, ids_max=10_000, horizon_ms=86_400_000
        )
        ledger.recover(101, lambda _events: None, lambda _rows: None, mark if snapshot else None)
        return ledger

    ledger = reopened()
    assert ledger.last_arrival_ms == jumped_ms
    assert [ledger.find(f"t-{i}", i, i) is not None for i in (1, 2, 3)] == [True] * 3
    ledger.close()
    clock.advance(20 * 3_600_000)
    ledger = reopened()
    assert [ledger.find(f"t-{i}", i, i) is not None for i in (1, 2, 3)] == [False, True, True]
    ledger.close()


@pytest.mark.parametrize("switched", [False, True])
@pytest.mark.parametrize("snapshot", [False, True])
def test_versions_outlive_their_record(
    tmp_path: Path, make_batch: Any, *, snapshot: bool, switched: bool
) -> None:
    """When retention removed the segment with a boot record, decisions that name it are still told
    whole, and at once: a restart has the versions of every id that it remembers in memory.
    """
    clock, folder = VirtualClock(1_700_000_000_000), Folder(tmp_path)
    options = {"segment_bytes": 1 << 12, "ids_max": 10_000, "horizon_ms": 86_400_000}
    ledger = Ledger(tmp_path, clock, **options)
    ledger.recover(101, lambda _events: None, lambda _rows: None)
    ledger.start(BOOT)
    for i in range(12):
        if switched and i == 6:
            ledger.boot, payloads = ledger.switch(replace(BOOT, model="m-2"), clock.now_ms())
            ledger.commit([payloads])
        commit(ledger, make_batch, 7, clock.now_ms(), 100 * i + 1)
    mark = Taken(ledger.position, ledger.next_arrival, ledger.last_arrival_ms, 84)
    ledger.close()
    for number in [*sealable(folder)][:-1]:  # what is not sealed has no index
        seal(folder, number, clock)
    for number in folder.numbers()[:2]:
        folder.sealed(number).unlink()
        folder.index(number).unlink()

    ledger = Ledger(tmp_path, clock, **options)
    ledger.recover(101, lambda _events: None, lambda _rows: None, mark if snapshot else None)
    named = set()
    for i in range(12):
        found = ledger.find(f"t-{100 * i + 3}", 100 * i + 3, 100 * i + 3)
        if found is not None:
            assert found[0].boot in ledger.boots, "the event loop would have to search the disk"
            assert ledger.versions(found[0].boot).model == ("m-2" if switched and i >= 6 else "m-1")
            named.add(found[0].boot)
    assert len(named) == 1 + switched
    ledger.close()
    ledger = Ledger(tmp_path, clock, **options)
    assert ledger.versions(101) == BOOT, "who asks for an older one waits for the disk"
    with pytest.raises(JournalError, match="no boot record 102"):
        ledger.versions(102)
    ledger.close()


@dataclass
class Taken:
    """A snapshot's place."""

    position: int
    next_arrival: int
    arrival_ms: int
    rows: int


def test_only_ids_count_among_the_last_ids(tmp_path: Path, make_batch: Any) -> None:
    """Checks and labels between decisions take no place of an id, also from a mark on."""
    clock = VirtualClock(1_700_000_000_000)

    def opened(mark: Taken | None) -> Ledger:
        ledger = Ledger(tmp_path, clock, segment_bytes=40_000, ids_max=2048, horizon_ms=86_400_000)
        ledger.recover(101, lambda _events: None, lambda _rows: None, mark)
        ledger.start(BOOT)
        return ledger

    ledger = opened(None)
    commit(ledger, make_batch, 600, clock.now_ms(), 1)
    for i in range(2100):
        ledger.commit([ledger.check(i, i, clock.now_ms())])
    commit(ledger, make_batch, 50, clock.now_ms(), 1000)
    mark = Taken(ledger.position, ledger.next_arrival, ledger.last_arrival_ms, 650)
    ledger.close()
    opened(mark).close()  # begins a segment, so that all before it can be sealed
    for number in sealable(Folder(tmp_path)):
        assert seal(Folder(tmp_path), number, clock)
    ledger = opened(mark)
    assert all(ledger.find(f"t-{i}", i, i) for i in (1, 600, 1000, 1049))
    ledger.close()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("at", [0, 1, 5, 11])
def test_recovery_from_a_mark(tmp_path: Path, make_batch: Any, at: int, *, sealed: bool) -> None:
    """From a mark on, only what follows is folded; ids before it are known, from indexes or from
    the records, and everything else is as after a full recovery.
    """
    clock = VirtualClock(1_700_000_000_000)
    folder = Folder(tmp_path)
    ledger = Ledger(tmp_path, clock, segment_bytes=1 << 12, ids_max=10_000, horizon_ms=86_400_000)
    ledger.recover(101, lambda _events: None, lambda _rows: None)
    ledger.start(BOOT)
    marks, rows = [], 0
    for i in range(12):
        marks.append(Taken(ledger.position, ledger.next_arrival, ledger.last_arrival_ms, rows))
        commit(ledger, make_batch, 7, clock.now_ms(), 100 * i + 1)
        ledger.commit([ledger.check(i, 9, clock.now_ms())])
        clock.advance(10)
        rows += 7
    expected = ledger.next_arrival, ledger.last_arrival_ms
    ledger.close()
    if sealed:
        assert len([seal(folder, number, clock) for number in sealable(folder)]) > 3
    ledger = Ledger(tmp_path, clock, segment_bytes=1 << 12, ids_max=10_000, horizon_ms=86_400_000)
    folded: list[int] = []
    recovered = ledger.recover(
        101,
        lambda events: folded.extend(events["arrival"].tolist()),
        lambda _rows: None,
        marks[at],
    )
    assert recovered == rows
    assert len(folded) == rows - 7 * at
    assert all(arrival >= marks[at].next_arrival for arrival in folded)
    assert (ledger.next_arrival, ledger.last_arrival_ms) == expected
    ledger.start(BOOT)
    for i in range(12):
        found = ledger.find(f"t-{100 * i + 3}", 100 * i + 3, 100 * i + 3)
        assert found is not None
        assert ledger.versions(found[0].boot) == BOOT
        assert ledger.find_arrival(found[0].arrival) is not None
    ledger.close()


def test_only_what_may_be_asked_for_is_recalled(tmp_path: Path, make_batch: Any) -> None:
    """Segments whose ids are all too old, or beyond the number that is kept, are not read."""
    clock = VirtualClock(1_700_000_000_000)
    ledger = Ledger(tmp_path, clock, segment_bytes=1 << 12, ids_max=10_000, horizon_ms=86_400_000)
    ledger.recover(101, lambda _events: None, lambda _rows: None)
    ledger.start(BOOT)
    for i in range(12):
        commit(ledger, make_batch, 7, clock.now_ms(), 100 * i + 1)
        clock.advance(3_600_000)
    newest_ms, position = ledger.last_arrival_ms, ledger.position
    ledger.close()

    def recalled(horizon_h: float, ids_max: int) -> list[int]:
        parts = recalled_ids(
            Folder(tmp_path),
            position,
            newest_ms=newest_ms,
            horizon_ms=int(horizon_h * 3_600_000),
            ids_max=ids_max,
        )
        return [int(hash_) for part in parts for hash_ in part.id_hashes]

    everything = recalled(24, 1000)
    assert everything == [100 * i + k for i in range(12) for k in range(1, 8)]
    for few in (recalled(3.5, 1000), recalled(24, 20)):
        assert 20 <= len(few) < 60
        assert few == everything[-len(few) :]
