from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.features.default_set import default_features
from assay.features.fold import Fold
from assay.records import DAY_MS, Flag

sys.path.insert(0, str(Path(__file__).parent))
from oracle import features_of
from streams import stream

HOUR_MS = 3_600_000
SET = default_features()


def fold(lateness_ms: int = HOUR_MS) -> Fold:
    return Fold(SET, lateness_ms=lateness_ms, entities_max=4096, events_max=65_536)


def assert_same(got: np.ndarray, want: np.ndarray) -> None:
    """Equal bit for bit; distances, whose sines differ between libraries, to 1e-6."""
    rough = np.array(["km" in name for name in SET.names])
    np.testing.assert_array_equal(got[:, ~rough], want[:, ~rough])
    np.testing.assert_allclose(got[:, rough], want[:, rough], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 120),
    lateness_ms=st.sampled_from([0, 60_000, HOUR_MS, 2 * DAY_MS]),
    span_ms=st.sampled_from([60_000, HOUR_MS, 3 * DAY_MS, 100 * DAY_MS, 400 * DAY_MS]),
)
def test_kernel_equals_the_definitions(seed: int, n: int, lateness_ms: int, span_ms: int) -> None:
    """Every feature of every event equals what its definition says, in any order of arrival."""
    events = stream(seed, n, lateness_ms, span_ms=span_ms)
    assert_same(fold(lateness_ms)(events), features_of(SET, lateness_ms, events))


@pytest.mark.parametrize("seed", range(2))
def test_long_streams_cross_blocks(seed: int) -> None:
    """Windows stay exact when an entity's events fill many blocks and old ones are dropped."""
    events = stream(seed, 420, HOUR_MS, span_ms=250 * DAY_MS)
    assert_same(fold()(events), features_of(SET, HOUR_MS, events))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 200), max_size=20))
def test_batch_edges_change_nothing(seed: int, cuts: list[int]) -> None:
    """However a stream is cut into batches, the features are the same bits."""
    events = stream(seed, 200, HOUR_MS, span_ms=3 * DAY_MS)
    whole = fold()(events)
    other = fold()
    edges = [0, *sorted(cuts), 200]
    parts = [other(events[a:b]) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_flagged_events_leave_no_trace() -> None:
    """Late and future events are given features but change no window of any other event."""
    events = stream(5, 600, HOUR_MS, span_ms=DAY_MS)
    kept = (events["flags"] & (Flag.late | Flag.future)) == 0
    assert 0 < kept.sum() < len(events)
    np.testing.assert_array_equal(fold()(events)[kept], fold()(events[kept]))


def test_bounds_are_counted_not_silent() -> None:
    """A full state refuses new entities, says how many, and goes on."""
    events = stream(1, 4000, HOUR_MS)
    events["card"] = np.arange(1, 4001, dtype=np.uint64) << np.uint64(50)
    small = Fold(SET, lateness_ms=HOUR_MS, entities_max=1024, events_max=65_536)
    small(events)
    entities, dropped = small.state.refused
    assert entities > 1000
    assert dropped == 0


def test_shard_time_ignores_flagged_events() -> None:
    """Shard time is the largest event time among the events that were folded."""
    events = stream(9, 300, HOUR_MS)
    state = fold()
    state(events)
    kept = events[(events["flags"] & (Flag.late | Flag.future)) == 0]
    assert state.state.shard_time_ms == kept["event_time"].max()
