"""Writes the kernel of a plan as Python source for Numba.

For each entity three functions are written: ``E_bits`` (which conditions an event meets),
``E_query`` (move the windows to the event's time and write the features) and ``E_insert``
(fold the event in). ``run`` calls them event by event, in arrival order.

An event in order costs O(1) amortised a window: tails only move forward. New-value flags and
distinct counts also look back through the entity's events until they find the value.
An event out of order reads corrected copies of the running aggregates and is placed where its
time belongs; it costs as many steps as it has later events.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assay.features import definitions as d
from assay.features.insert import insert_function
from assay.features.plan import KEY_FIELDS, EntityPlan, Plan
from assay.features.query import distinct_function, nothing_function, query_function
from assay.features.runtime_text import HEADER
from assay.features.steps import bits_function, indent
from assay.records import EVENT, OFFSET_ABSENT


def _values_of(entity: EntityPlan) -> str:
    return "".join(f", {_value(value)}" for value in entity.values)


def _value(value: str) -> str:
    return f"v_{value}" if value in KEY_FIELDS else f"np.int64(ev.{value})"


def slot_lines(entity: EntityPlan) -> list[str]:
    """Write the look-up of an entity's slot; an event that is not folded makes none."""
    e = entity.name
    fresh = [f"{e}_heads[slot_{e}].key = ev.{e}", f"{e}_heads[slot_{e}].time = t"]
    fresh += [f"{e}_heads[slot_{e}].{w} = -1" for w in ("first", "last")]
    fresh += [f"{e}_heads[slot_{e}].tail{k} = -1" for k in range(len(entity.windows))]
    fresh += [f"{e}_heads[slot_{e}].last{j} = -1" for j in range(len(entity.last_of))]
    fresh += [f"{e}_heads[slot_{e}].at = -1"] if entity.located else []
    return [
        f"slot_{e}, v_{e} = -1, 0",
        f"if ev.{e} != np.uint64(0):",
        f"    slot_{e} = locate({e}_index, {e}_heads, ev.{e})",
        f"    if slot_{e} < 0 and fold:",
        f"        slot_{e} = create({e}_index, {e}_pool, ev.{e}, {e}_slots, scalars)",
        f"        if slot_{e} >= 0:",
        *indent(fresh, 3),
        f"    v_{e} = slot_{e} + 1 if slot_{e} >= 0 else -1",
    ]


TIME_LINES = [
    "fold = (ev.flags & (LATE | FUTURE)) == 0",
    "if fold and ev.event_time > scalars[0]:",
    "    scalars[0] = ev.event_time",
    "t = np.int64(ev.event_time)",
    "if not fold:  # seen from the nearest time that windows still cover",
    "    t = min(max(t, scalars[0] - lateness_ms), scalars[0])",
]
"""Whether an event is folded, and from when it looks back."""


_INPUT_ABSENT = {"amount_ref": "< 0", "amount_minor": "< 0"}


def _inputs(plan: Plan, columns: dict[str, int]) -> Iterator[str]:
    for feature in plan.feature_set.features:
        x = f"x[{columns[feature.name]}]"
        if isinstance(feature, d.Input):
            absent = _INPUT_ABSENT.get(feature.field, "== 0")
            yield f"{x} = NAN if ev.{feature.field} {absent} else float(ev.{feature.field})"
        elif isinstance(feature, d.LocalTime):
            yield "offset = np.int64(ev.merchant_offset_min)"
            yield f"if offset == {OFFSET_ABSENT}:"
            yield "    offset = np.int64(ev.utc_offset_min)"
            yield f"if offset == {OFFSET_ABSENT}:"
            yield "    offset = np.int64(0)"
            yield "local = np.int64(ev.event_time) + offset * 60000"
            if feature.part == "hour":
                yield f"{x} = (local % 86400000) / 3600000.0"
            else:
                yield f"{x} = float((local // 86400000 + 3) % 7)  # 1970-01-01 was a Thursday"


def _derived(plan: Plan, columns: dict[str, int]) -> Iterator[str]:
    for feature in plan.feature_set.features:
        x = f"x[{columns[feature.name]}]"
        if isinstance(feature, d.Ratio):
            over, under = columns[feature.over], columns[feature.under]
            yield f"{x} = x[{over}] / x[{under}] * {feature.scale!r} if x[{under}] > 0 else NAN"
        elif isinstance(feature, d.ZScore):
            v, m, s = (columns[n] for n in (feature.value, feature.mean, feature.deviation))
            yield f"{x} = (x[{v}] - x[{m}]) / x[{s}] if x[{s}] > 0 else NAN"


def _entity_arguments(entity: EntityPlan) -> str:
    e = entity.name
    return f"{e}_index, {e}_heads, {e}_entries, {e}_links, {e}_pool, {e}_slots, {e}_blocks"


def _run(plan: Plan, columns: dict[str, int]) -> list[str]:
    arguments = ", ".join(_entity_arguments(entity) for entity in plan.entities)
    width = len(columns)
    body = [
        f"x = np.empty({width})",
        "found = np.empty(32, np.int64)",
        "for i in range(events.shape[0]):",
    ]
    loop = [
        "ev = events[i]",
        *TIME_LINES,
        "x[:] = NAN",
        *(line for entity in plan.entities for line in slot_lines(entity)),
        *_inputs(plan, columns),
    ]
    for entity in plan.entities:
        e, values = entity.name, _values_of(entity)
        call = f"{e}_query(ev, t, slot_{e}, {e}_heads, {e}_entries, {e}_links, found, x{values})"
        insert = (
            f"{e}_insert(ev, t, {e}_bits(ev), slot_{e}, {_entity_arguments(entity)}, "
            f"lateness_ms, scalars, found{values})"
        )
        if entity.features:
            loop += [
                f"if slot_{e} >= 0:",
                f"    {call}",
                "    if fold:",
                f"        {insert}",
                f"elif ev.{e} != np.uint64(0):",
                f"    {e}_nothing(x{values})",
            ]
    loop += [*_derived(plan, columns), f"for j in range({width}):", "    out[i, j] = x[j]"]
    return [
        "",
        "",
        "@njit(SIGNATURE, nogil=True, cache=True)",
        f"def run(events, out, scalars, lateness_ms, {arguments}):",
        *indent([*body, *indent(loop, 1)], 1),
    ]


def _dtype(dtype: np.dtype[np.void]) -> str:
    names = list(dtype.names or ())
    formats = [str(dtype[name].str) for name in names]
    offsets = [dtype.fields[name][1] for name in names] if dtype.fields else []
    layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize}
    return f"from_dtype(np.dtype({layout!r}, align=True))"


def _signature(plan: Plan) -> list[str]:
    """Write the types of ``run``: with them the import compiles, or loads from the cache."""
    lines = [
        "",
        "",
        "SIGNATURE = types.void(",
        f"    types.Array({_dtype(EVENT)}, 1, 'C', readonly=True, aligned=False),",
        "    types.float32[:, ::1],",
        "    types.int64[::1],",
        "    types.int64,",
    ]
    for entity in plan.entities:
        lines += [
            "    types.uint64[:, ::1],",
            f"    {_dtype(entity.head_dtype())}[::1],",
            f"    {_dtype(entity.entry_dtype())}[::1],",
            "    types.int32[:, ::1],",
            "    types.int64[:, ::1],",
            "    types.int64,",
            "    types.int64,",
        ]
    return [*lines, ")"]


def write_source(plan: Plan) -> str:
    """Return the source of a plan's kernel.

    The function ``run(events, out, scalars, lateness_ms, …state)`` folds events of dtype
    `records.EVENT` in arrival order and writes float32 features of shape (n, f).
    ``scalars`` holds shard time, entities refused and events refused for lack of memory.
    The function ``reindex(index, keys, pool, slots_per_shard)`` makes the key index of an entity
    whose heads are there.
    """
    columns = {name: j for j, name in enumerate(plan.feature_set.names)}
    lines = [HEADER.rstrip("\n")]
    for entity in plan.entities:
        if entity.features:
            lines += bits_function(entity)
            for value in entity.values:
                if any(value in window.distinct for window in entity.windows):
                    lines += distinct_function(entity, value)
            lines += query_function(entity, columns)
            lines += nothing_function(entity, columns)
            lines += insert_function(entity)
    return "\n".join([*lines, *_signature(plan), *_run(plan, columns), ""])
