import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.journal.fault_disk import FaultDisk

from assay.clock import VirtualClock
from assay.errors import DamageError, JournalError, StalledError
from assay.journal.entries import EntryHead
from assay.journal.folder import Folder
from assay.journal.frames import GROUP_HEAD_BYTES
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.sealer import seal, sealable
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead

CLOCK = VirtualClock(1_700_000_000_000)


def payload(i: int, size: int = 20) -> bytes:
    """Return a payload with arrival number i."""
    return EntryHead(1, 200, 0, 24, i, 0).encode() + b"x" * size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder on a real disk."""
    return tmp_path / "journal"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory, for tests that open a journal often; on disk where there is none."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else tmp_path) as folder:
        yield Path(folder) / "journal"


def fill(folder: Path, *groups: list[bytes], segment_bytes: int = 1 << 20) -> list[int]:
    """Append groups, each synced, and stop without a mark, as a killed process does."""
    log = Log.open(folder, CLOCK, segment_bytes=segment_bytes)
    positions = []
    for group in groups:
        positions += log.append(group)
        log.sync()
    crash(log)
    return positions


def crash(log: Log) -> None:
    """Let go of a log without closing it."""
    os.close(log._fd)
    log._lock.release()


def flip(folder: Path, number: int, at: int) -> None:
    """Change one bit of a segment."""
    path = folder / f"{number:08d}.journal"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def everything(folder: Path) -> list[bytes]:
    """Return all payloads in a folder."""
    log = Log.open(folder, CLOCK)
    out = [data for _, data in log.scan()]
    log.close()
    return out


def test_append_sync_read_scan(folder: Path) -> None:
    """What is appended is read by its position and scanned in order, in this life and the next."""
    payloads = [payload(i, i) for i in range(50)]
    log = Log.open(folder, CLOCK)
    positions = log.append(payloads[:20]) + log.append(payloads[20:])
    log.sync()
    for _ in range(2):
        assert [log.read(position) for position in positions] == payloads
        assert list(log.scan()) == list(zip(positions, payloads, strict=True))
        assert list(log.scan(positions[17])) == list(log.scan())[17:]
        log.close()
        log = Log.open(folder, CLOCK)
    assert log.cut_bytes == 0
    log.close()


def test_rotation(folder: Path) -> None:
    """A full segment is followed by one whose head says where it stands; nothing is lost."""
    payloads = [payload(i, 300) for i in range(40)]
    positions = fill(folder, *([p] for p in payloads), segment_bytes=2000)
    assert len({position >> OFFSET_BITS for position in positions}) > 3
    assert everything(folder) == payloads
    second = folder / "00000002.journal"
    head = SegmentHead.decode(second.read_bytes(), second.name)
    assert head.previous_bytes == (folder / "00000001.journal").stat().st_size
    assert head.first_arrival == next(
        i for i, position in enumerate(positions) if position >> OFFSET_BITS == 2
    )
    assert head.epoch == 1


def test_no_record_at_a_position(folder: Path) -> None:
    """A position at which no record begins is refused."""
    log = Log.open(folder, CLOCK)
    (position,) = log.append([payload(1)])
    for wrong in (0, position + 1, position + 10_000, 9 << OFFSET_BITS):
        with pytest.raises(JournalError, match=r"no record"):
            log.read(wrong)
    log.close()


def test_torn_at_every_byte(memory: Path) -> None:
    """Cut at any byte of the last group, the journal opens with all before it, and goes on."""
    groups = [[payload(1), payload(2)], [payload(3, 90), payload(4)]]
    fill(memory, *groups[:1])
    keep = (memory / "00000001.journal").stat().st_size
    shutil.rmtree(memory)
    fill(memory, *groups)
    data = (memory / "00000001.journal").read_bytes()
    for end in range(keep, len(data)):
        torn = memory.with_name(str(end))
        shutil.copytree(memory, torn)
        os.truncate(torn / "00000001.journal", end)
        log = Log.open(torn, CLOCK)
        assert log.cut_bytes == end - keep
        assert log.cut_position == ((1 << OFFSET_BITS | keep) if end > keep else 0)
        log.append([payload(5)])
        log.sync()
        crash(log)
        assert everything(torn) == [*groups[0], payload(5)]
        shutil.rmtree(torn)


def test_damage_stops_the_opening(folder: Path) -> None:
    """A flipped byte in the last segment stops the opening and is named; the lock is free again."""
    (position,) = fill(folder, [payload(1)])
    flip(folder, 1, -1)
    offset = position & ((1 << OFFSET_BITS) - 1)
    for _ in range(2):
        with pytest.raises(JournalError, match=rf"00000001\.journal: damaged at offset {offset}"):
            Log.open(folder, CLOCK)


def test_damage_in_an_earlier_segment(folder: Path) -> None:
    """A flipped byte in an older segment is named by the scan and by the read that meet it."""
    positions = fill(folder, *([payload(i, 300)] for i in range(9)), segment_bytes=1000)
    path = folder / "00000001.journal"
    data = bytearray(path.read_bytes())
    data[(positions[0] & ((1 << OFFSET_BITS) - 1)) + 40] ^= 1
    path.write_bytes(data)
    log = Log.open(folder, CLOCK)
    with pytest.raises(JournalError, match=r"00000001\.journal: damaged at offset"):
        list(log.scan())
    with pytest.raises(JournalError, match=r"00000001\.journal: damaged at offset"):
        log.read(positions[0])
    assert log.read(positions[-1]) == payload(8, 300)
    log.close()


def test_missing_segment(folder: Path) -> None:
    """A segment missing between two others stops the opening."""
    fill(folder, *([payload(i, 300)] for i in range(12)), segment_bytes=1000)
    (folder / "00000002.journal").unlink()
    with pytest.raises(JournalError, match=r"00000002\.journal is missing"):
        Log.open(folder, CLOCK)


def test_shortened_segment(folder: Path) -> None:
    """An older segment that lost whole groups is noticed by its successor's head."""
    fill(folder, *([payload(i, 300)] for i in range(12)), segment_bytes=1000)
    os.truncate(folder / "00000001.journal", 64)
    with pytest.raises(JournalError, match=r"00000001\.journal: damaged at offset 64: it has 64"):
        Log.open(folder, CLOCK)


def test_second_writer_is_refused(folder: Path) -> None:
    """While one writer lives another is refused; then it gets a larger epoch, same stream."""
    first = Log.open(folder, CLOCK)
    with pytest.raises(JournalError, match="in use by another scorer"):
        Log.open(folder, CLOCK)
    first.close()
    second = Log.open(folder, CLOCK)
    assert (second.epoch, second.stream) == (first.epoch + 1, first.stream)
    second.close()


def test_stale_writer_is_refused(folder: Path) -> None:
    """A writer that lost its lock may neither append nor acknowledge once another took over."""
    old = Log.open(folder, CLOCK)
    old.append([payload(1)])
    old.sync()
    old.append([payload(2)])
    os.close(old._lock._fd)
    old._lock._fd = -1
    new = Log.open(folder, CLOCK)
    for act in (old.sync, lambda: old.append([payload(3)])):
        with pytest.raises(JournalError, match="epoch 1 is stale"):
            act()
    assert [data for _, data in new.scan()] == [payload(1), payload(2)]
    new.close()
    old.close()


def test_taken_over_during_a_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is overtaken while its sync runs may not acknowledge what it synced."""
    old = Log.open(folder, CLOCK)
    old.append([payload(1)])
    real = os.fdatasync
    taken: list[Log] = []

    def overtaken(fd: int) -> None:
        os.close(old._lock._fd)
        old._lock._fd = -1
        taken.append(Log.open(folder, CLOCK))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", overtaken)
    with pytest.raises(JournalError, match="epoch 1 is stale"):
        old.sync()
    monkeypatch.undo()
    taken[0].close()
    old.close()


def test_another_stream_is_refused(folder: Path) -> None:
    """A folder keeps its stream's name, and a segment of another stream is not accepted."""
    Log.open(folder, CLOCK, stream=b"a" * 16).close()
    with pytest.raises(JournalError, match="another stream"):
        Log.open(folder, CLOCK, stream=b"b" * 16)


@pytest.mark.parametrize("damage", [b"", b"x" * 28])
def test_damaged_epoch(folder: Path, damage: bytes) -> None:
    """A damaged epoch file is refused, never guessed."""
    fill(folder, [payload(1)])
    (folder / "epoch").write_bytes(damage)
    with pytest.raises(JournalError, match="epoch is damaged"):
        Log.open(folder, CLOCK)


def test_missing_epoch(folder: Path) -> None:
    """Segments without an epoch file are refused."""
    fill(folder, [payload(1)])
    (folder / "epoch").unlink()
    with pytest.raises(JournalError, match="epoch is missing"):
        Log.open(folder, CLOCK)


def test_closed_log(folder: Path) -> None:
    """A closed log says so, and closing twice does no harm."""
    log = Log.open(folder, CLOCK)
    log.append([payload(1)])
    log.close()
    log.close()
    with pytest.raises(JournalError, match="closed"):
        log.append([payload(2)])
    assert everything(folder) == [payload(1)]


def test_unwritable_folder(folder: Path) -> None:
    """A path that cannot be a folder is refused in one sentence."""
    folder.write_bytes(b"")
    with pytest.raises(JournalError, match="cannot be opened: File exists"):
        Log.open(folder, CLOCK)


def test_reading_while_appending(folder: Path) -> None:
    """Another thread reads each record as soon as its position is known, across rotations."""
    log = Log.open(folder, CLOCK, segment_bytes=5000)
    known: list[tuple[int, bytes]] = []
    wrong: list[int] = []
    stop = threading.Event()

    def read_back() -> None:
        while not stop.is_set():
            wrong.extend(position for position, data in known[-20:] if log.read(position) != data)

    reader = threading.Thread(target=read_back)
    reader.start()
    try:
        for i in range(300):
            payloads = [payload(3 * i + k, i) for k in range(3)]
            known.extend(zip(log.append(payloads), payloads, strict=True))
            log.sync()
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert list(log.scan()) == known
    log.close()


# --- sealed segments, and what a snapshot holds ---------------------------------------------------


def test_sealed_segments_are_read_alike(folder: Path) -> None:
    """Positions and scans go on when segments are sealed, before or during a writer's life."""
    payloads = [payload(i, 300) for i in range(30)]
    positions = fill(folder, *([p] for p in payloads[:20]), segment_bytes=1500)
    for number in sealable(Folder(folder))[:2]:
        seal(Folder(folder), number, CLOCK)
    log = Log.open(folder, CLOCK, segment_bytes=1500)
    for one in payloads[20:]:
        positions += log.append([one])
        log.sync()
    for number in sealable(Folder(folder)):
        seal(Folder(folder), number, CLOCK)
    assert len(list(folder.glob("*.journal"))) == 1
    assert [log.read(position) for position in positions] == payloads
    found = list(zip(positions, payloads, strict=True))
    for i, position in enumerate(positions):
        assert list(log.scan(position)) == found[i:]
    log.close()
    assert everything(folder) == payloads


def test_segment_missing_behind_a_sealed_one(folder: Path) -> None:
    """What is sealed had a successor, so a journal that ends there has lost one."""
    fill(folder, *([payload(i, 300)] for i in range(6)), segment_bytes=1000)
    for number in sealable(Folder(folder)):
        seal(Folder(folder), number, CLOCK)
    (raw,) = folder.glob("*.journal")
    raw.unlink()
    with pytest.raises(JournalError, match=rf"{raw.name} is missing; restore it"):
        Log.open(folder, CLOCK)


def test_removed_by_retention(folder: Path) -> None:
    """The oldest segments may be gone at opening; those that go later are named when asked for."""
    positions = fill(folder, *([payload(i, 300)] for i in range(9)), segment_bytes=1000)
    (folder / "00000001.journal").unlink()
    log = Log.open(folder, CLOCK)
    kept = [position for position in positions if position >> OFFSET_BITS > 1]
    assert [position for position, _ in log.scan()] == kept
    with pytest.raises(JournalError, match=r"00000001\.journal: has no record"):
        log.read(positions[0])
    (folder / "00000002.journal").unlink()
    for act in (lambda: log.read(kept[0]), lambda: list(log.scan())):
        with pytest.raises(JournalError, match=r"00000002\.journal is gone"):
            act()
    log.close()


@pytest.mark.parametrize("at", [1, 64 + 20, 64 + 100, 400, -1])
@pytest.mark.parametrize("number", [1, 4])
def test_what_a_snapshot_holds_is_not_checked(memory: Path, number: int, at: int) -> None:
    """A byte that changed stops the opening at or after the checked position, not before it.

    Wherever the position is, what stands from there on is scanned.
    """
    payloads = [payload(i, 100) for i in range(24)]
    groups = [payloads[i : i + 2] for i in range(0, 24, 2)]
    positions = fill(memory, *groups, segment_bytes=900)
    assert positions[-1] >> OFFSET_BITS == 4
    at %= (memory / f"{number:08d}.journal").stat().st_size
    flip(memory, number, at)
    for i in range(0, len(positions), 2):  # where groups begin, as snapshots stand
        copy = shutil.copytree(memory, memory.with_name(str(i)))
        checked = positions[i] - GROUP_HEAD_BYTES
        before = (number << OFFSET_BITS | at) < checked
        if not before and (number == 4 or at < SEGMENT_HEAD_BYTES):  # others are met by a scan
            with pytest.raises(DamageError) as caught:
                Log.open(copy, CLOCK, checked_position=checked)
            assert caught.value.file == f"{number:08d}.journal"
            assert caught.value.offset <= at
            continue
        log = Log.open(copy, CLOCK, checked_position=checked)
        if before:
            assert [data for _, data in log.scan(checked)] == payloads[i:]
        log.append([payload(99)])
        log.sync()
        log.close()


def test_checked_position_beyond_the_journal(folder: Path) -> None:
    """A snapshot of more than the journal holds vouches for nothing: all is checked."""
    fill(folder, [payload(1)], [payload(2)])
    flip(folder, 1, 100)
    with pytest.raises(DamageError):
        Log.open(folder, CLOCK, checked_position=9 << OFFSET_BITS)


def test_what_a_stale_writer_added_is_cut(folder: Path) -> None:
    """What a writer adds after another took over is no part of the journal, nor damage."""
    old = Log.open(folder, CLOCK)
    old.append([payload(1)])
    old.sync()
    os.close(old._lock._fd)
    old._lock._fd = -1
    new = Log.open(folder, CLOCK)
    new.append([payload(2)])
    new.sync()
    old._write(b"\x14\0\0\0 written between the check of the epoch and the end")
    with pytest.raises(JournalError, match="epoch 1 is stale"):
        old.sync()
    old.close()
    assert [data for _, data in new.scan()] == [payload(1), payload(2)]
    new.close()
    again = Log.open(folder, CLOCK)
    assert again.cut_position >> OFFSET_BITS == 1
    assert [data for _, data in again.scan()] == [payload(1), payload(2)]
    again.close()


# --- a full disk ----------------------------------------------------------------------------------


def test_reserve(folder: Path) -> None:
    """Below the reserve nothing is written, and nothing is changed by trying."""
    log = Log.open(folder, CLOCK, reserve_bytes=1 << 60)
    free, all_bytes = log.free()
    assert 0 < free <= all_bytes
    assert not log.room()
    for _ in range(2):
        with pytest.raises(StalledError, match=f"and {1 << 60} are kept in reserve"):
            log.append([payload(1)])
    assert not list(folder.glob("*.journal"))
    log.sync()
    log.close()


@pytest.mark.parametrize("room", [0, 1, 23, 24, 40, 100, 511, 512, 600, 700])
def test_full_disk(tmp_path: Path, room: int) -> None:
    """Refused at any byte of a write, the segment is as before, and the write can be repeated."""
    disk = FaultDisk(tmp_path)
    try:
        log = Log.open(disk.path, CLOCK, segment_bytes=500)
        log.append([payload(1)])
        path = disk.path / "00000001.journal"
        before = path.read_bytes()
        disk.room = room
        for _ in range(2):
            with pytest.raises(StalledError, match="the disk is full; free some, and it goes on"):
                log.append([payload(2, 700)])
            assert path.read_bytes() == before
            assert disk.room == room
        disk.room = 10_000
        log.append([payload(2, 700)])
        log.sync()
        disk.room = room = min(room, 511)  # the next append begins a segment
        with pytest.raises(StalledError, match=r"00000002\.journal: the disk is full"):
            log.append([payload(3)])
        log.sync()
        disk.room = 10_000
        log.append([payload(3)])
        log.sync()
        disk.room = 0
        log.close()
        assert sorted(p.name for p in disk.path.iterdir()) == [
            "00000001.journal",
            "00000002.journal",
            "epoch",
            "lock",
        ]
        disk.room = 10_000
        assert everything(disk.path) == [payload(1), payload(2, 700), payload(3)]
    finally:
        disk.close()


def test_opening_on_a_full_disk(tmp_path: Path) -> None:
    """A disk too full to take over stalls the opening, and lets it be tried again."""
    disk = FaultDisk(tmp_path)
    try:
        disk.room = 0
        with pytest.raises(StalledError, match="cannot be opened: the disk is full"):
            Log.open(disk.path, CLOCK)
        disk.room = 10_000
        Log.open(disk.path, CLOCK).close()
    finally:
        disk.close()


# --- a mirror -------------------------------------------------------------------------------------


class Copy:
    """A mirror that copies the journal's files into another folder, while it is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.copy = folder, folder.with_name("copy")
        self.copy.mkdir()
        self.away = self.fenced = self.closed = False
        self.sent: list[int] = []

    def make(self, stream: bytes, epoch: int) -> "Copy":
        self.named = stream, epoch
        return self

    def send(self, position: int) -> None:
        self.sent.append(position)

    def wait(self, position: int) -> None:
        assert self.sent[-1] == position
        if self.fenced:
            raise JournalError("taken over with epoch 7")
        if self.away:
            raise StalledError("the standby is away")
        for path in sorted(self.folder.glob("*.journal")):
            shutil.copy(path, self.copy)
        last = self.copy / f"{position >> OFFSET_BITS:08d}.journal"
        os.truncate(last, position & ((1 << OFFSET_BITS) - 1))

    def close(self) -> None:
        self.closed = True


def test_mirror(folder: Path) -> None:
    """What a sync has returned for is at the mirror; while that is away a sync can be repeated."""
    mirror = Copy(folder)
    log = Log.open(folder, CLOCK, segment_bytes=400, mirror=mirror.make)
    assert mirror.named == (log.stream, log.epoch)
    written = []
    for i in range(12):
        written.append(payload(i, 200))
        log.append(written[-1:])
        mirror.away = i % 3 == 1
        if mirror.away:
            for _ in range(2):
                with pytest.raises(StalledError, match="the standby is away"):
                    log.sync()
            mirror.away = False
        log.sync()
        assert mirror.sent[-1] == log.position
        shutil.copy(folder / "epoch", mirror.copy)
        assert everything(shutil.copytree(mirror.copy, folder.with_name(f"{i}"))) == written
    log.close()
    assert mirror.closed
    assert everything(folder) == written


def test_closing_without_the_mirror(folder: Path) -> None:
    """A log can be closed while its mirror is away: it is only not acknowledged there."""
    mirror = Copy(folder)
    log = Log.open(folder, CLOCK, mirror=mirror.make)
    log.append([payload(1)])
    mirror.away = True
    log.close()
    assert mirror.closed
    assert everything(folder) == [payload(1)]


def test_fenced_by_the_mirror(folder: Path) -> None:
    """A mirror that follows a newer writer stops this one for good."""
    mirror = Copy(folder)
    log = Log.open(folder, CLOCK, mirror=mirror.make)
    log.append([payload(1)])
    mirror.fenced = True
    with pytest.raises(JournalError, match="taken over with epoch 7"):
        log.sync()
    mirror.fenced = False
    for act in (log.sync, lambda: log.append([payload(2)])):
        with pytest.raises(JournalError, match="takes no more records: taken over with epoch 7"):
            act()
    log.close()


def test_a_stale_writer_takes_no_segments_place(folder: Path) -> None:
    """One that begins a segment after it was replaced finds the other's there, and stops."""
    old = Log.open(folder, CLOCK, segment_bytes=200)
    old.append([payload(1, 300)])
    old.sync()
    (folder / "lock").unlink()
    new = Log.open(folder, CLOCK, segment_bytes=200)
    (position,) = new.append([payload(2)])
    new.sync()
    with pytest.raises(JournalError, match=r"is stale"):
        old._rotate(3)  # as one that was paused between its check and this
    assert new.read(position) == payload(2)
    crash(new)
    assert everything(folder) == [payload(1, 300), payload(2)]
