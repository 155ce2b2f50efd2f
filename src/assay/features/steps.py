"""Source text that queries and inserts share: conditions, and one step of a running aggregate."""

from __future__ import annotations

from collections.abc import Callable

from assay.features import definitions as d
from assay.features.plan import EntityPlan

_PAD = "    "


def indent(lines: list[str], levels: int) -> list[str]:
    """Return lines moved to the right."""
    return [_PAD * levels + line for line in lines]


def _test(test: d.Test) -> str:
    if test.op in ("<", ">="):
        return f"ev.{test.field} {test.op} {test.values[0]}"
    sign, joint = ("==", " or ") if test.op == "in" else ("!=", " and ")
    return "(" + joint.join(f"ev.{test.field} {sign} {value}" for value in test.values) + ")"


def bits_function(entity: EntityPlan) -> list[str]:
    """Write the function that says which of the entity's conditions an event meets."""
    out = [
        "",
        "",
        "@njit(nogil=True)",
        f"def {entity.name}_bits(ev):",
        "    bits = np.uint32(0)",
    ]
    for condition in entity.conditions:
        out.append("    if " + " and ".join(_test(test) for test in condition.tests) + ":")
        out.append(f"        bits |= np.uint32({entity.bit(condition)})")
    return [*out, "    return bits"]


Name = Callable[[str], str]
"""From a running aggregate to where it is kept."""


def step(entity: EntityPlan, k: int, sign: str, at: str, name: Name) -> list[str]:
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
            out += indent(body, 1)
    return out


def on_head(field: str) -> str:
    """Name a running aggregate in the entity's record."""
    return f"head.{field}"


def on_local(field: str) -> str:
    """Name a running aggregate's copy in a local variable."""
    return field
