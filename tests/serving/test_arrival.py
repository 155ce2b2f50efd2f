from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from assay.records import FUTURE_ALLOWANCE_MS, Flag, empty_events
from assay.serving.arrival import flag_arrivals

NOW_MS = 1_800_000_000_000


@given(
    times=st.lists(st.integers(NOW_MS - 7_200_000, NOW_MS + 900_000), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=5),
)
def test_flags_follow_the_definition(times: list[int], cuts: list[int]) -> None:
    """Late and future are told by shard time and arrival alone, however the batches are cut."""
    events = empty_events(len(times))
    events["event_time"], events["arrival_ms"] = times, NOW_MS
    shard_ms, edges = NOW_MS - 3_600_000, [0, *sorted(min(c, len(times)) for c in cuts), len(times)]
    for start, stop in pairwise(edges):
        shard_ms = flag_arrivals(events[start:stop], shard_ms, 3_600_000)
    expected_ms = NOW_MS - 3_600_000
    for time_ms, flags in zip(times, events["flags"].tolist(), strict=True):
        if time_ms > NOW_MS + FUTURE_ALLOWANCE_MS:
            assert flags == Flag.future
        elif time_ms < expected_ms - 3_600_000:
            assert flags == Flag.late
        else:
            assert flags == 0
            expected_ms = max(expected_ms, time_ms)
    assert shard_ms == expected_ms
