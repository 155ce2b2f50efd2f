"""The types that stages exchange: nothing else crosses from one stage to another.

Row types (`Transaction`, `Decision`, `Label`) live at the edges: decoding, answers, pages.
Between stages travels one `Batch`: a structured array of fixed-size events, a feature matrix,
and what scoring and deciding add to it.
An event holds no text and no id in clear: only numbers, small codes and 64-bit key hashes.
It does not depend on any feature set, so the journal and the tables can keep it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

# --- limits -----------------------------------------------------------------------------------

AMOUNT_MINOR_MAX: Final = 10**12
"""Largest amount accepted, in minor units: ten billion of a currency with cents."""

FUTURE_ALLOWANCE_MS: Final = 5 * 60 * 1000
"""How far an event time may lie beyond its arrival before it counts as *future*."""

REASONS_MAX: Final = 4
"""Most reasons one decision gives."""

DAY_MS: Final = 86_400_000


class Kind(IntEnum):
    """What happened. Only `SCORED_KINDS` move money out and are worth a model's score."""

    authorisation = 1
    capture = 2
    reversal = 3
    refund = 4
    transfer = 5
    login = 6
    profile_change = 7


SCORED_KINDS: Final = (Kind.authorisation, Kind.transfer)


class Channel(IntEnum):
    """Where the payment was made; 0 is unknown."""

    unknown = 0
    pos = 1
    ecommerce = 2
    atm = 3
    moto = 4
    mobile = 5


class EntryMode(IntEnum):
    """How the card's data were read; 0 is unknown."""

    unknown = 0
    chip = 1
    contactless = 2
    magstripe = 3
    manual = 4
    credential_on_file = 5
    wallet = 6


class Action(IntEnum):
    """What Assay answers; a larger number stands in the customer's way more."""

    approve = 0
    challenge = 1
    review = 2
    decline = 3


class Mode(IntEnum):
    """The rung of the degradation ladder that gave the answer."""

    full = 0
    light = 1
    rules = 2
    default = 3


class Flag(IntEnum):
    """Bits of an event's ``flags``."""

    late = 1
    future = 2


# --- rows, at the edges -----------------------------------------------------------------------

Id = Annotated[str, Meta(min_length=1, max_length=128)]
OptionalId = Annotated[str, Meta(min_length=1, max_length=128)] | None


class Transaction(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event as a caller sends it, before tokenisation.

    Only `transaction_id`, `event_time`, `card_id`, and for kinds that carry money
    `amount_minor` and `currency`, must be given.
    A field that is absent is unknown, which is not the same as zero.
    """

    transaction_id: Id
    event_time: Annotated[str, Meta(min_length=20, max_length=35)] | int
    """UTC milliseconds, or RFC 3339 text with an offset."""
    card_id: Id
    kind: Literal[
        "authorisation", "capture", "reversal", "refund", "transfer", "login", "profile_change"
    ] = "authorisation"
    amount_minor: Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)] | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None
    related_id: OptionalId = None
    utc_offset_min: Annotated[int, Meta(ge=-840, le=840)] | None = None
    customer_id: OptionalId = None
    merchant_id: OptionalId = None
    merchant_category: Annotated[str, Meta(pattern="^[0-9]{4}$")] | None = None
    """ISO 18245 code."""
    merchant_country: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None
    """ISO 3166 alpha-2 code."""
    merchant_time_zone: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """IANA name, such as ``Europe/Lisbon``."""
    channel: Literal["pos", "ecommerce", "atm", "moto", "mobile"] | None = None
    entry_mode: (
        Literal["chip", "contactless", "magstripe", "manual", "credential_on_file", "wallet"] | None
    ) = None
    response_code: Annotated[str, Meta(pattern="^[0-9A-Z]{2}$")] | None = None
    """The issuer's ISO 8583 answer, on outcomes and in history: ``00`` is approved."""
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    device_id: OptionalId = None
    ip: Annotated[str, Meta(min_length=2, max_length=45)] | None = None
    cvv_result: Annotated[str, Meta(pattern="^[A-Z]$")] | None = None
    avs_result: Annotated[str, Meta(pattern="^[A-Z]$")] | None = None
    merchant_name: Annotated[str, Meta(max_length=128)] | None = None
    attributes: dict[str, Annotated[str, Meta(max_length=256)] | float] | None = None
    """Extra fields, each declared in the workspace's settings."""


class Label(Struct, frozen=True, forbid_unknown_fields=True):
    """The truth about one transaction, known late."""

    transaction_id: Id
    fraud: bool
    reported_at: Annotated[str, Meta(min_length=20, max_length=35)] | int


class Reason(Struct, frozen=True):
    """Why a decision was made: a stable code and a sentence."""

    code: str
    text: str


class Decision(Struct, frozen=True):
    """The answer. `score` is a calibrated probability in [0, 1]; higher is riskier."""

    decision_id: str
    transaction_id: str
    action: str
    score: float | None
    reasons: tuple[Reason, ...]
    model: str
    policy: str
    feature_set: str
    runtime: str
    arm: str
    mode: str
    leaf: str


# --- events and batches, between stages -------------------------------------------------------

EVENT: Final = np.dtype(
    [
        ("arrival", "<u8"),  # number in the scorer's stream; 0 before one is given
        ("arrival_ms", "<i8"),
        ("event_time", "<i8"),  # UTC milliseconds
        ("transaction", "<u8"),  # key hashes: 0 is absent
        ("related", "<u8"),
        ("card", "<u8"),
        ("customer", "<u8"),
        ("merchant", "<u8"),
        ("device", "<u8"),
        ("ip", "<u8"),
        ("amount_minor", "<i8"),  # -1 is absent
        ("amount_ref", "<i8"),  # minor units of the reference currency; -1 is absent
        ("latitude", "<f4"),  # degrees, coarsened to 0.01; NaN is absent
        ("longitude", "<f4"),
        ("currency", "<u2"),  # ISO 4217 number; 0 is absent
        ("category", "<u2"),  # ISO 18245 code; 0 is absent
        ("country", "<u2"),  # two ASCII letters, the first in the high byte; 0 is absent
        ("response", "<u2"),  # two ASCII characters, likewise
        ("utc_offset_min", "<i2"),  # of the caller; OFFSET_ABSENT is absent
        ("merchant_offset_min", "<i2"),  # of the merchant's zone at event_time, likewise
        ("kind", "u1"),  # Kind
        ("channel", "u1"),  # Channel
        ("entry_mode", "u1"),  # EntryMode
        ("cvv", "u1"),  # ASCII letter; 0 is absent
        ("avs", "u1"),
        ("flags", "u1"),  # Flag bits, set once at arrival; replay reads them
        ("reserved_2", "<u2"),
        ("reserved_4", "<u4"),
    ],
    align=True,
)
assert EVENT.itemsize == 128, EVENT.itemsize

OFFSET_ABSENT: Final = -32768

Events = NDArray[np.void]
"""A structured array of dtype `EVENT`."""


@dataclass(slots=True)
class Batch:
    """Columns of n transactions on their way through the stages.

    Attributes
    ----------
    events : ndarray of `EVENT`, shape (n,)
        ``events["card"]`` and so on are the columns.
    features : ndarray of float32, shape (n, f)
        In the order of the feature set; NaN is unknown.
    scores : ndarray of float32, shape (n,)
        Calibrated probability of fraud in [0, 1]; NaN when no model scored.
    actions : ndarray of uint8, shape (n,)
        `Action` codes.
    reasons : ndarray of uint16, shape (n, 4)
        Codes into the reason catalogue, strongest first; 0 is none.
    modes : ndarray of uint8, shape (n,)
        `Mode` codes.
    """

    events: Events
    features: NDArray[np.float32]
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    actions: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    reasons: NDArray[np.uint16] = field(default_factory=lambda: np.empty((0, 4), np.uint16))
    modes: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, slots=True)
class Switch:
    """Versions that decide from an arrival on, as the journal says.

    Attributes
    ----------
    arrival, arrival_ms : int
        Of the boot record; decisions name it as their boot.
    cause : str
        ``start``, ``promote`` or ``rollback``.
    revision : int
        Of the request that it answers; 0 without one.
    model, policy, feature_set, runtime : str
        The versions.
    reasons : tuple of (str, str)
        Code and sentence of each reason, by number.
    """

    arrival: int
    arrival_ms: int
    cause: str
    revision: int
    model: str
    policy: str
    feature_set: str
    runtime: str
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LabelReport:
    """A label as it came in: whose transaction it is about is not known yet.

    Attributes
    ----------
    arrival, arrival_ms : int
        In the scorer's stream; the number names the report for ever.
    transaction_id : str
    fraud : bool
    reported_ms : int
        When the truth became known, as the reporter says, UTC milliseconds.
    source : str
        Name of the API key that brought it.
    """

    arrival: int
    arrival_ms: int
    transaction_id: str
    fraud: bool
    reported_ms: int
    source: str


@dataclass(frozen=True, slots=True)
class ResolvedLabel:
    """A report that was matched with its transaction.

    Attributes
    ----------
    arrival, arrival_ms : int
        In the scorer's stream; 0 before it is there.
    report : int
        Arrival number of the report.
    fraud : bool
    reported_ms : int
    event : ndarray of `EVENT`, shape (1,)
        The transaction, with its entities.
    """

    arrival: int
    arrival_ms: int
    report: int
    fraud: bool
    reported_ms: int
    event: Events


@dataclass(frozen=True, slots=True)
class Check:
    """What a piece of the scorer's feature state was like at a place in the stream.

    Attributes
    ----------
    arrival, arrival_ms : int
        The state is what the events before this arrival number left behind.
    piece : int
        Which piece; counts on with every check.
    digest : int
        64-bit hash of the piece.
    """

    arrival: int
    arrival_ms: int
    piece: int
    digest: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the journal that could not be read; told, never skipped in silence.

    Attributes
    ----------
    position, position_after : int
        From where to where.
    why : str
        Damage with its file and offset, or that retention removed it.
    """

    position: int
    position_after: int
    why: str


@dataclass(slots=True)
class Stretch:
    """A stretch of the journal in columns, in order of arrival, as followers read it.

    All its n decisions have the same features; where the feature set changes, a new one begins.

    Attributes
    ----------
    position : int
        Where the journal goes on after it.
    batch : Batch
        The n decisions.
    boots : ndarray of uint64, shape (n,)
        Arrival of the `Switch` in force for each.
    positions : ndarray of int64, shape (n,)
        Where each decision's record stands.
    transaction_ids : list of str, length n
    canonicals : list of bytes, length n
        The tokenised transactions as JSON. Text in them, such as a merchant's name, is hostile.
    switches, reports, labels, checks : list
        The other inputs; their arrival says where among the decisions they belong.
    """

    position: int
    batch: Batch
    boots: NDArray[np.uint64]
    positions: NDArray[np.int64]
    transaction_ids: list[str]
    canonicals: list[bytes]
    switches: list[Switch] = field(default_factory=list)
    reports: list[LabelReport] = field(default_factory=list)
    labels: list[ResolvedLabel] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def empty_events(n: int) -> Events:
    """Return n events with every field absent.

    Examples
    --------
    >>> int(empty_events(1)["amount_ref"][0])
    -1
    """
    events = np.zeros(n, EVENT)
    events["amount_minor"] = events["amount_ref"] = -1
    events["latitude"] = events["longitude"] = np.nan
    events["utc_offset_min"] = events["merchant_offset_min"] = OFFSET_ABSENT
    return events


def pack2(text: str | None) -> int:
    """Return two ASCII characters as one number, the first in the high byte; 0 for None.

    Examples
    --------
    >>> hex(pack2("PT"))
    '0x5054'
    """
    return 0 if text is None else ord(text[0]) << 8 | ord(text[1])


class Imported(Struct, frozen=True):
    """One transaction after the door: tokenised, safe to store.

    Attributes
    ----------
    event : bytes
        One `EVENT` row.
    public_id : str
        The caller's transaction id.
    canonical : bytes
        The tokenised transaction as JSON with sorted keys: what the journal keeps in its
        private part, and what idempotency compares.
    """

    event: bytes
    public_id: str
    canonical: bytes


def to_builtins(row: Struct) -> dict[str, Any]:
    """Return a row as a plain dict, absent fields left out."""
    out = msgspec.to_builtins(row)
    assert isinstance(out, dict)
    return out
