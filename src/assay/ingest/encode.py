"""The door: a `Transaction` becomes an event of numbers, with everything secret tokenised.

Serving and file imports use the same `Encoder`, so training sees what serving sees.
"""

from __future__ import annotations

import difflib
import math
import operator
import socket
import struct
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from assay.errors import CardNumberError, InputError, SettingsError
from assay.ingest.decode import event_time_ms
from assay.ingest.firewall import contains_card_number, is_card_number
from assay.ingest.money import CURRENCIES, Rates
from assay.ingest.tokens import Tokeniser
from assay.ingest.zones import offset_min
from assay.records import (
    EVENT,
    OFFSET_ABSENT,
    Channel,
    EntryMode,
    Imported,
    Kind,
    Transaction,
    pack2,
)

EXEMPTIBLE: Final = ("transaction_id", "related_id", "customer_id", "merchant_id", "device_id")
"""Id fields that a mapping or a setting may exempt from the card-number firewall."""

_EVENT: Final = struct.Struct(
    "<"
    + "".join(
        {"<u8": "Q", "<i8": "q", "<f4": "f", "<u2": "H", "<i2": "h", "|u1": "B", "<u4": "I"}[code]
        for code in (EVENT[name].str for name in EVENT.names or ())
    )
)
assert _EVENT.size == EVENT.itemsize
_TRANSACTION_AT: Final = 24  # offset of `transaction` in an event
assert EVENT.fields is not None
assert EVENT.fields["transaction"][1] == _TRANSACTION_AT
_HASH: Final = struct.Struct("<Q")

_KINDS: Final = {kind.name: int(kind) for kind in Kind}
_MONEYLESS: Final = {"login", "profile_change"}
_CHANNELS: Final = {None: 0} | {channel.name: int(channel) for channel in Channel}
_ENTRY_MODES: Final = {None: 0} | {mode.name: int(mode) for mode in EntryMode}
_ABSENT: Final = (None, 0)
_NAN: Final = math.nan
_JOINT: Final = "-x-"  # neither joins digits of two fields nor hides that a digest begins
_ID_NAME: Final = b'"transaction_id":'
# What may hold a card number: not `ip`, which is an address, and tokenised, or is refused.
_TEXT_FIELDS: Final = (
    "transaction_id",
    "related_id",
    "customer_id",
    "merchant_id",
    "device_id",
    "merchant_name",
    "merchant_time_zone",
)


class _Canonical(Struct, omit_defaults=True, gc=False):
    """What is kept of a transaction; the fields' order is the sorted order of the JSON."""

    amount_minor: int | None = None
    attributes: dict[str, str | float] | None = None
    avs_result: str | None = None
    card_id: str | None = None
    channel: str | None = None
    currency: str | None = None
    customer_id: str | None = None
    cvv_result: str | None = None
    device_id: str | None = None
    entry_mode: str | None = None
    event_time: int | None = None
    ip: str | None = None
    kind: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    merchant_category: str | None = None
    merchant_country: str | None = None
    merchant_id: str | None = None
    merchant_name: str | None = None
    merchant_time_zone: str | None = None
    related_id: str | None = None
    response_code: str | None = None
    transaction_id: str | None = None
    utc_offset_min: int | None = None


class Encoder:
    """Checks, tokenises, prices and packs transactions.

    Parameters
    ----------
    tokeniser : Tokeniser
        Holds the key; equal keys give equal events.
    rates : Rates
        For the amount in the reference currency.
    attributes : tuple of str
        Names of extra fields that are accepted.
    exempt : frozenset of str
        Id fields (of `EXEMPTIBLE`) that the firewall lets pass.
    memo : int
        How many (kind, id) pairs to remember the token of; 0 for none. Worth it for files,
        where the same cards come again; it keeps that many ids in clear in memory.

    Raises
    ------
    SettingsError
        If a name in ``attributes`` holds a card number.
    """

    def __init__(
        self,
        tokeniser: Tokeniser,
        rates: Rates,
        attributes: tuple[str, ...] = (),
        exempt: frozenset[str] = frozenset(),
        memo: int = 0,
    ) -> None:
        assert exempt <= set(EXEMPTIBLE), exempt
        if any(map(contains_card_number, attributes)):
            raise SettingsError("attributes has a name that holds a card number; accepted: words")
        self.tokeniser, self.rates, self.exempt = tokeniser, rates, exempt
        self._attributes = frozenset(attributes)
        self._checked = tuple(name for name in _TEXT_FIELDS if name not in exempt)
        self._texts = operator.attrgetter(*self._checked)
        self._both = lru_cache(memo)(tokeniser.both) if memo else tokeniser.both
        self._json = msgspec.json.Encoder(order="deterministic").encode

    def encode(self, tx: Transaction) -> Imported:
        """Return the event and the canonical JSON of a transaction.

        ``arrival``, ``arrival_ms`` and ``flags`` of the event are 0: the scorer sets them.

        Raises
        ------
        InputError
            If the fields contradict each other or a currency, zone or address is unknown.
        CardNumberError
            If a card number stands outside card_id.
        """
        self._firewall(tx)
        both, hash64, time_ms = self._both, self.tokeniser.hash64, event_time_ms(tx.event_time)
        number, amount_ref = self._money(tx, time_ms)
        latitude, longitude = _coarse(tx)
        category, country, response, cvv, avs = _codes(tx)
        zone, offset, merchant_id = tx.merchant_time_zone, tx.utc_offset_min, tx.merchant_id
        amount, channel, mode = tx.amount_minor, tx.channel, tx.entry_mode
        transaction_id, related_id = tx.transaction_id, tx.related_id
        card = both("card", tx.card_id)
        customer = _ABSENT if tx.customer_id is None else both("customer", tx.customer_id)
        device = _ABSENT if tx.device_id is None else both("device", tx.device_id)
        ip = _ABSENT if tx.ip is None else both("ip", _address(tx.ip))
        event = _EVENT.pack(
            0,
            0,
            time_ms,
            hash64("transaction", transaction_id),
            0 if related_id is None else hash64("transaction", related_id),
            card[1],
            customer[1],
            0 if merchant_id is None else both("merchant", merchant_id)[1],
            device[1],
            ip[1],
            -1 if amount is None else amount,
            amount_ref,
            _NAN if latitude is None else latitude,
            _NAN if longitude is None else longitude,
            number,
            category,
            country,
            response,
            OFFSET_ABSENT if offset is None else offset,
            OFFSET_ABSENT if zone is None else offset_min(zone, time_ms),
            _KINDS[tx.kind],
            _CHANNELS[channel],
            _ENTRY_MODES[mode],
            cvv,
            avs,
            0,
            0,
            0,
        )
        canonical = _Canonical(
            amount,
            self._extra(tx) if tx.attributes else None,
            tx.avs_result,
            card[0],
            channel,
            tx.currency,
            customer[0],
            tx.cvv_result,
            device[0],
            mode,
            time_ms,
            ip[0],
            tx.kind,
            latitude,
            longitude,
            tx.merchant_category,
            tx.merchant_country,
            merchant_id,
            tx.merchant_name,
            zone,
            related_id,
            tx.response_code,
            transaction_id,
            offset,
        )
        return Imported(event, transaction_id, self._json(canonical))

    def renamed(self, row: Imported, public_id: str) -> Imported:
        """Return the same row under another transaction id."""
        event = bytearray(row.event)
        _HASH.pack_into(event, _TRANSACTION_AT, self.tokeniser.hash64("transaction", public_id))
        # Quotes inside JSON text are escaped and attributes come first, so the last match
        # is the field itself.
        head, name, tail = row.canonical.rpartition(_ID_NAME)
        old = self._json(row.public_id)
        assert name, "canonical JSON names its transaction"
        return Imported(
            bytes(event), public_id, head + name + self._json(public_id) + tail[len(old) :]
        )

    def body_hash(self, row: Imported) -> int:
        """Return the keyed 64-bit digest of the canonical JSON: equal bodies, equal digests."""
        return int.from_bytes(self.tokeniser.digest("body", row.canonical)[:8], "little") or 1

    def _firewall(self, tx: Transaction) -> None:
        if contains_card_number(_JOINT.join(filter(None, self._texts(tx)))):
            for name in self._checked:
                if contains_card_number(getattr(tx, name) or ""):
                    raise CardNumberError(name)

    def _money(self, tx: Transaction, time_ms: int) -> tuple[int, int]:
        amount, currency = tx.amount_minor, tx.currency
        if amount is None or currency is None:
            if amount is None and currency is None and tx.kind in _MONEYLESS:
                return 0, -1
            field = "amount_minor" if amount is None else "currency"
            raise InputError(
                field, "nothing", "amount_minor and currency together; kinds with money need both"
            )
        known = CURRENCIES.get(currency)
        if known is None:
            raise InputError("currency", "a code that is no currency", "an ISO 4217 code")
        return known.number, self.rates.to_reference(amount, currency, time_ms)

    def _extra(self, tx: Transaction) -> dict[str, str | float]:
        out = tx.attributes or {}
        for name, value in out.items():
            if name not in self._attributes:
                if contains_card_number(name):
                    raise CardNumberError("attributes")
                near = difflib.get_close_matches(name[:64], self._attributes, n=1)
                accepted = ", ".join(sorted(self._attributes)) or "none; declare it in assay.toml"
                hint = f"did you mean {near[0]}?" if near else accepted
                raise InputError("attributes", "an undeclared name", hint)
            if contains_card_number(value) if isinstance(value, str) else is_card_number(value):
                raise CardNumberError(f"attributes.{name}")
            if not isinstance(value, str) and not math.isfinite(value):
                raise InputError(f"attributes.{name}", "no finite number", "a finite number")
        return out


def _coarse(tx: Transaction) -> tuple[float | None, float | None]:
    """Return the coordinates rounded to 0.01 degrees: a square of about a kilometre."""
    latitude, longitude = tx.latitude, tx.longitude
    if latitude is None or longitude is None:
        if latitude is None and longitude is None:
            return None, None
        field = "latitude" if latitude is None else "longitude"
        raise InputError(field, "nothing", "latitude and longitude together, or neither")
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):  # catches NaN as well
        raise InputError("latitude, longitude", "no place on Earth", "finite degrees")
    return round(latitude * 100) / 100, round(longitude * 100) / 100


def _codes(tx: Transaction) -> tuple[int, int, int, int, int]:
    """Return category, country, response, cvv and avs as numbers.

    The patterns' ``$`` lets a line feed at the end pass, so lengths are checked again.
    """
    category, country, response = tx.merchant_category, tx.merchant_country, tx.response_code
    cvv, avs = tx.cvv_result, tx.avs_result
    if category is not None and len(category) != 4:
        raise InputError("merchant_category", "text of another form", "four digits")
    if country is not None and len(country) != 2:
        raise InputError("merchant_country", "text of another form", "two capital letters")
    if response is not None and len(response) != 2:
        raise InputError("response_code", "text of another form", "two capitals or digits")
    if (cvv is not None and len(cvv) != 1) or (avs is not None and len(avs) != 1):
        raise InputError("cvv_result, avs_result", "text of another form", "one capital letter")
    return (
        0 if category is None else int(category),
        pack2(country),
        pack2(response),
        0 if cvv is None else ord(cvv),
        0 if avs is None else ord(avs),
    )


def _address(text: str) -> str:
    """Return an IP address in its one normal form."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        packed = socket.inet_pton(family, text)
    except (OSError, ValueError):
        if contains_card_number(text):
            raise CardNumberError("ip") from None
        raise InputError(
            "ip", "text that is no IP address", "an IPv4 or IPv6 address such as 192.0.2.1"
        ) from None
    return text if family == socket.AF_INET else socket.inet_ntop(family, packed)
