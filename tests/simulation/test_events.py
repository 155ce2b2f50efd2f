from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.errors import SettingsError
from assay.records import DAY_MS
from assay.simulation import Event, World, WorldData, WorldSettings

START_MS = 1_740_960_000_000  # Monday, 3 March 2025
AFTER_MS = START_MS + 28 * DAY_MS
PLAIN = WorldSettings(
    seed=3,
    start_ms=START_MS,
    end_ms=START_MS + 56 * DAY_MS,
    customers=500,
    merchants=400,
    transactions=25_000,
)


def with_event(event: Event) -> WorldData:
    return World(replace(PLAIN, events=(event,))).generate()


def halves(data: WorldData) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the payments before and after the middle of the world, with the truth."""
    rows = data.transactions.join(data.truth, on="transaction_id", maintain_order="left")
    paid = rows.filter(pl.col("kind").is_in(["authorisation", "transfer"]))
    before = pl.col("event_time") < AFTER_MS
    return paid.filter(before), paid.filter(~before)


@pytest.fixture(scope="module")
def plain() -> WorldData:
    return World(PLAIN).generate()


def test_black_friday_is_five_times_the_load(plain: WorldData) -> None:
    """During the event there are about five times the payments of the same hours without it."""
    event = Event(name="black_friday", start_ms=AFTER_MS, end_ms=AFTER_MS + 2 * DAY_MS)
    inside = pl.col("event_time").is_between(event.start_ms, AFTER_MS + 2 * DAY_MS, closed="left")
    usual, busy = (halves(d)[1].filter(inside).height for d in (plain, with_event(event)))
    assert 4 < busy / usual < 6
    rest = (halves(d)[1].filter(~inside).height for d in (with_event(event), plain))
    assert next(rest) == pytest.approx(next(rest), rel=0.05)


def test_pandemic_moves_shops_to_the_web_and_ends_travel(plain: WorldData) -> None:
    """Counter payments lose half their share, the web gains, and travel falls by four fifths."""
    usual = halves(plain)[1]
    _, ill = halves(with_event(Event(name="pandemic", start_ms=AFTER_MS)))
    present, web = pl.col("channel") == "pos", pl.col("channel") == "ecommerce"
    assert ill.filter(present).height < 0.7 * usual.filter(present).height
    assert ill.filter(web).height > 1.3 * usual.filter(web).height
    travel = pl.col("merchant_category").is_in(["7011", "4511", "4722"])
    assert ill.filter(travel).height < 0.2 * usual.filter(travel).height


def test_wallet_appears_and_grows(plain: WorldData) -> None:
    """Nobody pays by wallet before its start; then a growing share does, with a device."""
    wallet = pl.col("entry_mode") == "wallet"
    assert plain.transactions.filter(wallet).height == 0
    before, after = halves(with_event(Event(name="wallet", start_ms=AFTER_MS)))
    assert before.filter(wallet).height == 0
    assert after.filter(wallet)["device_id"].is_not_null().all()
    assert (after.filter(wallet)["channel"] == "mobile").all()
    weeks = after.group_by((pl.col("event_time") - AFTER_MS) // (7 * DAY_MS)).agg(
        share=(wallet).mean()
    )
    first, *_, last = weeks.sort("event_time")["share"].to_list()
    assert last > 2 * first
    assert last > 0.05


def test_voucher_ring_is_a_new_fraud(plain: WorldData) -> None:
    """The pattern exists only after its start: round vouchers, many cards, a few devices."""
    ring = pl.col("fraud_kind") == "voucher_ring"
    assert plain.truth.filter(ring).height == 0
    before, after = halves(with_event(Event(name="voucher_ring", start_ms=AFTER_MS)))
    assert before.filter(ring).height == 0
    rows = after.filter(ring)
    assert rows.height > 20
    assert (rows["amount_minor"] % 500 == 0).all()
    assert rows["card_id"].n_unique() > 10 * rows["device_id"].n_unique()


def test_an_event_switched_off_changes_nothing(plain: WorldData) -> None:
    """An event that is off gives the world without it."""
    off = with_event(Event(name="pandemic", start_ms=AFTER_MS, on=False))
    assert_frame_equal(off.transactions, plain.transactions)


def test_half_the_intensity_is_half_the_event(plain: WorldData) -> None:
    """Black Friday at intensity one half brings about three times the load."""
    end = AFTER_MS + 2 * DAY_MS
    event = Event(name="black_friday", start_ms=AFTER_MS, end_ms=end, intensity=0.5)
    inside = pl.col("event_time").is_between(AFTER_MS, end, closed="left")
    usual, busy = (halves(d)[1].filter(inside).height for d in (plain, with_event(event)))
    assert 2.4 < busy / usual < 3.6


@pytest.mark.parametrize(
    "changes", [{"name": "flood"}, {"end_ms": START_MS}, {"intensity": 3.0}, {"intensity": -0.1}]
)
def test_wrong_events_are_refused(changes: dict[str, object]) -> None:
    """An unknown name, an end before the start or a wild intensity is refused."""
    with pytest.raises(SettingsError, match="accepted"):
        Event(**{"name": "wallet", "start_ms": START_MS, **changes})  # type: ignore[arg-type]
