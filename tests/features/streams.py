"""Random streams of events that meet the kernel's difficult cases often."""

from __future__ import annotations

import numpy as np

from assay.records import (
    DAY_MS,
    FUTURE_ALLOWANCE_MS,
    OFFSET_ABSENT,
    Events,
    Flag,
    empty_events,
    pack2,
)

START_MS = 1_700_000_000_000


def stream(seed: int, n: int, lateness_ms: int, *, span_ms: int = 100 * DAY_MS) -> Events:
    """Return n events in arrival order: ties, disorder, late and future ones, missing keys."""
    rng = np.random.default_rng(seed)
    events = empty_events(n)
    arrival = START_MS + np.sort(rng.integers(0, span_ms, n))
    disorder = np.where(rng.random(n) < 0.5, 0, rng.integers(0, 3 * lateness_ms // 2 + 1, n))
    events["event_time"] = (arrival - disorder) // 1000 * 1000  # whole seconds: many ties
    ahead = rng.random(n) < 0.03
    events["event_time"][ahead] = arrival[ahead] + FUTURE_ALLOWANCE_MS + 60_000
    events["arrival"] = np.arange(1, n + 1)
    events["arrival_ms"] = arrival
    for name, keys, absent in [
        ("card", 3, 0),
        ("customer", 2, 0.1),
        ("merchant", 4, 0.1),
        ("device", 3, 0.4),
    ]:
        pool = rng.integers(1, 2**63, keys).astype(np.uint64) | np.uint64(1 << 63)
        chosen = pool[rng.integers(0, keys, n)]
        chosen[rng.random(n) < absent] = 0
        events[name] = chosen
    kinds = rng.choice([1, 5, 3, 6, 7], n, p=[0.7, 0.1, 0.05, 0.1, 0.05])
    events["kind"] = kinds
    amounts = np.where(rng.random(n) < 0.3, rng.integers(0, 500, n), rng.integers(0, 10**12, n))
    events["amount_ref"] = np.where(kinds >= 6, -1, amounts)
    events["channel"] = rng.integers(0, 3, n)
    events["category"] = rng.choice([0, 5411, 5812, 7995], n)
    events["country"] = rng.choice([0, pack2("PT"), pack2("DE")], n)
    events["currency"] = 978
    events["response"] = rng.choice([0, pack2("00"), pack2("51")], n)
    located = rng.random(n) < 0.5
    events["latitude"][located] = rng.uniform(-80, 80, n)[located].astype(np.float32)
    events["longitude"][located] = rng.uniform(-180, 180, n)[located].astype(np.float32)
    events["merchant_offset_min"] = rng.choice([OFFSET_ABSENT, 0, 330, -480], n)
    set_flags(events, lateness_ms)
    return events


def set_flags(events: Events, lateness_ms: int) -> None:
    """Flag late and future events as arrival does."""
    shard_time = 0
    for event in events:
        t = int(event["event_time"])
        if t > int(event["arrival_ms"]) + FUTURE_ALLOWANCE_MS:
            event["flags"] = Flag.future
        elif t < shard_time - lateness_ms:
            event["flags"] = Flag.late
        else:
            shard_time = max(shard_time, t)
