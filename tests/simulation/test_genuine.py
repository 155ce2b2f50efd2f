from __future__ import annotations

import numpy as np
import polars as pl

from assay.simulation import World, WorldData
from assay.simulation.zones import HOUR_MS

DAY_CHANNELS = ["pos", "atm"]


def test_merchant_volume_has_a_heavy_tail(payments: pl.DataFrame) -> None:
    """Merchants' volumes span three orders of magnitude; one in ten has a third of it all."""
    volume = payments.group_by("merchant_id").len()["len"]
    assert volume.max() > 500 * volume.min()  # type: ignore[operator]
    assert volume.top_k(len(volume) // 10).sum() > 0.33 * volume.sum()


def test_weekly_rhythm(payments: pl.DataFrame) -> None:
    """Fridays and Saturdays are busier than Mondays and Sundays, transit the other way."""
    day = payments.group_by(pl.col("local").dt.weekday()).len().sort("local")["len"].to_list()
    assert min(day[4:6]) > 1.1 * max(day[0], day[6])
    transit = payments.filter(merchant_category="4111")
    work = transit.filter(pl.col("local").dt.weekday() <= 5).height / 5
    assert work > 1.4 * transit.filter(pl.col("local").dt.weekday() > 5).height / 2


def test_daily_rhythm(payments: pl.DataFrame) -> None:
    """At least ten times as much is paid at six in the evening as at three at night."""
    hour = dict(payments.group_by(pl.col("local").dt.hour()).len().iter_rows())
    assert hour[18] > 10 * hour[3]


def test_opening_hours_are_kept(world: World, payments: pl.DataFrame) -> None:
    """Whoever pays at a counter, honest or not, finds the shop open by its own clock."""
    present = payments.filter(pl.col("channel").is_in(DAY_CHANNELS))
    merchant = present["merchant_id"].str.slice(9).cast(pl.Int64).to_numpy()
    zone = world.merchants.places.zone[world.merchants.city[merchant]]
    local = world.zones.to_local(zone, present["event_time"].to_numpy())
    impostor = present["fraud"].to_numpy()
    is_open = world.merchants.open_at(merchant, local)
    assert is_open[~impostor].all()
    assert is_open[impostor].all()
    closed = world.merchants.open_at(merchant, local + 12 * HOUR_MS)
    assert closed.mean() < 0.7  # the check itself can fail


def test_followups_name_an_earlier_payment(data: WorldData) -> None:
    """A reversal, refund or capture follows an approved payment of the same card and shop."""
    rows = data.transactions
    later = rows.filter(pl.col("related_id").is_not_null())
    assert set(later["kind"].unique()) == {"reversal", "refund", "capture"}
    assert rows.filter(pl.col("kind").is_in(["reversal", "refund", "capture"])).height == len(later)
    pair = later.join(rows, left_on="related_id", right_on="transaction_id", suffix="_of")
    assert pair.height == later.height
    assert (pair["event_time"] > pair["event_time_of"]).all()
    for name in ("card_id", "merchant_id", "currency"):
        assert (pair[name] == pair[f"{name}_of"]).all()
    assert (pair["amount_minor"] <= pair["amount_minor_of"]).all()
    assert (pair["response_code_of"] == "00").all()
    assert (pair["kind_of"] == "authorisation").all()


def test_customers_have_habits(payments: pl.DataFrame) -> None:
    """Most honest purchases at home are at a few merchants each customer returns to."""
    pairs = payments.filter(~pl.col("fraud")).group_by("customer_id", "merchant_id").len()
    top = pairs.sort("len", descending=True).group_by("customer_id").head(10)
    assert 0.5 < top["len"].sum() / pairs["len"].sum() < 0.9


def test_customers_differ_in_spend_and_activity(payments: pl.DataFrame) -> None:
    """Customers' median amounts and counts spread by more than a factor of two."""
    honest = payments.filter(~pl.col("fraud"), pl.col("currency") == "EUR")
    of = honest.group_by("customer_id").agg(pl.len(), pl.col("amount_minor").median())
    of = of.filter(pl.col("len") > 10)
    for name in ("len", "amount_minor"):
        low, high = np.quantile(of[name].to_numpy(), [0.1, 0.9])
        assert high > 2 * low


def test_customers_travel(payments: pl.DataFrame) -> None:
    """Between two and fifteen per cent of honest counter payments are made abroad."""
    present = payments.filter(pl.col("channel") == "pos", ~pl.col("fraud"))
    home = present.group_by("customer_id").agg(pl.col("merchant_country").mode().first().alias("h"))
    abroad = present.join(home, on="customer_id")
    share = (abroad["merchant_country"] != abroad["h"]).mean()
    assert 0.02 < share < 0.15  # type: ignore[operator]


def test_honest_people_look_suspicious_too(payments: pl.DataFrame) -> None:
    """Honest payments show new devices, declined bursts, failed checks and very large amounts."""
    honest = payments.filter(~pl.col("fraud"))
    with_device = honest.filter(pl.col("device_id").is_not_null())
    devices = with_device.group_by("customer_id").agg(pl.col("device_id").n_unique())
    assert (devices["device_id"] > 2).mean() > 0.1  # type: ignore[operator]
    bursts = (
        honest.filter(pl.col("response_code") != "00")
        .group_by("card_id", pl.col("time").dt.truncate("10m"))
        .len()
    )
    assert bursts.filter(pl.col("len") >= 3).height > 10
    assert honest.filter(pl.col("cvv_result") == "N").height > 50
    assert honest.filter(pl.col("entry_mode") == "magstripe").height > 300
    assert honest["amount_minor"].quantile(0.999) > 20 * honest["amount_minor"].median()  # type: ignore[operator]


def test_logins_precede_some_payments(data: WorldData) -> None:
    """Some honest payments follow a login from the same device within ten minutes."""
    visits = data.transactions.filter(kind="login").select("device_id", "event_time")
    paid = data.transactions.filter(kind="authorisation").drop_nulls("device_id")
    near = paid.join_asof(
        visits.with_columns(login=pl.col("event_time")),
        on="event_time",
        by="device_id",
        check_sortedness=False,
    )
    share = (near["event_time"] - near["login"] < 600_000).fill_null(value=False).mean()
    assert 0.05 < share < 0.5  # type: ignore[operator]
