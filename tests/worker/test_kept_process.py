"""The feature state that ``assay worker`` keeps beside a real scorer's."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop import Shop, WorkerProcess, until

from assay.bootstrap.lifecycle import promote
from assay.bootstrap.monitoring import live_report
from assay.clock import SystemClock
from assay.errors import ReleaseError
from assay.journal.check_record import encode_check
from assay.journal.ledger import Ledger
from assay.journal.reader import last_boot
from assay.records import Check
from assay.simulation.process import ScorerProcess

pytestmark = pytest.mark.faults

SETTINGS = {"snapshot_records": 1000, "snapshot_s": 1}
NAMES = (f"k-{k}" for k in itertools.count())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("kept") / "w", **SETTINGS)


@pytest.fixture
def scorer(shop: Shop) -> Iterator[ScorerProcess]:
    with ScorerProcess(shop.workspace.path, ["--rules-only"]) as process:
        yield process


def kept(shop: Shop) -> dict[str, Any]:
    return {"checked_rows": 0, "checks": 0, "state": None} | shop.live("journal")


def decide(shop: Shop, scorer: ScorerProcess, times: int) -> None:
    """Decide payments for some quarters of a second, so that there are checks among them."""
    for _ in range(times):
        shop.decide(scorer.url, *itertools.islice(NAMES, 5))
        time.sleep(0.3)


def settled(shop: Shop, rows: int, checks: int = 1) -> bool:
    found = kept(shop)
    assert found["state"] != "mismatch", found
    return bool(
        found["state"] == "ok" and found["checked_rows"] >= rows and found["checks"] >= checks
    )


def open_alerts(shop: Shop) -> list[tuple[str, str]]:
    alerts = live_report(shop.workspace)["alerts"]
    return [(row["monitor"], row["model"]) for row in alerts if row["closed_ms"] is None]


def test_the_state_is_compared_and_kept_through_kills(shop: Shop, scorer: ScorerProcess) -> None:
    """All rows and pieces are equal; snapshots come; a killed worker goes on from one."""
    for k in range(3):
        with WorkerProcess(shop.workspace) as worker:
            decide(shop, scorer, 4)
            until(lambda: settled(shop, 20, 2), lambda: (kept(shop), worker.log.read_text()))
            if k == 0:
                until(lambda: kept(shop)["snapshot"] is not None, lambda: kept(shop))
            worker.end(signal.SIGKILL)
    assert kept(shop)["mismatch"] is None
    log = worker.log.read_text()
    begun = [line for line in log.splitlines() if "the feature state is kept from" in line]
    assert len(begun) == 3
    assert " position 0 " in begun[0]
    assert " position 0 " not in begun[2]
    assert open_alerts(shop) == []


def test_a_corrupt_snapshot_falls_back_to_the_older(shop: Shop, scorer: ScorerProcess) -> None:
    """The newest snapshot, a bit of which flipped, is named in the log; the state is right."""
    with WorkerProcess(shop.workspace) as worker:
        for _ in range(2):
            before = (kept(shop).get("snapshot") or {}).get("position")
            decide(shop, scorer, 2)
            until(
                lambda b=before: kept(shop)["snapshot"]["position"] != b,  # type: ignore[misc]
                lambda: (kept(shop), worker.log.read_text()),
            )
        assert worker.end(signal.SIGTERM) == 0
    newest = max(shop.workspace.state.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    files = sorted(newest.rglob("*"), key=lambda path: -path.stat().st_size)
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 255
    files[0].write_bytes(content)
    with WorkerProcess(shop.workspace) as worker:
        decide(shop, scorer, 2)
        until(lambda: settled(shop, 10), lambda: (kept(shop), worker.log.read_text()))
        assert worker.end(signal.SIGTERM) == 0
    assert newest.name in worker.log.read_text()


def test_a_wrong_check_stops_promotions_until_a_start(shop: Shop) -> None:
    """A digest that is not the state's opens an alert, and a start of the scorer closes it."""
    with ScorerProcess(shop.workspace.path, ["--rules-only"]) as scorer:
        decide(shop, scorer, 1)
        scorer.stop()
    write_wrong_check(shop)
    with WorkerProcess(shop.workspace) as worker:
        until(
            lambda: kept(shop)["state"] == "mismatch", lambda: (kept(shop), worker.log.read_text())
        )
        until(
            lambda: open_alerts(shop) == [("state_mismatch", "")],
            lambda: (kept(shop), worker.log.read_text()),
        )
        with pytest.raises(ReleaseError, match="start the scorer again"):
            promote(shop.workspace, "boosting-0.1.0", "test")
        with ScorerProcess(shop.workspace.path, ["--rules-only"]) as scorer:
            decide(shop, scorer, 2)
            until(
                lambda: kept(shop)["state"] != "mismatch",
                lambda: (kept(shop), worker.log.read_text()),
            )
            until(lambda: settled(shop, 10), lambda: (kept(shop), worker.log.read_text()))
            until(lambda: open_alerts(shop) == [], lambda: (kept(shop), worker.log.read_text()))
        assert worker.end(signal.SIGTERM) == 0


def write_wrong_check(shop: Shop) -> None:
    """Start like a scorer, and journal a digest of a piece that no state has."""
    folder = shop.workspace.journal
    boot = last_boot(folder)
    assert boot is not None
    ledger = Ledger(folder, SystemClock(), segment_bytes=1 << 20, ids_max=10_000, horizon_ms=1)
    ledger.recover(1, lambda _events: None, lambda _rows: None)
    ledger.start(boot)
    check = Check(ledger.next_arrival, SystemClock().now_ms(), 0, 77)
    ledger.commit([[encode_check(check)]])
    ledger.close()


def test_a_state_that_is_off_is_not_kept(tmp_path: Path) -> None:
    """With keep_state = off nothing is compared, no snapshot is taken, and all else works."""
    shop = Shop(tmp_path / "w", keep_state='"off"', **SETTINGS)
    with (
        ScorerProcess(shop.workspace.path, ["--rules-only"]) as scorer,
        WorkerProcess(shop.workspace) as worker,
    ):
        shop.decide(scorer.url, "d-1", "d-2")
        until(lambda: kept(shop)["state"] == "off", lambda: (kept(shop), worker.log.read_text()))
        until(
            lambda: live_report(shop.workspace)["totals"]["payments"] == 2,
            lambda: (kept(shop), worker.log.read_text()),
        )
        assert kept(shop)["reason"] == "keep_state is off"
        assert not shop.workspace.state.exists()
        assert worker.end(signal.SIGTERM) == 0
