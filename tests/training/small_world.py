"""A table with something to learn."""

from __future__ import annotations

import numpy as np

from assay.records import DAY_MS, SCORED_KINDS, Kind, empty_events


class World:
    """Transactions whose frauds lie where two features are high together."""

    def __init__(self, n: int = 12_000, days: int = 60, seed: int = 5) -> None:
        rng = np.random.default_rng(seed)
        start_ms = 1_700_006_400_000  # a UTC midnight
        self.events = empty_events(n)
        self.events["event_time"] = start_ms + np.sort(rng.integers(0, days * DAY_MS, n))
        self.events["card"] = rng.integers(1, 900, n)
        self.events["kind"] = rng.choice([*SCORED_KINDS, Kind.login], n, p=[0.8, 0.1, 0.1])
        self.features = rng.normal(size=(n, 6)).astype(np.float32)
        risk = 2 * self.features[:, 0] + 2 * self.features[:, 1] - 5.5
        self.fraud = (rng.random(n) < 1 / (1 + np.exp(-risk))).astype(np.int8)
        self.fraud[(self.fraud == 0) & (rng.random(n) < 0.3)] = -1
        delay_ms = rng.integers(0, 12 * DAY_MS, n)
        self.reported_ms = np.where(self.fraud == 1, self.events["event_time"] + delay_ms, 0)
        self.features[rng.random(self.features.shape) < 0.1] = np.nan
