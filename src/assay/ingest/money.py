"""Currencies of ISO 4217, and amounts in the reference currency by dated rates."""

from __future__ import annotations

import csv
import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

from assay.errors import InputError, SettingsError
from assay.records import AMOUNT_MINOR_MAX, DAY_MS


class Currency(NamedTuple):
    """ISO 4217 number, and how many decimals the minor unit has."""

    number: int
    exponent: int


# Current money, and what was withdrawn since 2020 (ANG, BGN, CUC, HRK, SLL, ZWL), which
# history still holds. Metals, bond units and test codes are no money to pay with.
_NUMBERS: Final = """
AED784 AFN971 ALL008 AMD051 ANG532 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050
BGN975 BHD048 BIF108 BMD060 BND096 BOB068 BOV984 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084
CAD124 CDF976 CHE947 CHF756 CHW948 CLF990 CLP152 CNY156 COP170 COU970 CRC188 CUC931 CUP192
CVE132 CZK203 DJF262 DKK208 DOP214 DZD012 EGP818 ERN232 ETB230 EUR978 FJD242 FKP238 GBP826
GEL981 GHS936 GIP292 GMD270 GNF324 GTQ320 GYD328 HKD344 HNL340 HRK191 HTG332 HUF348 IDR360
ILS376 INR356 IQD368 IRR364 ISK352 JMD388 JOD400 JPY392 KES404 KGS417 KHR116 KMF174 KPW408
KRW410 KWD414 KYD136 KZT398 LAK418 LBP422 LKR144 LRD430 LSL426 LYD434 MAD504 MDL498 MGA969
MKD807 MMK104 MNT496 MOP446 MRU929 MUR480 MVR462 MWK454 MXN484 MXV979 MYR458 MZN943 NAD516
NGN566 NIO558 NOK578 NPR524 NZD554 OMR512 PAB590 PEN604 PGK598 PHP608 PKR586 PLN985 PYG600
QAR634 RON946 RSD941 RUB643 RWF646 SAR682 SBD090 SCR690 SDG938 SEK752 SGD702 SHP654 SLE925
SLL694 SOS706 SRD968 SSP728 STN930 SVC222 SYP760 SZL748 THB764 TJS972 TMT934 TND788 TOP776
TRY949 TTD780 TWD901 TZS834 UAH980 UGX800 USD840 USN997 UYI940 UYU858 UYW927 UZS860 VED926
VES928 VND704 VUV548 WST882 XAD396 XAF950 XCD951 XCG532 XOF952 XPF953 YER886 ZAR710 ZMW967
ZWG924 ZWL932
"""
_EXPONENTS: Final = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
CURRENCIES: Final = {
    entry[:3]: Currency(int(entry[3:]), _EXPONENTS.get(entry[:3], 2)) for entry in _NUMBERS.split()
}
"""Alphabetic code to `Currency`."""

_REFERENCE_MAX: Final = AMOUNT_MINOR_MAX  # nine million of the largest fit a 64-bit sum
_RATE_MAX: Final = 10**9
_CACHE_MAX: Final = 100_000
_ACCEPTED: Final = "a CSV file with the columns date, currency, rate"


class Rate(NamedTuple):
    """From `day` on, one unit of `currency` is worth `rate` units of the reference."""

    day: date
    currency: str
    rate: Decimal


class Rates:
    """Turns amounts into the reference currency with the last rate on or before a day.

    Parameters
    ----------
    reference : str
        ISO 4217 code; its own rate is always 1.
    table : iterable of Rate
        Each (day, currency) at most once.

    Attributes
    ----------
    version : str
        Digest of reference and table: equal versions give equal amounts.

    Raises
    ------
    SettingsError
        If a currency is unknown, a rate is not positive, or a day is given twice.
    """

    def __init__(self, reference: str, table: Iterable[Rate] = ()) -> None:
        if reference not in CURRENCIES:
            raise SettingsError(
                f"reference_currency is {reference!r}; accepted: an ISO 4217 code such as EUR"
            )
        self.reference = reference
        rows = sorted(table, key=lambda row: (row.currency, row.day))
        self._days: dict[str, list[int]] = {}
        self._factors: dict[str, list[Fraction]] = {}
        for row in rows:
            self._add(row)
        text = "\n".join([reference, *(f"{r.day},{r.currency},{r.rate.normalize()}" for r in rows)])
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]
        self._cache: dict[tuple[str, int], tuple[int, int]] = {}

    @classmethod
    def load(cls, path: Path, reference: str) -> Rates:
        """Read ``fx.csv`` (columns date, currency, rate); no file is an empty table.

        Raises
        ------
        SettingsError
            If the file is not such a table; the message names the line.
        """
        try:
            return cls(reference, _read(path))
        except FileNotFoundError:
            return cls(reference)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            what = getattr(error, "strerror", None) or "it is no CSV text in UTF-8"
            raise SettingsError(
                f"{path.name} cannot be read: {what}; accepted: {_ACCEPTED}"
            ) from None

    def to_reference(self, amount_minor: int, currency: str, event_time_ms: int) -> int:
        """Return the amount in minor units of the reference currency, rounded half-even.

        Raises
        ------
        InputError
            If the currency has no rate on or before the UTC day, or the result is too large.
        """
        if currency == self.reference:
            return amount_minor
        key = (currency, event_time_ms // DAY_MS)
        ratio = self._cache.get(key)
        if ratio is None:
            ratio = self._look_up(*key)
        whole, rest = divmod(amount_minor * ratio[0], ratio[1])
        twice = 2 * rest
        if twice > ratio[1] or (twice == ratio[1] and whole & 1):
            whole += 1
        if whole > _REFERENCE_MAX:
            raise InputError(
                "amount_minor", "an amount too large in the reference currency", "a smaller one"
            )
        return whole

    def _add(self, row: Rate) -> None:
        name = f"fx rate of {row.currency!r} on {row.day}"
        if row.currency not in CURRENCIES or row.currency == self.reference:
            raise SettingsError(f"{name}; accepted: ISO 4217 codes other than {self.reference}")
        if not (row.rate.is_finite() and 0 < row.rate <= _RATE_MAX):
            raise SettingsError(f"{name} is {row.rate}; accepted: a number above 0, at most 10^9")
        day = row.day.toordinal() - date(1970, 1, 1).toordinal()
        days = self._days.setdefault(row.currency, [])
        if days and days[-1] == day:
            raise SettingsError(f"{name} is given twice; accepted: one rate a day")
        days.append(day)
        shift = CURRENCIES[self.reference].exponent - CURRENCIES[row.currency].exponent
        factor = Fraction(row.rate) * Fraction(10) ** shift
        self._factors.setdefault(row.currency, []).append(factor)

    def _look_up(self, currency: str, day: int) -> tuple[int, int]:
        if currency not in self._days:
            accepted = ", ".join(sorted({self.reference, *self._days}))
            raise InputError("currency", "a currency without a rate", f"one of {accepted}")
        position = bisect_right(self._days[currency], day)
        if position == 0:
            first = date.fromordinal(self._days[currency][0] + date(1970, 1, 1).toordinal())
            raise InputError(
                "currency", f"{currency} before its first rate", f"an event_time from {first} on"
            )
        if len(self._cache) >= _CACHE_MAX:
            self._cache.clear()
        factor = self._factors[currency][position - 1]
        ratio = factor.numerator, factor.denominator
        self._cache[currency, day] = ratio
        return ratio


def _read(path: Path) -> list[Rate]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"date", "currency", "rate"} <= set(reader.fieldnames or ()):
            raise SettingsError(f"{path.name} lacks a column; accepted: {_ACCEPTED}")
        return [_parse(path.name, reader.line_num, row) for row in reader]


def _parse(name: str, line: int, row: dict[str, str | None]) -> Rate:
    try:
        return Rate(
            date.fromisoformat(row["date"] or ""),
            (row["currency"] or "").strip(),
            Decimal(row["rate"] or ""),
        )
    except (ValueError, InvalidOperation):
        raise SettingsError(
            f"{name} line {line} is no rate; accepted: such as 2026-01-31,USD,0.92"
        ) from None
