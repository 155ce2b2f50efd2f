"""The language of a rule's condition, compiled once to closures over arrays.

A condition is a Python expression cut down to comparisons (chained ones too), ``and``, ``or``,
``not``, ``+ - * /``, membership ``in (…)``, numbers, quoted text and names.
It is parsed by `ast`, every node is checked against that list, and nothing is ever evaluated
as Python: a policy file cannot run code.

Unknown values follow Kleene's three-valued logic: a comparison with an unknown side is
neither true nor false, and so is its negation; a rule fires only where its condition is
surely true. To get this without a third value, negations are pushed down to the comparisons
when compiling (``not x > 3`` is ``x <= 3``), and a comparison with NaN is False either way.
Arithmetic is in double precision; a division by zero is unknown.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.decisions.fields import Field
from assay.errors import PolicyError
from assay.records import Batch

TEXT_MAX: Final = 1_000
"""Longest condition, in characters."""
DEPTH_MAX: Final = 20
NODES_MAX: Final = 200

Condition = Callable[[Batch], Any]
"""From a batch to bool, shape (n,) or a scalar when no column is named."""
Number = Callable[[Batch], Any]
"""From a batch to float64, shape (n,) or a scalar."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled condition.

    Attributes
    ----------
    text : str
        The condition as it was written.
    names : frozenset of str
        The features and fields it names.
    """

    text: str
    names: frozenset[str]
    condition: Condition

    def fires(self, batch: Batch) -> NDArray[np.bool_]:
        """Return where the condition is surely true, shape (n,)."""
        with np.errstate(all="ignore"):  # a division by zero is unknown, not an event
            hit: NDArray[np.bool_] = self.condition(batch)
        return hit if hit.ndim else np.full(len(batch), hit)


def compile_expression(
    rule: str, text: str, feature_names: Sequence[str], fields: Mapping[str, Field]
) -> Expression:
    """Compile the condition of a rule.

    Where a field and a feature share a name, the field is meant.

    Parameters
    ----------
    rule : str
        The rule's name, for messages.
    text : str
        The condition.
    feature_names : sequence of str
        In the order of the feature matrix's columns.
    fields : mapping
        Transaction fields by name.

    Raises
    ------
    PolicyError
        If the text is not such a condition, names something unknown, compares text with a
        number, or is too long, deep or large. The message gives line and column.
    """
    tree = _parse(rule, text)
    compiler = _Compiler(rule, text, {name: i for i, name in enumerate(feature_names)}, fields)
    compiler.measure(tree)
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Expression(text, names, compiler.condition(tree, negate=False))


def names_in(text: str) -> frozenset[str]:
    """Return the names that a condition uses, without compiling it.

    Examples
    --------
    >>> sorted(names_in("amount_ref > 3 and hour in (1, 2)"))
    ['amount_ref', 'hour']
    """
    tree = _parse("", text)
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _parse(rule: str, text: str) -> ast.expr:
    if len(text) > TEXT_MAX:
        raise PolicyError(
            f"rule {rule!r}: the condition has {len(text)} characters; accepted: at most {TEXT_MAX}"
        )
    # '#' would make a comment of all that follows, since lines are joined below.
    if odd := re.search(r"[^\t\n\r\x20-\x22\x24-\x7e]", text):
        raise PolicyError(
            f"rule {rule!r}, {_position(text, odd.start())}: the character {odd[0]!r}; "
            "accepted: printable ASCII without '#'"
        )
    indent = len(text) - len(text.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(re.sub(r"\s", " ", text).strip(), mode="eval").body
    except SyntaxError as error:
        where = _position(text, indent + max((error.offset or 1) - 1, 0))
    except (ValueError, RecursionError, MemoryError):
        where = "line 1, column 1"
    else:
        for node in ast.walk(tree):
            if isinstance(node, ast.expr):
                node.col_offset += indent
        return tree
    raise PolicyError(
        f"rule {rule!r}, {where}: this is not a condition; "
        'accepted: such as amount_ref > 50000 and merchant_country != "PT"'
    )


def _position(text: str, offset: int) -> str:
    before = text[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - (before.rfind(chr(10)) + 1) + 1}"


_NEGATED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def _surely_unequal(left: Any, right: Any) -> Any:
    return (left < right) | (left > right)  # unlike !=, False for NaN


def _divide(left: Any, right: Any) -> Any:
    return np.where(right == 0, np.nan, left / right)


_NUMBER_TESTS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: _surely_unequal,
}

_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
}


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _all(parts: Sequence[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return lambda batch: reduce(operator.and_, [part(batch) for part in parts])


def _any(parts: Sequence[Condition]) -> Condition:
    if len(parts) == 1:
        return parts[0]
    return lambda batch: reduce(operator.or_, [part(batch) for part in parts])


@dataclass(frozen=True, slots=True)
class _Compiler:
    rule: str
    text: str
    features: Mapping[str, int]
    fields: Mapping[str, Field]

    def refuse(self, node: ast.expr, problem: str) -> PolicyError:
        where = _position(self.text, node.col_offset)
        return PolicyError(f"rule {self.rule!r}, {where}: {problem}")

    def measure(self, tree: ast.expr) -> None:
        """Refuse a tree that is too large or deep, before anything recurses into it."""
        level, count, depth = [tree], 0, 0
        while level:
            count, depth = count + len(level), depth + 1
            if count > NODES_MAX or depth > DEPTH_MAX:
                raise self.refuse(
                    level[0],
                    f"the condition is too complex; accepted: at most {NODES_MAX} parts, "
                    f"nested at most {DEPTH_MAX} deep",
                )
            children = [child for node in level for child in ast.iter_child_nodes(node)]
            level = [child for child in children if isinstance(child, ast.expr)]

    def condition(self, node: ast.expr, *, negate: bool) -> Condition:
        """Compile to: where is the node surely true (surely false, if negated)."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node.operand, negate=not negate)
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(value, negate=negate) for value in node.values]
            return _any(parts) if isinstance(node.op, ast.Or) != negate else _all(parts)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            tests = [
                self.comparison(left, type(op), right, negate=negate)
                for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
            ]
            return _any(tests) if negate else _all(tests)
        raise self.refuse(node, "no comparison here; accepted: such as amount_ref > 50000")

    def comparison(
        self, left: ast.expr, op: type[ast.cmpop], right: ast.expr, *, negate: bool
    ) -> Condition:
        if op not in _NEGATED:
            raise self.refuse(left, "'is' has no meaning here; accepted: ==")
        op = _NEGATED[op] if negate else op
        if op in (ast.In, ast.NotIn):
            return self.membership(left, right, wanted=op is ast.In)
        if _is_text(left) and not _is_text(right):
            left, right = right, left  # "PT" == merchant_country; only == and != get past below
        if (field := self.text_field(left)) is not None or _is_text(right):
            if op not in (ast.Eq, ast.NotEq):
                raise self.refuse(left, "text has no order; accepted: ==, !=, in, not in")
            return self.text_test(left, field, [right], wanted=op is ast.Eq)
        return self.number_test(_NUMBER_TESTS[op], self.number(left), self.number(right))

    def membership(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Condition:
        listed = isinstance(right, (ast.Tuple, ast.List, ast.Set))
        items = right.elts if isinstance(right, (ast.Tuple, ast.List, ast.Set)) else [right]
        if not items or not (listed or isinstance(right, ast.Constant)):
            raise self.refuse(right, 'no list here; accepted: such as ("PT", "ES")')
        if (field := self.text_field(left)) is not None or _is_text(items[0]):
            return self.text_test(left, field, items, wanted=wanted)
        value = self.number(left)
        test = _NUMBER_TESTS[ast.Eq if wanted else ast.NotEq]
        tests = [self.number_test(test, value, self.number(item)) for item in items]
        return _any(tests) if wanted else _all(tests)

    @staticmethod
    def number_test(test: Callable[[Any, Any], Any], left: Number, right: Number) -> Condition:
        return lambda batch: test(left(batch), right(batch))

    def text_field(self, node: ast.expr) -> Field | None:
        field = self.fields.get(node.id) if isinstance(node, ast.Name) else None
        return field if field is not None and field.encode is not None else None

    def text_test(
        self, left: ast.expr, field: Field | None, items: Sequence[ast.expr], *, wanted: bool
    ) -> Condition:
        """Compile to one look-up by code; code 0 is unknown and never passes."""
        if field is None:
            if not isinstance(left, ast.Name):
                raise self.refuse(left, "text is compared with a field that holds text only")
            self.number(left)  # an unknown name is the better message
            raise self.refuse(left, f"{left.id} is a number; accepted: {left.id} == 1")
        passes = np.full(1 << 16, not wanted)
        for item in items:
            passes[self.code(field, item)] = wanted
        passes[0] = False
        read = field.read
        return lambda batch: passes[read(batch)]

    def code(self, field: Field, node: ast.expr) -> int:
        text = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(text, str) or field.encode is None:
            raise self.refuse(node, f"no quoted text here; accepted: {field.accepted}, quoted")
        if (code := field.encode(text)) is None:
            raise self.refuse(node, f"{text!r} is not a value of it; accepted: {field.accepted}")
        return code

    def number(self, node: ast.expr) -> Number:
        if isinstance(node, ast.Name):
            return self.column(node)
        if isinstance(node, ast.Constant):
            return self.constant(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value, sign = self.number(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0
            return lambda batch: sign * value(batch)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            apply = _ARITHMETIC[type(node.op)]
            left, right = self.number(node.left), self.number(node.right)
            return lambda batch: apply(left(batch), right(batch))
        raise self.refuse(node, "no number here; accepted: names, numbers and + - * /")

    def constant(self, node: ast.Constant) -> Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
            raise self.refuse(node, f"{value!r} is not a number between -1e300 and 1e300")
        number = np.float64(value)
        return lambda _batch: number

    def column(self, node: ast.Name) -> Number:
        if (field := self.fields.get(node.id)) is not None:
            if field.encode is not None:
                raise self.refuse(node, f"{node.id} is text; accepted: {field.accepted}, quoted")
            return field.read
        if (i := self.features.get(node.id)) is not None:
            return lambda batch: batch.features[:, i].astype(np.float64)
        known = [*self.fields, *self.features]
        near = difflib.get_close_matches(node.id, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise self.refuse(
            node,
            f"unknown name {node.id!r}; {hint}accepted: a transaction field or one of the "
            f"{len(self.features)} features in use; without such data, take the rule out",
        )
