import json
import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import CardNumberError, InputError, SettingsError
from assay.ingest.encode import Encoder
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser
from assay.records import EVENT, OFFSET_ABSENT, Transaction

_MS = 1_767_225_600_123
_PAN = "4111 1111 1111 1111"
_FULL = {
    "transaction_id": "t-1",
    "event_time": _MS,
    "card_id": "4111111111111111",
    "kind": "capture",
    "amount_minor": 1001,
    "currency": "USD",
    "related_id": "t-0",
    "utc_offset_min": 60,
    "customer_id": "cu",
    "merchant_id": "me",
    "merchant_category": "0742",
    "merchant_country": "PT",
    "merchant_time_zone": "Asia/Kathmandu",
    "channel": "ecommerce",
    "entry_mode": "wallet",
    "response_code": "05",
    "latitude": 38.7223,
    "longitude": -0.0013,
    "device_id": "de",
    "ip": "192.0.2.1",
    "cvv_result": "M",
    "avs_result": "Y",
    "merchant_name": "Café",
}
_MINIMAL = {"transaction_id": "t", "event_time": _MS, "card_id": "c", "kind": "login"}
_PAID = {**_MINIMAL, "kind": "transfer", "amount_minor": 1, "currency": "EUR"}


def _tx(document: dict[str, object]) -> Transaction:
    return msgspec.convert(document, Transaction)


def test_every_field_lands_in_the_event(make_encoder: Callable[..., Encoder]) -> None:
    """A full transaction's event holds each field's number."""
    encoder = make_encoder()
    event = np.frombuffer(encoder.encode(_tx(_FULL)).event, EVENT)[0]
    tokens = encoder.tokeniser
    expected = {
        "arrival": 0,
        "arrival_ms": 0,
        "event_time": _MS,
        "transaction": tokens.hash64("transaction", "t-1"),
        "related": tokens.hash64("transaction", "t-0"),
        "card": tokens.hash64("card", "4111111111111111"),
        "customer": tokens.hash64("customer", "cu"),
        "merchant": tokens.hash64("merchant", "me"),
        "device": tokens.hash64("device", "de"),
        "ip": tokens.hash64("ip", "192.0.2.1"),
        "amount_minor": 1001,
        "amount_ref": 851,
        "latitude": np.float32(38.72),
        "longitude": 0,
        "currency": 840,
        "category": 742,
        "country": 0x5054,
        "response": 0x3035,
        "utc_offset_min": 60,
        "merchant_offset_min": 345,
        "kind": 2,
        "channel": 2,
        "entry_mode": 6,
        "cvv": ord("M"),
        "avs": ord("Y"),
        "flags": 0,
        "reserved_2": 0,
        "reserved_4": 0,
    }
    assert {name: event[name] for name in EVENT.names or ()} == expected
    assert not math.copysign(1, float(event["longitude"])) < 0


def test_canonical_is_sorted_and_tokenised(make_encoder: Callable[..., Encoder]) -> None:
    """The canonical JSON has sorted keys, tokens for secrets, and no absent field."""
    canonical = (
        make_encoder(attributes=("b", "a"))
        .encode(_tx(_FULL | {"attributes": {"b": 1, "a": "x"}}))
        .canonical
    )
    document = json.loads(canonical)
    assert (
        canonical
        == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    assert b"4111111111111111" not in canonical
    for name, letter in (("card_id", "c"), ("customer_id", "u"), ("device_id", "d"), ("ip", "i")):
        assert document[name].startswith(f"{letter}1_")
    assert set(json.loads(make_encoder().encode(_tx(_MINIMAL)).canonical)) == set(_MINIMAL)


def test_absent_fields_are_absent(make_encoder: Callable[..., Encoder]) -> None:
    """A minimal transaction has no zeros that could be values."""
    event = np.frombuffer(make_encoder().encode(_tx(_MINIMAL)).event, EVENT)[0]
    assert event["amount_minor"] == event["amount_ref"] == -1
    assert np.isnan(event["latitude"])
    assert event["utc_offset_min"] == event["merchant_offset_min"] == OFFSET_ABSENT
    assert event["customer"] == event["device"] == event["ip"] == event["merchant"] == 0


@pytest.mark.parametrize(
    "field",
    ["transaction_id", "related_id", "customer_id", "merchant_id", "device_id", "merchant_name",
     "merchant_time_zone"],
)  # fmt: skip
def test_card_number_anywhere_else_is_refused(
    make_encoder: Callable[..., Encoder], field: str
) -> None:
    """Only card_id may hold a card number; the refusal names the field alone."""
    with pytest.raises(CardNumberError) as caught:
        make_encoder().encode(_tx(_PAID | {field: f"x{_PAN}"}))
    assert caught.value.field == field
    assert "1111" not in str(caught.value)


def test_exempt_ids_pass(make_encoder: Callable[..., Encoder]) -> None:
    """An id field that the mapping exempts may look like a card number."""
    encoder = make_encoder(exempt=frozenset({"transaction_id", "merchant_id"}))
    encoder.encode(_tx(_PAID | {"transaction_id": _PAN, "merchant_id": _PAN}))
    with pytest.raises(CardNumberError):
        encoder.encode(_tx(_PAID | {"merchant_name": _PAN}))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_minor": None}, "amount_minor"),
        ({"currency": None}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": "GBP"}, "currency"),
        ({"currency": "EUR\n"}, "currency"),
        ({"latitude": 1.0}, "longitude"),
        ({"longitude": 1.0}, "latitude"),
        ({"latitude": math.nan, "longitude": 1.0}, "latitude, longitude"),
        ({"ip": "1.2.3"}, "ip"),
        ({"ip": "1.2.3.4\0"}, "ip"),
        ({"ip": "fe80::1%eth0"}, "ip"),
        ({"merchant_time_zone": "Mars/Base"}, "merchant_time_zone"),
        ({"merchant_category": "5411\n"}, "merchant_category"),
        ({"merchant_country": "PT\n"}, "merchant_country"),
        ({"response_code": "00\n"}, "response_code"),
        ({"cvv_result": "M\n"}, "cvv_result, avs_result"),
        ({"event_time": "2026-02-30T00:00:00Z"}, "event_time"),
        ({"event_time": 5}, "event_time"),
        ({"attributes": {"colour": "x"}}, "attributes"),
        ({"attributes": {"shade": math.inf}}, "attributes.shade"),
        ({"attributes": {"shade": _PAN}}, "attributes.shade"),
        ({"attributes": {"shade": 4111111111111111}}, "attributes.shade"),
        ({"attributes": {"shade": -4111111111111111.0}}, "attributes.shade"),
        ({"attributes": {"shade": 6304000000000000000.0}}, "attributes.shade"),
        ({"attributes": {_PAN: "x"}}, "attributes"),
        ({"ip": "4111:1111:1111:1111"}, "ip"),
    ],
)
def test_nonsense_is_refused(
    make_encoder: Callable[..., Encoder], change: dict[str, object], field: str
) -> None:
    """Values that the types allow but that mean nothing are refused by field."""
    with pytest.raises(InputError) as caught:
        make_encoder(attributes=("shade",)).encode(Transaction(**(_PAID | change)))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert "1111" not in str(caught.value)


def test_numbers_in_attributes_pass(make_encoder: Callable[..., Encoder]) -> None:
    """Times, large and small numbers are no card numbers."""
    encoder = make_encoder(attributes=("shade",))
    for number in (0.4111111111111111, 1_767_225_600_000, 1.7e18, 4111111111111112, 1e300, -5):
        encoder.encode(_tx(_PAID | {"attributes": {"shade": number}}))


def test_attribute_named_like_a_card_is_refused(make_encoder: Callable[..., Encoder]) -> None:
    """A card number cannot be declared as a name, and the refusal does not repeat it."""
    with pytest.raises(SettingsError, match="holds a card number") as caught:
        make_encoder(attributes=("shade", _PAN))
    assert "1111" not in str(caught.value)


def test_ids_side_by_side_are_not_joined(make_encoder: Callable[..., Encoder]) -> None:
    """Digits of two fields make no card number, and an address is not read as one."""
    parts = {"transaction_id": "4111 1111", "related_id": "1111 1111"}
    make_encoder().encode(_tx(_PAID | parts | {"ip": "4111:1111:1111:1111::"}))


def test_one_address_has_one_token(make_encoder: Callable[..., Encoder]) -> None:
    """Two spellings of one IPv6 address give the same event."""
    rows = [
        make_encoder().encode(_tx(_PAID | {"ip": text})).canonical
        for text in ("2001:DB8::1", "2001:db8:0:0:0:0:0:1")
    ]
    assert rows[0] == rows[1]


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40), st.booleans())
def test_renamed_equals_encoded(old: str, new: str, memo: bool) -> None:
    """A row renamed is the row encoded under that name, and a memo changes nothing."""
    plain = Encoder(Tokeniser(bytes(32)), Rates("EUR"))
    encoder = Encoder(Tokeniser(bytes(32)), Rates("EUR"), memo=2 if memo else 0)
    renamed = encoder.renamed(encoder.encode(_tx(_PAID | {"transaction_id": old})), new)
    direct = plain.encode(_tx(_PAID | {"transaction_id": new}))
    assert renamed == direct
    assert encoder.body_hash(renamed) == plain.body_hash(direct) != 0
