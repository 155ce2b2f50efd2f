from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.records import DAY_MS
from assay.simulation import Event, World, WorldData, WorldSettings

START_MS = 1_740_960_000_000  # Monday, 3 March 2025
SWITCH_MS = START_MS + 28 * DAY_MS + 12_345_678
PLAIN = WorldSettings(
    seed=5,
    start_ms=START_MS,
    end_ms=START_MS + 56 * DAY_MS,
    customers=600,
    merchants=400,
    transactions=30_000,
)
BEFORE = pl.col("event_time") < SWITCH_MS
PANDEMIC = Event(name="pandemic", start_ms=SWITCH_MS)
RING = Event(name="voucher_ring", start_ms=SWITCH_MS)


@pytest.fixture(scope="module")
def old_world() -> World:
    return World(PLAIN)


@pytest.fixture(scope="module")
def old(old_world: World) -> WorldData:
    return old_world.generate()


@pytest.fixture(scope="module")
def new_world(old_world: World) -> World:
    return old_world.change(SWITCH_MS, (PANDEMIC, RING))


@pytest.fixture(scope="module")
def new(new_world: World) -> WorldData:
    return new_world.generate()


def test_what_happened_stays(old: WorldData, new: WorldData) -> None:
    """Rows, truth and reports of the time before the switch are the same to the last field."""
    past = old.transactions.filter(BEFORE)
    assert_frame_equal(new.transactions.filter(BEFORE), past)
    assert_frame_equal(new.truth.head(len(past)), old.truth.head(len(past)))
    about = pl.col("transaction_id").is_in(past["transaction_id"].implode())
    assert_frame_equal(new.labels.filter(about), old.labels.filter(about))
    assert_frame_equal(new.fx, old.fx)


def test_ids_are_unique_over_generations(old: WorldData, new: WorldData) -> None:
    """No transaction after the switch has an id of the world before it."""
    after = new.transactions.filter(~BEFORE)["transaction_id"]
    assert after.is_unique().all()
    assert not after.is_in(old.transactions["transaction_id"].implode()).any()
    assert_frame_equal(new.transactions, new.transactions.sort("event_time", "transaction_id"))


def test_related_rows_are_in_the_world_that_was_played(old: WorldData, new: WorldData) -> None:
    """What follows a payment names one that was played; what was still to come, comes."""
    played = set(new.transactions["transaction_id"])
    related = new.transactions["related_id"].drop_nulls()
    assert set(related) <= played
    past = pl.col("related_id").is_in(old.transactions.filter(BEFORE)["transaction_id"].implode())
    coming = ("event_time", "related_id", "kind", "amount_minor")
    assert_frame_equal(
        new.transactions.filter(~BEFORE & past).select(coming),
        old.transactions.filter(~BEFORE & past).select(coming),
    )
    first = new.transactions.select("transaction_id", "event_time", "card_id")
    pairs = new.transactions.drop_nulls("related_id").join(
        first, left_on="related_id", right_on="transaction_id", suffix="_of"
    )
    assert (pairs["event_time"] > pairs["event_time_of"]).all()


def test_people_keep_their_names(old: WorldData, new: WorldData) -> None:
    """Cards, devices and merchants of each customer are those that they had before."""
    after, before = new.transactions.filter(~BEFORE), old.transactions
    where = ("merchant_category", "merchant_country", "merchant_name", "merchant_time_zone")
    for key, of in (("card_id", ("customer_id",)), ("merchant_id", where)):
        names = pl.concat([before, after]).select(key, *of).drop_nulls().unique()
        assert names[key].is_unique().all()
    used = ["customer_id", "device_id"]
    habits = before.drop_nulls("device_id").group_by(used).len().filter(pl.col("len") >= 5)
    shared = after.select(used).unique().join(habits, on=used)
    assert shared["customer_id"].n_unique() > 0.5 * habits["customer_id"].n_unique()


def test_a_replaced_card_stays_replaced(old: WorldData, new: WorldData) -> None:
    """Nobody pays with a card after the switch whose replacement was in use before it."""
    cards = int(World(PLAIN).customers.cards.sum())
    number = pl.col("card_id").str.slice(5).cast(pl.Int64)
    paid = pl.col("kind").is_in(["authorisation", "transfer"])  # a refund goes to the old card
    past, after = (
        set(rows.filter(paid).select(number).to_series())
        for rows in (old.transactions.filter(BEFORE), new.transactions.filter(~BEFORE))
    )
    replaced = {card - cards for card in past if card >= cards}
    assert len(replaced) > 10
    assert not replaced & after
    assert after & {card + cards for card in replaced}


def test_fraudsters_of_two_generations_share_no_fresh_device(new_world: World) -> None:
    """Only the gangs' phones come back: a fresh one of the old world is not taken again."""
    rows, fresh = new_world._rows, new_world.customers.device_codes + 40
    past, after = (
        set(rows.device[(rows.device >= fresh) & when].tolist())
        for when in (rows.time < SWITCH_MS, rows.time >= SWITCH_MS)
    )
    assert len(past) >= 3
    assert len(after) >= 3
    assert not past & after


def test_the_events_bite_from_the_switch_on(old: WorldData, new: WorldData) -> None:
    """After the switch there are fewer payments at counters and a ring that was not there."""
    shops = pl.col("channel") == "pos"
    usual, ill = (d.transactions.filter(shops & ~BEFORE).height for d in (old, new))
    assert ill < 0.7 * usual
    ring = new.truth.filter(pl.col("fraud_kind") == "voucher_ring")["transaction_id"]
    assert len(ring) > 10
    assert not ring.is_in(new.transactions.filter(BEFORE)["transaction_id"].implode()).any()


def test_a_world_changes_again(new_world: World, new: WorldData) -> None:
    """A second switch keeps both generations before it, and fraud goes on at its usual rate."""
    later_ms = SWITCH_MS + 9 * DAY_MS
    over = replace(PANDEMIC, end_ms=later_ms)
    third = new_world.change(later_ms, (over,)).generate()
    before = pl.col("event_time") < later_ms
    assert_frame_equal(third.transactions.filter(before), new.transactions.filter(before))
    assert third.transactions["transaction_id"].is_unique().all()
    prefixes = third.transactions["transaction_id"].str.split("-").list.first().unique().to_list()
    assert sorted(prefixes) == ["tx", "tx1", "tx2"]
    rows = third.transactions.join(third.truth, on="transaction_id").filter(~before)
    paid = rows.filter(pl.col("kind").is_in(["authorisation", "transfer"]))
    assert 0.003 < paid["fraud"].mean() < 0.015  # type: ignore[operator]
