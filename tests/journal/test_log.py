import os
import shutil
import threading
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.entries import EntryHead
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.segment import SegmentHead

CLOCK = VirtualClock(1_700_000_000_000)


def payload(i: int, size: int = 20) -> bytes:
    """Return a payload with arrival number i."""
    return EntryHead(1, 200, 0, 24, i, 0).encode() + b"x" * size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder on a real disk."""
    return tmp_path / "journal"


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


def test_torn_at_every_byte(folder: Path, tmp_path: Path) -> None:
    """Cut at any byte of the last group, the journal opens with all before it, and goes on."""
    groups = [[payload(1), payload(2)], [payload(3, 90), payload(4)]]
    fill(folder, *groups[:1])
    keep = (folder / "00000001.journal").stat().st_size
    shutil.rmtree(folder)
    fill(folder, *groups)
    data = (folder / "00000001.journal").read_bytes()
    for end in range(keep, len(data)):
        torn = tmp_path / str(end)
        shutil.copytree(folder, torn)
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
    path = folder / "00000001.journal"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
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
    with pytest.raises(JournalError, match="the segment before it has 64 bytes"):
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
