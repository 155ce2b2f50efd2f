"""Writes the kernel of a plan as Python source for Numba.

For each entity three functions are written: ``E_bits`` (which conditions an event meets),
``E_query`` (move the windows to the event's time and write the features) and ``E_insert``
(fold the event in). ``run`` calls them event by event, in arrival order.

An event in order costs O(1) amortised a window: tails only move forward.
An event out of order reads corrected copies of the running aggregates and is placed where its
time belongs; it costs as many steps as it has later events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from assay.features import definitions as d
from assay.features.plan import KEY_FIELDS, EntityPlan, Plan, WindowPlan
from assay.features.runtime_text import HEADER
from assay.records import EVENT, OFFSET_ABSENT

_PAD = "    "


def _indent(lines: list[str], levels: int) -> list[str]:
    return [_PAD * levels + line for line in lines]


def _test(test: d.Test) -> str:
    if test.op in ("<", ">="):
        return f"ev.{test.field} {test.op} {test.values[0]}"
    sign, joint = ("==", " or ") if test.op == "in" else ("!=", " and ")
    return "(" + joint.join(f"ev.{test.field} {sign} {value}" for value in test.values) + ")"


def _bits(entity: EntityPlan) -> list[str]:
    """Write the function that says which of the entity's conditions an event meets."""
    out = ["", "", "@njit(nogil=True)", f"def {entity.name}_bits(ev):", "    bits = np.uint32(0)"]
    for condition in entity.conditions:
        out.append("    if " + " and ".join(_test(test) for test in condition.tests) + ":")
        out.append(f"        bits |= np.uint32({entity.bit(condition)})")
    return [*out, "    return bits"]


# --- running aggregates: the same steps on the head's fields and on local copies ---------------

Name = Callable[[str], str]


def _step(entity: EntityPlan, k: int, sign: str, at: str, name: Name) -> list[str]:
    """Add (``+``) or remove (``-``) the entry ``at`` from window k's counts, sums and squares."""
    window = entity.windows[k]
    out = []
    for condition in entity.conditions:
        body = [
            f"{name(f'n{k}_{j}')} {sign}= 1" for j, c in enumerate(window.counts) if c == condition
        ]
        body += [
            f"{name(f's{k}_{j}')} {sign}= {at}.amount"
            for j, c in enumerate(window.sums)
            if c == condition
        ]
        for j, c in enumerate(window.squares):
            if c == condition:
                high, low = name(f"q{k}_{j}_h"), name(f"q{k}_{j}_l")
                verb = "add128" if sign == "+" else "sub128"
                body.append(f"ua = np.uint64({at}.amount)")
                body.append("qh, ql = mul64(ua, ua)")
                body.append(f"{high}, {low} = {verb}({high}, {low}, qh, ql)")
        if body:
            out.append(f"if {at}.bits & np.uint32({entity.bit(condition)}):")
            out += _indent(body, 1)
    return out


def _on_head(field: str) -> str:
    return f"head.{field}"


def _on_local(field: str) -> str:
    return field


def _advance(entity: EntityPlan, k: int) -> list[str]:
    """Move the tail of window k up to t, taking out what falls behind."""
    window = entity.windows[k]
    leave = _step(entity, k, "-", "entry", _on_head)
    for j, value in enumerate(window.distinct):
        leave.append(
            f"if entry.v_{value} != 0 and "
            f"not (entry.bits & np.uint32({entity.superseded_bit(value)})):"
        )
        leave.append(f"    head.d{k}_{j} -= 1")
    return [
        f"p = np.int64(head.tail{k})",
        f"while p >= 0 and entries[p].time <= t - {window.length_ms}:",
        *_indent([*(["entry = entries[p]"] if leave else []), *leave], 1),
        f"    p = successor(links, p, last, {entity.block_rows})",
        f"head.tail{k} = p",
    ]


def _running(entity: EntityPlan, k: int) -> list[str]:
    window = entity.windows[k]
    names = [f"n{k}_{j}" for j in range(len(window.counts))]
    names += [f"s{k}_{j}" for j in range(len(window.sums))]
    names += [f"q{k}_{j}_{part}" for j in range(len(window.squares)) for part in "hl"]
    return names


def _copies(entity: EntityPlan) -> list[str]:
    """Copy the head's aggregates to locals, typed the same on the path without an entity."""
    out = []
    for k, window in enumerate(entity.windows):
        for name in _running(entity, k):
            cast = "np.uint64" if name.startswith("q") else "np.int64"
            out.append(f"{name} = {cast}(head.{name})")
        out += [f"d{k}_{j} = np.int64(head.d{k}_{j})" for j in range(len(window.distinct))]
    return out


def _correct(entity: EntityPlan) -> list[str]:
    """Turn the copies from windows that end at head.time into windows that end at t < it."""
    rows = entity.block_rows
    out = ["p = last", "while p >= 0 and entries[p].time > t:", "    entry = entries[p]"]
    for k, window in enumerate(entity.windows):
        step = _step(entity, k, "-", "entry", _on_local)
        if step:
            out.append(f"    if entry.time > head.time - {window.length_ms}:")
            out += _indent(step, 2)
    out += [f"    p = predecessor(links, p, {rows})", "le = p"]
    for k, window in enumerate(entity.windows):
        step = _step(entity, k, "+", "entry", _on_local)
        if step:
            out += [
                f"p = np.int64(head.tail{k})",
                f"p = predecessor(links, p, {rows}) if p >= 0 else last",
                f"while p >= 0 and entries[p].time > t - {window.length_ms}:",
                "    entry = entries[p]",
                "    if entry.time <= t:",
                *_indent(step, 2),
                f"    p = predecessor(links, p, {rows})",
            ]
        for j, value in enumerate(window.distinct):
            call = f"{entity.name}_distinct_{value}(entries, links, le, t - {window.length_ms})"
            out.append(f"d{k}_{j} = {call}")
    return out


def _distinct_function(entity: EntityPlan, value: str) -> list[str]:
    """Write the slow count of distinct values, for events out of order."""
    rows = entity.block_rows
    return f"""

@njit(nogil=True)
def {entity.name}_distinct_{value}(entries, links, le, limit):
    count, p = 0, le
    while p >= 0 and entries[p].time > limit:
        v = entries[p].v_{value}
        fresh, q = v != 0, p
        while fresh and q != le:
            q = successor(links, q, le, {rows})
            fresh = entries[q].v_{value} != v
        count += fresh
        p = predecessor(links, p, {rows})
    return count""".splitlines()


# --- query --------------------------------------------------------------------------------------


def _scan(entity: EntityPlan) -> list[str]:
    """Find the last earlier entry with each of the event's values, newest first."""
    if not entity.values:
        return []
    out = [f"found_{value} = -1" for value in entity.values]
    out.append("wanted = " + " + ".join(f"np.int64(v_{value} > 0)" for value in entity.values))
    out += ["p = le", f"while wanted > 0 and p >= 0 and entries[p].time > t - {entity.scan_ms}:"]
    for value in entity.values:
        out.append(
            f"    if v_{value} > 0 and found_{value} < 0 and entries[p].v_{value} == v_{value}:"
        )
        out += [f"        found_{value} = p", "        wanted -= 1"]
    out.append(f"    p = predecessor(links, p, {entity.block_rows})")
    out += [f"found[{j}] = found_{value}" for j, value in enumerate(entity.values)]
    return out


def _last_place(entity: EntityPlan) -> list[str]:
    """Find the last earlier entry that has a location."""
    return [
        "lat, lon, at = NAN, NAN, np.int64(-1)",
        "if le == last and head.at >= 0:",
        "    lat, lon, at = float(head.lat), float(head.lon), np.int64(head.at)",
        "elif le != last:",
        "    p = le",
        f"    while p >= 0 and entries[p].time > t - {d.LOOKBACK_MS}:",
        "        if not math.isnan(entries[p].lat):",
        "            lat, lon = float(entries[p].lat), float(entries[p].lon)",
        "            at = np.int64(entries[p].time)",
        "            break",
        f"        p = predecessor(links, p, {entity.block_rows})",
        "km = NAN",
        f"if at >= 0 and at > t - {d.LOOKBACK_MS} and not math.isnan(ev.latitude):",
        "    km = haversine_km(lat, lon, float(ev.latitude), float(ev.longitude))",
    ]


def _since_last(entity: EntityPlan, j: int, condition: d.Condition) -> list[str]:
    return [
        f"last{j} = np.int64(head.last{j})",
        "if le != last:",
        f"    p, last{j} = le, np.int64(-1)",
        f"    while p >= 0 and entries[p].time > t - {d.LOOKBACK_MS}:",
        f"        if entries[p].bits & np.uint32({entity.bit(condition)}):",
        f"            last{j} = np.int64(entries[p].time)",
        "            break",
        f"        p = predecessor(links, p, {entity.block_rows})",
    ]


def _first_time(entity: EntityPlan, k: int) -> list[str]:
    """Find the oldest entry of the 90-day window that ends at t."""
    rows = entity.block_rows
    return [
        f"first, p = -1, np.int64(head.tail{k})",
        "if p >= 0 and entries[p].time <= t:",
        "    first = p",
        "if t < head.time:",
        f"    p = predecessor(links, p, {rows}) if p >= 0 else last",
        f"    while p >= 0 and entries[p].time > t - {d.LOOKBACK_MS}:",
        "        if entries[p].time <= t:",
        "            first = p",
        f"        p = predecessor(links, p, {rows})",
    ]


def _window_index(entity: EntityPlan, length_ms: int) -> tuple[int, WindowPlan]:
    for k, window in enumerate(entity.windows):
        if window.length_ms == length_ms:
            return k, window
    raise AssertionError(length_ms)


def _emit(entity: EntityPlan, feature: d.Feature) -> str:
    """Return the expression that gives a feature from the locals of the query."""
    if isinstance(feature, d.Windowed):
        k, window = _window_index(entity, feature.window_ms)
        if isinstance(feature, d.Sum):
            return f"float(s{k}_{window.sums.index(feature.where)})"
        n = f"n{k}_{window.counts.index(feature.where)}"
        if isinstance(feature, d.Count):
            return f"float({n})"
        if isinstance(feature, d.Share):
            of = f"n{k}_{window.counts.index(feature.of)}"
            return f"float({n}) / float({of}) if {of} > 0 else NAN"
        s = f"s{k}_{window.sums.index(feature.where)}"
        if isinstance(feature, d.Mean):
            return f"float({s}) / float({n}) if {n} > 0 else NAN"
        q = f"q{k}_{window.squares.index(feature.where)}"
        return f"deviation({n}, {s}, {q}_h, {q}_l)"
    if isinstance(feature, d.Distinct):
        k, window = _window_index(entity, feature.window_ms)
        return f"float(d{k}_{window.distinct.index(feature.field)})"
    if isinstance(feature, d.IsNew):
        return f"NAN if v_{feature.field} == 0 else (1.0 if found_{feature.field} < 0 else 0.0)"
    if isinstance(feature, d.SinceLast):
        j = entity.last_of.index(feature.where)
        return f"(t - last{j}) / 1000.0 if last{j} > t - {d.LOOKBACK_MS} else NAN"
    if isinstance(feature, d.SinceFirst):
        return "(t - entries[first].time) / 1000.0 if first >= 0 else NAN"
    if isinstance(feature, d.Distance):
        return "km"
    assert isinstance(feature, d.Speed), feature
    return "km / (max(t - at, 60000) / 3600000.0)"


def _query(entity: EntityPlan, columns: dict[str, int]) -> list[str]:
    """Write the function that gives an entity's features for one event."""
    values = "".join(f", v_{value}" for value in entity.values)
    body = [
        "head = heads[slot]",
        "last = np.int64(head.last)",
        "le = last",
        "if t >= head.time:",
        *_indent([line for k in range(len(entity.windows)) for line in _advance(entity, k)], 1),
        "    head.time = t",
        *_copies(entity),
        "if t < head.time:",
        *_indent(_correct(entity), 1),
        *_scan(entity),
    ]
    if entity.located:
        body += _last_place(entity)
    for j, condition in enumerate(entity.last_of):
        body += _since_last(entity, j, condition)
    if any(isinstance(feature, d.SinceFirst) for feature in entity.features):
        body += _first_time(entity, _window_index(entity, d.LOOKBACK_MS)[0])
    body += [f"x[{columns[f.name]}] = {_emit(entity, f)}" for f in entity.features]
    return [
        "",
        "",
        "@njit(nogil=True)",
        f"def {entity.name}_query(ev, t, slot, heads, entries, links, found, x{values}):",
        *_indent(body, 1),
    ]


def _nothing(entity: EntityPlan, columns: dict[str, int]) -> list[str]:
    """Write the features of an entity that has no history: zeros for counts, else unknown."""
    values = "".join(f", v_{value}" for value in entity.values)
    body = []
    for feature in entity.features:
        value = "NAN"
        if isinstance(feature, d.Count | d.Sum | d.Distinct):
            value = "0.0"
        elif isinstance(feature, d.IsNew):
            value = f"NAN if v_{feature.field} == 0 else 1.0"
        body.append(f"x[{columns[feature.name]}] = {value}")
    return [
        "",
        "",
        "@njit(nogil=True)",
        f"def {entity.name}_nothing(x{values}):",
        *_indent(body or ["pass"], 1),
    ]


# --- insert -------------------------------------------------------------------------------------


def _write_entry(entity: EntityPlan) -> list[str]:
    names = entity.entry_dtype().names or ()
    out = ["entry = entries[pos]", "entry.time = t", "entry.bits = bits"]
    if "amount" in names:
        out.append("entry.amount = ev.amount_ref")
    if entity.located:
        out += ["entry.lat = ev.latitude", "entry.lon = ev.longitude"]
    return out + [f"entry.v_{value} = max(v_{value}, 0)" for value in entity.values]


def _place_in_order(entity: EntityPlan) -> list[str]:
    """Shift later entries by one and find where the event belongs; repair the windows' tails."""
    rows = entity.block_rows
    out = [
        f"q = predecessor(links, pos, {rows})",
        "moved = q >= 0 and entries[q].time > t",
        "while q >= 0 and entries[q].time > t:",
        "    entries[pos] = entries[q]",
        "    pos = q",
        f"    q = predecessor(links, q, {rows})",
    ]
    repair = [
        line
        for k, window in enumerate(entity.windows)
        for line in (
            f"if head.tail{k} >= 0 and t <= head.time - {window.length_ms}:",
            f"    head.tail{k} = successor(links, np.int64(head.tail{k}), last, {rows})",
        )
    ]
    return [*out, "if moved:", *_indent(repair or ["pass"], 1)]


def _supersede(entity: EntityPlan) -> list[str]:
    """Keep the bits that say whether a later entry has the same value."""
    out = []
    for j, value in enumerate(entity.values):
        mask = f"np.uint32({entity.superseded_bit(value)})"
        out += [
            f"found_{value}, later_{value} = found[{j}], False",
            f"if v_{value} > 0:",
            f"    if found_{value} >= 0:",
            f"        entries[found_{value}].bits |= {mask}",
            "    q = pos",
            f"    while moved and q != last and not later_{value}:",
            f"        q = successor(links, q, last, {entity.block_rows})",
            f"        later_{value} = entries[q].v_{value} == v_{value}",
            f"    if later_{value}:",
            f"        entries[pos].bits |= {mask}",
        ]
    return out


def _enter(entity: EntityPlan, k: int) -> list[str]:
    """Add the event to window k if its time lies inside."""
    window = entity.windows[k]
    body = _step(entity, k, "+", "entry", _on_head)
    for j, value in enumerate(window.distinct):
        body += [
            f"if v_{value} > 0 and not later_{value} and (found_{value} < 0 or "
            f"entries[found_{value}].time <= head.time - {window.length_ms}):",
            f"    head.d{k}_{j} += 1",
        ]
    body += [f"if head.tail{k} < 0:", f"    head.tail{k} = pos"]
    return [f"if t > head.time - {window.length_ms}:", *_indent(body, 1)]


def _insert(entity: EntityPlan) -> list[str]:
    """Write the function that folds one event into an entity."""
    values = "".join(f", v_{value}" for value in entity.values)
    rows = entity.block_rows
    body = [
        "head = heads[slot]",
        f"pos = new_position(pool, links, heads, slot, {rows}, slots_per_shard, "
        "blocks_per_shard, scalars)",
        "if pos < 0:",
        "    return",
        "last = np.int64(head.last)",
        *_place_in_order(entity),
        *_write_entry(entity),
        *_supersede(entity),
        *[line for k in range(len(entity.windows)) for line in _enter(entity, k)],
    ]
    for j, condition in enumerate(entity.last_of):
        body.append(f"if bits & np.uint32({entity.bit(condition)}) and t > head.last{j}:")
        body.append(f"    head.last{j} = t")
    if entity.located:
        body += [
            "if t >= head.at and not math.isnan(ev.latitude):",
            "    head.at, head.lat, head.lon = t, ev.latitude, ev.longitude",
        ]
    body.append(
        f"drop_old_blocks(pool, links, heads, entries, slot, "
        f"head.time - {entity.retention_ms} - lateness_ms, {rows}, slots_per_shard)"
    )
    return [
        "",
        "",
        "@njit(nogil=True)",
        f"def {entity.name}_insert(ev, t, bits, slot, index, heads, entries, links, pool, "
        f"slots_per_shard, blocks_per_shard, lateness_ms, scalars, found{values}):",
        *_indent(body, 1),
    ]


# --- the loop -----------------------------------------------------------------------------------


def _values_of(entity: EntityPlan) -> str:
    return "".join(f", {_value(value)}" for value in entity.values)


def _value(value: str) -> str:
    return f"v_{value}" if value in KEY_FIELDS else f"np.int64(ev.{value})"


def _slots(plan: Plan) -> Iterator[str]:
    """Write the look-up of each entity's slot; an event that is not folded makes none."""
    for entity in plan.entities:
        e = entity.name
        fresh = [f"{e}_heads[slot_{e}].key = ev.{e}", f"{e}_heads[slot_{e}].time = t"]
        fresh += [f"{e}_heads[slot_{e}].{w} = -1" for w in ("first", "last")]
        fresh += [f"{e}_heads[slot_{e}].tail{k} = -1" for k in range(len(entity.windows))]
        fresh += [f"{e}_heads[slot_{e}].last{j} = -1" for j in range(len(entity.last_of))]
        fresh += [f"{e}_heads[slot_{e}].at = -1"] if entity.located else []
        yield from (
            f"slot_{e}, v_{e} = -1, 0",
            f"if ev.{e} != np.uint64(0):",
            f"    slot_{e} = locate({e}_index, {e}_heads, ev.{e})",
            f"    if slot_{e} < 0 and fold:",
            f"        slot_{e} = create({e}_index, {e}_pool, ev.{e}, {e}_slots, scalars)",
            f"        if slot_{e} >= 0:",
            *_indent(fresh, 3),
            f"    v_{e} = slot_{e} + 1 if slot_{e} >= 0 else -1",
        )


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
        "fold = (ev.flags & (LATE | FUTURE)) == 0",
        "if fold and ev.event_time > scalars[0]:",
        "    scalars[0] = ev.event_time",
        "# An event that is not folded is seen from the nearest time that its windows cover.",
        "t = min(max(np.int64(ev.event_time), scalars[0] - lateness_ms), scalars[0])",
        "x[:] = NAN",
        *_slots(plan),
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
        *_indent([*body, *_indent(loop, 1)], 1),
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
    """
    columns = {name: j for j, name in enumerate(plan.feature_set.names)}
    lines = [HEADER.rstrip("\n")]
    for entity in plan.entities:
        if entity.features:
            lines += _bits(entity)
            for value in entity.values:
                if any(value in window.distinct for window in entity.windows):
                    lines += _distinct_function(entity, value)
            lines += _query(entity, columns)
            lines += _nothing(entity, columns)
            lines += _insert(entity)
    return "\n".join([*lines, *_signature(plan), *_run(plan, columns), ""])
