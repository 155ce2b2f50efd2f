"""What a feature is: small frozen values that the planner, the kernel and SQL all read.

A window feature of an entity at event time *t* and arrival *n* is computed from that entity's
ingested events with arrival < *n* and event time in (*t* - *W*, *t*].
The event itself is never in its own windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Final, Literal, Self

import msgspec

from assay.errors import FeatureError
from assay.features import checks
from assay.records import DAY_MS, EVENT

EntityName = Literal["card", "customer", "merchant", "device"]
ENTITIES: tuple[EntityName, ...] = ("card", "customer", "merchant", "device")

LOOKBACK_MS = 90 * DAY_MS
"""Nothing looks back further, "new for this card" and "first seen" included."""

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def window_ms(text: str) -> int:
    """Return a window such as ``"10m"`` in milliseconds.

    Raises
    ------
    FeatureError
        If the text is not a whole number and one of s, m, h, d, or is over 90 days.

    Examples
    --------
    >>> window_ms("24h")
    86400000
    """
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _UNITS_MS:
        raise FeatureError(f"window {text!r}; accepted: a whole number and s, m, h or d: '10m'")
    length = int(number) * _UNITS_MS[unit]
    if not 1_000 <= length <= LOOKBACK_MS:
        raise FeatureError(f"window {text!r}; accepted: from 1s to 90d")
    return length


_ORDERS: Final = ("<", ">=")
_OPERATORS: Final = ("in", "not in", *_ORDERS)


@dataclass(frozen=True)
class Test:
    """One comparison of an event's field with constants.

    Raises
    ------
    FeatureError
        If a part is not what it must be; `Condition` and every feature are held to that, too,
        because all of it becomes source text of the kernel.
    """

    __test__: ClassVar[bool] = False  # not a pytest class
    field: str
    op: Literal["in", "not in", "<", ">="]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        checks.check_one_of("field of a test", self.field, EVENT.names or ())
        checks.check_one_of("operator of a test", self.op, _OPERATORS)
        checks.check_tuple("values of a test", self.values, int)
        for value in self.values:
            checks.check_int("value of a test", value)
        if self.op in _ORDERS and len(self.values) > 1:
            raise checks.refused("values of a test", "several", f"one value for {self.op}")


@dataclass(frozen=True)
class Condition:
    """A named conjunction of tests on the fields of an event."""

    name: str
    tests: tuple[Test, ...]

    def __post_init__(self) -> None:
        checks.check_name("name of a condition", self.name)
        checks.check_tuple("tests of a condition", self.tests, Test)

    def __and__(self, other: Condition) -> Condition:
        return Condition(f"{self.name}_{other.name}", self.tests + other.tests)

    def possible(self, kinds: frozenset[int]) -> bool:
        """Return whether an event of one of these kinds can meet the condition."""
        asked = [set(t.values) for t in self.tests if t.field == "kind" and t.op == "in"]
        return all(kinds & values for values in asked)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What every feature has: a name, a sentence and a unit."""

    name: str
    description: str = field(metadata={"digest": False})
    unit: str = field(default="", metadata={"digest": False})
    requires: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for part in fields(self):
            if check := _PARTS.get(part.name):
                check(f"{part.name} of a {kind}", getattr(self, part.name))

    def fields(self) -> frozenset[str]:
        """Return the event fields that must be known for the feature to mean anything."""
        return frozenset(self.requires)

    def canonical(self) -> dict[str, Any]:
        """Return what the digest of a feature set covers: everything but the wording."""
        skip = {f.name for f in fields(self) if f.metadata.get("digest") is False}
        body = {key: value for key, value in asdict(self).items() if key not in skip}
        return {"type": type(self).__name__} | body


@dataclass(frozen=True, kw_only=True)
class Input(Feature):
    """A field of the event itself; absent is NaN."""

    field: str

    def fields(self) -> frozenset[str]:
        """Return the field."""
        return frozenset({self.field})


@dataclass(frozen=True, kw_only=True)
class LocalTime(Feature):
    """Hour (0 to 24, fractional) or weekday (Monday 0) at the merchant, else caller, else UTC."""

    part: Literal["hour", "weekday"]


@dataclass(frozen=True, kw_only=True)
class EntityFeature(Feature):
    """A feature over the earlier events of one entity."""

    entity: EntityName

    def fields(self) -> frozenset[str]:
        """Return the entity's key and the fields of its conditions."""
        where = getattr(self, "where", None)
        tested = {test.field for test in where.tests} if where else set()
        return frozenset({self.entity} | tested | set(self.requires))


@dataclass(frozen=True, kw_only=True)
class Windowed(EntityFeature):
    """A feature over one window of an entity."""

    window_ms: int
    where: Condition


@dataclass(frozen=True, kw_only=True)
class Count(Windowed):
    """Number of events that meet the condition."""


@dataclass(frozen=True, kw_only=True)
class Sum(Windowed):
    """Sum of reference amounts, in minor units; exact integers."""

    requires = ("amount_ref",)


@dataclass(frozen=True, kw_only=True)
class Mean(Windowed):
    """Mean reference amount; NaN without events."""

    requires = ("amount_ref",)


@dataclass(frozen=True, kw_only=True)
class Std(Windowed):
    """Population standard deviation of reference amounts; NaN without events.

    The subtraction n·Σx² - (Σx)² is done in 128-bit integers, so nothing cancels.
    """

    requires = ("amount_ref",)


@dataclass(frozen=True, kw_only=True)
class Share(Windowed):
    """Events that meet `where` over events that meet `of`; NaN when there are none of those."""

    of: Condition


@dataclass(frozen=True, kw_only=True)
class Distinct(EntityFeature):
    """Number of distinct known values of a field in a window; exact."""

    field: str
    window_ms: int

    def fields(self) -> frozenset[str]:
        """Return the entity's key and the counted field."""
        return frozenset({self.entity, self.field})


@dataclass(frozen=True, kw_only=True)
class IsNew(EntityFeature):
    """1 when the entity has had no event with this value in 90 days, else 0; NaN if absent."""

    field: str

    def fields(self) -> frozenset[str]:
        """Return the entity's key and the field."""
        return frozenset({self.entity, self.field})


@dataclass(frozen=True, kw_only=True)
class SinceLast(EntityFeature):
    """Seconds since the entity's last event that meets the condition; NaN after 90 days."""

    where: Condition


@dataclass(frozen=True, kw_only=True)
class SinceFirst(EntityFeature):
    """Seconds since the entity's first event within 90 days; NaN if it has none."""


@dataclass(frozen=True, kw_only=True)
class Distance(EntityFeature):
    """Kilometres (great circle) from the entity's last event with a location within 90 days."""

    requires = ("latitude", "longitude")


@dataclass(frozen=True, kw_only=True)
class Speed(EntityFeature):
    """Kilometres an hour that `Distance` implies; events under a minute apart count as one minute.

    Coordinates are coarsened to 0.01°, so without that floor two payments in one street would
    look like flight.
    """

    requires = ("latitude", "longitude")


@dataclass(frozen=True, kw_only=True)
class Ratio(Feature):
    """One feature over another; NaN when the lower one is not above zero."""

    over: str
    under: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ZScore(Feature):
    """(value - mean) / deviation; NaN when the deviation is not above zero."""

    value: str
    mean: str
    deviation: str


_PARTS: Final[dict[str, Callable[[str, Any], None]]] = {
    **dict.fromkeys(("name", "over", "under", "value", "mean", "deviation"), checks.check_name),
    **dict.fromkeys(("description", "unit"), checks.check_text),
    **dict.fromkeys(("where", "of"), partial(checks.check_is, of=Condition)),
    "field": partial(checks.check_one_of, known=EVENT.names or ()),
    "part": partial(checks.check_one_of, known=("hour", "weekday")),
    "entity": partial(checks.check_one_of, known=ENTITIES),
    "window_ms": partial(checks.check_int, low=1_000, high=LOOKBACK_MS),
    "scale": checks.check_number,
}
"""By the name of a feature's field."""


def operands(feature: Feature) -> tuple[str, ...]:
    """Return the names of the features that a derived feature is made of."""
    if isinstance(feature, Ratio):
        return (feature.over, feature.under)
    if isinstance(feature, ZScore):
        return (feature.value, feature.mean, feature.deviation)
    return ()


@dataclass(frozen=True)
class FeatureSet:
    """An ordered, checked tuple of features; its version is the digest of its canonical form.

    Raises
    ------
    FeatureError
        If a name stands twice or a derived feature names one that does not stand before it.
    """

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for feature in self.features:
            checks.check_is("a feature set's part", feature, Feature)
            if feature.name in seen:
                raise FeatureError(f"feature {feature.name!r} is defined twice; names are unique")
            for name in operands(feature):
                if name not in seen:
                    raise FeatureError(
                        f"feature {feature.name!r} uses {name!r}, which is not defined before it"
                    )
            seen.add(feature.name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the matrix's columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the canonical form, in hex: the version of the feature set."""
        canonical = [feature.canonical() for feature in self.features]
        return hashlib.sha256(msgspec.json.encode(canonical, order="sorted")).hexdigest()

    def encode(self) -> bytes:
        """Return the definitions as JSON, wording and all, for `decode`.

        Raises
        ------
        FeatureError
            If a feature is of a kind that is not defined here.
        """
        for feature in self.features:
            if _KINDS.get(type(feature).__name__) is not type(feature):
                raise FeatureError(
                    f"feature {feature.name!r} is a {type(feature).__name__}; "
                    f"accepted: {', '.join(_KINDS)}"
                )
        rows = [{"type": type(f).__name__} | asdict(f) for f in self.features]
        document = {"format": _FORMAT, "features": rows}
        return msgspec.json.format(msgspec.json.encode(document), indent=1)

    @classmethod
    def decode(cls, document: bytes) -> Self:
        """Return the feature set that `encode` wrote; nothing in it is run.

        Raises
        ------
        FeatureError
            If the document is something else.
        """
        try:
            read = msgspec.json.decode(document, type=_Document)
            return cls(tuple(_feature(**row) for row in read.features))
        except FeatureError as error:
            raise FeatureError(f"not the definitions of features ({error}); restore them") from None
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise FeatureError(
                f"not the definitions of features ({type(error).__name__}); restore them"
            ) from None

    def available(self, known: frozenset[str], kinds: frozenset[int]) -> FeatureSet:
        """Return the features that data can carry, and what can be derived from them.

        A file without devices gives a feature set without device features: an absent feature
        is better than a column of zeros that means nothing.

        Parameters
        ----------
        known : frozenset of str
            Event fields that have any value in the data.
        kinds : frozenset of int
            `records.Kind` codes that occur in the data.
        """
        kept: dict[str, Feature] = {}
        for feature in self.features:
            where: Condition | None = getattr(feature, "where", None)
            if (
                feature.fields() <= known
                and (where is None or where.possible(kinds))
                and all(name in kept for name in operands(feature))
            ):
                kept[feature.name] = feature
        return FeatureSet(tuple(kept.values()))


# --- definitions as a document ------------------------------------------------------------------

_FORMAT: Final = 1

_KINDS: Final[dict[str, type[Feature]]] = {
    kind.__name__: kind
    for kind in (
        *(Input, LocalTime, Count, Sum, Mean, Std, Share, Distinct, IsNew, SinceLast, SinceFirst),
        *(Distance, Speed, Ratio, ZScore),
    )
}


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    features: list[dict[str, Any]]

    def __post_init__(self) -> None:
        if self.format != _FORMAT:
            raise FeatureError(f"format {self.format}; accepted: {_FORMAT}")


def _feature(*, type: str, **values: Any) -> Feature:  # noqa: A002 — as the document says
    """Build one feature; values keep their JSON types, so that the digest stays the same."""
    for name in ("where", "of"):
        if name in values:
            tests = tuple(Test(**t | {"values": tuple(t["values"])}) for t in values[name]["tests"])
            values[name] = Condition(**values[name] | {"tests": tests})
    return _KINDS[type](**values)
