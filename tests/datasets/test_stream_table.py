from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from little_journal import STEP, LittleJournal

from assay.clock import VirtualClock
from assay.datasets.stream_manifest import StreamManifest
from assay.datasets.stream_table import StreamTable
from assay.datasets.stream_view import StreamView, read_stream
from assay.errors import DatasetError, OwnerError

T0 = 1_700_000_000_000


def free() -> None:
    """Let every write pass: nobody has taken over."""


class KilledError(Exception):
    """The writer died here."""


class StreamTableMachine(RuleBasedStateMachine):
    """A writer that follows a growing journal, is killed anywhere, and begins again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = VirtualClock(T0)
        self.journal = LittleJournal()
        self.checks_left = -1
        self.views: list[StreamView] = []
        self.start()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def check(self) -> None:
        self.checks_left -= 1
        if self.checks_left == 0:
            raise KilledError

    @rule(behind=st.integers(0, 6))
    def start(self, behind: int = 0) -> None:
        """Begin again; the follower may start earlier, for another consumer."""
        self.checks_left = -1
        self.table = StreamTable(self.folder, self.check, self.clock)
        self.table.follow("abc")
        self.follower = max(0, self.table.position - behind * STEP)

    @rule(n=st.integers(1, 12), late=st.integers(0, 5000))
    def decide(self, n: int, late: int) -> None:
        for k in range(n):
            self.journal.decide(T0 + self.journal.end * 10 - late * (k % 2))

    @precondition(lambda self: self.journal.decisions)
    @rule(of=st.integers(0, 99), fraud=st.booleans(), reported=st.integers(0, 3))
    def label(self, of: int, fraud: bool, reported: int) -> None:
        known = list(self.journal.decisions)
        self.journal.label(known[of % len(known)], fraud, T0 + reported)

    @rule(records=st.integers(0, 20), back=st.integers(0, 4))
    def take(self, records: int, back: int) -> None:
        """The follower goes on; what it hands out may overlap what it gave before."""
        start = max(0, self.follower - back * STEP)
        end = max(self.follower, min(self.journal.end, start + records * STEP))
        self.table.take(self.journal.stretch(start, end))
        self.follower = end

    @rule(pause_ms=st.integers(0, 8000))
    def commit(self, pause_ms: int) -> None:
        self.clock.advance(pause_ms)
        self.table.commit(self.follower)

    @rule(when=st.integers(1, 2))
    def die_while_writing(self, when: int) -> None:
        """KilledError before anything is written, or with a part written that nothing names."""
        self.checks_left = when
        try:
            self.table.flush(self.follower)
        except KilledError:
            self.start()
        self.checks_left = -1

    @rule()
    def look(self) -> None:
        self.views.append(read_stream(self.folder))

    @invariant()
    def what_is_there_is_what_came_before_the_position(self) -> None:
        for view in [*self.views[-3:], read_stream(self.folder)]:
            arrivals = [*range(1, view.position // STEP + 1)]
            rows = view.decisions()
            assert rows["arrival"].to_list() == [k for k in arrivals if k in self.journal.decisions]
            assert rows["amount_ref"].to_list() == [k * 10 for k in rows["arrival"]]
            assert rows["transaction_id"].to_list() == [f"t{k}" for k in rows["arrival"]]
            labels = [self.journal.labels[k] for k in arrivals if k in self.journal.labels]
            last: dict[int, tuple[int, int, bool]] = {}
            for label in labels:
                key = int(label.event["transaction"][0])
                found = (label.reported_ms, label.arrival, label.fraud)
                last[key] = max(found, last.get(key, found))
            frame = view.labels()
            found_rows = frame.select("transaction", "reported_ms", "arrival", "fraud").rows()
            assert {row[0]: row[1:] for row in found_rows} == last
            assert (view.rows, view.label_rows) == (len(rows), len(labels))

    @invariant()
    def parts_stay_few_and_whole(self) -> None:
        view = read_stream(self.folder)
        assert len(view.parts) <= 2 * 7 * 2
        view.check()
        for part in view.parts:
            assert part.first_ms <= part.last_ms


TestStreamTable = StreamTableMachine.TestCase
TestStreamTable.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


def fill(folder: Path, flushes: int, rows: int = 1) -> StreamTable:
    """Write a table with so many flushes of so many decisions, a second between two."""
    journal, table = LittleJournal(), StreamTable(folder, free, VirtualClock(T0))
    table.follow("abc")
    for _ in range(flushes):
        start = journal.end
        for _ in range(rows):
            journal.decide(T0 + journal.end * 10)
        table.take(journal.stretch(start, journal.end))
        table.flush(journal.end)
    return table


def test_small_parts_are_merged(tmp_path: Path) -> None:
    """Many flushes leave few parts, no file that is not named, and every row in order."""
    fill(tmp_path, 200)
    view = read_stream(tmp_path)
    assert len(view.parts) <= 7 * 3
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"manifest.json", *(part.file for part in view.parts)}
    assert view.decisions(["arrival"])["arrival"].to_list() == [*range(1, 201)]


def test_reading_while_it_is_written(tmp_path: Path) -> None:
    """Readers beside the writer see every row up to their position once, merges or not."""
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(fill, tmp_path, 120, 3)
        looks = 0
        while looks < 3 or not writing.done():
            view = read_stream(tmp_path)
            time.sleep(0.02)
            arrivals = view.decisions(["arrival"])["arrival"].to_list()
            assert arrivals == [*range(1, view.position // STEP + 1)]
            view.check()
            looks += 1
        writing.result()


def test_commit_waits_for_its_time(tmp_path: Path) -> None:
    """Within the flush time nothing is written, and after it everything is."""
    journal, clock = LittleJournal(), VirtualClock(T0)
    table = StreamTable(tmp_path, free, clock, flush_s=5)
    journal.decide(T0)
    table.take(journal.stretch(0, journal.end))
    clock.advance(4_999)
    table.commit(journal.end)
    assert (table.position, read_stream(tmp_path).rows) == (0, 0)
    clock.advance(1)
    table.commit(journal.end)
    assert (table.position, read_stream(tmp_path).rows) == (journal.end, 1)


def test_periods_and_columns(tmp_path: Path) -> None:
    """A period holds event times from its start up to, not including, its end."""
    fill(tmp_path, 3, rows=10)
    frame = read_stream(tmp_path).decisions(["event_time", "score"], T0 + 5_000, T0 + 15_000)
    assert frame.columns == ["event_time", "score"]
    assert frame["event_time"].to_list() == [T0 + k * 1000 for k in range(5, 15)]
    assert len(read_stream(tmp_path).decisions(["boot"], since_ms=T0 + 10**9)) == 0


def test_an_empty_table_can_be_read(tmp_path: Path) -> None:
    """Before anything came there are no rows, of all the columns."""
    view = read_stream(tmp_path / "none")
    assert (view.stream, view.position, view.rows, view.label_rows) == ("", 0, 0, 0)
    assert "reason_4" in view.decisions().columns
    assert view.labels().is_empty()
    view.check()


def test_another_stream_is_refused(tmp_path: Path) -> None:
    """Rows of two journals are never mixed: the message says what to move."""
    fill(tmp_path, 1)
    with pytest.raises(DatasetError, match="of stream abc, the journal of def; accepted: move"):
        StreamTable(tmp_path, free, VirtualClock(T0)).follow("def")


def test_a_writer_that_lost_its_lock_writes_nothing(tmp_path: Path) -> None:
    """When another has taken over, the table stays as it was."""
    fill(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def taken_over() -> None:
        raise OwnerError("the worker was taken over")

    with pytest.raises(OwnerError):
        StreamTable(tmp_path, taken_over, VirtualClock(T0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("damage", [b"", b"{}x", b'{"format":2}', b'{"parts":[{"file":"../x"}]}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, damage: bytes) -> None:
    """Reader and writer say that the table is damaged and how it is made again."""
    fill(tmp_path, 1)
    (tmp_path / "manifest.json").write_bytes(damage)
    with pytest.raises(DatasetError, match=r"manifest\.json .* made again from the journal"):
        read_stream(tmp_path)
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        StreamTable(tmp_path, free, VirtualClock(T0))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    """A missing part, a cut one and one with another byte are noticed."""
    fill(tmp_path, 1)
    view = read_stream(tmp_path)
    path = tmp_path / view.parts[0].file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(DatasetError, match=path.name):
        view.check()
    with pytest.raises(DatasetError, match="damaged"):
        view.decisions()
    path.unlink()
    for read in (view.check, view.decisions):
        with pytest.raises(DatasetError, match="missing or damaged"):
            read()


def test_a_damaged_part_is_not_merged(tmp_path: Path) -> None:
    """A writer that finds a damaged part stops rather than write it on."""
    table = fill(tmp_path, 7)
    path = tmp_path / read_stream(tmp_path).parts[0].file
    path.write_bytes(path.read_bytes()[:-1])
    journal = LittleJournal()
    for _ in range(8):
        journal.decide(T0)
    table.take(journal.stretch(7 * STEP, journal.end))
    with pytest.raises(DatasetError, match=path.name):
        table.flush(journal.end)
    assert read_stream(tmp_path).position == 7 * STEP


def test_a_table_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """When the folder is gone, the error says so, and nothing is taken for durable."""
    table, journal = fill(tmp_path / "t", 1), LittleJournal()
    for _ in range(2):
        journal.decide(T0)
    table.take(journal.stretch(STEP, journal.end))
    shutil.rmtree(tmp_path / "t")
    with pytest.raises(DatasetError, match="cannot be written: No such file"):
        table.flush(journal.end)
    assert table.position == STEP


def test_the_manifest_names_no_text_in_clear(tmp_path: Path) -> None:
    """The manifest holds counts, times and checksums only."""
    fill(tmp_path, 1)
    (part,) = StreamManifest.load(tmp_path).parts
    assert (part.rows, part.labels, part.first_ms, part.last_ms) == (1, 0, T0, T0)
    assert (tmp_path / "manifest.json").stat().st_mode & 0o777 == 0o600
