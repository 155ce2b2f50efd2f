from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.clock import VirtualClock
from assay.errors import JournalError
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import PUBLIC_BYTES, encode_decisions
from assay.journal.log import Log
from assay.journal.recovery import scan_events
from assay.records import Batch

Maker = Callable[..., tuple[Batch, list[bytes]]]
BOOT = BootRecord(
    model="m", policy="p", feature_set="f", runtime="r", fx="x", time_zones="z", dataset="d"
)


def test_events_of_a_journal(make_batch: Maker, tmp_path: Path) -> None:
    """Events, digests and positions come back in order, in chunks, other entries beside them."""
    batch, canonicals = make_batch(3, 100, 5, first=2)
    digests = np.arange(100, dtype=np.uint64) * 3
    payloads, _ = encode_decisions(batch, canonicals, digests, boot=1, salts=bytes(1600))
    boots = [BOOT.encode(1, 0), BOOT.encode(102, 0)]
    log = Log.open(tmp_path / "j", VirtualClock(0))
    (first,) = log.append(boots[:1])
    positions = log.append(payloads)
    (last,) = log.append(boots[1:])
    log.sync()
    chunks = list(scan_events(log.scan(), rows_max=30))
    log.close()
    assert [len(chunk.events) for chunk in chunks] == [30, 30, 30, 10]
    assert b"".join(c.events.tobytes() for c in chunks) == batch.events.tobytes()
    assert np.array_equal(np.concatenate([c.body_digests for c in chunks]), digests)
    assert np.concatenate([c.positions for c in chunks]).tolist() == positions
    assert chunks[0].others == [(first, boots[0])]
    assert chunks[-1].others == [(last, boots[1])]


def test_nothing_to_recover() -> None:
    """An empty journal gives no chunk; one with boots alone gives one without events."""
    assert list(scan_events([])) == []
    (chunk,) = scan_events([(5, BOOT.encode(1, 0))])
    assert (len(chunk.events), len(chunk.others)) == (0, 1)


def test_unreadable_records_stop_recovery(make_batch: Maker) -> None:
    """A record of a newer version or format is refused, not left out."""
    batch, canonicals = make_batch(3, 1, 5)
    (payload,), _ = encode_decisions(
        batch, canonicals, np.zeros(1, np.uint64), boot=1, salts=bytes(16)
    )
    newer = b"\x02" + payload[1:]
    encrypted = payload[:PUBLIC_BYTES] + b"\x01" + payload[PUBLIC_BYTES + 1 :]
    for bad, message in ((newer, "version 2"), (encrypted, "format 1")):
        with pytest.raises(JournalError, match=message):
            list(scan_events([(1, bad)]))
