"""Columns that followers get, against the records that they were made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import encode_check
from assay.journal.decision_record import decode_decision, encode_decisions
from assay.journal.entries import EntryHead
from assay.journal.label_record import encode_label, encode_report
from assay.journal.stretch import decode_stretches
from assay.records import EVENT, Batch, Check, LabelReport, ResolvedLabel

Maker = Callable[..., tuple[Batch, list[bytes]]]

BOOT = BootRecord(
    model="m-2",
    policy="p",
    feature_set="f",
    runtime="r",
    fx="x",
    time_zones="t",
    dataset="d",
    reasons=(("", ""), ("FAST", "Fast")),
    revision=3,
    cause="promote",
)
REPORT = LabelReport(0, 5, "t-1", True, 4, "bank")
LABEL = ResolvedLabel(0, 5, 1, True, 4, np.zeros(1, EVENT))
KINDS = st.lists(
    st.sampled_from([0, 3, 3, 3, 7]).map(lambda f: ("decision", f))
    | st.sampled_from(["start", "promote", "report", "label", "check"]).map(lambda kind: (kind, 0)),
    max_size=30,
)


def records(make_batch: Maker, kinds: list[tuple[str, int]]) -> list[tuple[int, bytes]]:
    """Return a journal with these entries; a record's position is ten times its arrival."""
    out = []
    for arrival, (kind, n_features) in enumerate(kinds, 1):
        if kind == "decision":
            batch, canonicals = make_batch(arrival, 1, n_features, arrival)
            digest = np.ones(1, np.uint64)
            salt = os.urandom(16)
            (payload,), _ = encode_decisions(batch, canonicals, digest, boot=9, salts=salt)
        elif kind == "report":
            payload = encode_report(replace(REPORT, arrival=arrival), bytes(16))
        elif kind == "check":
            payload = encode_check(Check(arrival, 5, arrival + 7, 2**64 - arrival))
        elif kind == "label":
            payload = encode_label(replace(LABEL, arrival=arrival), bytes(16))
        else:
            payload = msgspec.structs.replace(BOOT, cause=kind).encode(arrival, 5)
        out.append((10 * arrival, payload))
    return out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(KINDS)
def test_nothing_is_lost_or_turned(make_batch: Maker, kinds: list[tuple[str, int]]) -> None:
    """Every record is in one stretch, bit for bit; positions and arrivals lead from stretch to
    stretch; and within one all decisions have the same features.
    """
    journal = records(make_batch, kinds)
    stretches = decode_stretches(journal, 10 * len(journal) + 10)
    found: dict[str, list[int]] = {
        "decision": [],
        "report": [],
        "label": [],
        "switch": [],
        "check": [],
    }
    before = 10
    for stretch in stretches:
        arrivals = stretch.batch.events["arrival"].tolist()
        inputs = [*stretch.switches, *stretch.reports, *stretch.labels, *stretch.checks]
        everything = [*arrivals, *(record.arrival for record in inputs)]
        assert before <= 10 * min(everything)
        assert 10 * max(everything) < stretch.position
        before = stretch.position
        assert stretch.positions.tolist() == [10 * arrival for arrival in arrivals]
        found["decision"] += arrivals
        found["switch"] += [record.arrival for record in stretch.switches]
        found["report"] += [record.arrival for record in stretch.reports]
        found["label"] += [record.arrival for record in stretch.labels]
        found["check"] += [record.arrival for record in stretch.checks]
        for check in stretch.checks:
            assert (check.piece, check.digest) == (check.arrival + 7, 2**64 - check.arrival)
        for row, position in enumerate(stretch.positions.tolist()):
            check_row(stretch, row, journal[position // 10 - 1][1])
    assert not stretches or before == 10 * len(journal) + 10
    for name, seen in found.items():
        switch = name == "switch"
        wanted = {"start", "promote"} if switch else {name}
        assert seen == [i for i, (kind, _) in enumerate(kinds, 1) if kind in wanted]


def check_row(stretch: object, row: int, payload: bytes) -> None:
    record = decode_decision(payload)
    batch = stretch.batch  # type: ignore[attr-defined]
    assert batch.events[row].tobytes() == record.event.tobytes()
    assert batch.features[row].tobytes() == record.features.tobytes()
    assert batch.scores[row] == np.float32(record.score)
    assert (batch.actions[row], batch.modes[row]) == (record.action, record.mode)
    assert tuple(batch.reasons[row]) == record.reasons
    assert stretch.boots[row] == record.boot  # type: ignore[attr-defined]
    assert stretch.canonicals[row] == record.canonical  # type: ignore[attr-defined]
    assert stretch.transaction_ids[row] == record.transaction_id  # type: ignore[attr-defined]


def test_a_switch_brings_its_versions(make_batch: Maker) -> None:
    """A boot record comes as the switch that it is, with cause, revision and reasons."""
    (stretch,) = decode_stretches(records(make_batch, [("promote", 0)]), 20)
    (switch,) = stretch.switches
    assert (switch.arrival, switch.cause, switch.revision, switch.model) == (1, "promote", 3, "m-2")
    assert switch.reasons == BOOT.reasons
    assert len(stretch.batch) == len(stretch.transaction_ids) == 0


def test_columns_may_be_changed(make_batch: Maker) -> None:
    """What a follower gets is its own: it may write into it."""
    (stretch,) = decode_stretches(records(make_batch, [("decision", 3)] * 3), 40)
    stretch.batch.features[:] = 0
    stretch.batch.events["flags"] = 0
    assert decode_stretches([], 40) == []


def test_what_cannot_be_read_is_refused(make_batch: Maker) -> None:
    """An unknown kind, an encrypted decision and wrong sizes are named, never skipped."""
    ((_, decision),) = records(make_batch, [("decision", 3)])
    unknown = EntryHead(1, 9, 0, 24, 77, 0).encode()
    for payload, said in (
        (unknown, "record 77 has kind 9"),
        (decision[:88] + b"\x01" + decision[89:], "format 1"),
        (decision[:90], "too short"),
        (decision[:255], "shorter than its features"),
        (decision + b" ", "sizes contradict"),
        (decision[:-2] + b"!}", "not readable"),
    ):
        with pytest.raises(JournalError, match=said):
            decode_stretches([(10, payload)], 20)
