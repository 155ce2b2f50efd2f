"""The log on a disk that loses, tears and reorders what was not synced, against a plain list."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.journal.fault_disk import FaultDisk, PowerCutError

from assay.clock import VirtualClock
from assay.errors import StalledError
from assay.journal.entries import EntryHead
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.log import Log
from assay.journal.sealer import seal, sealable

CLOCK = VirtualClock(1_700_000_000_000)
SEED = int(os.environ.get("ASSAY_FAULT_SEED", "20261124"))
MEMORY = Path("/dev/shm")


SIZES = st.lists(st.sampled_from([0, 1, 30, 300, 470, 900]), min_size=1, max_size=4)


def payload(number: int, size: int) -> bytes:
    """Return record `number`, without zero bytes behind its head."""
    return EntryHead(1, 2, 0, 24, number, 0).encode() + bytes([number % 251 + 1]) * size


class Journal(RuleBasedStateMachine):
    """A writer, a follower with a place it keeps, a disk, and what must be true of them.

    Attributes
    ----------
    acked : list of bytes
        What the writer was told is durable, in order.
    pending : list of bytes
        What was appended after that.
    entering : int
        How many of `pending` belong to an append that did not return.
    seen : list of bytes
        What the follower was given; the first `kept` it also keeps itself, durably.
    """

    @initialize(segment_bytes=st.sampled_from([200, 900, 4000]), reserve=st.sampled_from([0, 600]))
    def begin(self, segment_bytes: int, reserve: int) -> None:
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.disk = FaultDisk(self.root)
        self.segment_bytes, self.reserve = segment_bytes, reserve
        self.log: Log | None = None
        self.acked: list[bytes] = []
        self.pending: list[bytes] = []
        self.entering, self.number = 0, 0
        self.positions: dict[bytes, int] = {}
        self.seen: list[bytes] = []
        self.kept, self.kept_position = 0, 0
        self.follower = Follower(self.disk.path)
        self.cut_seed: int | None = None

    # --- the writer ---------------------------------------------------------------------------

    @rule(sizes=SIZES)
    def append(self, sizes: list[int]) -> None:
        payloads = [payload(self.number + i, size) for i, size in enumerate(sizes)]
        self.run(lambda: self.append_now(payloads))

    def append_now(self, payloads: list[bytes]) -> None:
        log = self.opened()
        self.pending += payloads
        self.entering = len(payloads)
        self.number += len(payloads)
        try:
            positions = log.append(payloads)
        except StalledError:
            del self.pending[-len(payloads) :]
            self.entering = 0
            raise
        assert positions == sorted(positions)
        self.positions |= zip(payloads, positions, strict=True)
        self.entering = 0

    @rule(sizes=SIZES, again=SIZES, room=st.integers(1, 1500))
    def append_again(self, sizes: list[int], again: list[int], room: int) -> None:
        """Append to a disk that is nearly full, and something else when there is room."""
        self.disk.room = room
        self.append(sizes)
        self.disk_free()
        self.append(again)

    @rule()
    def sync(self) -> None:
        self.run(self.sync_now)

    def sync_now(self) -> None:
        self.opened().sync()
        self.acked += self.pending
        self.pending = []

    @rule()
    def stop(self) -> None:
        self.run(self.stop_now)

    def stop_now(self) -> None:
        self.opened().close()
        self.log = None
        self.acked += self.pending
        self.pending = []

    @rule(room=st.sampled_from([0, 1, 40, 600, 1500]))
    def disk_full(self, room: int) -> None:
        self.disk.room = room

    @rule()
    def disk_free(self) -> None:
        self.disk.room = 1 << 40

    # --- the end of the process, or of its machine --------------------------------------------

    @rule()
    def kill(self) -> None:
        self.die(None)

    @rule(cut_seed=st.integers(0, 2**32))
    def power_cut(self, cut_seed: int) -> None:
        self.die(cut_seed)

    @rule(operations=st.integers(1, 9), cut_seed=st.none() | st.integers(0, 2**32))
    def dies_soon(self, operations: int, cut_seed: int | None) -> None:
        """Let the process, or its machine, stop in the midst of something it does to the disk."""
        self.disk.cut_after(operations)
        self.cut_seed = cut_seed

    def run(self, act: Callable[[], None]) -> None:
        try:
            act()
        except PowerCutError:
            self.die(self.cut_seed)
        except (StalledError, OSError):
            assert self.disk.room < 3000

    def die(self, cut_seed: int | None) -> None:
        if self.log is not None:
            for fd in (self.log._fd, self.log._lock._fd, self.log._lock._epoch_fd):
                if fd >= 0:
                    os.close(fd)
            self.log = None
        self.disk.restart()
        if cut_seed is not None:
            self.disk.power_cut(cut_seed)
            del self.seen[self.kept :]
            self.follower = Follower(self.disk.path, self.kept_position)
            self.entering = len(self.pending)

    def opened(self) -> Log:
        if self.log is None:
            log = Log.open(
                self.disk.path,
                CLOCK,
                segment_bytes=self.segment_bytes,
                stream=b"s" * 16,
                reserve_bytes=self.reserve,
            )
            self.log = log
            self.recovered(log)
        return self.log

    def recovered(self, log: Log) -> None:
        """Compare what is there with what may be: all acknowledged, then some that were not."""
        found = list(log.scan())
        there = [data for _, data in found]
        written = self.acked + self.pending
        assert there[: len(self.acked)] == self.acked, "what was acknowledged is lost"
        assert there == written[: len(there)], "something is doubled, or out of order"
        assert len(there) >= len(written) - self.entering, "a kill lost what was written"
        assert len(there) >= self.kept, "what a follower keeps is lost"
        for position, data in found:
            assert self.positions.setdefault(data, position) == position
            assert log.read(position) == data
        self.acked, self.pending, self.entering = there, [], 0

    # --- the sealer ---------------------------------------------------------------------------

    @rule()
    def seal(self) -> None:
        self.run(self.seal_now)

    @rule(operations=st.integers(1, 10), cut_seed=st.integers(0, 2**32))
    def seal_and_lose_power(self, operations: int, cut_seed: int) -> None:
        self.dies_soon(operations, cut_seed)
        self.run(self.seal_now)
        self.disk.cut_after(0)

    def seal_now(self) -> None:
        folder = Folder(self.disk.path)
        for number in sealable(folder)[:1]:
            assert seal(folder, number, CLOCK), "a crash was taken for damage"

    # --- the follower -------------------------------------------------------------------------

    @rule(records_max=st.integers(1, 9))
    def follow(self, records_max: int) -> None:
        self.seen += [data for _, data in self.follower.read(records_max)]

    @rule()
    def keep_place(self) -> None:
        def keep() -> None:
            self.follower.sync()
            self.kept, self.kept_position = len(self.seen), self.follower.position

        self.run(keep)

    @rule(back=st.integers(0, 12))
    def resume(self, back: int) -> None:
        """Another follower goes on from any record that this one was given, or from its place."""
        if back and len(self.seen) - back >= self.kept:
            position = self.positions[self.seen[-back]]
            del self.seen[-back:]
        else:
            position = self.follower.position
        self.follower = Follower(self.disk.path, position)

    @invariant()
    def the_follower_sees_each_once(self) -> None:
        if hasattr(self, "seen"):
            assert self.seen == (self.acked + self.pending)[: len(self.seen)]

    def teardown(self) -> None:
        if not hasattr(self, "disk"):
            return
        try:
            self.disk_free()
            self.disk.cut_after(0)
            self.sync()
            while found := self.follower.read(3):
                self.seen += [data for _, data in found]
            assert self.seen == self.acked == [data for _, data in self.opened().scan()]
            self.die(None)
        finally:
            self.disk.close()
            shutil.rmtree(self.root)


def cut_at_every_step(seeds: range) -> None:
    """Let power fail in each operation of a life with all that a log does, differently per seed."""
    for operations in range(1, 75):
        for cut_seed in seeds:
            journal = Journal()
            journal.begin(segment_bytes=200, reserve=0)
            journal.dies_soon(operations, cut_seed)
            journal.append([300])
            journal.sync()
            journal.append_again([900], [30, 30], 700)
            journal.follow(5)
            journal.keep_place()
            journal.append([1])
            journal.seal()
            journal.stop()
            journal.append([470, 30])
            journal.seal()
            journal.the_follower_sees_each_once()
            journal.teardown()


def test_power_cut_at_every_step() -> None:
    """Whichever operation on the disk is the last, what was acknowledged is there, once."""
    cut_at_every_step(range(2))


@pytest.mark.faults
def test_power_cut_at_every_step_in_many_ways() -> None:
    """The same, with more of what a disk may keep of it."""
    cut_at_every_step(range(2, 30))


@pytest.mark.parametrize("cut_seed", range(4))
def test_a_place_in_a_segment_that_is_not_durable_yet(cut_seed: int) -> None:
    """A follower keeps no place in a segment whose name a power cut may still take away.

    The writer dies between renaming a new segment and syncing the folder; the follower is there.
    """
    journal = Journal()
    journal.begin(segment_bytes=200, reserve=0)
    journal.append([300])
    journal.sync()
    journal.dies_soon(6, None)
    journal.append([300])
    journal.follow(9)
    journal.keep_place()
    journal.power_cut(cut_seed)
    journal.teardown()


@pytest.mark.parametrize("cut_seed", range(4))
def test_a_follower_that_resumes_keeps_what_another_was_given(cut_seed: int) -> None:
    """A follower makes all before its position durable, also if it has read nothing itself yet."""
    journal = Journal()
    journal.begin(segment_bytes=900, reserve=0)
    journal.append([300])
    journal.follow(9)
    journal.resume(back=0)
    journal.keep_place()
    journal.power_cut(cut_seed)
    journal.teardown()


def run(examples: int) -> None:
    """Let the machine run so many times from the seed."""
    print(f"seed {SEED}")  # noqa: T201 - whoever sees a failure needs it
    seed(SEED)(Journal)
    run_state_machine_as_test(
        Journal,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_acknowledged_is_lost() -> None:
    """Whatever is cut, torn, full or stopped, all that was acknowledged is read once, in order."""
    run(60)


@pytest.mark.faults
def test_nothing_acknowledged_is_lost_in_2000_runs() -> None:
    """The same, two thousand times."""
    run(2000)
