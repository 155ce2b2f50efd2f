"""Writes ``E_query``: move an entity's windows to the event's time and give its features."""

from __future__ import annotations

from assay.features import definitions as d
from assay.features.plan import EntityPlan, WindowPlan
from assay.features.steps import indent, on_head, on_local, step


def _advance(entity: EntityPlan, k: int) -> list[str]:
    """Move the tail of window k up to t, taking out what falls behind."""
    window = entity.windows[k]
    leave = step(entity, k, "-", "entry", on_head)
    for j, value in enumerate(window.distinct):
        leave.append(
            f"if entry.v_{value} != 0 and "
            f"not (entry.bits & np.uint32({entity.superseded_bit(value)})):"
        )
        leave.append(f"    head.d{k}_{j} -= 1")
    return [
        f"p = np.int64(head.tail{k})",
        f"while p >= 0 and entries[p].time <= t - {window.length_ms}:",
        *indent([*(["entry = entries[p]"] if leave else []), *leave], 1),
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
        leave = step(entity, k, "-", "entry", on_local)
        if leave:
            out.append(f"    if entry.time > head.time - {window.length_ms}:")
            out += indent(leave, 2)
    out += [f"    p = predecessor(links, p, {rows})", "le = p"]
    for k, window in enumerate(entity.windows):
        enter = step(entity, k, "+", "entry", on_local)
        if enter:
            out += [
                f"p = np.int64(head.tail{k})",
                f"p = predecessor(links, p, {rows}) if p >= 0 else last",
                f"while p >= 0 and entries[p].time > t - {window.length_ms}:",
                "    entry = entries[p]",
                "    if entry.time <= t:",
                *indent(enter, 2),
                f"    p = predecessor(links, p, {rows})",
            ]
        for j, value in enumerate(window.distinct):
            call = f"{entity.name}_distinct_{value}(entries, links, le, t - {window.length_ms})"
            out.append(f"d{k}_{j} = {call}")
    return out


def distinct_function(entity: EntityPlan, value: str) -> list[str]:
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
    match feature:
        case d.Windowed():
            value = _emit_windowed(entity, feature)
        case d.Distinct(field=field):
            k, window = _window_index(entity, feature.window_ms)
            value = f"float(d{k}_{window.distinct.index(field)})"
        case d.IsNew(field=field):
            value = f"NAN if v_{field} == 0 else (1.0 if found_{field} < 0 else 0.0)"
        case d.SinceLast(where=where):
            last = f"last{entity.last_of.index(where)}"
            value = f"(t - {last}) / 1000.0 if {last} > t - {d.LOOKBACK_MS} else NAN"
        case d.SinceFirst():
            value = "(t - entries[first].time) / 1000.0 if first >= 0 else NAN"
        case d.Distance():
            value = "km"
        case d.Speed():
            value = "km / (max(t - at, 60000) / 3600000.0)"
        case _:
            raise AssertionError(feature)
    return value


def _emit_windowed(entity: EntityPlan, feature: d.Windowed) -> str:
    k, window = _window_index(entity, feature.window_ms)
    n = f"n{k}_{window.counts.index(feature.where)}" if feature.where in window.counts else ""
    s = f"s{k}_{window.sums.index(feature.where)}" if feature.where in window.sums else ""
    match feature:
        case d.Count():
            value = f"float({n})"
        case d.Sum():
            value = f"float({s})"
        case d.Mean():
            value = f"float({s}) / float({n}) if {n} > 0 else NAN"
        case d.Std():
            q = f"q{k}_{window.squares.index(feature.where)}"
            value = f"deviation({n}, {s}, {q}_h, {q}_l)"
        case d.Share(of=of):
            below = f"n{k}_{window.counts.index(of)}"
            value = f"float({n}) / float({below}) if {below} > 0 else NAN"
        case _:
            raise AssertionError(feature)
    return value


def query_function(entity: EntityPlan, columns: dict[str, int]) -> list[str]:
    """Write the function that gives an entity's features for one event."""
    values = "".join(f", v_{value}" for value in entity.values)
    body = [
        "head = heads[slot]",
        "last = np.int64(head.last)",
        "le = last",
        "if t >= head.time:",
        *indent([line for k in range(len(entity.windows)) for line in _advance(entity, k)], 1),
        "    head.time = t",
        *_copies(entity),
        "if t < head.time:",
        *indent(_correct(entity), 1),
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
        *indent(body, 1),
    ]


def nothing_function(entity: EntityPlan, columns: dict[str, int]) -> list[str]:
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
        *indent(body or ["pass"], 1),
    ]
