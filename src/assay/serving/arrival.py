"""Flags late and future events as they arrive; replay reads the flags and never asks again."""

from __future__ import annotations

from assay.records import FUTURE_ALLOWANCE_MS, Events, Flag


def flag_arrivals(events: Events, shard_time_ms: int, lateness_ms: int) -> int:
    """Set the flags of events that have their arrival time, in order, and return shard time.

    An event is *future* if it lies beyond its arrival plus five minutes, else *late* if it lies
    more than the lateness limit behind shard time. Only events that are neither move shard time,
    and it never moves backwards.

    Parameters
    ----------
    events : ndarray of `EVENT`, shape (n,)
        ``flags`` are written.
    shard_time_ms : int
        Largest event time folded before these.
    lateness_ms : int
    """
    flags: list[int] = []
    arrivals, times = events["arrival_ms"].tolist(), events["event_time"].tolist()
    for arrival_ms, time_ms in zip(arrivals, times, strict=True):
        if time_ms > arrival_ms + FUTURE_ALLOWANCE_MS:
            flags.append(Flag.future)
        elif time_ms < shard_time_ms - lateness_ms:
            flags.append(Flag.late)
        else:
            flags.append(0)
            shard_time_ms = max(shard_time_ms, time_ms)
    events["flags"] = flags
    return shard_time_ms
