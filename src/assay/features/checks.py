"""What the parts of a definition may be.

They end up in the source of a kernel, and definitions are read back from files: so each part is
held to its exact type and to a closed set, a range or a form. What is refused is not repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Final

from assay.errors import FeatureError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_INT64_MAX: Final = 2**63 - 1


def refused(what: str, got: str, accepted: str) -> FeatureError:
    """Return the error for one part of a definition."""
    return FeatureError(f"{what}: got {got}; accepted: {accepted}")


def check_name(what: str, value: Any) -> None:
    """Refuse what is no name as Python spells them."""
    if type(value) is not str or not _NAME.fullmatch(value):
        raise refused(what, _kind(value), "a letter or _, then up to 127 letters, digits and _")


def check_text(what: str, value: Any) -> None:
    """Refuse what is no text."""
    if type(value) is not str:
        raise refused(what, _kind(value), "text")


def check_one_of(what: str, value: Any, known: Collection[str]) -> None:
    """Refuse what is none of the words that are known."""
    if type(value) is not str or value not in known:
        raise refused(what, _kind(value), f"one of {', '.join(known)}")


def check_int(what: str, value: Any, low: int = -_INT64_MAX, high: int = _INT64_MAX) -> None:
    """Refuse what is no whole number within bounds, both included."""
    if type(value) is not int or not low <= value <= high:
        raise refused(what, _kind(value), f"an int from {low} to {high}")


def check_number(what: str, value: Any) -> None:
    """Refuse what is neither a finite float nor a whole number of 64 bits."""
    if type(value) is not float:
        check_int(what, value)
    elif not math.isfinite(value):
        raise refused(what, "a float that is not finite", "a finite number")


def check_tuple(what: str, value: Any, of: type) -> None:
    """Refuse what is no tuple of such things, or an empty one."""
    if type(value) is not tuple or not value:
        raise refused(what, _kind(value), f"a tuple of at least one {of.__name__}")
    for item in value:
        check_is(what, item, of)


def check_is(what: str, value: Any, of: type) -> None:
    """Refuse what is no such thing."""
    if not isinstance(value, of):
        raise refused(what, _kind(value), of.__name__)


def _kind(value: Any) -> str:
    """Say what a value is, without the value."""
    name = type(value).__name__
    if type(value) is str:
        return "text of another form"
    return f"{name} out of bounds" if type(value) is int else name
