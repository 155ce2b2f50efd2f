import pytest

from assay.errors import JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.entries import EntryHead

BOOT = BootRecord(
    model="m-1",
    policy="p-2",
    feature_set="f-3",
    runtime="r-4",
    fx="fx-5",
    time_zones="2025b",
    dataset="d-6",
    arms=("live", "canary"),
    reasons=(("", ""), ("VELOCITY", "Many payments in one hour")),
)


def test_round_trip() -> None:
    """A boot record gives back every version, and its head its arrival."""
    payload = BOOT.encode(17, 1_700_000_000_000)
    assert BootRecord.decode(payload) == BOOT
    head = EntryHead.decode(payload)
    assert (head.arrival, head.arrival_ms, head.kind) == (17, 1_700_000_000_000, 1)
    assert head.public_bytes == len(payload)


def test_another_kind_is_refused() -> None:
    """A payload of another kind, or with broken JSON, is refused."""
    payload = BOOT.encode(17, 0)
    with pytest.raises(JournalError, match="kind 2; accepted: 1"):
        BootRecord.decode(payload[:1] + b"\x02" + payload[2:])
    with pytest.raises(JournalError, match="boot record 17 is not readable"):
        BootRecord.decode(payload[:-1] + b"!")
