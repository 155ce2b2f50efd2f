"""The slow, obvious witness: every feature from its definition, by looking at all events."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assay.features import definitions as d
from assay.records import OFFSET_ABSENT, Flag

NAN = math.nan


def meets(event: Any, condition: d.Condition) -> bool:
    def one(test: d.Test) -> bool:
        value = int(event[test.field])
        return {
            "in": value in test.values,
            "not in": value not in test.values,
            "<": value < test.values[0],
            ">=": value >= test.values[0],
        }[test.op]

    return all(one(test) for test in condition.tests)


def known(event: Any, field: str) -> bool:
    return int(event[field]) != 0


class Oracle:
    """Keeps all folded events and answers from them."""

    def __init__(self, feature_set: d.FeatureSet, lateness_ms: int) -> None:
        self.feature_set, self.lateness_ms = feature_set, lateness_ms
        self.folded: list[Any] = []
        self.shard_time = 0

    def __call__(self, event: Any) -> list[float]:
        fold = not int(event["flags"]) & (Flag.late | Flag.future)
        if fold:
            self.shard_time = max(self.shard_time, int(event["event_time"]))
        t = int(event["event_time"])
        if not fold:
            t = min(max(t, self.shard_time - self.lateness_ms), self.shard_time)
        row: dict[str, float] = {}
        for feature in self.feature_set.features:
            row[feature.name] = self.value(feature, event, t, row)
        if fold:
            self.folded.append(event)
        return list(row.values())

    def window(self, event: Any, entity: str, t: int, length_ms: int) -> list[Any]:
        """Earlier events of the entity in (t - length, t], by event time and arrival."""
        if not known(event, entity):
            return []
        found = [
            e
            for e in self.folded
            if e[entity] == event[entity] and t - length_ms < int(e["event_time"]) <= t
        ]
        return sorted(found, key=lambda e: int(e["event_time"]))

    def value(self, f: d.Feature, event: Any, t: int, row: dict[str, float]) -> float:
        if isinstance(f, d.Input):
            value = float(event[f.field])
            absent = value < 0 if f.field == "amount_ref" else value == 0
            return NAN if absent else value
        if isinstance(f, d.LocalTime):
            offset = int(event["merchant_offset_min"])
            offset = int(event["utc_offset_min"]) if offset == OFFSET_ABSENT else offset
            local = int(event["event_time"]) + (0 if offset == OFFSET_ABSENT else offset) * 60_000
            if f.part == "hour":
                return local % 86_400_000 / 3_600_000
            return float((local // 86_400_000 + 3) % 7)
        if isinstance(f, d.Ratio):
            under = row[f.under]
            return row[f.over] / under * f.scale if under > 0 else NAN
        if isinstance(f, d.ZScore):
            dev = row[f.deviation]
            return (row[f.value] - row[f.mean]) / dev if dev > 0 else NAN
        assert isinstance(f, d.EntityFeature)
        if not known(event, f.entity):
            return NAN
        return self.entity_value(f, event, t)

    def entity_value(self, f: d.EntityFeature, event: Any, t: int) -> float:
        if isinstance(f, d.Windowed):
            events = self.window(event, f.entity, t, f.window_ms)
            hits = [e for e in events if meets(e, f.where)]
            amounts = [int(e["amount_ref"]) for e in hits]
            n = len(hits)
            if isinstance(f, d.Count):
                return float(n)
            if isinstance(f, d.Share):
                of = sum(meets(e, f.of) for e in events)
                return n / of if of else NAN
            if isinstance(f, d.Sum):
                return float(sum(amounts))
            if not n:
                return NAN
            if isinstance(f, d.Mean):
                return sum(amounts) / n
            return math.sqrt(n * sum(a * a for a in amounts) - sum(amounts) ** 2) / n
        if isinstance(f, d.Distinct):
            events = self.window(event, f.entity, t, f.window_ms)
            return float(len({int(e[f.field]) for e in events if known(e, f.field)}))
        events = self.window(event, f.entity, t, d.LOOKBACK_MS)
        if isinstance(f, d.IsNew):
            if not known(event, f.field):
                return NAN
            return float(not any(e[f.field] == event[f.field] for e in events))
        if isinstance(f, d.SinceLast):
            hits = [e for e in events if meets(e, f.where)]
            return (t - int(hits[-1]["event_time"])) / 1000 if hits else NAN
        if isinstance(f, d.SinceFirst):
            return (t - int(events[0]["event_time"])) / 1000 if events else NAN
        return self.travel(f, event, t, events)

    def travel(self, f: d.Feature, event: Any, t: int, events: list[Any]) -> float:
        located = [e for e in events if not math.isnan(e["latitude"])]
        if not located or math.isnan(event["latitude"]):
            return NAN
        last = located[-1]
        a, b, c, e = (
            math.radians(float(v))
            for v in (last["latitude"], last["longitude"], event["latitude"], event["longitude"])
        )
        x = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((e - b) / 2) ** 2
        km = 2 * 6371.0088 * math.asin(math.sqrt(min(1.0, x)))
        if isinstance(f, d.Distance):
            return km
        return km / (max(t - int(last["event_time"]), 60_000) / 3_600_000)


def features_of(feature_set: d.FeatureSet, lateness_ms: int, events: Any) -> np.ndarray:
    """Return the matrix that the kernel must give, float32."""
    oracle = Oracle(feature_set, lateness_ms)
    rows = [oracle(event) for event in events]
    return np.array(rows, np.float64).astype(np.float32).reshape(len(rows), -1)
