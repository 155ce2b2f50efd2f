"""Conditions: equal to a slow evaluator, and closed to everything else."""

from __future__ import annotations

import ast
import contextlib
import math
import operator
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.decisions.expression import DEPTH_MAX, TEXT_MAX, compile_expression, names_in
from assay.decisions.fields import FIELDS, fields_with
from assay.errors import PolicyError
from assay.records import Batch, Channel, Kind, empty_events, pack2

FEATURES = ("speed", "ratio", "count")
COUNTRIES = ("PT", "ES", "FR")


def make_batch(n: int = 1) -> Batch:
    events = empty_events(n)
    events["kind"] = Kind.authorisation
    return Batch(events, np.full((n, len(FEATURES)), np.nan, np.float32), np.full(n, np.nan, "f4"))


def fires(text: str, batch: Batch) -> list[bool]:
    return compile_expression("a_rule", text, FEATURES, FIELDS).fires(batch).tolist()


def refusal(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        compile_expression("a_rule", text, FEATURES, fields_with({"EUR": 978}))
    return str(caught.value)


# --- the slow, obviously right evaluator: None is unknown -------------------------------------

OPERATORS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


def slow_value(node: Any, row: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else float(node.value)
    if isinstance(node, ast.Name):
        return row[node.id]
    if isinstance(node, ast.Tuple):
        return [slow_value(item, row) for item in node.elts]
    if isinstance(node, ast.UnaryOp):
        value = slow_value(node.operand, row)
        return None if value is None else -value
    left, right = slow_value(node.left, row), slow_value(node.right, row)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Div):
        return None if right == 0 else left / right
    if isinstance(node.op, ast.Mult):
        return left * right
    return left + right if isinstance(node.op, ast.Add) else left - right


def slow_truth(node: Any, row: dict[str, Any]) -> bool | None:
    if isinstance(node, ast.UnaryOp):
        truth = slow_truth(node.operand, row)
        return None if truth is None else not truth
    if isinstance(node, ast.BoolOp):
        truths = [slow_truth(value, row) for value in node.values]
        decisive = isinstance(node.op, ast.Or)
        if decisive in truths:
            return decisive
        return None if None in truths else not decisive
    sides = [slow_value(side, row) for side in (node.left, *node.comparators)]
    truths = [
        None if left is None or right is None else OPERATORS[type(op)](left, right)
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
    ]
    if False in truths:
        return False
    return None if None in truths else True


small = st.integers(-3, 3).map(str) | st.sampled_from(["0.5", "1.25"])
numbers = st.recursive(
    small | st.sampled_from(FEATURES),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner)
        | inner.map("(-{})".format)
    ),
    max_leaves=4,
)
texts = st.builds(
    'merchant_country {} "{}"'.format, st.sampled_from(["==", "!="]), st.sampled_from(COUNTRIES)
) | st.builds('merchant_country {} ("PT", "ES")'.format, st.sampled_from(["in", "not in"]))
order = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
comparisons = (
    st.builds("{} {} {}".format, numbers, order, numbers)
    | st.builds("{} {} {} {} {}".format, numbers, order, numbers, order, numbers)
    | st.builds("{} {} ({}, {})".format, numbers, st.sampled_from(["in", "not in"]), small, small)
    | texts
)
conditions = st.recursive(
    comparisons,
    lambda inner: (
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner)
        | inner.map("not ({})".format)
    ),
    max_leaves=5,
)
values = st.none() | st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1.25, 2.0, 3.0])
rows = st.lists(
    st.tuples(values, values, values, st.none() | st.sampled_from(COUNTRIES)),
    min_size=1,
    max_size=8,
)


@given(conditions, rows)
def test_equals_the_slow_evaluator(text: str, table: list[tuple[Any, ...]]) -> None:
    """A rule fires exactly where three-valued logic says that its condition is true."""
    batch = make_batch(len(table))
    batch.features[:] = [[math.nan if v is None else v for v in row[:3]] for row in table]
    batch.events["country"] = [pack2(row[3]) for row in table]
    tree = ast.parse(text, mode="eval").body
    want = [
        slow_truth(tree, dict(zip((*FEATURES, "merchant_country"), row, strict=True))) is True
        for row in table
    ]
    assert fires(text, batch) == want, text


@given(st.text(st.characters(codec="utf-8"), max_size=60) | conditions.map(lambda t: t[:-1]))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    """No text whatever gets anything but a condition or a PolicyError."""
    with contextlib.suppress(PolicyError):
        assert len(fires(text, make_batch())) == 1


@pytest.mark.parametrize("text", ["speed > 3", "not speed > 3", "not (speed > 3 or ratio > 0)"])
def test_unknown_never_fires(text: str) -> None:
    """Neither a comparison with an unknown value nor its negation fires a rule."""
    assert fires(text, make_batch()) == [False]


def test_known_side_decides() -> None:
    """An unknown side does not hide a side that decides alone."""
    batch = make_batch()
    batch.features[0, 1] = 5
    assert fires("speed > 3 or ratio > 3", batch) == [True]
    assert fires("not (speed > 3 and ratio > 9)", batch) == [True]


def test_transaction_fields() -> None:
    """Every kind of transaction field is read in the units the documentation states."""
    batch = make_batch(2)
    batch.events["event_time"] = 1_700_000_000_000  # Tuesday 2023-11-14, 22:13 UTC
    batch.events["merchant_offset_min"][0] = 120
    batch.events["amount_ref"][0] = 1999
    batch.events["channel"][0] = Channel.atm
    batch.events["response"][0] = pack2("05")
    batch.events["category"][0] = 5411
    batch.events["cvv"][0] = ord("N")
    batch.scores[0] = 0.75
    for text in (
        "hour == 0 and weekday == 2",  # 00:13 on Wednesday at the merchant
        "amount_ref == 1999",
        'channel == "atm" and "atm" == channel and channel != "pos"',
        'response_code in ("05", "51") and merchant_category == "5411"',
        'cvv_result == "N"',
        "score == 0.75",
        'kind == "authorisation" and amount_ref >= 0 and late == 0',
    ):
        assert fires(text, batch) == [True, False], text


@given(st.integers(0, 4_102_444_800_000), st.integers(-840, 840), st.sampled_from(["m", "c", "u"]))
def test_local_time(event_time: int, offset_min: int, source: str) -> None:
    """Hour and weekday are the merchant's, else the caller's, else UTC, as `datetime` has them."""
    batch = make_batch()
    batch.events["event_time"] = event_time
    if source == "m":
        batch.events["merchant_offset_min"], batch.events["utc_offset_min"] = offset_min, 1
    elif source == "c":
        batch.events["utc_offset_min"] = offset_min
    zone = timezone(timedelta(minutes=0 if source == "u" else offset_min))
    local = datetime.fromtimestamp(event_time // 1000, zone)
    assert fires(f"hour == {local.hour} and weekday == {local.weekday()}", batch) == [True]


def test_currency_needs_its_table() -> None:
    """Currency codes come from the caller; without them the name is unknown."""
    batch = make_batch()
    batch.events["currency"] = 978
    fields = fields_with({"EUR": 978})
    assert compile_expression("r", 'currency == "EUR"', (), fields).fires(batch).tolist() == [True]
    with pytest.raises(PolicyError, match="unknown name 'currency'"):
        compile_expression("r", 'currency == "EUR"', (), FIELDS)


def test_a_constant_condition_covers_every_row() -> None:
    """A condition without names has one answer for all rows."""
    assert fires("1 < 2", make_batch(3)) == [True] * 3


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') == 0",
        "speed.real > 1",
        "[x for x in (1, 2)] == 1",
        "(lambda: 1)() == 1",
        "speed[0] > 1",
        "speed ** 9 > 1",
        "speed > 1 if ratio > 1 else 2 > 1",
        "(y := 3) > 1",
        "f'{speed}' == 'x'",
        "speed > True",
        "speed > 1j",
        "speed > 1e999",
        "speed is 1",
        "speed",
        "(speed > 1) + 1 > 1",
        "speed in ratio",
        "speed in ()",
        "channel < 'pos'",
        "channel == 1",
        "channel in ('pos', 1)",
        "speed == 'pos'",
        "'a' == 'b'",
        "1 == channel",
        "channel == entry_mode",
        "channel == 'pos' == 1",
        "speed > 1 # and ratio > 1",
        "\uff53peed > 1",
        "",
        "speed >",
        "speed > 1) or (2 > 1",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """What is not in the language is refused with the rule's name and what is accepted."""
    message = refusal(text)
    assert "'a_rule'" in message
    assert "accepted" in message or "between" in message or "text only" in message


def test_unknown_name_points_at_the_nearest() -> None:
    """A typo is answered with line, column and the nearest name."""
    assert "line 2, column 7: unknown name 'sped'; did you mean speed?" in refusal(
        "ratio > 1\n  and sped > 3"
    )
    assert "one of the 3 features in use; without such data, take the rule out" in refusal(
        "zzzzzz > 3"
    )


def test_a_wrong_constant_is_named() -> None:
    """A constant that a field can never hold is a typo, not a rule that never fires."""
    assert "'online' is not a value of it; accepted: one of pos, ecommerce" in refusal(
        'channel == "online"'
    )
    assert "two capitals" in refusal('merchant_country == "Portugal"')
    assert "a currency of the table" in refusal('currency == "XXQ"')


@pytest.mark.parametrize(
    "text",
    [
        "speed > 1" + " " * TEXT_MAX,
        "speed > " + "-" * (TEXT_MAX - 10) + "1",
        "not " * (DEPTH_MAX + 1) + "speed > 1",
        "(" * 400 + "speed" + ")" * 400 + "> 1",
        " or ".join(["speed>1"] * 90),
    ],
)
def test_size_is_bounded(text: str) -> None:
    """A condition that is too long, deep or large is refused, quickly and without a crash."""
    assert "accepted" in refusal(text)


def test_names_in() -> None:
    """The names of a condition are known without its feature set."""
    assert names_in("speed > 1 and not ratio < score") == {"speed", "ratio", "score"}
