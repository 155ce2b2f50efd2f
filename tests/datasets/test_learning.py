from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from little_journal import STEP, LittleJournal

from assay.clock import VirtualClock
from assay.datasets.learning import Learning, learn_from
from assay.datasets.stream_table import StreamTable
from assay.datasets.stream_view import read_stream
from assay.datasets.table import TransactionTable
from assay.errors import DatasetError
from assay.records import Flag

T0 = 1_700_000_000_000


class Data:
    """Imports and a stream that a test fills; `learn` joins them."""

    def __init__(self, folder: Path) -> None:
        self.imports = TransactionTable(folder / "imports", VirtualClock(T0))
        self.journal = LittleJournal()
        self.stream = StreamTable(folder / "stream", lambda: None, VirtualClock(T0))
        self.stream.follow("abc")
        self.folder = folder
        self.base_last_ms = 0

    def bring(self, *rows: tuple[int, int, int, int], base: bool = False) -> None:
        """Import (transaction, time after T0, fraud, reported after T0) in order of time."""
        journal = LittleJournal()
        for transaction, time, _, _ in rows:
            journal.decide(T0 + time, transaction)
        events = np.concatenate([*journal.decisions.values()])
        events["arrival"] = events["arrival_ms"] = 0
        self.imports.append(
            events,
            pl.Series([f"i{row[0]}" for row in rows]),
            events["transaction"],
            np.array([row[2] for row in rows], np.int8),
            np.array([T0 + row[3] if row[3] >= 0 else -1 for row in rows]),
            provenance={"fields": ["merchant_name"]},
        )
        if base:
            self.base_last_ms = self.imports.last_ms(self.imports.read().snapshot)

    def learn(self) -> Learning:
        self.stream.take(self.journal.stretch(self.stream.position, self.journal.end))
        self.stream.flush(self.journal.end)
        view = read_stream(self.folder / "stream")
        return learn_from(self.imports.read(), view, self.base_last_ms)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


def order(learning: Learning) -> list[int]:
    transactions: list[int] = learning.events["transaction"].tolist()
    return transactions


def labels(learning: Learning) -> dict[int, tuple[int, int]]:
    """Return transaction → verdict and time of report after T0."""
    times = np.where(learning.reported_ms < 0, -1, learning.reported_ms - T0)
    pairs = zip(learning.fraud.tolist(), times.tolist(), strict=True)
    return dict(zip(order(learning), pairs, strict=True))


def test_without_a_stream_nothing_changes(data: Data) -> None:
    """Rows, labels and snapshot are those of the imports, to the bit."""
    data.bring((1, 10, 1, 50), (2, 20, -1, -1), (3, 30, 0, -1))
    history, learning = data.imports.read(), data.learn()
    assert learning.snapshot == history.snapshot == learning.imports
    assert learning.events.tobytes() == history.events.tobytes()
    assert learning.fraud.tolist() == history.fraud.tolist()
    assert learning.reported_ms.tolist() == history.reported_ms.tolist()
    assert (learning.imported_rows, learning.stream_rows) == (3, 0)


def test_the_stream_follows_its_base_in_order_of_arrival(data: Data) -> None:
    """Late and future rows keep their place and flags, also before the base's last time."""
    data.bring((1, 10, 0, -1), (2, 200, 0, -1), base=True)
    for transaction, time, flags in ((11, 150, 0), (12, 5, Flag.late), (13, 10**9, Flag.future)):
        arrival = data.journal.decide(T0 + time, transaction)
        data.journal.decisions[arrival]["flags"] = flags
    data.journal.decide(T0 + 180, 14)
    learning = data.learn()
    assert order(learning) == [1, 2, 11, 12, 13, 14]
    assert learning.events["flags"].tolist() == [0, 0, 0, Flag.late, Flag.future, 0]
    assert learning.events["arrival"].tolist() == [1, 2, 1, 2, 3, 4]
    assert (learning.imported_rows, learning.stream_rows) == (2, 4)


def test_later_imports_come_where_their_time_falls(data: Data) -> None:
    """What was imported after the base stands before the first row that is not older."""
    data.bring((1, 10, 0, -1), base=True)
    for transaction, time in ((11, 100), (12, 90), (13, 300)):
        data.journal.decide(T0 + time, transaction)
    data.bring((21, 5, 0, -1), (22, 95, 0, -1), (23, 100, 0, -1), (24, 200, 0, -1), (25, 400, 0, 0))
    assert order(data.learn()) == [21, 1, 22, 23, 11, 12, 24, 13, 25]


def test_a_transaction_that_came_both_ways_counts_once(data: Data) -> None:
    """The stream's row stays, as the scorer saw it, and takes the imported label."""
    data.bring((1, 10, 0, -1), base=True)
    data.journal.decide(T0 + 100, 11)
    data.bring((11, 100, 1, 500))
    learning = data.learn()
    assert order(learning) == [1, 11]
    assert learning.events["arrival"].tolist() == [1, 1]
    assert labels(learning)[11] == (1, 500)


def test_the_latest_report_counts(data: Data) -> None:
    """A label of the stream overrides an imported one if it was reported later, not at once."""
    data.bring((1, 10, 0, 50), (2, 20, 1, 50), (3, 30, 1, 50), (4, 40, -1, -1), base=True)
    for transaction, reported, fraud in ((1, 60, True), (2, 40, False), (3, 50, False)):
        arrival = data.journal.decide(T0 + 100, transaction)
        data.journal.label(arrival, fraud, T0 + reported)
    arrival = data.journal.decide(T0 + 100, 4)
    for reported, fraud in ((70, True), (90, False), (80, True)):
        data.journal.label(arrival, fraud, T0 + reported)
    learning = data.learn()
    assert labels(learning) == {1: (1, 60), 2: (1, 50), 3: (1, 50), 4: (0, 90)}
    assert learning.stream_labels == 4


def test_the_stream_alone_can_teach(data: Data) -> None:
    """With nothing imported, fields and kinds are the stream's own; else the imports'."""
    data.journal.label(data.journal.decide(T0, 7), True, T0 + 5)
    learning = data.learn()
    assert (order(learning), labels(learning)) == ([7], {7: (1, 5)})
    assert {"card", "amount_ref", "event_time"} <= learning.fields
    assert "device" not in learning.fields
    assert learning.kinds == {1}
    data.bring((8, 10, 0, -1))
    assert "merchant_name" in data.learn().fields


def test_a_snapshot_names_its_contents(data: Data) -> None:
    """Equal rows have equal snapshots; a row or a label more gives another."""
    data.bring((1, 10, 0, -1), base=True)
    seen = {data.learn().snapshot}
    arrival = data.journal.decide(T0 + 20, 9)
    seen.add(data.learn().snapshot)
    assert data.learn().snapshot in seen
    data.journal.label(arrival, True, T0 + 30)
    seen.add(data.learn().snapshot)
    data.bring((2, 10, 0, -1))
    learning = data.learn()
    assert len(seen | {learning.snapshot}) == 4
    assert (learning.stream, learning.position) == ("abc", 2 * STEP)


def test_damage_stops_the_training(data: Data) -> None:
    """A part with one changed byte is not learned from."""
    data.journal.decide(T0 + 20, 9)
    data.learn()
    (named,) = read_stream(data.folder / "stream").parts
    part = data.folder / "stream" / named.file
    part.write_bytes(part.read_bytes()[:-2] + b"xx")
    with pytest.raises(DatasetError, match="missing or damaged"):
        data.learn()
