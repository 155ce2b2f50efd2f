"""Batches for the journal's tests."""

from collections.abc import Callable

import numpy as np
import pytest

from assay.records import EVENT, Batch


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
