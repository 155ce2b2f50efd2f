from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_frame_not_equal

from assay.errors import SettingsError
from assay.records import DAY_MS, Transaction
from assay.simulation import World, WorldData, WorldSettings

START_MS = 1_740_960_000_000
FRAMES = ("transactions", "truth", "labels", "fx")


def tiny(**changes: object) -> WorldSettings:
    settings = WorldSettings(
        start_ms=START_MS,
        end_ms=START_MS + 14 * DAY_MS,
        customers=100,
        merchants=150,
        transactions=3_000,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def test_same_settings_give_identical_tables() -> None:
    """Two worlds of equal settings, and two calls on one world, are equal in every table."""
    world = World(tiny())
    first, again, other = world.generate(), world.generate(), World(tiny()).generate()
    for name in FRAMES:
        assert_frame_equal(getattr(first, name), getattr(again, name))
        assert_frame_equal(getattr(first, name), getattr(other, name))


def test_another_seed_gives_other_tables() -> None:
    """Changing only the seed changes every table."""
    first, other = World(tiny(seed=1)).generate(), World(tiny(seed=2)).generate()
    for name in FRAMES:
        assert_frame_not_equal(getattr(first, name), getattr(other, name))


def test_every_row_is_a_transaction(data: WorldData) -> None:
    """Each row, nulls left out, decodes as a Transaction, and columns are fields of it."""
    fields = {field.name for field in msgspec.structs.fields(Transaction)}
    assert set(data.transactions.columns) == fields - {"attributes"}
    for row in World(tiny()).generate().transactions.iter_rows(named=True):
        known = {name: value for name, value in row.items() if value is not None}
        msgspec.convert(known, Transaction)


def test_rows_are_sorted_unique_and_inside(data: WorldData) -> None:
    """Rows are in order of time and id, ids are unique, and times lie in the world's stretch."""
    rows = data.transactions
    assert rows["transaction_id"].is_unique().all()
    assert_frame_equal(rows, rows.sort("event_time", "transaction_id"))
    assert rows["event_time"].min() >= START_MS  # type: ignore[operator]
    assert rows["event_time"].max() < START_MS + 56 * DAY_MS  # type: ignore[operator]
    assert rows["transaction_id"].equals(data.truth["transaction_id"])


@pytest.mark.parametrize("count", [3_000, 20_000])
def test_row_count_is_near_the_target(count: int) -> None:
    """A world without events has the number of rows asked for, within seven per cent."""
    assert World(tiny(transactions=count)).generate().transactions.height == pytest.approx(
        count, rel=0.07
    )


def test_no_card_number_in_any_text(data: WorldData) -> None:
    """No text holds a Luhn-valid run of 13 to 19 digits, even with separators taken out."""
    for frame in (data.transactions, data.truth, data.labels, data.fx):
        for name in frame.select(pl.selectors.string()).columns:
            for text in frame[name].drop_nulls().unique():
                for run in re.findall(r"\d{13,}", re.sub(r"[ .\-]", "", text)):
                    assert not any(
                        luhn(run[i : i + n]) for n in range(13, 20) for i in range(len(run) - n + 1)
                    ), name


def test_luhn_itself_knows_a_card_number() -> None:
    """The check used above accepts a well-known test number and refuses its neighbour."""
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")


def luhn(digits: str) -> bool:
    doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def test_money_stands_where_money_moves(data: WorldData) -> None:
    """Logins and profile changes have no amount, currency or merchant; all else has all."""
    quiet = pl.col("kind").is_in(["login", "profile_change"])
    for name in ("amount_minor", "currency", "merchant_id", "merchant_name", "response_code"):
        assert data.transactions.filter(quiet)[name].is_null().all(), name
        assert data.transactions.filter(~quiet)[name].is_not_null().all(), name
    assert data.transactions.filter(quiet).height > 1_000


def test_addresses_are_valid_and_online_only(data: WorldData) -> None:
    """An address is public IPv4 text, and stands only where a device is on the net."""
    known = data.transactions.filter(pl.col("ip").is_not_null())
    assert set(known["channel"].unique()) <= {"ecommerce", "mobile"}
    assert known["device_id"].is_not_null().all()
    for text in known["ip"].unique().sort().head(500):
        assert ip_address(text).is_global


@pytest.mark.parametrize("currency", ["EUR", "USD"])
def test_rates_are_daily_from_the_day_before(currency: str) -> None:
    """Rates of every currency stand for every day from the one before; the reference's is 1."""
    fx = World(tiny(reference_currency=currency)).generate().fx
    dates = fx["date"].unique().sort()
    assert dates[0] == "2025-03-02"
    assert len(dates) == 16
    assert fx.group_by("date").len()["len"].unique().to_list() == [8]
    assert (fx.filter(currency=currency)["rate"] == 1).all()
    assert fx["rate"].min() > 0  # type: ignore[operator]


def test_amounts_without_decimals_are_whole_yen(payments: pl.DataFrame) -> None:
    """The median price in yen is some hundred times that in euros: minor units of yen are yen."""
    yen = payments.filter(currency="JPY")["amount_minor"].median()
    euro = payments.filter(currency="EUR")["amount_minor"].median()
    assert 0.8 < yen / euro < 6  # type: ignore[operator]  # 163 yen or 100 cents a euro


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": -1},
        {"customers": 0},
        {"merchants": 10},
        {"transactions": 0},
        {"end_ms": START_MS},
        {"reference_currency": "XXX"},
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, object]) -> None:
    """A value that cannot make a world is refused with its name and what is accepted."""
    with pytest.raises(SettingsError, match=rf"{next(iter(changes))} is .*accepted"):
        tiny(**changes)
