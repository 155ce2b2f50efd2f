"""Writes ``E_insert``: fold one event into an entity, where its time belongs."""

from __future__ import annotations

from assay.features.plan import EntityPlan
from assay.features.steps import indent, on_head, step

_BOUNDS = "slots_per_shard, blocks_per_shard"
_STATE = f"index, heads, entries, links, pool, {_BOUNDS}"
_REST = "lateness_ms, scalars, found"


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
    return [*out, "if moved:", *indent(repair or ["pass"], 1)]


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
    body = step(entity, k, "+", "entry", on_head)
    for j, value in enumerate(window.distinct):
        before = f"entries[found_{value}].time <= head.time - {window.length_ms}"
        first = f"(found_{value} < 0 or {before})"
        body.append(f"if v_{value} > 0 and not later_{value} and {first}:")
        body.append(f"    head.d{k}_{j} += 1")
    body += [f"if head.tail{k} < 0:", f"    head.tail{k} = pos"]
    return [f"if t > head.time - {window.length_ms}:", *indent(body, 1)]


def insert_function(entity: EntityPlan) -> list[str]:
    """Write the function that folds one event into an entity."""
    values = "".join(f", v_{value}" for value in entity.values)
    rows = entity.block_rows
    body = [
        "head = heads[slot]",
        f"pos = new_position(pool, links, heads, slot, {rows}, {_BOUNDS}, scalars)",
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
        f"def {entity.name}_insert(ev, t, bits, slot, {_STATE}, {_REST}{values}):",
        *indent(body, 1),
    ]
