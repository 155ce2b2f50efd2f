from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import JournalError
from assay.journal.entries import EntryHead, leaf_of
from assay.journal.label_record import decode_label, decode_report, encode_label, encode_report
from assay.records import EVENT, LabelReport, ResolvedLabel

SALT = bytes(range(16))
REPORT = LabelReport(7, 1_700_000_000_000, "t-1", True, 1_699_000_000_000, "bank")
TIMES = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.integers(1, 2**64 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)


@given(st.builds(LabelReport, NUMBERS, TIMES, TEXTS, st.booleans(), TIMES, TEXTS))
def test_a_report_comes_back(report: LabelReport) -> None:
    """Every field of a report survives, and so does its head."""
    payload = encode_report(report, SALT)
    assert decode_report(payload) == report
    assert EntryHead.decode(payload)[1:] == (3, 0, 72, report.arrival, report.arrival_ms)


@given(NUMBERS, TIMES, NUMBERS, st.booleans(), TIMES, st.binary(min_size=128, max_size=128))
def test_a_label_comes_back(
    arrival: int, arrival_ms: int, report: int, fraud: bool, reported_ms: int, event: bytes
) -> None:
    """Every field of a label survives, its transaction's event bit for bit."""
    events = np.frombuffer(event, EVENT)
    label = ResolvedLabel(arrival, arrival_ms, report, fraud, reported_ms, events)
    payload = encode_label(label, SALT)
    found = decode_label(payload)
    assert found.event.tobytes() == event
    assert (found.arrival, found.arrival_ms, found.report) == (arrival, arrival_ms, report)
    assert (found.fraud, found.reported_ms) == (fraud, reported_ms)
    assert EntryHead.decode(payload)[1:4] == (4, 0, 80)


def test_what_names_a_person_is_private() -> None:
    """The public part holds neither the id nor who reported it, only their commitment."""
    payload = encode_report(REPORT, SALT)
    public, private = payload[:72], payload[76:]
    assert b"t-1" not in public
    assert b"bank" not in public
    assert public[40:] == hashlib.sha256(b"\x02" + private).digest()
    assert leaf_of(payload[:72]) == leaf_of(payload)


def test_other_payloads_are_refused() -> None:
    """Another kind, an encrypted private part and wrong sizes are named, never guessed at."""
    report = encode_report(REPORT, SALT)
    label = encode_label(ResolvedLabel(8, 0, 7, False, 0, np.zeros(1, EVENT)), SALT)
    for payload, decode, said in (
        (label, decode_report, "kind 4; accepted: 3"),
        (report, decode_label, "kind 3; accepted: 4"),
        (report[:72] + b"\x01" + report[73:], decode_report, "format 1; accepted: 0"),
        (report[:74], decode_report, "too short"),
        (report[:80], decode_report, "sizes contradict"),
        (report + b"x", decode_report, "sizes contradict"),
        (report[:-1] + b"\xff", decode_report, "not UTF-8"),
        (label[:-1], decode_label, "sizes contradict"),
    ):
        with pytest.raises(JournalError, match=said):
            decode(payload)
