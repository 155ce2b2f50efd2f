"""Keeps the feature state beside the scorer's: compares the two, and takes snapshots of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final

from assay.clock import Clock
from assay.errors import AssayError
from assay.records import Gap
from assay.worker.kept_state import KeptState
from assay.worker.ports import DecodeFolded, Folded, Follow, Follower, States

log = logging.getLogger("assay.worker.keeper")

RECORDS_MAX: Final = 16_384
"""Records of one turn."""

BEHIND_BYTES: Final = 4 << 20
RETRY_S: Final = 60.0
"""After so long without a state it is tried again."""

LOOK_S: Final = 2.0
"""How often the keeper looks whether the scorer has started anew, while it waits for that."""

REST: Final = 8
"""A snapshot that took so long is not followed by another before eight times as long."""

_IDLE_S: Final = 0.05

_OTHERS: Final = (
    "the scorer runs other code or settings than are here now, so nothing is compared until it "
    "is started again"
)
_ELSEWHERE: Final = (
    "the state was folded from the rest of the journal, so features are compared, and pieces of "
    "the state once the scorer is started again"
)


class Keeper:
    """Folds what the scorer folds, in a thread of its own.

    It may stall for a snapshot, and start over from one or from the history, without holding up
    the tables and the monitors. Its troubles end itself only, and it says why.

    Parameters
    ----------
    states : States
    follow : callable
        Gives followers of the scorer's journal.
    decode : callable
    clock : Clock
    snapshot_records : int
        A snapshot is due after so many records, or
    snapshot_s : float
        after so long with any.
    before : mapping or None
        The document that a worker before this one left: its mismatch stands until the scorer
        starts anew.

    Attributes
    ----------
    document : dict
        What is known of the state; replaced as a whole.
    """

    def __init__(
        self,
        states: States,
        follow: Follow,
        decode: DecodeFolded,
        clock: Clock,
        *,
        snapshot_records: int,
        snapshot_s: float,
        before: Mapping[str, Any] | None = None,
    ) -> None:
        self._states, self._follow, self._decode, self._clock = states, follow, decode, clock
        self._snapshot_records, self._snapshot_s = snapshot_records, snapshot_s
        self._state: KeptState | None = None
        self._follower: Follower | None = None
        self._gap: Gap | None = None
        self._behind_gap = 0
        self._mismatch: dict[str, Any] | None = (before or {}).get("mismatch")
        self._reason: str | None = "it begins"
        self._snapshot: dict[str, Any] | None = (before or {}).get("snapshot")
        self._snapshot_error: str | None = None
        self._kept_rows, self._kept_s, self._rest_until_s = 0, perf_counter(), 0.0
        self._records = 0
        self._begin_due_s = self._tell_due_s = 0.0
        self._stopped = threading.Event()
        self.document: dict[str, Any] = {}
        self._tell()

    def run(self, stop: threading.Event) -> None:
        """Keep the state until told to stop."""
        self._stopped = stop
        while not stop.is_set():
            if not self.turn():
                stop.wait(_IDLE_S)
        self._tell()

    def turn(self) -> int:
        """Begin, or go on; return the number of records folded."""
        try:
            if self._state is None or self._follower is None:
                self._wait_or_begin()
                return 0
            return self._go_on(self._state, self._follower)
        except (AssayError, OSError) as error:
            log.warning("the feature state is not kept: %s", error)
            self._off(str(error))
            return 0
        finally:
            if perf_counter() >= self._tell_due_s:
                self._tell()

    # --- beginning ------------------------------------------------------------------------------

    def _wait_or_begin(self) -> None:
        if perf_counter() < self._begin_due_s:
            return
        started = self._states.started()
        if not started or (self._mismatch and started <= self._mismatch["started"]):
            self._begin_due_s = perf_counter() + LOOK_S
            self._reason = None if started else "the scorer has not started yet"
            return
        self._begin_due_s = perf_counter() + RETRY_S
        self._mismatch = None
        state = self._states.begin(self._behind_gap, self._stopped.is_set)
        if state is None:
            return
        log.info("the feature state is kept from position %d on", state.position)
        self._follower = self._follow(state.position, self._on_gap)
        self._state, self._gap = state, None
        self._reason = _uncompared(state)
        self._records, self._kept_s = 0, perf_counter()

    def _off(self, reason: str | None) -> None:
        """Give the state up; a new one is tried for later."""
        self._state = self._follower = None
        self._reason = reason
        self._begin_due_s = perf_counter() + RETRY_S
        self._tell()

    def _on_gap(self, gap: Gap) -> None:
        self._gap = gap

    # --- going on -------------------------------------------------------------------------------

    def _go_on(self, state: KeptState, follower: Follower) -> int:
        records = follower.read(RECORDS_MAX)
        if self._gap is not None:
            self._lose(self._gap)
            return 0
        if records and not self._take(state, self._decode(records, follower.position)):
            return len(records)
        self._records += len(records)
        if self._due():
            self._keep(state, follower)
        return len(records)

    def _lose(self, gap: Gap) -> None:
        """Give up a state that would lack what could not be read."""
        log.warning("the journal cannot be read: %s", gap.why)
        self._behind_gap = max(self._behind_gap, gap.position_after)
        self._off(f"the journal cannot be read, so what comes behind is not whole: {gap.why}")
        self._begin_due_s = 0.0  # a snapshot may lie behind it

    def _take(self, state: KeptState, parts: Sequence[Folded]) -> bool:
        """Fold parts in; False if the state is of no more use."""
        for part in parts:
            switch = part.switch
            if switch is not None and switch.cause == "start" and switch.arrival > state.started:
                if (switch.feature_set, switch.runtime) != state.versions:
                    self._off("the scorer has started with other versions")
                    self._begin_due_s = 0.0
                    return False
                state.started = switch.arrival
                self._reason = _uncompared(state)
            if (difference := state.take(part)) is not None:
                self._differ(state, difference)
                return False
        return True

    def _differ(self, state: KeptState, difference: dict[str, Any]) -> None:
        self._mismatch = difference | {
            "started": state.started,
            "found_ms": self._clock.now_ms(),
        }
        log.error("the scorer's feature state is not what the journal gives: %s", difference)
        self._off(None)
        self._begin_due_s = 0.0

    # --- snapshots ------------------------------------------------------------------------------

    def _due(self) -> bool:
        if not self._records or (now_s := perf_counter()) < self._rest_until_s:
            return False
        many = self._records >= self._snapshot_records
        return many or now_s - self._kept_s >= self._snapshot_s

    def _keep(self, state: KeptState, follower: Follower) -> None:
        """Take a snapshot of what the journal holds durably."""
        follower.sync()
        began_s = perf_counter()
        try:
            kept = self._states.keep(state)
        except (AssayError, OSError) as error:
            log.warning("no snapshot was taken: %s", error)
            self._snapshot_error = str(error)
        else:
            took_s = round(perf_counter() - began_s, 3)
            self._snapshot = kept | {"at_ms": self._clock.now_ms(), "took_s": took_s}
            self._snapshot_error = None
        self._records, self._kept_s = 0, perf_counter()
        self._rest_until_s = self._kept_s + REST * (self._kept_s - began_s)
        self._tell()

    # --- telling --------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._tell_due_s = perf_counter() + 1.0
        state, behind_bytes = self._state, self._behind_bytes()
        behind_ms = self._clock.now_ms() - state.arrival_ms if state and behind_bytes else 0
        self.document = {
            "state": self._word(behind_bytes),
            "reason": self._reason,
            "mismatch": self._mismatch,
            "checked_rows": state.checked_rows if state else 0,
            "checks": state.checks if state else 0,
            "position": state.position if state else None,
            "behind_s": round(max(behind_ms, 0) / 1000, 1) if state else None,
            "snapshot": self._snapshot,
            "snapshot_error": self._snapshot_error,
        }

    def _behind_bytes(self) -> int:
        try:
            return 0 if self._follower is None else self._follower.behind_bytes()
        except (AssayError, OSError):  # the next read says what it is
            return 0

    def _word(self, behind_bytes: int) -> str:
        if self._mismatch is not None:
            return "mismatch"
        if self._state is None:
            return "off"
        return "behind" if behind_bytes >= BEHIND_BYTES else "ok"


def _uncompared(state: KeptState) -> str | None:
    """Return why a state is not compared, or not in all."""
    if not state.comparable:
        return _OTHERS
    return None if state.compares_checks else _ELSEWHERE
