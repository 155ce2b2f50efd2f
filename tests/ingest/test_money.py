from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError, SettingsError
from assay.ingest.money import CURRENCIES, Rate, Rates
from assay.records import AMOUNT_MINOR_MAX

_DAY = date(2026, 1, 1)


def _ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


@given(
    st.integers(0, 10**12),
    st.sampled_from(["USD", "JPY", "KWD", "CLF"]),
    st.sampled_from(["EUR", "TND", "KRW"]),
    st.decimals("0.000001", 2000, places=6),
)
def test_rounds_half_even_as_decimal_does(
    amount: int, currency: str, reference: str, rate: Decimal
) -> None:
    """Conversion equals exact decimal arithmetic with one half-even rounding."""
    rates = Rates(reference, [Rate(_DAY, currency, rate)])
    shift = CURRENCIES[reference].exponent - CURRENCIES[currency].exponent
    exact = (amount * rate).scaleb(shift).quantize(Decimal(1), ROUND_HALF_EVEN)
    if exact > AMOUNT_MINOR_MAX:
        with pytest.raises(InputError, match="too large"):
            rates.to_reference(amount, currency, _ms(2026, 1, 1))
        return
    for _ in range(2):  # computed, then from the cache
        assert rates.to_reference(amount, currency, _ms(2026, 1, 1)) == int(exact)


def test_last_rate_on_or_before_the_utc_day_counts() -> None:
    """A rate holds from its UTC day on, until the next."""
    table = [Rate(date(2026, 1, 3), "USD", Decimal(3)), Rate(_DAY, "USD", Decimal(2))]
    rates = Rates("EUR", table)
    assert rates.to_reference(10, "USD", _ms(2026, 1, 2, 23, 59, 59)) == 20
    assert rates.to_reference(10, "USD", _ms(2026, 1, 3)) == 30
    assert rates.to_reference(10, "EUR", _ms(2020, 1, 1)) == 10
    with pytest.raises(InputError, match="its first rate; accepted: an event_time from 2026-01-01"):
        rates.to_reference(10, "USD", _ms(2025, 12, 31, 23, 59, 59))


def test_unknown_currency_names_the_accepted() -> None:
    """A currency without a rate is refused and the others are named."""
    with pytest.raises(InputError, match="one of EUR, USD"):
        Rates("EUR", [Rate(_DAY, "USD", Decimal(1))]).to_reference(1, "GBP", _ms(2026, 1, 1))


def test_overflow_is_an_input_error() -> None:
    """An amount that leaves 64 bits is refused, not wrapped."""
    rates = Rates("EUR", [Rate(_DAY, "USD", Decimal(10**9))])
    with pytest.raises(InputError, match="too large"):
        rates.to_reference(10**12, "USD", _ms(2026, 1, 1))


def test_table_is_read_and_versioned(tmp_path: Path) -> None:
    """The version depends on the rates, not on how they are written or ordered."""
    path = tmp_path / "fx.csv"
    assert Rates.load(path, "EUR").version == Rates("EUR").version
    path.write_text("date,currency,rate\n2026-01-01,USD,0.850\n2026-01-02,GBP,1.1\n")
    one = Rates.load(path, "EUR")
    path.write_text("rate,date,currency\n1.10,2026-01-02,GBP\n0.85,2026-01-01,USD\n")
    assert Rates.load(path, "EUR").version == one.version != Rates("EUR").version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("date,currency\n", "lacks a column"),
        ("date,currency,rate\n2026-13-01,USD,1\n", "line 2 is no rate"),
        ("date,currency,rate\n2026-01-01,USD,x\n", "line 2 is no rate"),
        ("date,currency,rate\n2026-01-01,USD\n", "line 2 is no rate"),
        ("date,currency,rate\n2026-01-01,XXX,1\n", "ISO 4217"),
        ("date,currency,rate\n2026-01-01,USD,NaN\n", "above 0"),
        ("date,currency,rate\n2026-01-01,USD,-1\n", "above 0"),
        ("date,currency,rate\n2026-01-01,USD,1\n2026-01-01,USD,2\n", "twice"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """A table with a mistake stops the start and says where."""
    (tmp_path / "fx.csv").write_text(text)
    with pytest.raises(SettingsError, match=said):
        Rates.load(tmp_path / "fx.csv", "EUR")


def test_unreadable_tables_are_refused(tmp_path: Path) -> None:
    """Other encodings, a folder and a field of megabytes stop the start in one line."""
    path = tmp_path / "fx.csv"
    head = b"date,currency,rate\n"
    for content in (b"date,currency,rat\xe9\n", b"\xff\xfed\0", head + b'"' + b"x" * 200_000):
        path.write_bytes(content)
        with pytest.raises(SettingsError, match=r"fx\.csv cannot be read: it is no CSV") as caught:
            Rates.load(path, "EUR")
        assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        Rates.load(tmp_path, "EUR")


def test_currency_table() -> None:
    """Known codes have the standard's numbers and minor units."""
    assert CURRENCIES["EUR"] == (978, 2)
    assert CURRENCIES["JPY"] == (392, 0)
    assert CURRENCIES["KWD"] == (414, 3)
    assert CURRENCIES["CLF"] == (990, 4)
    with pytest.raises(SettingsError, match="ISO 4217"):
        Rates("XXX")
