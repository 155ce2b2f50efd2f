from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from assay.clock import VirtualClock
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.journal.log import Log
from assay.journal.reader import last_boot

BOOT = BootRecord(
    model="m-1",
    policy="p",
    feature_set="f",
    runtime="r",
    fx="x",
    time_zones="z",
    dataset="d",
)


def open_ledger(folder: Path, clock: VirtualClock) -> Ledger:
    limits = {"segment_bytes": 1 << 20, "ids_max": 1024, "horizon_ms": 1000}
    return Ledger(folder, clock, **limits)


def test_an_empty_journal_has_no_boot(tmp_path: Path) -> None:
    """Nothing has decided where there is no journal, or an empty one."""
    assert last_boot(tmp_path / "none") is None
    Log.open(tmp_path, VirtualClock(1)).close()
    assert last_boot(tmp_path) is None


def test_the_last_boot_is_found(tmp_path: Path) -> None:
    """Of all starts and switches the newest counts, wherever among the segments it stands."""
    clock = VirtualClock(1_700_000_000_000)
    for number in range(3):
        ledger = open_ledger(tmp_path, clock)
        ledger.recover(1, lambda _events: None, lambda _rows: None)
        ledger.start(boot(number))
        ledger.close()
    found = last_boot(tmp_path)
    assert found is not None
    assert (found.model, found.revision) == ("m-2", 2)


def boot(number: int) -> BootRecord:
    return replace(BOOT, model=f"m-{number}", revision=number)
