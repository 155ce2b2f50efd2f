"""The readers' interface, whatever becomes of the journal meanwhile."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from assay.clock import VirtualClock
from assay.errors import DamageError, InputError, JournalError
from assay.journal import Entry, EntryKind, read_entries
from assay.journal.check_record import encode_check
from assay.journal.entries import EntryHead
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.label_record import encode_label, encode_report
from assay.journal.log import Log
from assay.journal.retention import drop_segments
from assay.journal.sealer import seal, sealable
from assay.records import EVENT, Check, Gap, LabelReport, ResolvedLabel

Writer = Callable[..., list[tuple[int, bytes]]]
CLOCK = VirtualClock(1_700_000_000_000)
T0 = 1_700_000_000_000


def raw(entries: list[Entry]) -> list[int]:
    return [entry.position for entry in entries]


def seal_all(folder: Path) -> None:
    for number in sealable(Folder(folder)):
        seal(Folder(folder), number, CLOCK)


@pytest.mark.parametrize("sealed", [False, True])
def test_entries_are_filtered(tmp_path: Path, write_stream: Writer, sealed: bool) -> None:
    """Time, kind and key each leave exactly what they should, sealed or not."""
    written = write_stream(tmp_path, 40)
    if sealed:
        seal_all(tmp_path)
    everything = [*read_entries(tmp_path)]
    assert raw(everything) == [position for position, _ in written]
    assert [entry.arrival for entry in everything] == [*range(1, 42)]
    assert [entry.kind for entry in everything[:2]] == [EntryKind.boot, EntryKind.decision]
    assert raw([*read_entries(tmp_path, kinds=[EntryKind.boot])]) == [written[0][0]]
    assert [*read_entries(tmp_path, kinds=[EntryKind.label])] == []
    span = read_entries(tmp_path, since_ms=T0 + 10_000, until_ms=T0 + 30_000)
    assert [entry.arrival for entry in span] == [*range(10, 30)]
    assert [*read_entries(tmp_path, since_ms=T0 + 99_000)] == []
    card = int(everything[20].record.event["card"][0])  # type: ignore[union-attr]
    assert raw([*read_entries(tmp_path, key=("card", card))]) == raw(everything[20:21])
    with pytest.raises(InputError, match="accepted: transaction, related, card"):
        next(read_entries(tmp_path, key=("amount_minor", 1)))


def test_every_kind_is_read(tmp_path: Path, write_stream: Writer) -> None:
    """Labels and checks are entries too; a label has the key of its transaction."""
    write_stream(tmp_path, 3)
    log = Log.open(tmp_path, CLOCK)
    event = np.zeros(1, EVENT)
    event["card"] = 77
    report = LabelReport(50, T0 + 50_000, "t-1", True, 4, "bank")
    label = ResolvedLabel(51, T0 + 50_000, 50, True, 4, event)
    check = Check(52, T0 + 50_000, 9, 2**64 - 1)
    log.append([encode_report(report, bytes(16)), encode_label(label, bytes(16))])
    log.append([encode_check(check)])
    log.close()
    found = [*read_entries(tmp_path, since_ms=T0 + 50_000)]
    assert [entry.kind for entry in found] == [
        EntryKind.label_report,
        EntryKind.label,
        EntryKind.check,
    ]
    assert [found[0].record, found[2].record] == [report, check]
    assert [entry.arrival for entry in read_entries(tmp_path, key=("card", 77))] == [51]
    log = Log.open(tmp_path, CLOCK)
    log.append([EntryHead(1, 9, 0, 24, 60, T0).encode()])
    log.close()
    with pytest.raises(JournalError, match="kind 9"):
        list(read_entries(tmp_path))
    assert len([*read_entries(tmp_path, kinds=[EntryKind.check])]) == 1


def test_reading_resumes_after_any_entry(tmp_path: Path, write_stream: Writer) -> None:
    """Whoever goes on after an entry gets the next one, wherever that stands."""
    write_stream(tmp_path, 30)
    everything = [*read_entries(tmp_path)]
    seal(Folder(tmp_path), 1, CLOCK)
    for i, entry in enumerate(everything):
        after = [*read_entries(tmp_path, entry.position_after)]
        assert raw(after) == raw(everything[i + 1 :])


def test_following_sees_what_comes(tmp_path: Path, write_stream: Writer) -> None:
    """A follower waits at the end, gets what is written meanwhile, and can be stopped."""
    stop = threading.Event()
    found: list[Entry] = []

    def follow() -> None:
        found.extend(read_entries(tmp_path, follow=True, stop=stop.is_set))

    thread = threading.Thread(target=follow)
    thread.start()
    written = write_stream(tmp_path, 30)
    seal_all(tmp_path)
    written += write_stream(tmp_path, 30, 100)
    wait = threading.Event()
    for _ in range(100):
        if len(found) == len(written):
            break
        wait.wait(0.05)
    stop.set()
    thread.join(5)
    assert raw(found) == [position for position, _ in written]


def test_damage_is_an_error_or_a_gap(tmp_path: Path, write_stream: Writer) -> None:
    """Damage stops a reader with file and offset, or is told and everything else is read."""
    written = write_stream(tmp_path, 40)
    path = Folder(tmp_path).segment(2)
    inside = [position for position, _ in written if position >> 40 == 2]
    data = bytearray(path.read_bytes())
    data[(inside[4] & 0xFFFFFFFF) + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match=r"00000002.journal: damaged at offset"):
        list(read_entries(tmp_path))
    gaps: list[Gap] = []
    rest = raw([*read_entries(tmp_path, on_gap=gaps.append)])
    (gap,) = gaps
    lost = [p for p, _ in written if gap.position <= p < gap.position_after]
    assert inside[4] in lost
    assert rest == [p for p, _ in written if p not in lost]
    assert len(lost) <= 3
    assert "00000002.journal: damaged at offset" in gap.why


def test_damage_to_a_sealed_segment_is_a_gap(tmp_path: Path, write_stream: Writer) -> None:
    """A sealed segment that lost a block, or its header, costs what it held and nothing else."""
    written = write_stream(tmp_path, 2500, segment_bytes=600_000)
    seal_all(tmp_path)
    path = Folder(tmp_path).sealed(1)
    whole = path.read_bytes()
    for at, named in ((len(whole) - 4, "checksum"), (40, "header"), (110, "table")):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        gaps: list[Gap] = []
        rest = raw([*read_entries(tmp_path, on_gap=gaps.append)])
        (gap,) = gaps
        assert rest == [p for p, _ in written if not gap.position <= p < gap.position_after]
        assert named in gap.why
        assert "00000001.sealed: damaged at offset" in gap.why
        with pytest.raises(DamageError):
            list(read_entries(tmp_path))


def test_a_damaged_head_costs_no_record(tmp_path: Path, write_stream: Writer) -> None:
    """Where only a segment's head is damaged, that is told and every record is read."""
    written = write_stream(tmp_path, 40)
    path = Folder(tmp_path).segment(2)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    gaps: list[Gap] = []
    assert raw([*read_entries(tmp_path, on_gap=gaps.append)]) == [p for p, _ in written]
    assert [gap.position for gap in gaps] == [2 << 40 | 64]


def test_a_short_segment_is_a_gap(tmp_path: Path, write_stream: Writer) -> None:
    """What is missing at the end of an older segment is told, and the next segment is read."""
    written = write_stream(tmp_path, 40)
    last = [position for position, _ in written if position >> 40 == 2][-1]
    os.truncate(Folder(tmp_path).segment(2), (last & 0xFFFFFFFF) + 3)
    gaps: list[Gap] = []
    rest = raw([*read_entries(tmp_path, on_gap=gaps.append)])
    (gap,) = gaps
    assert gap.position_after == 3 << 40 | 64
    assert rest == [p for p, _ in written if not gap.position <= p < gap.position_after]


def test_damage_at_the_end_is_waited_for(tmp_path: Path, write_stream: Writer) -> None:
    """While nothing sound follows damage, it is an error; once something does, it is a gap."""
    written = write_stream(tmp_path, 10, segment_bytes=1 << 20)
    path = Folder(tmp_path).segment(1)
    whole = path.read_bytes()
    cut = written[9][0] & 0xFFFFFFFF
    end = len(whole)
    bad = bytearray(whole)
    bad[cut + 30] ^= 1
    path.write_bytes(bad[: end - 28])  # without the mark of a clean stop
    gaps: list[Gap] = []
    follower = Follower(tmp_path, on_gap=gaps.append)
    assert len(follower.read()) == 9
    for _ in range(2):
        with pytest.raises(DamageError):
            follower.read()
    path.write_bytes(bad)
    assert follower.read() == []
    assert len(gaps) == 1


class Reading(RuleBasedStateMachine):
    """A journal that is written, rotated, sealed, damaged and shortened under its readers."""

    @initialize(segment_bytes=st.sampled_from([300, 900, 4000]), seed=st.integers(0, 1 << 30))
    def begin(self, segment_bytes: int, seed: int) -> None:
        self.path = Path(tempfile.mkdtemp()) / "journal"
        self.folder = Folder(self.path)
        self.rng = random.Random(seed)
        self.segment_bytes = segment_bytes
        self.log: Log | None = None
        self.written: dict[int, bytes] = {}
        self.seen: list[int] = []
        self.gaps: list[Gap] = []
        self.followers = [self.follower(0)]
        self.spoiled: set[int] = set()

    def follower(self, position: int) -> Follower:
        return Follower(self.path, position, on_gap=self.gap)

    def gap(self, gap: Gap) -> None:
        assert gap.position <= gap.position_after
        self.gaps.append(gap)

    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=9))
    def append(self, sizes: list[int]) -> None:
        if self.log is None:
            checked = max(self.written, default=0)  # a snapshot has what is before
            self.log = Log.open(
                self.path, CLOCK, segment_bytes=self.segment_bytes, checked_position=checked
            )
        first = len(self.written) + 1
        payloads = [
            EntryHead(1, 2, 0, 24, first + i, first + i).encode() + self.rng.randbytes(size)
            for i, size in enumerate(sizes)
        ]
        self.written.update(zip(self.log.append(payloads), payloads, strict=True))
        self.log.sync()

    @rule()
    def stop(self) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None

    @rule(pick=st.integers(0, 100))
    def seal_one(self, pick: int) -> None:
        numbers = sealable(self.folder)
        if numbers:
            seal(self.folder, numbers[pick % len(numbers)], CLOCK)

    @rule(pick=st.integers(0, 1 << 20), bit=st.integers(0, 7))
    def damage(self, pick: int, bit: int) -> None:
        """Turn a bit of a segment that has a successor, sealed or not."""
        numbers = self.folder.numbers()[:-1]
        if len(self.spoiled) > 2 or not numbers:
            return
        number = numbers[pick % len(numbers)]
        path = self.folder.segment(number)
        path = path if path.exists() else self.folder.sealed(number)
        data = bytearray(path.read_bytes())
        at = pick % len(data)
        if 8 <= at < 12:
            return  # the number of the format
        data[at] ^= 1 << bit
        with path.open("r+b") as file:
            file.write(data)
        self.spoiled.add(number)

    @rule(keep=st.integers(1, 6))
    def drop(self, keep: int) -> None:
        numbers = self.folder.numbers()
        if len(numbers) > keep and not self.spoiled:
            drop_segments(self.folder, 1 << 60, numbers[-keep] << 40)

    @rule(records_max=st.integers(1, 20))
    def read(self, records_max: int) -> None:
        before = self.followers[0].position
        found = self.followers[0].read(records_max)
        assert all(self.written[position] == payload for position, payload in found)
        self.seen += [position for position, _ in found]
        assert self.followers[0].position >= before

    @rule()
    def resume(self) -> None:
        self.followers = [self.follower(self.followers[0].position)]

    @rule(back=st.integers(1, 9))
    def resume_at_a_record(self, back: int) -> None:
        """Another reader goes on from some record that was read, mostly within a group."""
        if len(self.seen) > back:
            position = self.seen[-back]
            del self.seen[-back:]
            self.gaps = [gap for gap in self.gaps if gap.position_after <= position]
            self.followers = [self.follower(position)]

    @invariant()
    def each_once_or_told(self) -> None:
        if not hasattr(self, "seen"):
            return
        seen, reached = set(self.seen), self.followers[0].position
        assert self.seen == sorted(seen)
        first = min(seen | {gap.position for gap in self.gaps}, default=0)
        for position in self.written:
            if first <= position < reached and position not in seen:
                assert any(g.position <= position < g.position_after for g in self.gaps), position

    def teardown(self) -> None:
        if hasattr(self, "path"):
            self.stop()
            while True:
                before = self.followers[0].position
                self.read(7)
                if self.followers[0].position == before:
                    break
            self.each_once_or_told()
            if self.written:
                assert self.followers[0].position > max(self.written)
            shutil.rmtree(self.path.parent)


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.faults
class TestReadingLong(Reading.TestCase):  # type: ignore[name-defined,misc]
    """The same, longer."""

    settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
