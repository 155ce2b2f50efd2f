from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
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
    before = ledger.find("t-2", 2, 2, clock.now_ms())
    boot = ledger.boot
    ledger.close()
    ledger, _ = open_ledger(tmp_path, clock)
    after = ledger.find("t-2", 2, 2, clock.now_ms())
    assert before is not None
    assert after is not None
    assert before[1] == after[1]
    assert after[0].boot == boot != ledger.boot
    assert ledger.find("t-9", 9, 9, clock.now_ms()) is None
    assert ledger.find("another id with this hash", 2, 2, clock.now_ms()) is None
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
