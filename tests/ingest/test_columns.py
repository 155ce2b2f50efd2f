from decimal import ROUND_HALF_EVEN, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SettingsError
from assay.ingest.columns import amounts, labels, times, whole

_EXPONENTS = {"EUR": 2, "JPY": 0, "KWD": 3}


@given(
    st.lists(
        st.tuples(
            st.decimals(0, 9_999_999, places=4) | st.decimals(0, 9_999, places=1),
            st.sampled_from(list(_EXPONENTS)),
        ),
        min_size=1,
    )
)
def test_major_units_round_half_even(rows: list[tuple[Decimal, str]]) -> None:
    """Text and floats both give the exact half-even minor units, ties included."""
    currency = pl.Series([code for _, code in rows])
    expected = [
        int(value.scaleb(_EXPONENTS[code]).to_integral_value(ROUND_HALF_EVEN))
        for value, code in rows
    ]
    words = pl.Series([str(value) for value, _ in rows])
    floats = pl.Series([float(value) for value, _ in rows])
    assert amounts(words, currency).to_list() == expected
    assert amounts(floats, currency).to_list() == expected


def test_amounts_that_are_none() -> None:
    """Unreadable amounts are null, and negative ones never round to zero."""
    column = pl.Series(["NaN", "inf", "x", "1,5", "1e30", "", "-0.001", "2.675"])
    found = amounts(column, pl.Series(["EUR"] * 8)).to_list()
    assert found == [None, None, None, None, None, None, -1, 268]


def test_whole_numbers_have_no_fraction() -> None:
    """A fraction is not cut off but refused."""
    assert whole(pl.Series(["1", "1.5", "x", "9007199254740993"])).to_list() == [
        1, None, None, 9007199254740993,
    ]  # fmt: skip
    assert whole(pl.Series([1.0, 1.5])).to_list() == [1, None]


def test_labels_in_many_spellings() -> None:
    """Common spellings of the truth are read; the empty one is unknown."""
    found = labels(pl.Series(["1", "FALSE", "Yes", "0.0", "", None, "maybe"])).to_list()
    assert found == [1, 0, 1, 0, -1, -1, None]


def test_times_in_every_form() -> None:
    """Numbers, text with and without zone, and timestamps give the same millisecond."""
    expected = [1_546_300_857_000]
    text = pl.Series(["2019-01-01 00:00:57"])
    stamp = text.str.to_datetime(time_unit="ns")
    assert times(pl.Series([1_546_300_857]), "s", None, None).to_list() == expected
    assert times(pl.Series(["1546300857000"]), "ms", None, None).to_list() == expected
    assert times(text, None, "UTC", None).to_list() == expected
    assert times(stamp, None, "UTC", None).to_list() == expected
    assert times(stamp.dt.replace_time_zone("UTC"), None, None, None).to_list() == expected
    assert times(pl.Series(["2019-01-01T01:00:57+01:00"]), None, None, None).to_list() == expected
    local = times(
        pl.Series(["01/01/2019 05:45", None, "x"]), None, "Asia/Kathmandu", "%d/%m/%Y %H:%M"
    )
    assert local.to_list() == [1_546_300_800_000, None, None]
    assert times(pl.Series(["2019-02-30T00:00:00Z", "x"]), None, None, None).to_list() == [None] * 2
    with pytest.raises(SettingsError, match="without a zone"):
        times(stamp, None, None, None)
