import shutil
from pathlib import Path

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import decode_check, encode_check
from assay.journal.decision_record import decode_decision, encode_decisions
from assay.journal.entries import leaf_of
from assay.journal.folder import Folder
from assay.journal.index import SegmentIndex
from assay.journal.log import Log
from assay.journal.sealer import seal
from assay.journal.segment_file import open_segment
from assay.records import Batch, Check, empty_events

GOLDEN = Path(__file__).with_name("golden") / "format-1"
SEALED = Path(__file__).with_name("golden") / "sealed-1"
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
POSITIONS = (377, 696, 1015)  # of the decisions
CHECK = Check(5, 1_700_000_000_001, 7, 2**64 - 3)
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


def write_sealed(folder: Path) -> None:
    """Write the golden sealed journal; run once per format of sealed files and of indexes.

    Its first segment is the golden segment of format 1, to the byte, and becomes a sealed one; its
    second holds a check.
    """
    shutil.copytree(GOLDEN, folder)
    log = Log.open(folder, VirtualClock(1_700_000_000_001))
    log.append([encode_check(CHECK)])
    log.close()
    assert seal(Folder(folder), 1, VirtualClock(0)) is not None
    (folder / "lock").unlink()


def test_golden_sealed_is_read(tmp_path: Path) -> None:
    """Sealed files, indexes and checks of format 1 are read for ever, to the same values.

    The files of format-1 are never touched: what they hold is what the sealed one must give.
    """
    shutil.copytree(SEALED, tmp_path / "j")
    assert not (tmp_path / "j" / "00000001.journal").exists()
    log = Log.open(tmp_path / "j", VirtualClock(0))
    *_, check = [payload for _, payload in log.scan()]
    log.close()
    with open_segment(Folder(SEALED), 1) as file:
        assert file.read() == (GOLDEN / "00000001.journal").read_bytes()
    index = SegmentIndex.load(SEALED / "00000001.index")
    assert index.boots == [(1, BOOT.encode(1, 1_700_000_000_000))]
    assert index.entries.tolist() == [
        (1, 1_700_000_000_000, 0, 0, 1 << 40 | 92),
        (2, 1_700_000_000_000, 0, 1, 1 << 40 | POSITIONS[0]),
        (3, 1_700_000_000_000, 0, 2, 1 << 40 | POSITIONS[1]),
        (4, 1_700_000_000_000, 0, 2**64 - 1, 1 << 40 | POSITIONS[2]),
    ]
    assert decode_check(check) == CHECK


def test_golden_sealed_is_written(tmp_path: Path) -> None:
    """The same segment still makes the same index, and the same sealed file but for what another
    version of the compression library would make of its blocks.
    """
    write_sealed(tmp_path / "j")
    for name in ("00000001.index", "00000002.journal", "epoch"):
        assert (tmp_path / "j" / name).read_bytes() == (SEALED / name).read_bytes(), name
    before, now = (
        (folder / "00000001.sealed").read_bytes()[16:32] for folder in (SEALED, tmp_path / "j")
    )
    assert now == before
