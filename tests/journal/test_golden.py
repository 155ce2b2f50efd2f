import shutil
from pathlib import Path

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import decode_decision, encode_decisions
from assay.journal.entries import leaf_of
from assay.journal.log import Log
from assay.records import Batch, empty_events

GOLDEN = Path(__file__).with_name("golden") / "format-1"
STREAM = bytes(range(16))
BOOT = BootRecord(
    model="model-1.0.0",
    policy="policy-1",
    feature_set="features-1",
    runtime="runtime-1",
    fx="fx-1",
    time_zones="2025b",
    dataset="snapshot-1",
    arms=("live",),
    reasons=(("", ""), ("VELOCITY", "Many payments in one hour")),
)
CANONICALS = [b'{"card_id":"k1:abc","transaction_id":"t-%d"}' % i for i in range(3)]

LEAF = "35e05fc554a17d485c9b8f6d3c94ca024267b8f8bcd1dce8ff73a6130289b5c4"


def three_decisions() -> Batch:
    """Return the batch that the golden segment holds."""
    events = empty_events(3)
    events["arrival"] = [2, 3, 4]
    events["arrival_ms"] = 1_700_000_000_000
    events["card"] = 2**63 + 1
    events["amount_minor"] = [0, 1999, 10**12]
    features = np.array([[0.5, np.nan, -1, 3e9]] * 3, np.float32)
    scores = np.array([0.25, np.nan, 1], np.float32)
    actions = np.array([0, 1, 3], np.uint8)
    reasons = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 3, 65535]], np.uint16)
    return Batch(events, features, scores, actions, reasons, np.array([0, 2, 3], np.uint8))


def write(folder: Path) -> None:
    """Write the golden journal; run once per format."""
    digests = np.array([1, 2, 2**64 - 1], np.uint64)
    salts = bytes(range(48))
    log = Log.open(folder, VirtualClock(1_700_000_000_000), stream=STREAM)
    log.append([BOOT.encode(1, 1_700_000_000_000)])
    log.sync()
    log.append(encode_decisions(three_decisions(), CANONICALS, digests, boot=1, salts=salts)[0])
    log.close()


def test_golden_is_read(tmp_path: Path) -> None:
    """A journal of format 1 is read for ever, to the same values."""
    shutil.copytree(GOLDEN, tmp_path / "j")
    log = Log.open(tmp_path / "j", VirtualClock(0))
    boot, *decisions = [payload for _, payload in log.scan()]
    log.close()
    assert log.stream == STREAM
    assert BootRecord.decode(boot) == BOOT
    batch = three_decisions()
    records = [decode_decision(payload) for payload in decisions]
    assert [record.canonical for record in records] == CANONICALS
    assert [record.reasons for record in records] == [tuple(row) for row in batch.reasons]
    assert b"".join(record.event.tobytes() for record in records) == batch.events.tobytes()
    assert b"".join(record.features.tobytes() for record in records) == batch.features.tobytes()
    assert [record.score for record in records] == pytest.approx([0.25, np.nan, 1], nan_ok=True)
    assert leaf_of(decisions[0]).hex() == LEAF


def test_golden_is_written(tmp_path: Path) -> None:
    """The same records still make the same bytes: a change of the format needs a new number."""
    write(tmp_path / "j")
    for name in ("00000001.journal", "epoch"):
        assert (tmp_path / "j" / name).read_bytes() == (GOLDEN / name).read_bytes(), name
