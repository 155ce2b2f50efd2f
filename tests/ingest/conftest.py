from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.datasets.table import TransactionTable
from assay.ingest.encode import Encoder
from assay.ingest.money import Rate, Rates
from assay.ingest.tokens import Tokeniser

KEY = bytes(range(32))


@pytest.fixture
def tokeniser() -> Tokeniser:
    """Return a tokeniser with a fixed key."""
    return Tokeniser(KEY)


@pytest.fixture
def make_encoder(tokeniser: Tokeniser) -> Callable[..., Encoder]:
    """Return a maker of encoders into euros, with rates of dollars and yen."""
    rates = Rates(
        "EUR",
        [
            Rate(date(2026, 1, 1), "USD", Decimal("0.85")),
            Rate(date(2026, 1, 3), "USD", Decimal("0.875")),
            Rate(date(2026, 1, 1), "JPY", Decimal("0.0054")),
        ],
    )

    def make(**options: object) -> Encoder:
        return Encoder(tokeniser, rates, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def table(tmp_path: Path) -> TransactionTable:
    """Return an empty table."""
    return TransactionTable(tmp_path / "table", VirtualClock(1_767_225_600_000))
