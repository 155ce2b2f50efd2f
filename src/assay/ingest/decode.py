"""JSON bytes become a `Transaction` or `Label`; whatever is wrong becomes an `InputError`.

No message ever repeats a value: it names the field, the kind of value found and what is
accepted. An unknown field's own name may be a card number, so it is not repeated either.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from assay.errors import InputError
from assay.ingest.firewall import contains_card_number
from assay.records import Label, Transaction

TIME_ACCEPTED: Final = (
    "UTC milliseconds as a whole number, or RFC 3339 text with an offset such as "
    "2026-01-31T12:00:00Z, from 1990 to 2099"
)

_MIN_MS: Final = 631_152_000_000  # 1990-01-01
_END_MS: Final = 4_102_444_800_000  # 2100-01-01
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)

_transactions: Final = msgspec.json.Decoder(Transaction)
_labels: Final = msgspec.json.Decoder(Label)


def decode(body: bytes) -> Transaction:
    """Read one transaction from JSON.

    Raises
    ------
    InputError
        If the body is not JSON or not an acceptable transaction.
    """
    try:
        return _transactions.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise translated(error, Transaction) from None


def decode_label(body: bytes) -> Label:
    """Read one label from JSON.

    Raises
    ------
    InputError
        If the body is not JSON or not an acceptable label.
    """
    try:
        return _labels.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise translated(error, Label) from None


def event_time_ms(value: str | int, field: str = "event_time") -> int:
    """Return UTC milliseconds; digits finer than a millisecond are cut off.

    Raises
    ------
    InputError
        If the text is no RFC 3339 time with an offset, names an impossible date, a leap
        second or 24:00, or the time lies outside 1990 to 2099.

    Examples
    --------
    >>> event_time_ms("1990-01-01T01:00:00.0019+01:00")
    631152000001
    """
    time_ms = value if isinstance(value, int) else _text_ms(value, field)
    if not _MIN_MS <= time_ms < _END_MS:
        raise InputError(field, "a time outside 1990 to 2099", TIME_ACCEPTED)
    return time_ms


def translated(error: Exception, row: type[msgspec.Struct]) -> InputError:
    """Return an `InputError` that says what a msgspec error says, without any value."""
    if isinstance(error, RecursionError):
        return InputError("", "JSON nested too deeply", "one flat JSON object")
    if not isinstance(error, msgspec.ValidationError):
        return InputError("", "bytes that are not JSON", "one JSON object in UTF-8")
    text = str(error)
    if text.startswith("Object contains unknown field"):
        return _unknown_field(text, row)
    if missing := re.match(r"Object missing required field `(\w+)`", text):
        return InputError(missing[1], "nothing", f"{_accepted(row).get(missing[1], 'a value')}")
    where = re.search(r" - at `\$\.(\w+)", text)
    if where is None:
        got = re.search(r"got `(\w+)`", text)
        return InputError("", _KINDS.get(got[1] if got else "", "no object"), "one JSON object")
    accepted = _accepted(row)[where[1]]
    return InputError(where[1], _got(text), accepted)


_KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number with a fraction",
    "bool": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}


def _got(text: str) -> str:
    if kind := re.search(r"got `(\w+)`", text):
        return _KINDS.get(kind[1], "a value of another type")
    if limit := re.search(r"of length (<=|>=) (\d+)", text):
        side = "more" if limit[1] == "<=" else "fewer"
        return f"text of {side} than {limit[2]} characters"
    if limit := re.search(r"Expected `(?:int|float)` (<=|>=) (-?\d+)", text):
        if limit[1] == ">=" and limit[2] == "0":
            return "a negative number"
        return f"a number {'above' if limit[1] == '<=' else 'below'} {limit[2]}"
    if text.startswith("Number out of range"):
        return "a number out of range"
    return "text of another form"


def _unknown_field(text: str, row: type[msgspec.Struct]) -> InputError:
    names = row.__struct_fields__
    at_root = " - at `$" not in text
    sent = re.match(r"Object contains unknown field `(.*?)`", text, re.DOTALL)
    near = difflib.get_close_matches(sent[1][:64], names, n=1) if sent and at_root else []
    hint = f"did you mean {near[0]}?" if near else f"only {', '.join(names)}"
    name = sent[1] if sent else ""
    # A name is told only if it is one: anything can stand there, a card number too.
    plain = re.fullmatch(r"[A-Za-z_]\w{0,63}", name) and not contains_card_number(name)
    return InputError(name if plain else "", "an unknown field", hint)


@lru_cache
def _accepted(row: type[msgspec.Struct]) -> dict[str, str]:
    """Return what each field accepts, in words, from its declared type."""
    info = msgspec.inspect.type_info(row)
    assert isinstance(info, msgspec.inspect.StructType)
    words = {field.name: _words(field.type) for field in info.fields}
    for name in ("event_time", "reported_at"):
        if name in words:
            words[name] = TIME_ACCEPTED
    return words


def _words(kind: Any) -> str:  # noqa: PLR0911 - one line per kind of type
    match kind:
        case msgspec.inspect.UnionType(types=types):
            parts = [t for t in types if not isinstance(t, msgspec.inspect.NoneType)]
            return " or ".join(_words(part) for part in parts)
        case msgspec.inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case msgspec.inspect.IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case msgspec.inspect.FloatType(ge=low, le=high):
            return "a finite number" if low is None else f"a number from {low} to {high}"
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return f"text of the form {pattern}"
        case msgspec.inspect.StrType(min_length=low, max_length=high):
            return f"text of {low or 0} to {high} characters"
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.DictType(value_type=value):
            return f"an object whose values are each {_words(value)}"
    raise AssertionError(f"no words for {kind}")


def _text_ms(text: str, field: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise InputError(field, "text that is no time with an offset", TIME_ACCEPTED)
    day, clock, fraction, sign, hours, minutes = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        raise InputError(field, "a date or time that does not exist", TIME_ACCEPTED) from None
    seconds = (local - _EPOCH) // timedelta(seconds=1)
    if sign:
        ahead = int(hours) * 3600 + int(minutes) * 60
        seconds += -ahead if sign == "+" else ahead
    return seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))
