"""Merchant categories: how often, how much, when, and how they bend to events."""

from __future__ import annotations

from typing import Final

import numpy as np

from assay.simulation.wheel import Bools, Floats, Ints

# code (ISO 18245), noun, share of purchases, median and spread of the amount in euros,
# opening hours, rhythm of the day / week / year, what a pandemic leaves of it, refunds
_PLACES: Final = (
    ("5411", "Grocer", 0.190, 24, 0.7, 7, 21, "shop", "shop", "flat", 0.95, 0.004),
    ("5412", "Corner Shop", 0.045, 8, 0.6, 6, 23, "day", "flat", "flat", 0.80, 0.001),
    ("5812", "Restaurant", 0.085, 31, 0.6, 11, 23, "meal", "leisure", "flat", 0.12, 0.001),
    ("5814", "Canteen", 0.100, 11, 0.45, 7, 24, "meal", "office", "flat", 0.35, 0.001),
    ("5813", "Bar", 0.028, 21, 0.7, 17, 26, "night", "leisure", "flat", 0.05, 0.000),
    ("5541", "Fuel", 0.058, 48, 0.5, 0, 24, "day", "flat", "flat", 0.50, 0.000),
    ("5912", "Pharmacy", 0.040, 17, 0.7, 8, 20, "shop", "shop", "flat", 1.00, 0.004),
    ("5651", "Outfitter", 0.038, 54, 0.8, 10, 20, "shop", "shop", "gift", 0.25, 0.060),
    ("5732", "Electronics", 0.012, 150, 1.1, 10, 20, "shop", "shop", "gift", 0.40, 0.040),
    ("5712", "Furniture", 0.005, 270, 1.1, 10, 19, "shop", "shop", "flat", 0.40, 0.020),
    ("5944", "Jeweller", 0.003, 180, 1.2, 10, 18, "shop", "shop", "gift", 0.30, 0.015),
    ("5200", "Hardware Store", 0.020, 58, 0.9, 8, 20, "shop", "shop", "flat", 0.80, 0.020),
    ("4111", "Transit", 0.080, 4, 0.6, 5, 25, "commute", "office", "flat", 0.20, 0.001),
    ("4121", "Taxi", 0.025, 17, 0.5, 0, 24, "night", "leisure", "flat", 0.25, 0.001),
    ("7011", "Hotel", 0.008, 210, 0.7, 0, 24, "day", "flat", "travel", 0.07, 0.020),
    ("7832", "Cinema", 0.008, 19, 0.4, 12, 24, "night", "leisure", "flat", 0.03, 0.002),
    ("7230", "Hairdresser", 0.010, 34, 0.5, 9, 18, "day", "shop", "flat", 0.20, 0.001),
    ("8011", "Doctor", 0.006, 65, 0.8, 8, 18, "day", "office", "flat", 0.80, 0.002),
    ("7997", "Sports Club", 0.008, 42, 0.6, 6, 22, "commute", "flat", "flat", 0.15, 0.003),
    ("5921", "Wine Merchant", 0.006, 27, 0.6, 10, 22, "shop", "leisure", "gift", 0.90, 0.002),
    ("6011", "Cash Machine", 0.048, 80, 0.6, 0, 24, "day", "flat", "flat", 0.45, 0.000),
)
_SITES: Final = (
    ("5964", "Marketplace", 0.055, 34, 0.9, 0, 24, "evening", "online", "gift", 1.90, 0.050),
    ("5815", "Media", 0.038, 9, 0.5, 0, 24, "evening", "online", "flat", 1.70, 0.005),
    ("5816", "Games", 0.025, 11, 0.9, 0, 24, "evening", "online", "flat", 2.00, 0.010),
    ("4899", "Streaming", 0.028, 12, 0.25, 0, 24, "flat", "flat", "flat", 1.30, 0.002),
    ("4511", "Airline", 0.008, 240, 0.8, 0, 24, "evening", "online", "travel", 0.06, 0.030),
    ("4722", "Travel Agency", 0.005, 340, 0.9, 0, 24, "evening", "online", "travel", 0.08, 0.040),
    ("5734", "Software", 0.009, 38, 1.0, 0, 24, "day", "office", "flat", 1.60, 0.015),
    ("5691", "Fashion", 0.030, 60, 0.7, 0, 24, "evening", "online", "gift", 1.60, 0.160),
    ("5732", "Gadgets", 0.011, 170, 1.1, 0, 24, "evening", "online", "gift", 1.90, 0.060),
    ("5411", "Food Delivery", 0.012, 70, 0.4, 0, 24, "evening", "flat", "flat", 2.60, 0.010),
    ("7995", "Betting", 0.010, 28, 1.1, 0, 24, "night", "leisure", "flat", 1.20, 0.000),
    ("8398", "Charity", 0.005, 18, 0.9, 0, 24, "flat", "flat", "gift", 1.20, 0.002),
    ("6540", "Gift Cards", 0.004, 48, 0.7, 0, 24, "day", "flat", "gift", 1.70, 0.004),
    ("4829", "Payee", 0.024, 110, 1.3, 0, 24, "day", "office", "flat", 1.10, 0.000),
    ("4814", "Telecom", 0.014, 19, 0.4, 0, 24, "day", "flat", "flat", 1.20, 0.004),
)

RETAIL: Final = ("5651", "5732", "5712", "5944", "5964", "5691", "5816")
"""Codes that gain most at Black Friday."""


class Categories:
    """The categories as columns of shape (categories,); the same code may stand twice.

    Attributes
    ----------
    codes, nouns : tuple of str
        ISO 18245 code, and the word that merchants' names use.
    online : ndarray of bool
        True when the buyer is not there.
    share : ndarray of float
        Share of purchases on an ordinary day; they add up to 1.
    median, spread : ndarray of float
        Of the amount: euros, and the standard deviation of its logarithm.
    open_h, close_h : ndarray of int
        Usual opening hours; a closing hour beyond 24 is on the next day.
    day, week, year : tuple of str
        Names of rhythms.
    pandemic : ndarray of float
        Factor on purchases in a pandemic of intensity 1.
    refund : ndarray of float
        Share of purchases that are refunded.
    retail : ndarray of bool
        True for those that gain most at Black Friday.
    """

    def __init__(self) -> None:
        columns = list(zip(*(_PLACES + _SITES), strict=True))
        self.codes: tuple[str, ...] = columns[0]
        self.nouns: tuple[str, ...] = columns[1]
        self.share: Floats = np.array(columns[2]) / sum(columns[2])
        self.median: Floats = np.array(columns[3], np.float64)
        self.spread: Floats = np.array(columns[4])
        self.open_h: Ints = np.array(columns[5])
        self.close_h: Ints = np.array(columns[6])
        self.day: tuple[str, ...] = columns[7]
        self.week: tuple[str, ...] = columns[8]
        self.year: tuple[str, ...] = columns[9]
        self.pandemic: Floats = np.array(columns[10])
        self.refund: Floats = np.array(columns[11])
        self.online: Bools = np.arange(len(self.codes)) >= len(_PLACES)
        self.retail: Bools = np.isin(self.codes, RETAIL)

    def __len__(self) -> int:
        return len(self.codes)

    def index(self, *nouns: str) -> Ints:
        """Return the indices of the categories with these nouns."""
        return np.array([self.nouns.index(noun) for noun in nouns])
