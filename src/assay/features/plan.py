"""From a feature set to the layout of its state: which words each entity and event keeps.

Each entity has three arrays: `heads` (one record an entity, with its running aggregates and a
position for each window's tail), `entries` (its events, in blocks, sorted by event time and
arrival) and `links` (the chain of its blocks). Records, not columns: one step of a window then
touches one cache line instead of one a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from assay.features import definitions as d

SHARDS = 16
"""Each entity's memory is cut into this many contiguous ranges by the top bits of its key."""

KEY_FIELDS = d.ENTITIES
"""Fields whose values are 64-bit keys: entries hold their 32-bit slot instead, exactly."""

BLOCK_ROWS = {"card": 8, "customer": 8, "merchant": 32, "device": 4}
"""Events in one block: a power of two; more for busier entities."""


@dataclass
class WindowPlan:
    """One window of an entity and what is kept running over it."""

    length_ms: int
    counts: list[d.Condition] = field(default_factory=list)
    sums: list[d.Condition] = field(default_factory=list)
    squares: list[d.Condition] = field(default_factory=list)
    distinct: list[str] = field(default_factory=list)


@dataclass
class EntityPlan:
    """All that the kernel needs to know of one entity."""

    name: d.EntityName
    windows: list[WindowPlan] = field(default_factory=list)
    conditions: list[d.Condition] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    last_of: list[d.Condition] = field(default_factory=list)
    located: bool = False
    features: list[d.Feature] = field(default_factory=list)
    scan_ms: int = 0

    @property
    def block_rows(self) -> int:
        """Events in one block."""
        return BLOCK_ROWS[self.name]

    @property
    def retention_ms(self) -> int:
        """How far back the entity's features look."""
        looks = [w.length_ms for w in self.windows]
        return max([*looks, self.scan_ms, d.LOOKBACK_MS if self.last_of or self.located else 0])

    def window(self, length_ms: int) -> WindowPlan:
        """Return the plan of a window, made when it is new."""
        for window in self.windows:
            if window.length_ms == length_ms:
                return window
        self.windows.append(WindowPlan(length_ms))
        return self.windows[-1]

    def bit(self, condition: d.Condition) -> int:
        """Return the bit of an entry's ``bits`` that says whether it met the condition."""
        return 1 << self.conditions.index(condition)

    def superseded_bit(self, value: str) -> int:
        """Return the bit that says a later entry of the entity has the same value."""
        return 1 << (31 - self.values.index(value))

    def head_dtype(self) -> np.dtype[np.void]:
        """Return the record kept for each entity."""
        words: list[tuple[str, str]] = [("key", "<u8"), ("time", "<i8")]
        for k, window in enumerate(self.windows):
            words += [(f"q{k}_{j}_{part}", "<u8") for j in _n(window.squares) for part in "hl"]
            words += [(f"s{k}_{j}", "<i8") for j in _n(window.sums)]
        words += [(f"last{j}", "<i8") for j in _n(self.last_of)]
        words += [("at", "<i8"), ("lat", "<f4"), ("lon", "<f4")] if self.located else []
        words += [("first", "<i4"), ("last", "<i4")]
        for k, window in enumerate(self.windows):
            words += [(f"tail{k}", "<i4")]
            words += [(f"n{k}_{j}", "<i4") for j in _n(window.counts)]
            words += [(f"d{k}_{j}", "<i4") for j in _n(window.distinct)]
        return np.dtype(words, align=True)

    def entry_dtype(self) -> np.dtype[np.void]:
        """Return the record kept for each event of the entity."""
        words = [("time", "<i8")]
        words += [("amount", "<i8")] if any(w.sums for w in self.windows) else []
        words += [("lat", "<f4"), ("lon", "<f4")] if self.located else []
        words += [(f"v_{value}", "<i4") for value in self.values]
        words += [("bits", "<u4")]
        return np.dtype(words, align=True)


def _n(items: list[object] | list[d.Condition] | list[str]) -> range:
    return range(len(items))


@dataclass(frozen=True)
class Plan:
    """A feature set and the layout of its state."""

    feature_set: d.FeatureSet
    entities: tuple[EntityPlan, ...]


def _add(items: list[d.Condition], condition: d.Condition) -> None:
    if condition not in items:
        items.append(condition)


def _place(entity: EntityPlan, feature: d.Feature) -> None:
    """Add to the entity's plan what one feature needs."""
    entity.features.append(feature)
    match feature:
        case d.Windowed():
            _place_windowed(entity, feature)
        case d.Distinct():
            _place_value(entity, feature.field, feature.window_ms)
            entity.window(feature.window_ms).distinct.append(feature.field)
        case d.IsNew():
            _place_value(entity, feature.field, d.LOOKBACK_MS)
        case d.SinceLast():
            _add(entity.conditions, feature.where)
            _add(entity.last_of, feature.where)
        case d.SinceFirst():
            entity.window(d.LOOKBACK_MS)
        case d.Distance() | d.Speed():
            entity.located = True


def _place_value(entity: EntityPlan, field: str, reach_ms: int) -> None:
    if field not in entity.values:
        entity.values.append(field)
    entity.scan_ms = max(entity.scan_ms, reach_ms)


def _place_windowed(entity: EntityPlan, feature: d.Windowed) -> None:
    window = entity.window(feature.window_ms)
    counted = [] if isinstance(feature, d.Sum) else [feature.where]
    counted += [feature.of] if isinstance(feature, d.Share) else []
    for condition in (feature.where, *counted):
        _add(entity.conditions, condition)
    for condition in counted:
        _add(window.counts, condition)
    if isinstance(feature, d.Sum | d.Mean | d.Std):
        _add(window.sums, feature.where)
    if isinstance(feature, d.Std):
        _add(window.squares, feature.where)


def make_plan(feature_set: d.FeatureSet) -> Plan:
    """Lay out the state of a feature set.

    Every entity is planned, even one without features, when another counts its values.
    """
    plans = {name: EntityPlan(name) for name in d.ENTITIES}
    for feature in feature_set.features:
        if isinstance(feature, d.EntityFeature):
            _place(plans[feature.entity], feature)
    used = {name for name, plan in plans.items() if plan.features}
    used |= {value for plan in plans.values() for value in plan.values if value in KEY_FIELDS}
    for plan in plans.values():
        plan.windows.sort(key=lambda window: window.length_ms)
        assert len(plan.conditions) + len(plan.values) <= 32, "an entry's bits are 32"
    return Plan(feature_set, tuple(plan for name, plan in plans.items() if name in used))
