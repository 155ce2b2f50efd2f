"""Definitions: only sound ones exist, so a kernel's source holds nothing that they bring along."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import FeatureError
from assay.features import definitions as d
from assay.features.default_set import ONLINE, PAYMENT, default_features
from assay.features.plan import make_plan
from assay.features.source import write_source
from assay.records import EVENT

FIELDS = EVENT.names or ()
INJECTED = "0):\n pass\n    return bits\nimport pathlib; pathlib.Path('owned').touch()\nif (0"


def every_kind() -> d.FeatureSet:
    """Return a feature of every kind over every entity: the source has all that it ever has."""
    out: list[d.Feature] = [
        d.Input(name="amount", field="amount_ref", description="Amount."),
        d.LocalTime(name="hour", part="hour", description="Hour."),
        d.LocalTime(name="weekday", part="weekday", description="Weekday."),
    ]
    for entity in d.ENTITIES:
        said: dict[str, Any] = {"entity": entity, "description": "Some.", "unit": "x"}
        window = said | {"window_ms": d.window_ms("24h"), "where": PAYMENT}
        out += [kind(name=f"{entity}_{kind.__name__}", **window) for kind in (d.Count, d.Sum)]
        out += [kind(name=f"{entity}_{kind.__name__}", **window) for kind in (d.Mean, d.Std)]
        out += [
            d.Share(name=f"{entity}_share", of=ONLINE, **window),
            d.Distinct(name=f"{entity}_distinct", field="ip", window_ms=60_000, **said),
            d.IsNew(name=f"{entity}_new", field="country", **said),
            d.SinceLast(name=f"{entity}_since", where=ONLINE, **said),
            d.SinceFirst(name=f"{entity}_first", **said),
            d.Distance(name=f"{entity}_km", **said),
            d.Speed(name=f"{entity}_kmh", **said),
        ]
    mean, deviation = "card_Mean", "card_Std"
    z = d.ZScore(name="z", value="amount", mean=mean, deviation=deviation, description="")
    ratio = d.Ratio(name="ratio", over="amount", under=mean, scale=2.5, description="")
    return d.FeatureSet((*out, ratio, z))


WHOLE = every_kind()


def count(**changed: Any) -> d.Feature:
    """Return a count that would be sound without the changes."""
    sound = {"name": "c", "description": "C.", "entity": "card", "window_ms": 1000}
    return d.Count(**sound | {"where": PAYMENT} | changed)


def of_kind(kind: type[d.Feature], **changed: Any) -> Callable[[], d.Feature]:
    """Return what makes a feature of a kind."""
    return lambda: kind(name="a", description="A.", **changed)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: d.Test("kind", "in", (INJECTED,)), "value.*got text of another form.*int"),
        (lambda: d.Test("kind", "in", (True,)), "value of a test: got bool; accepted: an int"),
        (lambda: d.Test("kind", "in", (1.0,)), "values of a test: got float; accepted: int"),
        (lambda: d.Test("kind", "in", (2**63,)), "value of a test: got int out of bounds"),
        (lambda: d.Test("kind", "in", [1]), "values of a test: got list; accepted: a tuple"),
        (lambda: d.Test("kind", "in", ()), "values of a test: got tuple; accepted: a tuple of at"),
        (lambda: d.Test("kind", "<", (1, 2)), "got several; accepted: one value for <"),
        (lambda: d.Test("kind", "== 0 or", (1,)), "operator.*accepted: one of in, not in, <, >="),
        (lambda: d.Test("kind", None, (1,)), "operator of a test: got NoneType"),
        (lambda: d.Test("kinds", "in", (1,)), "field of a test: got text.*one of arrival, "),
        (lambda: d.Test(["kind"], "in", (1,)), "field of a test: got list"),
        (lambda: d.Condition("none", ()), "tests of a condition: got tuple"),
        (lambda: d.Condition("none", ("kind",)), "tests of a condition: got text.*: Test"),
        (lambda: d.Condition("a\nb", PAYMENT.tests), "name of a condition: got text"),
        (lambda: count(name="a b"), "name of a Count: got text of another form; accepted: a lett"),
        (lambda: count(name="a\n"), "name of a Count"),
        (lambda: count(name=None), "name of a Count: got NoneType"),
        (lambda: count(description=1), "description of a Count: got int.*; accepted: text"),
        (lambda: count(unit=b"s"), "unit of a Count: got bytes"),
        (lambda: count(entity="index"), "entity of a Count: got text.*card, customer, merchant"),
        (lambda: count(window_ms="1000"), "window_ms of a Count: got text.*from 1000 to 7776000"),
        (lambda: count(window_ms=1000.0), "window_ms of a Count: got float"),
        (lambda: count(window_ms=True), "window_ms of a Count: got bool"),
        (lambda: count(window_ms=999), "window_ms of a Count: got int out of bounds"),
        (lambda: count(window_ms=d.LOOKBACK_MS + 1), "window_ms of a Count: got int out of"),
        (lambda: count(where="payment"), "where of a Count: got text.*: Condition"),
        (of_kind(d.Input, field="kind)"), "field of a Input: got text"),
        (of_kind(d.LocalTime, part="day"), "part of a LocalTime: got text.*one of hour, weekday"),
        (of_kind(d.IsNew, entity="card", field="x"), "field of a IsNew: got text"),
        (of_kind(d.Distinct, entity="card", field=1, window_ms=1000), "field of a Distinct: got"),
        (of_kind(d.Ratio, over="b", under="c", scale=math.inf), "scale.*a float that is not fin"),
        (of_kind(d.Ratio, over="b", under="c", scale=math.nan), "scale.*a float that is not fin"),
        (of_kind(d.Ratio, over="b", under="c", scale=np.float64(2)), "scale of a Ratio: got float"),
        (of_kind(d.Ratio, over="b", under="c", scale="2"), "scale of a Ratio: got text"),
        (of_kind(d.Ratio, over=["b"], under="c"), "over of a Ratio: got list"),
        (of_kind(d.ZScore, value="b", mean="c", deviation={}), "deviation of a ZScore: got dict"),
        (lambda: d.FeatureSet(("kind",)), "got text of another form; accepted: Feature"),
    ],
)
def test_an_unsound_part_is_refused(make: Callable[[], object], said: str) -> None:
    """Whoever writes a definition is told which part is wrong, its kind, and what is accepted;
    the value itself is not repeated.
    """
    with pytest.raises(FeatureError, match=said) as caught:
        make()
    assert "pathlib" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_part_of_every_kind_is_checked() -> None:
    """No field of a feature that can be kept is left without a check."""
    parts = {part.name for feature in WHOLE.features for part in fields(feature)}
    assert parts == set(d._PARTS)
    assert {type(feature) for feature in WHOLE.features} == set(d._KINDS.values())


def document() -> dict[str, Any]:
    """Return the encoded definitions, to be changed."""
    return dict(json.loads(WHOLE.encode()))


def places(node: Any) -> list[tuple[Any, Any]]:
    """Return each place of a JSON value as its container and its key."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    below = [places(node[key]) for key in keys if isinstance(node[key], dict | list)]
    return [(node, key) for key in keys] + [place for found in below for place in found]


@pytest.mark.parametrize("part", ["field", "op", "value", "entity", "window_ms", "scale", "part"])
def test_kept_definitions_run_no_code(part: str) -> None:
    """Source text in the place of any part is refused when definitions are read."""
    changed = document()
    wanted = "values" if part == "value" else part
    found = [(node, key) for node, key in places(changed["features"]) if key == wanted]
    assert found
    for node, key in found:
        kept, node[key] = node[key], [INJECTED] if part == "value" else INJECTED
        with pytest.raises(FeatureError, match="not the definitions of features") as caught:
            d.FeatureSet.decode(json.dumps(changed).encode())
        assert "pathlib" not in str(caught.value)
        node[key] = kept


def test_a_newer_format_is_refused_by_its_name() -> None:
    """Definitions of another format are not read, and the error says which format it is."""
    with pytest.raises(FeatureError, match=r"definitions of features \(format 2; accepted: 1\)"):
        d.FeatureSet.decode(json.dumps(document() | {"format": 2}).encode())


_NUMBERED = re.compile(r"(n|s|d|tail|last)\d+(_\d+)?|q\d+_\d+_[hl]")
"""Running aggregates are numbered: how many there are may change."""


def words(source: str) -> dict[str, set[str]]:
    """Return what a source does: its kinds of syntax, its imports, calls and names."""
    out: dict[str, set[str]] = {"syntax": set(), "imports": set(), "calls": set(), "texts": set()}
    for node in ast.walk(ast.parse(source)):
        out["syntax"].add(type(node).__name__)
        match node:
            case ast.Import() | ast.ImportFrom():
                out["imports"].add(ast.unparse(node))
            case ast.Call():
                out["calls"].add(ast.unparse(node.func))
            case ast.Constant(value=str(text)) if not _NUMBERED.fullmatch(text):
                out["texts"].add(text)
    return out


SOUND = words(write_source(make_plan(WHOLE)))
SOUND["calls"] |= {f"{e}_distinct_{field}" for e in d.ENTITIES for field in FIELDS}
SOUND["texts"] |= {f"v_{field}" for field in FIELDS}

SNIPPETS = st.sampled_from(
    [INJECTED, "kind", "card", "in", "<", "hour", "Sum", "amount", "1", "x); import os", "a\nb", ""]
)
SCALARS = SNIPPETS | st.sampled_from(FIELDS) | st.text(max_size=8) | st.none() | st.booleans()
NUMBERS = st.integers(-3, 90) | st.integers() | st.floats()
VALUES = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SNIPPETS, inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_changed_definitions_are_sound_or_refused(data: st.DataObject) -> None:
    """Whatever is changed in kept definitions, they are refused, or their kernel's source has no
    syntax, import, call or text that sound ones do not have.
    """
    changed = document()
    for _ in range(data.draw(st.integers(1, 3))):
        all_places = places(changed)
        node, key = all_places[data.draw(st.integers(0, len(all_places) - 1))]
        if data.draw(st.booleans()):
            node[key] = data.draw(VALUES)
        else:  # one sound part in the place of another
            there, other = all_places[data.draw(st.integers(0, len(all_places) - 1))]
            node[key] = json.loads(json.dumps(there[other]))
    try:
        read = d.FeatureSet.decode(json.dumps(changed).encode())
    except FeatureError:
        return
    assert d.FeatureSet.decode(read.encode()) == read
    found = words(write_source(make_plan(read)))
    assert [found[what] - SOUND[what] for what in found] == [set()] * len(found)


def test_the_default_set_survives_the_checks() -> None:
    """Sound definitions are read back as they were, and their values keep their types."""
    for features in (default_features(), WHOLE):
        read = d.FeatureSet.decode(features.encode())
        assert read == features
        assert write_source(make_plan(read)) == write_source(make_plan(features))
