"""A journal of decisions and labels in memory, cut into stretches anywhere."""

from __future__ import annotations

import numpy as np

from assay.records import Batch, Events, ResolvedLabel, Stretch, empty_events

STEP = 100
"""Bytes between two records: the record with arrival k stands at (k - 1) * STEP."""


class LittleJournal:
    """Records with arrivals 1, 2, 3 …; each is a decision or the label of an earlier one."""

    def __init__(self) -> None:
        self.decisions: dict[int, Events] = {}
        self.labels: dict[int, ResolvedLabel] = {}

    @property
    def end(self) -> int:
        """Position after the last record."""
        return (len(self.decisions) + len(self.labels)) * STEP

    def decide(self, event_time: int, transaction: int = 0) -> int:
        """Add a decision and return its arrival."""
        arrival = self.end // STEP + 1
        event = empty_events(1)
        event["arrival"] = arrival
        event["arrival_ms"] = event_time + 3
        event["event_time"] = event_time
        event["transaction"] = transaction or arrival
        event["card"] = arrival % 7 + 1
        event["amount_ref"] = arrival * 10
        event["kind"] = 1
        self.decisions[arrival] = event
        return arrival

    def label(self, of: int, fraud: bool, reported_ms: int) -> None:
        """Add a label of the decision with arrival `of`."""
        arrival = self.end // STEP + 1
        event = self.decisions[of]
        self.labels[arrival] = ResolvedLabel(
            arrival, reported_ms, arrival - 1, fraud, reported_ms, event
        )

    def stretch(self, start: int, end: int) -> Stretch:
        """Return the records between two positions."""
        arrivals = range(start // STEP + 1, end // STEP + 1)
        own = [k for k in arrivals if k in self.decisions]
        events = np.concatenate([empty_events(0), *(self.decisions[k] for k in own)])
        n = len(own)
        numbers = np.array(own, np.int64)
        batch = Batch(
            events,
            np.zeros((n, 2), np.float32),
            (numbers / 1000).astype(np.float32),
            (numbers % 4).astype(np.uint8),
            np.repeat(numbers[:, None], 4, axis=1).astype(np.uint16),
            np.zeros(n, np.uint8),
        )
        return Stretch(
            end,
            batch,
            np.ones(n, np.uint64),
            (numbers - 1) * STEP,
            [f"t{k}" for k in own],
            [b"{}"] * n,
            labels=[self.labels[k] for k in arrivals if k in self.labels],
        )
