from __future__ import annotations

import polars as pl
import pytest

from assay.simulation import World, WorldData
from assay.simulation.fraud import FAR_KM, SHARES

OF_KIND = pl.col("fraud_kind")


def test_fraud_is_rare(payments: pl.DataFrame) -> None:
    """Between half a per cent and one per cent of payments are fraud."""
    assert 0.005 < payments["fraud"].mean() < 0.01  # type: ignore[operator]


@pytest.mark.parametrize("kind", SHARES)
def test_each_kind_has_its_share(payments: pl.DataFrame, kind: str) -> None:
    """Each kind of fraud makes up about the share of fraud that is stated for it."""
    fraud = payments.filter("fraud")
    share = fraud.filter(pl.col("fraud_kind") == kind).height / fraud.height
    assert 0.4 * SHARES[kind] < share < 2.0 * SHARES[kind]


def test_truth_is_whole(data: WorldData) -> None:
    """Kind and campaign are known exactly where an event is fraud."""
    for name in ("fraud_kind", "campaign"):
        assert (data.truth[name].is_not_null() == data.truth["fraud"]).all()


def test_stolen_cards_are_used_at_counters(payments: pl.DataFrame) -> None:
    """A stolen card pays in person, several times within a few days, all with one card."""
    rows = payments.filter(OF_KIND == "stolen_card")
    assert set(rows["channel"].unique()) <= {"pos", "atm"}
    runs = rows.group_by("campaign").agg(
        pl.len(), pl.col("card_id").n_unique(), span=pl.col("time").max() - pl.col("time").min()
    )
    assert (runs["card_id"] == 1).all()
    assert runs["len"].mean() > 2  # type: ignore[operator]
    assert runs["span"].dt.total_hours().quantile(0.9) < 96  # type: ignore[operator]


def test_card_testing_is_small_then_large(payments: pl.DataFrame) -> None:
    """A tested card sees small payments first; the larger ones come after all of them."""
    rows = payments.filter(OF_KIND == "card_testing", pl.col("currency") == "EUR")
    cards = (
        rows.sort("event_time")
        .group_by("campaign", "card_id", maintain_order=True)
        .agg(pl.len(), first=pl.col("amount_minor").first(), last=pl.col("amount_minor").last())
        .filter(pl.col("len") >= 4)
    )
    assert cards["first"].median() < 500  # type: ignore[operator]
    assert cards["last"].quantile(0.75) > 3_000  # type: ignore[operator]
    assert rows.group_by("campaign").agg(pl.col("card_id").n_unique())["card_id"].max() >= 3  # type: ignore[operator]
    assert (rows["response_code"] != "00").mean() > 0.15  # type: ignore[operator]


def test_takeover_logs_in_from_a_new_device_first(data: WorldData) -> None:
    """A takeover begins with a login, mostly from a device the customer never used."""
    rows = data.transactions.join(data.truth, on="transaction_id", maintain_order="left")
    took = rows.filter(OF_KIND == "account_takeover")
    first = took.group_by("campaign", maintain_order=True).first()
    assert (first["kind"] == "login").mean() > 0.9  # type: ignore[operator]
    assert "profile_change" in took["kind"].to_list()
    before = rows.filter(~pl.col("fraud")).select("customer_id", "device_id").unique()
    known = first.join(before, on=["customer_id", "device_id"], how="semi").height
    assert known < 0.3 * first.height


def test_compromised_merchants_share_their_victims(payments: pl.DataFrame) -> None:
    """All victims of one campaign had paid at one same merchant before."""
    rows = payments.filter(OF_KIND == "compromised_merchant")
    campaign = rows.group_by("campaign").agg(pl.col("card_id").n_unique().alias("cards"))
    number = campaign.sort("cards")["campaign"][-1]
    first = rows.filter(campaign=number).group_by("card_id").agg(pl.col("event_time").min())
    earlier = payments.filter(~pl.col("fraud")).join(first, on="card_id", suffix="_fraud")
    earlier = earlier.filter(pl.col("event_time") < pl.col("event_time_fraud"))
    common = earlier.group_by("merchant_id").agg(pl.col("card_id").n_unique())
    assert first.height > 3
    assert common["card_id"].max() == first.height


def test_impossible_travel_is_too_fast(payments: pl.DataFrame) -> None:
    """The owner paid hours before, far away: faster than an airliner in most cases."""
    present = payments.filter(pl.col("channel").is_in(["pos", "atm"]))
    lat, lon = (pl.col(name).radians() for name in ("latitude", "longitude"))
    past = {n: pl.col(n).shift(1).over("card_id") for n in ("latitude", "longitude", "event_time")}
    lat_0, lon_0 = past["latitude"].radians(), past["longitude"].radians()
    chord = ((lat - lat_0) / 2).sin() ** 2
    chord += lat.cos() * lat_0.cos() * ((lon - lon_0) / 2).sin() ** 2
    moved = present.with_columns(
        km=2 * 6371 * chord.sqrt().arcsin(),
        hours=(pl.col("event_time") - past["event_time"]) / 3_600_000,
    )
    first = moved.filter(OF_KIND == "impossible_travel").group_by("campaign").first()
    fast = first.filter(pl.col("km") > FAR_KM - 100, pl.col("km") / pl.col("hours") > 400)
    assert fast.height > 0.4 * first.height


def test_first_party_abuse_looks_like_its_customer(payments: pl.DataFrame) -> None:
    """Abuse is an approved web purchase, often repeated by the same few customers."""
    rows = payments.filter(OF_KIND == "first_party")
    assert (rows["response_code"] == "00").all()
    assert rows["channel"].is_in(["ecommerce", "moto", "mobile"]).all()
    assert rows.group_by("customer_id").len()["len"].max() >= 3  # type: ignore[operator]


def test_defrauded_cards_are_replaced(world: World, payments: pl.DataFrame) -> None:
    """After fraud most customers go on with a card that they did not have before."""
    cards = int(world.customers.cards.sum())
    number = payments["card_id"].str.slice(5).cast(pl.Int64)
    assert (number >= cards).any()
    assert payments.filter(number >= cards, pl.col("fraud")).height < 20
