"""Whole columns of a file become values of one field; what cannot be read becomes null."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

import numpy as np
import polars as pl

from assay.errors import InputError, SettingsError
from assay.ingest.decode import event_time_ms
from assay.ingest.money import CURRENCIES
from assay.ingest.zones import local_to_utc_ms

_NAIVE_FORMATS: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M")
_NEAR_TIE: Final = 1e-3
_INT_EDGE: Final = 9e18
_TRUE: Final = ("1", "1.0", "true", "yes")
_FALSE: Final = ("0", "0.0", "false", "no")


def text(column: pl.Series) -> pl.Series:
    """Return text; the empty one is null."""
    out = column.cast(pl.String, strict=False)
    return out.set(out == "", None)


def real(column: pl.Series) -> pl.Series:
    """Return finite float64 numbers."""
    out = column.cast(pl.Float64, strict=False)
    return out.set(~out.is_finite(), None)


def whole(column: pl.Series) -> pl.Series:
    """Return int64 numbers; one with a fraction is null."""
    if column.dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    number = real(column)
    number = number.set((number != number.floor()) | (number.abs() > _INT_EDGE), None)
    exact = column.cast(pl.Int64, strict=False) if column.dtype == pl.String else None
    out = number.cast(pl.Int64)
    return out if exact is None else exact.zip_with(exact.is_not_null(), out)


def categories(column: pl.Series) -> pl.Series:
    """Return ISO 18245 codes as text; numbers get their leading zeros back."""
    out = text(column)
    return out.str.zfill(4) if column.dtype.is_integer() else out


def labels(column: pl.Series) -> pl.Series:
    """Return 1 for fraud, 0 for genuine and -1 for unknown, as Int8; null is unreadable."""
    words = text(column).str.to_lowercase()
    values = dict.fromkeys(_TRUE, 1) | dict.fromkeys(_FALSE, 0)
    out = words.replace_strict(values, default=None, return_dtype=pl.Int8)
    return out.set(words.is_null(), -1)


def amounts(column: pl.Series, currency: pl.Series) -> pl.Series:
    """Return amounts in major units as int64 minor units, rounded half-even.

    Floats are read as the shortest decimal that gives them, as they were written.
    A float product decides every amount but those within 0.001 of a tie, which are
    rounded as decimals.
    """
    exponents = {code: money.exponent for code, money in CURRENCIES.items()}
    exponent = currency.replace_strict(exponents, default=2, return_dtype=pl.Int64)
    number = real(column)
    scaled = number.to_numpy() * 10.0 ** exponent.to_numpy()
    nearest = np.rint(scaled)
    unsure = np.abs(np.abs(scaled - nearest) - 0.5) < _NEAR_TIE
    bad = ~(np.abs(nearest) < _INT_EDGE)
    minor = np.where(bad, 0, nearest).astype(np.int64)
    words = column.cast(pl.String, strict=False)
    for row in np.flatnonzero(unsure & ~bad):
        minor[row] = _exact(words[int(row)], exponent[int(row)])
    minor = np.where((scaled < 0) & (minor == 0), -1, minor)  # negative stays negative
    return pl.Series(minor).set(pl.Series(bad), None)


def times(column: pl.Series, unit: str | None, zone: str | None, form: str | None) -> pl.Series:
    """Return UTC milliseconds as int64.

    Parameters
    ----------
    column : Series
        Timestamps, dates, numbers or text.
    unit : str, optional
        ``s`` or ``ms`` since 1970, for numbers.
    zone : str, optional
        IANA zone of times that carry none.
    form : str, optional
        chrono format of text, such as ``%d/%m/%Y %H:%M``; ISO 8601 by default.

    Raises
    ------
    SettingsError
        If times carry no zone and none is given.
    """
    if unit is not None:
        return _epoch(column, 1000 if unit == "s" else 1)
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        return column.dt.timestamp("ms")
    if column.dtype == pl.String and zone is None:
        return pl.Series([_rfc_3339(value) for value in column.to_list()], dtype=pl.Int64)
    if zone is None:
        raise SettingsError(
            "event_time has times without a zone; accepted: zone, such as 'Europe/Lisbon' or "
            "'UTC', or unit ('s' or 'ms')"
        )
    local = _naive(column, form) if column.dtype == pl.String else column.cast(pl.Datetime("ms"))
    return _utc(local.dt.timestamp("ms"), zone)


def _epoch(column: pl.Series, factor: int) -> pl.Series:
    if column.dtype.is_integer():
        return column.cast(pl.Int64, strict=False) * factor
    number = real(column) * factor
    return number.set(number.abs() > _INT_EDGE, None).floor().cast(pl.Int64)


def _naive(column: pl.Series, form: str | None) -> pl.Series:
    out = pl.Series([None] * len(column), dtype=pl.Datetime("ms"))
    for candidate in (form,) if form else _NAIVE_FORMATS:
        if out.null_count() == column.null_count():
            break
        parsed = column.str.to_datetime(candidate, time_unit="ms", strict=False)
        out = out.zip_with(out.is_not_null(), parsed)
    return out


def _utc(local_ms: pl.Series, zone: str) -> pl.Series:
    if zone == "UTC":
        return local_ms
    minute = local_ms // 60_000
    known = minute.drop_nulls().unique()
    starts = [local_to_utc_ms(zone, value * 60_000) for value in known.to_list()]
    table = pl.Series(starts, dtype=pl.Int64)
    start = minute.replace_strict(known, table, default=None, return_dtype=pl.Int64)
    return start + local_ms % 60_000


def _rfc_3339(value: str | None) -> int | None:
    try:
        return None if value is None else event_time_ms(value)
    except InputError:
        return None


def _exact(words: str | None, exponent: int) -> int:
    try:
        return int(
            Decimal(words or "").scaleb(exponent).to_integral_value(rounding=ROUND_HALF_EVEN)
        )
    except InvalidOperation:  # pragma: no cover - what polars reads, Decimal reads
        return -1
