"""The policy: thresholds, rules, and what is answered when no model scores; versioned.

A policy is written in ``policy.toml``, checked as a whole when it is loaded, and named by its
version and the digest of its canonical form, so that two policies with one name differ in id.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from assay.decisions.expression import Expression, compile_expression
from assay.decisions.fields import fields_with
from assay.errors import PolicyError
from assay.records import Action, Mode

TEXT_MAX: Final = 262_144
RULES_MAX: Final = 200

ABOVE_CODES: Final = {Action.decline: 1, Action.review: 2, Action.challenge: 3}
"""Reason codes of "score above the X threshold", by action."""
RUNG_CODES: Final = {Mode.rules: 4, Mode.default: 5}
"""Reason codes of answers given without a score, by rung."""
RULE_CODE_MIN: Final = 101
RULE_CODE_MAX: Final = 999

_OWN_SENTENCES: Final = {
    1: "The score is above the decline threshold.",
    2: "The score is above the review threshold.",
    3: "The score is above the challenge threshold.",
    4: "No model scored this transaction.",
    5: "Neither model nor rules could look at this transaction.",
}

ActionName = Literal["approve", "challenge", "review", "decline"]


class _Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    challenge: float | None = None
    review: float | None = None
    decline: float | None = None


class _Rungs(Struct, frozen=True, forbid_unknown_fields=True):
    rules: ActionName = "review"
    default: ActionName = "review"


class _Rule(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]
    when: str
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    action: ActionName | None = None
    code: Annotated[int, Meta(ge=RULE_CODE_MIN, le=RULE_CODE_MAX)] | None = None
    shadow: bool = False


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    thresholds: _Thresholds = _Thresholds()
    rungs: _Rungs = _Rungs()
    rules: Annotated[tuple[_Rule, ...], Meta(max_length=RULES_MAX)] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, compiled.

    Attributes
    ----------
    action : Action or None
        What it forces at least; `approve` lifts the thresholds; None only adds the reason.
    code : int
        Number of its reason.
    shadow : bool
        Whether it is only watched: it then neither acts nor gives a reason.
    """

    name: str
    action: Action | None
    code: int
    shadow: bool
    expression: Expression


@dataclass(frozen=True, slots=True)
class Policy:
    """A loaded policy.

    Attributes
    ----------
    id : str
        Version and the first 12 digits of the digest: what a decision names.
    digest : str
        SHA-256 of the canonical form, in hex.
    cuts : tuple of float
        Score at or above which the answer is at least challenge, review, decline; ascending,
        infinite where no threshold reaches the action.
    rungs : mapping of Mode to Action
        The answer without a score, for `Mode.rules` and `Mode.default`.
    rules : tuple of Rule
        Strongest action first; then approving ones, then those that only add a reason.
    reasons : tuple of (str, str)
        Code and sentence of every reason this policy can give, by the number that a batch
        carries; a pair of empty texts where there is none.
    """

    id: str
    version: str
    digest: str
    cuts: tuple[float, float, float]
    rungs: Mapping[Mode, Action]
    rules: tuple[Rule, ...]
    reasons: tuple[tuple[str, str], ...]

    @classmethod
    def load(
        cls,
        text: str,
        feature_names: Sequence[str],
        currencies: Mapping[str, int] = MappingProxyType({}),
    ) -> Policy:
        """Read, check and compile a policy.

        Parameters
        ----------
        text : str
            The content of ``policy.toml``.
        feature_names : sequence of str
            The features that rules may name, in the order of the feature matrix.
        currencies : mapping of str to int
            ISO 4217 numbers by code; rules may name `currency` only if they are given.

        Raises
        ------
        PolicyError
            If anything in it is wrong; the message says where and what is accepted.
        """
        file = _decode(text)
        fields = fields_with(currencies)
        rules = [
            Rule(
                rule.name,
                None if rule.action is None else Action[rule.action],
                code,
                rule.shadow,
                compile_expression(rule.name, rule.when, feature_names, fields),
            )
            for rule, code in zip(file.rules, _codes(file.rules), strict=True)
        ]
        digest = _digest(file)
        sentences = _OWN_SENTENCES | {
            rule.code: raw.reason for rule, raw in zip(rules, file.rules, strict=True)
        }
        return cls(
            id=f"{file.version}-{digest[:12]}",
            version=file.version,
            digest=digest,
            cuts=_cuts(file.thresholds),
            rungs={
                Mode.rules: Action[file.rungs.rules],
                Mode.default: Action[file.rungs.default],
            },
            rules=tuple(sorted(rules, key=_by_strength)),
            reasons=tuple(
                (f"R{code:03d}", sentences[code]) if code in sentences else ("", "")
                for code in range(max(sentences) + 1)
            ),
        )


def _by_strength(rule: Rule) -> int:
    return 1 if rule.action is None else -rule.action


def _decode(text: str) -> _File:
    if len(text) > TEXT_MAX:
        raise PolicyError(f"policy.toml has {len(text)} characters; accepted: at most {TEXT_MAX}")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"policy.toml is not TOML: {error}") from None
    _refuse_unknown_names(document)
    try:
        return msgspec.convert(document, _File)
    except msgspec.ValidationError as error:
        raise PolicyError(f"policy.toml: {error}") from None


def _refuse_unknown_names(document: Mapping[str, Any]) -> None:
    """Name the nearest key: a typo in a threshold must not pass for 'no threshold'."""
    rules = document.get("rules")
    tables = [
        ("", document, _File),
        ("thresholds.", document.get("thresholds"), _Thresholds),
        ("rungs.", document.get("rungs"), _Rungs),
        *(("rules.", rule, _Rule) for rule in (rules if isinstance(rules, list) else ())),
    ]
    for prefix, table, kind in tables:
        accepted = kind.__struct_fields__
        for key in table if isinstance(table, dict) else ():
            if key not in accepted:
                near = difflib.get_close_matches(key, accepted, n=1)
                hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(accepted)}"
                raise PolicyError(f"policy.toml: unknown name {prefix}{key}; {hint}")


def _cuts(thresholds: _Thresholds) -> tuple[float, float, float]:
    values = {name: getattr(thresholds, name) for name in thresholds.__struct_fields__}
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if not 0 < value <= 1:
            raise PolicyError(
                f"policy.toml: thresholds.{name} is {value}; accepted: above 0, at most 1"
            )
    for (low, low_value), (high, high_value) in itertools.pairwise(given.items()):
        if low_value > high_value:
            raise PolicyError(
                f"policy.toml: thresholds.{low} ({low_value}) is above thresholds.{high} "
                f"({high_value}); accepted: challenge ≤ review ≤ decline"
            )
    # A threshold that is not given is that of the next stronger action.
    decline = given.get("decline", float("inf"))
    review = given.get("review", decline)
    return given.get("challenge", review), review, decline


def _codes(rules: Sequence[_Rule]) -> list[int]:
    """Return each rule's reason code: its own, else the lowest free ones in file order."""
    chosen = [rule.code for rule in rules if rule.code is not None]
    _refuse_twice("name", [rule.name for rule in rules])
    _refuse_twice("code", chosen)
    free = iter(sorted(set(range(RULE_CODE_MIN, RULE_CODE_MAX + 1)) - set(chosen)))
    return [next(free) if rule.code is None else rule.code for rule in rules]


def _refuse_twice(what: str, values: Sequence[object]) -> None:
    if twice := [value for value in values if values.count(value) > 1]:
        raise PolicyError(f"policy.toml: two rules have the {what} {twice[0]}; accepted: one")


def _digest(file: _File) -> str:
    content = msgspec.to_builtins(file)
    for rule in content["rules"]:
        rule["when"] = " ".join(rule["when"].split())
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
