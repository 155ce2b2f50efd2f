from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.records import Batch

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
    leaves = ledger.commit([(batch, canonicals, np.arange(first, first + n, dtype=np.uint64))])
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
