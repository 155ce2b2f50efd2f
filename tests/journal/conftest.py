"""Batches for the journal's tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import encode_decisions
from assay.journal.log import Log
from assay.records import EVENT, Batch

BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="z", dataset="d"
)


def random_batch(seed: int, n: int, n_features: int, first: int = 1) -> tuple[Batch, list[bytes]]:
    """Return a decided batch with random content, and its canonical transactions."""
    rng = np.random.default_rng(seed)
    events = np.frombuffer(rng.bytes(n * EVENT.itemsize), EVENT).copy()
    events["arrival"] = np.arange(first, first + n)
    events["arrival_ms"] = 1_700_000_000_000 + np.arange(n)
    batch = Batch(
        events,
        rng.normal(size=(n, n_features)).astype(np.float32),
        rng.random(n, np.float32),
        rng.integers(0, 4, n).astype(np.uint8),
        rng.integers(0, 1 << 16, (n, 4)).astype(np.uint16),
        rng.integers(0, 4, n).astype(np.uint8),
    )
    canonicals = [b'{"amount_minor":%d,"transaction_id":"t-%d"}' % (i * 7, i) for i in range(n)]
    return batch, canonicals


@pytest.fixture
def make_batch() -> Callable[..., tuple[Batch, list[bytes]]]:
    """Give tests `random_batch`."""
    return random_batch


def write_run(
    folder: Path, n: int, first: int = 1, segment_bytes: int = 3000
) -> list[tuple[int, bytes]]:
    """Write a scorer's run, a boot record and n decisions in groups, and return the records."""
    log = Log.open(folder, VirtualClock(1_700_000_000_000), segment_bytes=segment_bytes)
    batch, canonicals = random_batch(first, n, 3, first + 1)
    batch.events["arrival_ms"] = 1_700_000_000_000 + 1000 * batch.events["arrival"].astype(np.int64)
    digests, salts = np.arange(1, n + 1, dtype=np.uint64), bytes(16 * n)
    payloads, _ = encode_decisions(batch, canonicals, digests, boot=first, salts=salts)
    payloads.insert(0, BOOT.encode(first, 1_700_000_000_000 + 1000 * first))
    written = []
    for at in range(0, len(payloads), 3):
        group = payloads[at : at + 3]
        written += zip(log.append(group), group, strict=True)
        log.sync()
    log.close()
    return written


@pytest.fixture
def write_stream() -> Callable[..., list[tuple[int, bytes]]]:
    """Give tests `write_run`."""
    return write_run
