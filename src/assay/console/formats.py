"""How numbers, money, times and foreign text look on a page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from jinja2 import Undefined
from markupsafe import Markup

NOTHING: Final = "\N{EN DASH}"
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def _absent(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, Undefined)
        or (isinstance(value, float) and not math.isfinite(value))
    )


def plain(value: Any) -> str:
    """Return text with what nobody can see, or what turns its direction, made visible.

    Examples
    --------
    >>> plain("shop\u202eexe")
    'shop�exe'
    """
    return NOTHING if _absent(value) else _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(value))


def release(model: Any) -> str:
    """Return a model's name; what decided without a model is called by that.

    Examples
    --------
    >>> release("boosting-0.1.0"), release("none")
    ('boosting-0.1.0', 'rules only')
    """
    return "rules only" if model == "none" else plain(model)


def number(value: Any, digits: int = 0) -> str:
    """Return a number with thousands separators.

    Examples
    --------
    >>> number(1234567), number(0.12345, 3), number(None) == NOTHING
    ('1,234,567', '0.123', True)
    """
    return NOTHING if _absent(value) else f"{value:,.{digits}f}"


def percent(value: Any, digits: int = 1) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> percent(0.1234), percent(None) == NOTHING
    ('12.3 %', True)
    """
    return NOTHING if _absent(value) else f"{value * 100:,.{digits}f} %"


def utc(ms: Any) -> str:
    """Return a time in UTC to the second.

    Examples
    --------
    >>> utc(0), utc(None) == NOTHING
    ('1970-01-01 00:00:00', True)
    """
    if _absent(ms):
        return NOTHING
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return NOTHING


def money(minor: Any, currency: Any, exponents: Mapping[str, int]) -> str:
    """Return an amount in its currency, from minor units.

    Examples
    --------
    >>> money(123456, "EUR", {}), money(500, "JPY", {"JPY": 0})
    ('EUR 1,234.56', 'JPY 500')
    """
    if _absent(minor):
        return NOTHING
    digits = exponents.get(str(currency), 2)
    return f"{plain(currency)} {minor / 10**digits:,.{digits}f}"


def data_block(value: Any) -> Markup:
    """Return JSON for a ``<script type="application/json">`` that no text in it can end."""
    text = msgspec.json.encode(value).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 — nothing is left in it that HTML would read
