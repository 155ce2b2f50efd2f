"""What a rule may name besides features: the fields of a transaction, and `score`.

Number fields read as float64 with NaN for unknown.
Text fields read as small codes with 0 for unknown; a quoted constant becomes a code when the
policy is loaded, so that no text is compared while a payment waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.records import (
    DAY_MS,
    OFFSET_ABSENT,
    Batch,
    Channel,
    EntryMode,
    Flag,
    Kind,
    pack2,
)

Read = Callable[[Batch], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Field:
    """One name that a condition may use.

    Attributes
    ----------
    read : Callable
        The column of a batch, shape (n,).
    encode : Callable or None
        Turns a quoted constant into a code, or None if the constant is not one that the
        field can hold; None for number fields.
    accepted : str
        What a constant must look like, for messages.
    """

    read: Read
    encode: Callable[[str], int | None] | None = None
    accepted: str = "a number"


def _number(column: str) -> Field:
    def read(batch: Batch) -> NDArray[np.float64]:
        values = batch.events[column].astype(np.float64)
        values[values < 0] = np.nan
        return values

    return Field(read)


def _coordinate(column: str) -> Field:
    return Field(lambda batch: batch.events[column].astype(np.float64))


def _flag(bit: Flag) -> Field:
    return Field(lambda batch: ((batch.events["flags"] & bit) != 0).astype(np.float64))


def _clock_ms(batch: Batch) -> NDArray[np.int64]:
    """Return local milliseconds at the merchant, else at the caller, else UTC."""
    merchant, caller = (
        batch.events[name].astype(np.int64) for name in ("merchant_offset_min", "utc_offset_min")
    )
    offset_min = np.where(merchant == OFFSET_ABSENT, caller, merchant)
    offset_min[offset_min == OFFSET_ABSENT] = 0
    local_ms: NDArray[np.int64] = batch.events["event_time"] + offset_min * 60_000
    return local_ms


def _hour(batch: Batch) -> NDArray[np.float64]:
    return (_clock_ms(batch) % DAY_MS // 3_600_000).astype(np.float64)


def _weekday(batch: Batch) -> NDArray[np.float64]:
    days = _clock_ms(batch) // DAY_MS + 3  # 1970-01-01 was a Thursday
    return (days % 7).astype(np.float64)


def _text(column: str, pattern: str, code: Callable[[str], int], accepted: str) -> Field:
    def encode(text: str) -> int | None:
        return code(text) if re.fullmatch(pattern, text) else None

    return Field(lambda batch: batch.events[column], encode, accepted)


def _names(column: str, codes: Mapping[str, int], accepted: str) -> Field:
    return Field(lambda batch: batch.events[column], codes.get, accepted)


def _enum(column: str, members: type[IntEnum]) -> Field:
    codes = {member.name: int(member) for member in members if member}
    return _names(column, codes, f"one of {', '.join(codes)}")


FIELDS: Final[Mapping[str, Field]] = {
    "score": Field(lambda batch: batch.scores.astype(np.float64)),
    "amount_minor": _number("amount_minor"),
    "amount_ref": _number("amount_ref"),
    "latitude": _coordinate("latitude"),
    "longitude": _coordinate("longitude"),
    "hour": Field(_hour),
    "weekday": Field(_weekday),
    "late": _flag(Flag.late),
    "future": _flag(Flag.future),
    "kind": _enum("kind", Kind),
    "channel": _enum("channel", Channel),
    "entry_mode": _enum("entry_mode", EntryMode),
    "merchant_category": _text("category", "[0-9]{4}", int, 'four digits, such as "5411"'),
    "merchant_country": _text("country", "[A-Z]{2}", pack2, 'two capitals, such as "PT"'),
    "response_code": _text("response", "[0-9A-Z]{2}", pack2, 'two characters, such as "05"'),
    "cvv_result": _text("cvv", "[A-Z]", ord, 'one capital, such as "N"'),
    "avs_result": _text("avs", "[A-Z]", ord, 'one capital, such as "N"'),
}
"""Every field but `currency`, whose codes come from the caller's table."""


def fields_with(currencies: Mapping[str, int]) -> Mapping[str, Field]:
    """Return the fields, `currency` among them when its ISO 4217 numbers are given.

    Examples
    --------
    >>> fields_with({"EUR": 978})["currency"].encode("EUR")
    978
    """
    if not currencies:
        return FIELDS
    accepted = 'a currency of the table, such as "EUR"'
    return {**FIELDS, "currency": _names("currency", currencies, accepted)}
