"""A scorer without a model or a network, and the feature states of a worker that follows it."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import encode_check
from assay.journal.folded import decode_folded
from assay.journal.follower import Follower
from assay.journal.ledger import Ledger
from assay.records import Batch, Check, Events, empty_events
from assay.worker.keeper import Keeper
from assay.worker.kept_state import KeptState

BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="t", dataset="s"
)
CARDS = 7


class Sums:
    """Counts and sums by card, each as it was before the event."""

    def __init__(self) -> None:
        self.seen = np.zeros((CARDS, 2), np.int64)

    def __call__(self, events: Events) -> NDArray[np.float32]:
        out = np.empty((len(events), 2), np.float32)
        for row, event in zip(out, events, strict=True):
            kept = self.seen[int(event["card"]) % CARDS]
            row[:] = kept
            kept += 1, int(event["amount_minor"])
        return out

    def check(self, piece: int) -> int:
        return zlib.crc32(self.seen[piece % CARDS].tobytes())


class LittleScorer:
    """Journals decisions with their features, and checks of its state."""

    def __init__(self, folder: Path, fold: Sums | None = None, boot: BootRecord = BOOT) -> None:
        self.fold = Sums() if fold is None else fold
        self.ledger = Ledger(
            folder, VirtualClock(1), segment_bytes=8192, ids_max=10_000, horizon_ms=1
        )
        self.rows = self.ledger.recover(1, self.fold, lambda _rows: None)
        self.ledger.start(boot)

    def decide(self, amounts: list[int], twist: Callable[[Any], None] = lambda _: None) -> None:
        """Decide payments; a twist changes what is journalled of the features."""
        events = empty_events(len(amounts))
        events["amount_minor"] = amounts
        events["card"] = amounts
        self.ledger.stamp(events, 5)
        features = self.fold(events)
        twist(features)
        n = len(events)
        batch = Batch(
            events,
            features,
            np.zeros(n, np.float32),
            np.zeros(n, np.uint8),
            np.zeros((n, 4), np.uint16),
            np.zeros(n, np.uint8),
        )
        bodies = [b'{"transaction_id":"t-%d"}' % k for k in events["arrival"].tolist()]
        self.ledger.commit([(self.ledger.boot, batch, bodies, np.arange(n, dtype=np.uint64))])
        self.rows += n

    def check(self, piece: int, digest: int | None = None) -> None:
        """Journal what a piece of the state is like, or is said to be like."""
        digest = self.fold.check(piece) if digest is None else digest
        arrival = self.ledger.next_arrival
        self.ledger.next_arrival += 1
        self.ledger.commit([[encode_check(Check(arrival, 5, piece, digest))]])

    def restart(self, folder: Path, **changes: str) -> LittleScorer:
        """End, and start again with a sound state."""
        self.ledger.close()
        return LittleScorer(folder, boot=replace(BOOT, **changes))


class LittleStates:
    """Snapshots in memory, newest last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[KeptState] = []
        self.begun: list[int] = []
        self.failure: Exception | None = None

    def _newest(self) -> tuple[int, tuple[str, str]]:
        follower = Follower(self.folder, on_gap=lambda _: None)
        records = follower.read()
        while more := follower.read():
            records += more
        starts = [part.switch for part in decode_folded(records, 0) if part.switch is not None]
        if not starts:
            return 0, ("", "")
        return starts[-1].arrival, (starts[-1].feature_set, starts[-1].runtime)

    def started(self) -> int:
        return self._newest()[0]

    def begin(self, behind: int, stopped: Callable[[], bool]) -> KeptState | None:
        assert not stopped()
        started, versions = self._newest()
        fitting = [state for state in self.kept if state.position >= behind]
        if fitting:
            state = copy.deepcopy(fitting[-1])
        elif behind:
            raise JournalError("no snapshot lies behind it")
        else:
            state = KeptState(Sums(), ("count", "sum"), "s", "b", 0, 1, 0, 0, 0, ("", ""))
        state.started, state.versions = started, versions
        state.checked_rows = state.checks = 0
        self.begun.append(state.position)
        return state

    def keep(self, state: KeptState) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.kept = [*self.kept, copy.deepcopy(state)][-2:]
        return {"position": state.position, "bytes": 1}

    def floor(self) -> int:
        return self.kept[0].position if len(self.kept) > 1 else 0


def make_keeper(
    states: LittleStates, records: int = 10**6, before: dict[str, Any] | None = None
) -> Keeper:
    """Return a keeper of a little scorer's state, which takes a snapshot after so many records."""
    return Keeper(
        states,
        lambda position, on_gap: Follower(states.folder, position, on_gap=on_gap),
        decode_folded,
        VirtualClock(9),
        snapshot_records=records,
        snapshot_s=10**6,
        before=before,
    )
