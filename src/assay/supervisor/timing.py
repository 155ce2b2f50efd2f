"""How patient the supervisor is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Times in seconds; tests make them shorter.

    Attributes
    ----------
    ready_s : float
        How long a program may take until it is ready: a scorer folds its history first.
    interval_s, timeout_s, misses_max
        A healthy program is asked every `interval_s`, and has `timeout_s` to answer. After
        `misses_max` misses in a row it is hung.
    backoff_s, backoff_max_s : float
        Pause before the first restart; each further one doubles it up to the most.
    steady_s : float
        A program that was healthy for so long begins with the first pause again.
    stop_s : float
        How long a program may take to stop by itself.
    """

    ready_s: float = 600.0
    interval_s: float = 1.0
    timeout_s: float = 2.0
    misses_max: int = 3
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    steady_s: float = 60.0
    stop_s: float = 10.0
