"""Sealing: what takes a segment's place holds the same, and nothing damaged is thrown away."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.errors import DamageError, JournalError
from assay.journal import sealer
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.index import SegmentIndex
from assay.journal.log import Log
from assay.journal.reader import last_boot, read_journal
from assay.journal.sealer import quarantined, seal, sealable
from assay.journal.segment_file import open_segment, segment_bytes, segment_head

Writer = Callable[..., list[tuple[int, bytes]]]
CLOCK = VirtualClock(1_700_000_000_000)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def test_a_sealed_journal_reads_the_same(tmp_path: Path, write_stream: Writer) -> None:
    """Bytes, heads, sizes and records stay what they were, and the last segment stays raw."""
    written = write_stream(tmp_path, 40)
    folder = Folder(tmp_path)
    numbers = folder.numbers()
    raw = {n: folder.segment(n).read_bytes() for n in numbers}
    heads = {n: segment_head(folder, n) for n in numbers}
    assert sealable(folder) == numbers[:-1]
    for number in numbers[:-1]:
        done = seal(folder, number, CLOCK)
        assert done is not None
        assert done.raw_bytes == len(raw[number])
        assert not folder.segment(number).exists()
    assert sealable(folder) == []
    assert folder.numbers() == numbers
    for number in numbers:
        with open_segment(folder, number) as file:
            assert file.read() == raw[number]
        assert segment_bytes(folder, number) == len(raw[number])
        assert segment_head(folder, number) == heads[number]
    assert [*read_journal(tmp_path)] == written
    boot = last_boot(tmp_path)
    assert boot is not None
    assert boot.model == "m"
    indexed = [
        tuple(entry)
        for n in numbers[:-1]
        for entry in SegmentIndex.load(folder.index(n)).entries[["arrival", "position"]].tolist()
    ]
    assert indexed == [(1 + i, position) for i, (position, _) in enumerate(written)][: len(indexed)]
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()


def test_a_log_goes_on_over_sealed_segments(tmp_path: Path, write_stream: Writer) -> None:
    """The writer opens, reads, scans and appends as if nothing had been sealed."""
    written = write_stream(tmp_path, 20)
    folder = Folder(tmp_path)
    for number in sealable(folder):
        seal(folder, number, CLOCK)
    written += write_stream(tmp_path, 20, 100)
    for number in sealable(folder):
        seal(folder, number, CLOCK)
    log = Log.open(tmp_path, CLOCK)
    assert [*log.scan()] == written
    assert [(position, log.read(position)) for position, _ in written] == written
    log.close()


def test_boots_are_known_in_every_segment(tmp_path: Path, write_stream: Writer) -> None:
    """Every index names the versions in force at its beginning, even behind a damaged segment."""
    write_stream(tmp_path, 40)
    write_stream(tmp_path, 20, 100)
    folder = Folder(tmp_path)
    flip(folder.segment(2), 500)
    for number in sealable(folder):
        seal(folder, number, CLOCK)
    for number in folder.numbers()[:-1]:
        if number != 2:
            boots = [arrival for arrival, _ in SegmentIndex.load(folder.index(number)).boots]
            first = segment_head(folder, number).first_arrival
            in_force = [1] if first < 100 else [100]
            assert boots == {100: [1, 100]}.get(first, in_force)


@pytest.mark.parametrize("at", [3, 30, 70, 900, -1])
def test_damage_is_quarantined_and_others_go_on(
    tmp_path: Path, write_stream: Writer, at: int
) -> None:
    """A damaged segment is marked once, durably, and stays as it is; the others are sealed."""
    write_stream(tmp_path, 40)
    folder = Folder(tmp_path)
    path = folder.segment(2)
    flip(path, at % path.stat().st_size)
    before = path.read_bytes()
    numbers = folder.numbers()
    done = [seal(folder, number, CLOCK) for number in sealable(folder)]
    assert [number for number, made in zip(numbers, done, strict=False) if made is None] == [2]
    assert sealable(folder) == []
    assert path.read_bytes() == before
    (mark,) = quarantined(folder)
    assert mark.number == 2
    assert 0 <= mark.offset <= at % len(before)
    assert mark.found_ms == CLOCK.now_ms()
    assert mark.what
    content = folder.damaged(2).read_bytes()
    assert seal(folder, 2, VirtualClock(5)) is None
    assert folder.damaged(2).read_bytes() == content
    with pytest.raises(DamageError, match=r"00000002.journal"):
        list(read_journal(tmp_path))


def test_a_shortened_segment_is_damage(tmp_path: Path, write_stream: Writer) -> None:
    """A segment that is shorter than its successor says is quarantined."""
    write_stream(tmp_path, 40)
    folder = Folder(tmp_path)
    size = folder.segment(1).stat().st_size
    os.truncate(folder.segment(1), size - 5)
    assert seal(folder, 1, CLOCK) is None
    assert quarantined(folder)[0].what == f"it has {size - 5} bytes and had {size}"


def test_what_a_replaced_writer_added_is_left_out(tmp_path: Path, write_stream: Writer) -> None:
    """Bytes behind a segment's end, from a writer that had been replaced, are not sealed."""
    written = write_stream(tmp_path, 40)
    folder = Folder(tmp_path)
    size = folder.segment(1).stat().st_size
    with folder.segment(1).open("ab") as file:
        file.write(b"stale" * 8)
    assert [record for _, record in Follower(tmp_path).read()] == [p for _, p in written]
    assert seal(folder, 1, CLOCK) is not None
    assert segment_bytes(folder, 1) == size
    assert list(read_journal(tmp_path)) == written


@pytest.mark.parametrize("content", [b"{", b"", b"null", None])
def test_a_damaged_mark_is_a_mark(
    tmp_path: Path, write_stream: Writer, content: bytes | None
) -> None:
    """A mark that cannot be read keeps its segment as it is, and is listed as such."""
    write_stream(tmp_path, 10)
    path = Folder(tmp_path).damaged(1)
    path.mkdir() if content is None else path.write_bytes(content)
    (mark,) = quarantined(Folder(tmp_path))
    assert (mark.number, mark.what) == (1, "its mark cannot be read")
    assert 1 not in sealable(Folder(tmp_path))


class Stop(Exception):  # noqa: N818 — it stands for the end of the process
    """The process ends here."""


@pytest.mark.parametrize("step", range(12))
def test_sealing_can_be_stopped_anywhere(
    tmp_path: Path, write_stream: Writer, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Wherever the process ends, the journal reads the same, and sealing goes on later."""
    written = write_stream(tmp_path, 20)
    folder = Folder(tmp_path)
    calls = iter(range(100))

    def stopping(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            if next(calls) == step:
                raise Stop
            return real(*args, **options)

        return call

    for owner, name in ((os, "fsync"), (os, "unlink"), (os, "rename"), (os, "replace")):
        monkeypatch.setattr(owner, name, stopping(getattr(owner, name)))
    monkeypatch.setattr(Path, "replace", stopping(Path.replace))
    with suppress(Stop):
        seal(folder, 1, CLOCK)
    monkeypatch.undo()
    assert [*read_journal(tmp_path)] == written
    for number in sealable(folder):
        assert seal(folder, number, CLOCK) is not None
    assert [*read_journal(tmp_path)] == written
    assert sealable(folder) == []


def test_what_cannot_be_read_back_does_not_replace(
    tmp_path: Path, write_stream: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk gives back something else than was written, the segment stays, unblamed."""
    written = write_stream(tmp_path, 20)
    folder = Folder(tmp_path)
    real = sealer.write_sealed

    def wrong(file: object, *args: object) -> int:
        size = real(file, *args)  # type: ignore[arg-type]
        file.seek(size - 3)  # type: ignore[attr-defined]
        file.write(b"???")  # type: ignore[attr-defined]
        return size

    monkeypatch.setattr(sealer, "write_sealed", wrong)
    with pytest.raises(JournalError, match=r"sealing it failed"):
        seal(folder, 1, CLOCK)
    assert quarantined(folder) == []
    assert [*read_journal(tmp_path)] == written
    assert not folder.sealed(1).exists()


def test_a_lost_index_is_made_again(
    tmp_path: Path, write_stream: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing or damaged index is made from the segment, byte for byte, and that is logged."""
    from assay.journal.index_files import load_index

    write_stream(tmp_path, 40)
    folder = Folder(tmp_path)
    for number in sealable(folder):
        seal(folder, number, CLOCK)
    whole = folder.index(3).read_bytes()
    folder.index(3).unlink()
    load_index(folder, 3)
    assert folder.index(3).read_bytes() == whole
    flip(folder.index(3), 50)
    load_index(folder, 3)
    assert folder.index(3).read_bytes() == whole
    missing, damaged = [record.message for record in caplog.records]
    assert missing == "00000003.index is missing: made anew from the segment"
    assert damaged.startswith("00000003.index: damaged at offset 0: its checksum is wrong")


def test_a_folder_that_is_not_there_has_nothing_to_seal(tmp_path: Path) -> None:
    """Before the first record there is nothing to do."""
    assert sealable(Folder(tmp_path / "none")) == []


def test_listing_while_segments_are_sealed(tmp_path: Path, write_stream: Writer) -> None:
    """However the two meet, a listing never misses a segment that is being sealed."""
    import threading

    write_stream(tmp_path / "j", 300, segment_bytes=1500)
    folder = Folder(tmp_path / "j")
    whole = folder.numbers()
    wrong: list[object] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                if folder.numbers() != whole:
                    wrong.append("missed")
                for number in whole:
                    segment_head(folder, number)
            except (JournalError, OSError) as error:
                wrong.append(error)
            time.sleep(0)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for number in sealable(folder):
            seal(folder, number, CLOCK)
    finally:
        done.set()
        looker.join()
    assert wrong == []
    shutil.rmtree(tmp_path / "j")
