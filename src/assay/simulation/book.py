"""From the ledger's numbers to tables with text."""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.records import Channel, EntryMode, Kind
from assay.simulation.device_names import DeviceNames
from assay.simulation.labels import Labels
from assay.simulation.ledger import AVS_RESULTS, CVV_RESULTS, FRAUD_KINDS, RESPONSES, Ledger
from assay.simulation.merchants import Merchants
from assay.simulation.rates import CURRENCIES


class Book:
    """Writes a ledger, already in order of time, as tables.

    Parameters
    ----------
    rows : Ledger
        Sorted by time; `related` names its own rows.
    merchants : Merchants
        Whose names and places are looked up.
    device_names : DeviceNames
        So that a device's number does not tell whose it is.
    starts : tuple of int
        Row at which each generation of the world begins; it is part of a transaction's id.
    """

    def __init__(
        self,
        rows: Ledger,
        merchants: Merchants,
        device_names: DeviceNames,
        starts: tuple[int, ...] = (0,),
    ) -> None:
        self._rows, self._merchants, self._device_names = rows, merchants, device_names
        self._ids = pl.concat(
            _numbered(f"tx{generation or ''}", np.arange(start, end))
            for generation, (start, end) in enumerate(pairwise((*starts, len(rows))))
        )

    def transactions(self) -> pl.DataFrame:
        """Return one row for each event, columns named as `records.Transaction`."""
        rows, money = self._rows, self._rows.minor >= 0
        places = {"latitude": rows.latitude, "longitude": rows.longitude}
        device = np.where(rows.device >= 0, self._device_names.of(rows.device), -1)
        columns = {
            "transaction_id": self._ids,
            "event_time": pl.Series(rows.time),
            "card_id": _numbered("card", rows.card),
            "kind": _names(Kind, rows.kind),
            "amount_minor": _where(pl.Series(rows.minor), money),
            "currency": _where(_words(CURRENCIES, rows.currency), money),
            "related_id": self._ids.gather(_optional(rows.related)),
            "utc_offset_min": pl.Series(rows.offset),
            "customer_id": _numbered("customer", rows.customer),
            **self._merchant_columns(),
            "channel": _names(Channel, rows.channel),
            "entry_mode": _names(EntryMode, rows.entry),
            "response_code": _words(RESPONSES, rows.response),
            **{
                k: pl.Series(np.round(v.astype(np.float64), 4)).fill_nan(None)
                for k, v in places.items()
            },
            "device_id": _numbered("device", device),
            "ip": _ip_text(rows.ip),
            "cvv_result": _words(CVV_RESULTS, rows.cvv),
            "avs_result": _words(AVS_RESULTS, rows.avs),
        }
        return pl.DataFrame(columns)

    def truth(self) -> pl.DataFrame:
        """Return whether each event is fraud, of what kind and campaign."""
        rows = self._rows
        return pl.DataFrame(
            {
                "transaction_id": self._ids,
                "fraud": rows.fraud > 0,
                "fraud_kind": _words(FRAUD_KINDS, rows.fraud),
                "campaign": _where(pl.Series(rows.campaign, dtype=pl.Int64), rows.fraud > 0),
            }
        )

    def labels(self, labels: Labels) -> pl.DataFrame:
        """Return the reports in the order in which they arrive."""
        frame = pl.DataFrame(
            {
                "transaction_id": self._ids.gather(labels.row),
                "fraud": labels.fraud,
                "reported_ms": labels.reported,
            }
        )
        return frame.sort("reported_ms", "transaction_id")

    def _merchant_columns(self) -> dict[str, pl.Series]:
        shops, at = self._merchants, _optional(self._rows.merchant)
        places, city = shops.places, shops.city
        texts = {
            "merchant_category": _words(shops.categories.codes, shops.category),
            "merchant_country": _words(places.countries, city),
            "merchant_time_zone": _words(places.zones, places.zone[city]),
            "merchant_name": pl.Series(shops.names),
        }
        out = {"merchant_id": _numbered("merchant", self._rows.merchant)}
        return out | {name: text.gather(at) for name, text in texts.items()}


def _optional(index: NDArray[Any]) -> pl.Series:
    return _where(pl.Series(index, dtype=pl.Int64), index >= 0).cast(pl.UInt32)


def _where(values: pl.Series, known: NDArray[np.bool_]) -> pl.Series:
    return pl.select(pl.when(pl.Series(known)).then(values)).to_series()


def _numbered(prefix: str, index: NDArray[Any]) -> pl.Series:
    """Return ids such as ``card-00000012``; null for -1.

    Eight digits are too few for a card number.
    """
    known = _where(pl.Series(index, dtype=pl.Int64), index >= 0)
    digits = pl.lit(known).cast(pl.String).str.zfill(8)
    return pl.select(pl.concat_str(pl.lit(f"{prefix}-"), digits)).to_series()


def _words(words: tuple[str, ...], code: NDArray[Any]) -> pl.Series:
    pool = pl.Series([word or None for word in words], dtype=pl.String)
    return pool.gather(pl.Series(code, dtype=pl.UInt32))


def _names(kind: type[IntEnum], code: NDArray[Any]) -> pl.Series:
    names = {int(member): member.name for member in kind}
    names[0] = ""
    return _words(tuple(names[i] for i in range(max(names) + 1)), code)


def _ip_text(ip: NDArray[Any]) -> pl.Series:
    known = pl.lit(_where(pl.Series(ip), ip > 0))
    octets = [(known // 256**place % 256).cast(pl.String) for place in (3, 2, 1, 0)]
    return pl.select(pl.concat_str(octets, separator=".")).to_series()
