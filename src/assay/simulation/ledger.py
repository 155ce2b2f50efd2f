"""What happened, as columns of numbers: the world's own book before it becomes text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.records import Kind
from assay.simulation.wheel import Bools, Ints

RESPONSES: Final = ("", "00", "05", "14", "51", "54", "55", "61", "65", "91")
APPROVED: Final = RESPONSES.index("00")
CVV_RESULTS: Final = ("", "M", "N", "P", "U")
AVS_RESULTS: Final = ("", "Y", "N", "A", "Z", "U")
FRAUD_KINDS: Final = (
    "",
    "stolen_card",
    "card_testing",
    "account_takeover",
    "compromised_merchant",
    "impossible_travel",
    "first_party",
    "voucher_ring",
)

_ABSENT: Final = {
    "merchant": -1,
    "minor": -1,
    "device": -1,
    "related": -1,
    "campaign": -1,
    "latitude": np.nan,
    "longitude": np.nan,
    "kind": int(Kind.authorisation),
}
_TYPES: Final = {
    "time": np.int64,
    "minor": np.int64,
    "related": np.int64,
    "customer": np.int32,
    "card": np.int32,
    "merchant": np.int32,
    "device": np.int32,
    "campaign": np.int32,
    "ip": np.int64,
    "offset": np.int16,
    "latitude": np.float32,
    "longitude": np.float32,
}


@dataclass
class Ledger:
    """Rows of events, as columns of shape (n,).

    Attributes
    ----------
    time : UTC milliseconds.
    kind, channel, entry : codes of `records.Kind`, `Channel` and `EntryMode`.
    customer, card, merchant, device, currency : indices; -1 is absent.
    minor : amount in minor units; -1 is absent.
    response, cvv, avs, fraud : indices into the tuples above; 0 is absent.
    ip : IPv4 address as a number; 0 is absent.
    latitude, longitude : degrees; NaN is absent.
    offset : minutes from UTC where the payer is.
    related : row of the earlier event; -1 is absent.
    campaign : number of the fraud campaign; -1 is absent.
    """

    time: NDArray[Any]
    kind: NDArray[Any]
    customer: NDArray[Any]
    card: NDArray[Any]
    merchant: NDArray[Any]
    minor: NDArray[Any]
    currency: NDArray[Any]
    channel: NDArray[Any]
    entry: NDArray[Any]
    response: NDArray[Any]
    device: NDArray[Any]
    ip: NDArray[Any]
    latitude: NDArray[Any]
    longitude: NDArray[Any]
    offset: NDArray[Any]
    cvv: NDArray[Any]
    avs: NDArray[Any]
    related: NDArray[Any]
    fraud: NDArray[Any]
    campaign: NDArray[Any]

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def blank(cls, n: int) -> Ledger:
        """Return n rows with everything absent."""
        return cls(
            **{
                f.name: np.full(n, _ABSENT.get(f.name, 0), _TYPES.get(f.name, np.int8))
                for f in fields(cls)
            }
        )

    @classmethod
    def concat(cls, parts: list[Ledger]) -> Ledger:
        """Return all rows of the parts, in order."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )

    def span(self, from_ms: int, until_ms: int) -> Ledger:
        """Return a copy of the rows within a stretch of time; the end is excluded."""
        return self.take((self.time >= from_ms) & (self.time < until_ms))

    def take(self, rows: Ints | Bools | slice) -> Ledger:
        """Return a copy of some rows; their `related` is left as it is."""
        return Ledger(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})
