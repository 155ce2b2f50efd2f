from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from little_scorer import LittleScorer

from assay.clock import VirtualClock
from assay.errors import DatasetError
from assay.journal.boot_record import BootRecord
from assay.journal.follower import Follower
from assay.journal.ledger import Ledger
from assay.journal.stretch import decode_stretches
from assay.records import Batch, Stretch, empty_events
from assay.worker.gaps import Gaps
from assay.worker.loop import Loop
from assay.worker.meter import Meter

BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="t", dataset="s"
)


class Notebook:
    """Remembers the arrivals that it took, and where it committed."""

    def __init__(self, name: str, position: int = 0) -> None:
        self.name, self.position = name, position
        self.streams: list[str] = []
        self.arrivals: list[int] = []

    def follow(self, stream: str) -> None:
        self.streams.append(stream)

    def take(self, stretch: Stretch) -> None:
        assert self.streams, "the stream is told ahead of the first stretch"
        fresh = stretch.positions >= self.position
        self.arrivals += stretch.batch.events["arrival"][fresh].tolist()

    def commit(self, position: int) -> None:
        self.position = position


class Broken(Notebook):
    """Fails at the first stretch."""

    def take(self, _stretch: Stretch) -> None:
        raise DatasetError("the disk is full")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(
        tmp_path / "j", VirtualClock(1), segment_bytes=1 << 20, ids_max=10_000, horizon_ms=1
    )
    ledger.recover(1, lambda _events: None, lambda _rows: None)
    ledger.start(BOOT)
    return ledger


def decide(ledger: Ledger, n: int) -> None:
    events = empty_events(n)
    ledger.stamp(events, 5)
    batch = Batch(
        events,
        np.zeros((n, 2), np.float32),
        np.zeros(n, np.float32),
        np.zeros(n, np.uint8),
        np.zeros((n, 4), np.uint16),
        np.zeros(n, np.uint8),
    )
    bodies = [b'{"transaction_id":"t-%d"}' % k for k in range(n)]
    ledger.commit([(ledger.boot, batch, bodies, np.arange(n, dtype=np.uint64))])


def test_every_consumer_takes_everything_once(tmp_path: Path, ledger: Ledger) -> None:
    """Consumers get all records in order, from the smallest position on, and commit behind them."""
    decide(ledger, 3)
    first = Notebook("first")
    loop = Loop(Follower(tmp_path / "j"), decode_stretches, [first], Meter(1))
    assert loop.turn() == 4
    loop.commit()
    decide(ledger, 2)
    second = Notebook("second")
    follower = Follower(tmp_path / "j", min(first.position, second.position))
    told: list[int] = []
    meter = Meter(2)
    loop = Loop(
        follower, decode_stretches, [first, second], meter, lambda: told.append(second.position)
    )
    while loop.turn():
        pass
    loop.commit()
    assert first.arrivals == second.arrivals == [2, 3, 4, 5, 6]
    assert first.position == second.position == follower.position
    assert told == [follower.position]
    assert len(second.streams) == 1
    text = meter.text().decode()
    assert 'assay_worker_records_total{kind="decision"} 5.0' in text
    told_position = text.partition('assay_worker_consumer_position{consumer="first"} ')[2]
    assert float(told_position.splitlines()[0]) == first.position


def test_a_stop_finishes_what_was_read(tmp_path: Path, ledger: Ledger) -> None:
    """At the stop everything that was read is flushed and committed."""
    decide(ledger, 3)
    book, flushed, stop = Notebook("book"), [], threading.Event()
    loop = Loop(Follower(tmp_path / "j"), decode_stretches, [book], Meter(1), flush=flushed.append)
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    while not book.arrivals:
        pass
    stop.set()
    thread.join(5)
    assert flushed == [book.position]
    assert book.position == Follower(tmp_path / "j", book.position).position > 0


def test_an_empty_journal_is_waited_for(tmp_path: Path) -> None:
    """Before the scorer's first start there is nothing to read, and nothing is wrong."""
    book = Notebook("book")
    loop = Loop(Follower(tmp_path / "none"), decode_stretches, [book], Meter(1))
    assert loop.turn() == 0
    loop.commit()
    assert book.streams == []


def test_a_consumer_that_fails_ends_the_loop(tmp_path: Path, ledger: Ledger) -> None:
    """An error is not swallowed, and what was read is not committed by the others."""
    decide(ledger, 1)
    book = Notebook("book")
    consumers = [book, Broken("broken")]
    loop = Loop(Follower(tmp_path / "j"), decode_stretches, consumers, Meter(1))
    with pytest.raises(DatasetError, match="the disk is full"):
        loop.run(threading.Event())
    assert book.position == 0


def test_a_gap_is_told_and_passed(tmp_path: Path) -> None:
    """Behind what cannot be read the consumers go on, exactly once, also after a restart."""
    folder = tmp_path / "j"
    scorer = LittleScorer(folder)
    for _ in range(5):
        scorer.decide(list(range(1, 20)))
    scorer.ledger.close()
    path = folder / "00000002.journal"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    gaps, book = Gaps(VirtualClock(5), None), Notebook("book")
    for start in (0, 0):
        follower = Follower(folder, start, on_gap=gaps.add)
        loop = Loop(follower, decode_stretches, [book], Meter(1))
        while loop.turn():
            pass
        loop.commit()
    last = scorer.ledger.next_arrival - 1
    assert len(book.arrivals) == len(set(book.arrivals)) < last - 1
    assert (book.arrivals[0], book.arrivals[-1]) == (2, last)
    (gap,) = gaps.document()["newest_gaps"]
    assert "00000002" in gap["why"]
    assert gap["position"] >> 40 == 2
