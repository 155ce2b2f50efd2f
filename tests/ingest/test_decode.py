import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.ingest.decode import decode, decode_label, event_time_ms

_GOOD = {"transaction_id": "t", "event_time": 1_767_225_600_000, "card_id": "c"}
_PAN = "4111111111111111"


def test_good_transaction_and_label() -> None:
    """What the contract allows is decoded."""
    assert decode(json.dumps(_GOOD | {"amount_minor": 5, "currency": "EUR"}).encode()).amount_minor
    body = b'{"transaction_id":"t","fraud":true,"reported_at":1767225600000}'
    assert decode_label(body).fraud
    with pytest.raises(InputError, match="fraud: got a whole number; accepted: true or false"):
        decode_label(b'{"transaction_id":"t","fraud":1,"reported_at":1767225600000}')


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"amount_minor": -1}, "amount_minor", "a negative number"),
        ({"amount_minor": 1.5}, "amount_minor", "a number with a fraction"),
        ({"amount_minor": "5"}, "amount_minor", "got text; accepted: a whole number from 0"),
        ({"amount_minor": 10**13}, "amount_minor", "a number above 1000000000000"),
        ({"currency": _PAN}, "currency", "text of another form"),
        ({"kind": _PAN}, "kind", "one of authorisation, capture"),
        ({"card_id": "x" * 200}, "card_id", "more than 128 characters"),
        ({"card_id": ""}, "card_id", "fewer than 1 characters"),
        ({"card_id": None}, "card_id", "null"),
        ({"card_id": int(_PAN)}, "card_id", "a whole number"),
        ({"event_time": True}, "event_time", "true or false; accepted: UTC milli"),
        ({"latitude": 91}, "latitude", "a number above 90"),
        ({"device_id": [_PAN]}, "device_id", "an array"),
        ({"attributes": {_PAN: [1]}}, "attributes", "an array"),
        ({_PAN: 1}, "", "an unknown field"),
        ({"merchantid": _PAN}, "merchantid", "did you mean merchant_id?"),
    ],
)
def test_bad_fields_are_named_and_values_are_not(
    change: dict[str, object], field: str, said: str
) -> None:
    """A refusal names the field, the kind of value and what is accepted, never the value."""
    with pytest.raises(InputError) as caught:
        decode(json.dumps(_GOOD | change).encode())
    assert caught.value.field == field
    assert said in str(caught.value)
    assert _PAN not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"1", b"{}", b"\xff", b"\xef\xbb\xbf{}", b"[" * 100_000,
        b'{"attributes":' * 100_000, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"amount_minor":NaN}', b'{"latitude":Infinity}', b'{"latitude":1e999}',
        b'{"transaction_id":"\xff"}', b'{"transaction_id":"\\ud800"}', b"{} {}",
    ],
)  # fmt: skip
def test_hostile_bodies_are_input_errors(body: bytes) -> None:
    """No body crashes the decoder."""
    with pytest.raises(InputError):
        decode(body)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_decode_or_are_refused(body: bytes) -> None:
    """Whatever is sent either decodes or raises InputError."""
    with suppress(InputError):
        assert decode(body).card_id


@given(
    st.datetimes(datetime(1990, 1, 2), datetime(2099, 12, 30)), st.integers(-1439, 1439)  # noqa: DTZ001
)  # fmt: skip
def test_times_with_offsets(moment: datetime, offset: int) -> None:
    """RFC 3339 text gives the exact millisecond, finer digits cut off."""
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))
    expected = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001
    assert event_time_ms(there.isoformat()) == expected
    assert event_time_ms(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z",
        "2026-12-31T23:59:60Z", "2026-01-01T00:00:00", "1989-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z", "2026-01-01T00:00:00+24:00", "\uff12026-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_impossible_times_are_refused(text: str) -> None:
    """Times that do not exist, carry no offset or lie out of range are refused."""
    with pytest.raises(InputError) as caught:
        event_time_ms(text)
    assert caught.value.field == "event_time"
    assert text not in str(caught.value)
    for number in (0, -1, 10**18):
        with pytest.raises(InputError):
            event_time_ms(number)


def test_later_duplicate_key_wins() -> None:
    """A key given twice has its last value, as in most JSON readers."""
    assert decode(msgspec.json.encode(_GOOD)[:-1] + b',"card_id":"d"}').card_id == "d"
