"""Indexes against the records they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.errors import DamageError, JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import encode_decisions
from assay.journal.index import SegmentIndex, _decode_boots
from assay.journal.index_builder import IndexBuilder
from assay.records import Batch

Maker = Callable[..., tuple[Batch, list[bytes]]]
BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="z", dataset="d"
)
BEFORE = (3, BOOT.encode(3, 5))


def records(make_batch: Maker, n: int) -> tuple[Batch, list[tuple[int, bytes]]]:
    """Return n decisions from arrival 10 on, and a boot record behind them."""
    batch, canonicals = make_batch(1, n, 3, 10)
    batch.events["transaction"][::5] = batch.events["transaction"][0]
    digests = np.arange(1, n + 1, dtype=np.uint64)
    payloads, _ = encode_decisions(batch, canonicals, digests, boot=3, salts=bytes(16 * n))
    payloads.append(BOOT.encode(10 + n, int(batch.events["arrival_ms"][-1]) + 1))
    return batch, [(64 + 700 * i, payload) for i, payload in enumerate(payloads)]


def check(index: SegmentIndex, batch: Batch) -> None:
    n = len(batch)
    positions = [7 << 40 | 64 + 700 * i for i in range(n + 1)]
    assert [index.find_arrival(10 + i) for i in range(n + 1)] == positions
    assert [index.find_arrival(arrival) for arrival in (0, 9, 11 + n, 2**63)] == [None] * 4
    hashes = batch.events["transaction"].tolist()
    assert index.find_transaction(hashes[0]) == positions[0:n:5]
    for i in range(1, n, 5):
        assert index.find_transaction(hashes[i]) == [positions[i]]
    assert index.find_transaction(12345) == index.find_transaction(0) == []
    assert index.entries["digest"].tolist() == [*range(1, n + 1), 0]
    assert index.next_arrival == 11 + n
    assert index.last_arrival_ms == int(batch.events["arrival_ms"][-1]) + 1
    assert [arrival for arrival, _ in index.boots] == [3, 10 + n]
    assert all(BootRecord.decode(payload) == BOOT for _, payload in index.boots)


def test_everything_is_found(make_batch: Maker, tmp_path: Path) -> None:
    """Every record is found by arrival and by transaction, in memory and from the file."""
    batch, content = records(make_batch, 53)
    builder = IndexBuilder(7, [BEFORE])
    for at in range(0, len(content), 10):
        builder.add(content[at : at + 10])
        assert len(builder.index().entries) == min(at + 10, len(content))
    index = builder.index()
    check(index, batch)
    path = tmp_path / "00000007.index"
    path.write_bytes(index.encode())
    check(SegmentIndex.load(path), batch)
    assert path.stat().st_size < 44 * len(content) + 1000


def test_an_empty_segment_has_an_index(tmp_path: Path) -> None:
    """A segment without records is indexed like any other."""
    index = IndexBuilder(7, []).index()
    path = tmp_path / "00000007.index"
    path.write_bytes(index.encode())
    loaded = SegmentIndex.load(path)
    assert (loaded.next_arrival, loaded.last_arrival_ms, loaded.boots) == (0, 0, [])
    assert loaded.find_arrival(1) is None
    assert loaded.find_transaction(1) == []


def test_every_changed_byte_is_found(make_batch: Maker, tmp_path: Path) -> None:
    """A byte that changed, or is missing, makes the index damaged; a newer format is refused."""
    builder = IndexBuilder(7, [BEFORE])
    builder.add(records(make_batch, 5)[1])
    whole = builder.index().encode()
    path = tmp_path / "00000007.index"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        expected = JournalError if 8 <= at < 12 else DamageError
        with pytest.raises(expected, match=r"00000007.index"):
            SegmentIndex.load(path)
    for size in (0, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DamageError):
            SegmentIndex.load(path)
    path.write_bytes(whole[:8] + b"\x02" + whole[9:])
    with pytest.raises(JournalError, match="has format 2; accepted: 1"):
        SegmentIndex.load(path)


@pytest.mark.parametrize("data", [b"abc", bytes(8) + b"\xff\0\0\0short"])
def test_boots_that_do_not_fit_are_refused(data: bytes) -> None:
    """Stray bytes, or a boot record longer than what is left, are damage."""
    with pytest.raises(DamageError, match="its boot records do not fit"):
        _decode_boots(data, "00000001.index")
