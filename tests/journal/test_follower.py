"""The follower against a real writer, whatever the two do between reads."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.decision_record import stream_name
from assay.journal.entries import EntryHead
from assay.journal.follower import Follower
from assay.journal.log import Log
from assay.journal.reader import read_journal

CLOCK = VirtualClock(1_700_000_000_000)


def payload(number: int, size: int = 10) -> bytes:
    return EntryHead(1, 2, 0, 24, number, 0).encode() + bytes([number % 251 + 1]) * size


def write(folder: Path, groups: int, segment_bytes: int = 1 << 20) -> Log:
    log = Log.open(folder, CLOCK, segment_bytes=segment_bytes)
    for group in range(groups):
        log.append([payload(3 * group + i) for i in range(3)])
        log.sync()
    return log


class Following(RuleBasedStateMachine):
    """A writer that appends, rotates, stops cleanly or not, and followers that come and go."""

    @initialize(segment_bytes=st.sampled_from([200, 900, 1 << 20]))
    def begin(self, segment_bytes: int) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "journal"
        self.segment_bytes = segment_bytes
        self.log: Log | None = None
        self.written: list[tuple[int, bytes]] = []
        self.seen: list[tuple[int, bytes]] = []
        self.follower = Follower(self.folder)

    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=9))
    def append(self, sizes: list[int]) -> None:
        if self.log is None:
            self.log = Log.open(self.folder, CLOCK, segment_bytes=self.segment_bytes)
        payloads = [payload(len(self.written) + i, size) for i, size in enumerate(sizes)]
        self.written += zip(self.log.append(payloads), payloads, strict=True)

    @rule()
    def stop(self) -> None:
        if self.log is not None:
            self.log.close()
            self.log = None

    @rule(cut=st.integers(1, 60), zeros=st.booleans())
    def crash(self, cut: int, zeros: bool) -> None:
        """Leave an unfinished write behind: half a group, or space that was never filled."""
        if self.log is None:
            return
        torn = bytes(600) if zeros else (20).to_bytes(4, "little") + bytes(cut % 24)
        path = max(self.folder.glob("*.journal"))
        os.close(self.log._fd)
        self.log._lock.release()
        self.log = None
        with path.open("ab") as file:
            file.write(torn)

    @rule(records_max=st.integers(1, 20))
    def read(self, records_max: int) -> None:
        before = self.follower.position
        self.seen += self.follower.read(records_max)
        assert self.follower.position >= before

    @rule()
    def resume(self) -> None:
        """Another follower goes on where this one stopped."""
        self.follower = Follower(self.folder, self.follower.position)

    @rule(back=st.integers(1, 12))
    def resume_at_a_record(self, back: int) -> None:
        """Another follower goes on from some record, mostly within a group."""
        del self.seen[-back:]
        position = self.written[len(self.seen)][0] if len(self.seen) < len(self.written) else None
        if position is not None:
            self.follower = Follower(self.folder, position)

    @rule()
    def read_all(self) -> None:
        while found := self.follower.read(7):
            self.seen += found
        assert self.seen == self.written
        self.follower.sync()

    @invariant()
    def nothing_is_missed_doubled_or_turned(self) -> None:
        if hasattr(self, "seen"):
            assert self.seen == self.written[: len(self.seen)]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.read_all()
            self.stop()
            assert [*read_journal(self.folder)] == self.written
            shutil.rmtree(self.folder.parent)


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_empty_journal_has_nothing_yet(tmp_path: Path) -> None:
    """A folder that is not there, or has no segment, is an empty journal, until one comes."""
    follower = Follower(tmp_path / "later")
    assert (follower.read(), follower.position, follower.behind_bytes()) == ([], 0, 0)
    assert follower.stream == ""
    follower.sync()
    log = write(tmp_path / "later", 1)
    assert len(follower.read()) == 3
    assert follower.stream == stream_name(log.stream)
    log.close()


def test_a_group_being_written_is_not_there_yet(tmp_path: Path) -> None:
    """However much of a group is written, none of it is given before it is whole."""
    log = write(tmp_path / "j", 2)
    log.close()
    whole = (tmp_path / "j" / "00000001.journal").read_bytes()
    part = tmp_path / "part" / "00000001.journal"
    part.parent.mkdir()
    given = set()
    part.write_bytes(whole[:64])
    follower = Follower(part.parent)
    for size in range(64, len(whole) + 1):
        with part.open("ab") as file:
            file.write(whole[part.stat().st_size : size])
        given.add(len(follower.read()))
        assert follower.behind_bytes() == size - (follower.position & 0xFFFFFFFF)
    assert given == {0, 3}
    assert follower.behind_bytes() == 0


def test_damage_is_named_and_nothing_after_it_is_given(tmp_path: Path) -> None:
    """A byte that changed stops the follower with file and offset, each time it is asked."""
    log = write(tmp_path, 40)
    log.close()
    path = tmp_path / "00000001.journal"
    content = bytearray(path.read_bytes())
    content[1000] ^= 4
    path.write_bytes(content)
    follower = Follower(tmp_path)
    before = follower.read(1)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"00000001.journal: damaged at offset 9\d\d"):
            follower.read()
    assert before


def test_an_older_segment_may_have_no_unfinished_end(tmp_path: Path) -> None:
    """What is cut short in a segment that has a successor is damage."""
    log = write(tmp_path, 9, segment_bytes=300)
    log.close()
    with (tmp_path / "00000001.journal").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 5)
    with pytest.raises(JournalError, match=r"00000001.journal has \d+ bytes and had"):
        Follower(tmp_path).read()


@pytest.mark.parametrize("position", [1 << 40 | 100_000, 7 << 40 | 64, 1 << 40 | 99])
def test_another_journal_is_refused(tmp_path: Path, position: int) -> None:
    """A position that the journal does not reach, or where no record begins, is an error."""
    write(tmp_path, 3).close()
    with pytest.raises(JournalError, match="cut or replaced"):
        Follower(tmp_path, position).read()
    with pytest.raises(JournalError, match="cut or replaced"):
        Follower(tmp_path / "none", position).read()


def test_a_replaced_journal_is_noticed(tmp_path: Path) -> None:
    """A follower at the end of a journal says so when another stands in its place."""
    write(tmp_path / "j", 3).close()
    follower = Follower(tmp_path / "j")
    assert len(follower.read()) == 9
    (tmp_path / "j").rename(tmp_path / "away")
    with pytest.raises(JournalError, match="is gone"):
        follower.read()
    write(tmp_path / "j", 5).close()
    with pytest.raises(JournalError, match="another file than before"):
        follower.read()


def test_only_new_bytes_are_read(tmp_path: Path) -> None:
    """Damage behind the position is not looked at again: what was read is not read twice."""
    log = write(tmp_path, 3)
    follower = Follower(tmp_path)
    assert len(follower.read()) == 9
    with (tmp_path / "00000001.journal").open("r+b") as file:
        file.seek(80)
        file.write(bytes(40))
    log.append([payload(99)])
    assert [found for _, found in follower.read()] == [payload(99)]
    assert len(Follower(tmp_path, follower.position).read()) == 0
    log.close()


def test_an_error_loses_nothing(tmp_path: Path) -> None:
    """What a call had read before an error is given again: the position is where it was."""
    log = write(tmp_path, 30, segment_bytes=300)
    log.close()
    third = tmp_path / "00000003.journal"
    follower = Follower(tmp_path)
    assert len(follower.read(1)) == 3
    third.rename(tmp_path / "away")
    before = follower.position
    for _ in range(2):
        with pytest.raises(JournalError, match=r"00000003.journal is missing"):
            follower.read()
        assert follower.position == before
    (tmp_path / "away").rename(third)
    assert len(follower.read()) == 87
