"""Labels at the door: whatever comes in, it is a safe row or an error that names the row."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.bootstrap.door import LABELS_MAX, Door
from assay.clock import VirtualClock
from assay.errors import CardNumberError, InputError
from assay.ingest.encode import Encoder
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser
from assay.records import EVENT

NOW_MS = 1_800_000_000_000
CARD_NUMBER = "4111111111111111"  # the well-known test number
TOKENISER = Tokeniser(bytes(32))
DOOR = Door(Encoder(TOKENISER, Rates("EUR")), VirtualClock(NOW_MS))
GOOD = {"transaction_id": "t-1", "fraud": True, "reported_at": NOW_MS}


def body(*rows: Any) -> bytes:
    return json.dumps(list(rows)).encode()


def test_one_label_or_many() -> None:
    """One object is a label, an array is as many; both name who brought them."""
    (one,) = DOOR.reports(json.dumps(GOOD).encode(), "bank")
    assert (one.transaction_id, one.fraud, one.reported_ms) == ("t-1", True, NOW_MS)
    assert (one.source, one.arrival) == ("bank", 0)
    written = GOOD | {"reported_at": "2026-11-23T14:05:09+01:00"}
    many = DOOR.reports(b" \n" + body(*[written] * LABELS_MAX), "bank")
    assert len(many) == LABELS_MAX
    assert many[-1].reported_ms == 1_795_439_109_000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fraud": 1}, ".fraud"),
        ({"fraud": None}, ".fraud"),
        ({"transaction_id": ""}, ".transaction_id"),
        ({"transaction_id": "x" * 129}, ".transaction_id"),
        ({"transaction_id": [["t-1"]]}, ".transaction_id"),
        ({"reported_at": 10**40}, ".reported_at"),
        ({"reported_at": -1}, ".reported_at"),
        ({"reported_at": NOW_MS + 300_001}, ".reported_at"),
        ({"reported_at": "2026-11-23T14:05:09"}, ".reported_at"),
        ({"reported_at": "yesterday, at about five"}, ".reported_at"),
        ({"verdict": "bad"}, ".verdict"),
    ],
)
def test_one_bad_row_is_named(change: dict[str, Any], field: str) -> None:
    """A bad row refuses the whole body, and the error names its place and its field."""
    with pytest.raises(InputError) as caught:
        DOOR.reports(body(GOOD, GOOD, GOOD | change), "bank")
    assert caught.value.field == f"[2]{field}"
    with pytest.raises(InputError) as caught:
        DOOR.reports(json.dumps(GOOD | change).encode(), "bank")
    assert caught.value.field in {field.removeprefix("."), f"[0]{field}"}


def test_a_card_number_is_refused_unless_exempt() -> None:
    """An id that looks like a card number is refused without being repeated, unless the workspace
    says that its ids look like that.
    """
    document = body(GOOD, GOOD | {"transaction_id": CARD_NUMBER})
    with pytest.raises(CardNumberError) as caught:
        DOOR.reports(document, "bank")
    assert caught.value.field == "[1].transaction_id"
    assert CARD_NUMBER not in str(caught.value)
    exempt = Encoder(TOKENISER, Rates("EUR"), exempt=frozenset({"transaction_id"}))
    assert len(Door(exempt, VirtualClock(NOW_MS)).reports(document, "bank")) == 2


@pytest.mark.parametrize(
    "hostile",
    [b"", b"[", b"[]", b"[[]]", b"[" * 200_000, b"[{}" * 9, b"null", b"\xff", b"[null]", b"[1,]"],
)
def test_what_is_no_label_is_refused(hostile: bytes) -> None:
    """Anything but labels is an error of the input, never of the program."""
    for admit in (lambda text: DOOR.reports(text, "bank"), DOOR.resolved):
        with pytest.raises(InputError):
            admit(hostile)


def test_too_many_are_refused() -> None:
    """An array has a bound."""
    with pytest.raises(InputError, match="array of 1 to 1000"):
        DOOR.reports(body(*[GOOD] * (LABELS_MAX + 1)), "bank")


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(GOOD),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner),
).map(lambda document: json.dumps(document).encode()))  # fmt: skip
def test_no_body_breaks_the_door(document: bytes) -> None:
    """Whatever a body holds, the answer is rows or an `InputError`."""
    for admit in (lambda text: DOOR.reports(text, "bank"), DOOR.resolved):
        with contextlib.suppress(InputError):
            assert admit(document)


def test_resolved_labels_bring_their_event() -> None:
    """A resolved label holds its report's number and its transaction's event, bit for bit; any
    other size, type or number is refused.
    """
    event = np.random.default_rng(1).bytes(EVENT.itemsize)
    good = {
        "report": 7,
        "fraud": False,
        "reported_ms": NOW_MS,
        "event": base64.b64encode(event).decode(),
    }
    (label,) = DOOR.resolved(body(good))
    assert (label.report, label.fraud, label.reported_ms) == (7, False, NOW_MS)
    assert label.event.tobytes() == event
    for change in (
        {"event": base64.b64encode(event[:-1]).decode()},
        {"event": "not base64"},
        {"report": 0},
        {"report": 2**64},
        {"fraud": "no"},
        {"reported_ms": -1},
        {"more": 1},
    ):
        with pytest.raises(InputError, match="array of 1 to 1000 of report"):
            DOOR.resolved(body(good, good | change))
