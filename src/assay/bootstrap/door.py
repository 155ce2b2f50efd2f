"""The door: what turns the bytes of a caller or a file into safe rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct

from assay import durable
from assay.clock import Clock, SystemClock
from assay.errors import CardNumberError, InputError, SettingsError
from assay.ingest.decode import decode, decode_label, event_time_ms
from assay.ingest.encode import EXEMPTIBLE, Encoder
from assay.ingest.firewall import contains_card_number
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser, load_or_create_key
from assay.records import (
    EVENT,
    FUTURE_ALLOWANCE_MS,
    Imported,
    Label,
    LabelReport,
    ResolvedLabel,
)
from assay.serving.keys import create_key, internal_secret
from assay.workspace import Workspace

IMPORT_MEMO = 1_000_000
"""Tokens that an import remembers: the same cards come again and again."""


def make_encoder(workspace: Workspace, memo: int = 0) -> Encoder:
    """Return the encoder of a workspace: its key, its rates, its attributes and exemptions."""
    settings = workspace.settings
    exempt = frozenset(settings.exempt)
    if not exempt <= set(EXEMPTIBLE):
        raise SettingsError(f"exempt is {sorted(exempt)}; accepted: any of {list(EXEMPTIBLE)}")
    return Encoder(
        make_tokeniser(workspace),
        Rates.load(workspace.fx, settings.reference_currency),
        settings.attributes,
        exempt,
        memo,
    )


def make_tokeniser(workspace: Workspace) -> Tokeniser:
    """Return the tokeniser with the workspace's key; the very first call makes the key.

    Raises
    ------
    SettingsError
        If the key is missing or another than the one that tokenised what is there: under another
        key no card would be recognised, and every one would look new.
    """
    path, check = workspace.keys / "token.key", workspace.data / "token.check"
    if check.exists() and not path.exists():
        raise SettingsError(f"{path} is missing; accepted: the workspace's own key, restore it")
    tokeniser = Tokeniser(load_or_create_key(path))
    fingerprint = tokeniser.digest("row", b"key check").hex()[:32]
    if not check.exists():
        durable.replace(check, fingerprint.encode())
    elif check.read_text("ascii") != fingerprint:
        raise SettingsError(
            f"{path} is not the key of this workspace; accepted: the key that tokenised its "
            "history, restore it"
        )
    return tokeniser


LABELS_MAX: Final = 1000
"""Most labels in one request."""

_LABELS_ACCEPTED: Final = f"one label, or an array of 1 to {LABELS_MAX}"
_RESOLVED_ACCEPTED: Final = (
    f"an array of 1 to {LABELS_MAX} of report, fraud, reported_ms and event, 128 bytes in base64"
)


class _Resolved(Struct, frozen=True, forbid_unknown_fields=True):
    report: Annotated[int, Meta(ge=1, lt=2**53)]
    fraud: bool
    reported_ms: Annotated[int, Meta(ge=0, lt=2**53)]
    event: Annotated[bytes, Meta(min_length=EVENT.itemsize, max_length=EVENT.itemsize)]


_ARRAY: Final = Meta(min_length=1, max_length=LABELS_MAX)
_many: Final = msgspec.json.Decoder(Annotated[list[Label], _ARRAY])
_raw: Final = msgspec.json.Decoder(Annotated[list[msgspec.Raw], _ARRAY])
_resolved: Final = msgspec.json.Decoder(Annotated[list[_Resolved], _ARRAY])


@dataclass(frozen=True)
class Door:
    """Decodes, checks and tokenises the body of a request."""

    encoder: Encoder
    clock: Clock

    def admit(self, body: bytes) -> tuple[Imported, int]:
        """Return the safe row and the keyed digest of its canonical form."""
        row = self.encoder.encode(decode(body))
        return row, self.encoder.body_hash(row)

    def reports(self, body: bytes, source: str) -> list[LabelReport]:
        """Return the labels of a body: one, or an array of up to a thousand."""
        latest_ms = self.clock.now_ms() + FUTURE_ALLOWANCE_MS
        reports = []
        for i, label in enumerate(_labels(body)):
            try:
                reported_ms = self._check(label, latest_ms)
            except InputError as error:
                raise _numbered(error, i) from None
            name = label.transaction_id
            reports.append(LabelReport(0, 0, name, label.fraud, reported_ms, source))
        return reports

    def _check(self, label: Label, latest_ms: int) -> int:
        """Return when an acceptable label was reported, UTC milliseconds."""
        name = label.transaction_id
        if "transaction_id" not in self.encoder.exempt and contains_card_number(name):
            raise CardNumberError("transaction_id")
        reported_ms = event_time_ms(label.reported_at, "reported_at")
        if reported_ms > latest_ms:
            raise InputError("reported_at", "a time to come", "a time that has passed")
        return reported_ms

    def resolved(self, body: bytes) -> list[ResolvedLabel]:
        """Return an array of labels that the worker matched with their transactions."""
        try:
            rows = _resolved.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InputError("", "no array of resolved labels", _RESOLVED_ACCEPTED) from None
        return [
            ResolvedLabel(0, 0, r.report, r.fraud, r.reported_ms, np.frombuffer(r.event, EVENT))
            for r in rows
        ]

    def check_path(self, path: str) -> None:
        """Refuse a path with a card number in it."""
        if contains_card_number(path):
            raise CardNumberError("path")


def _labels(body: bytes) -> list[Label]:
    if not body.lstrip().startswith(b"["):
        return [decode_label(body)]
    try:
        labels: list[Label] = _many.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _which(body) from None
    return labels


def _which(body: bytes) -> InputError:
    """Return the error that names the row of an array that is not acceptable."""
    whole = InputError("", "bytes that are no array of labels", _LABELS_ACCEPTED)
    try:
        rows = _raw.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return whole
    for i, row in enumerate(rows):
        try:
            decode_label(bytes(row))
        except InputError as error:
            return _numbered(error, i)
    return whole


def _numbered(error: InputError, index: int) -> InputError:
    """Return the same error of one row of an array."""
    field = f"[{index}].{error.field}" if error.field else f"[{index}]"
    if isinstance(error, CardNumberError):
        return CardNumberError(field)
    return InputError(field, error.got, error.accepted)


def create_api_key(workspace: Workspace, name: str, clock: Clock | None = None) -> str:
    """Make an API key and return its secret, which cannot be had again."""
    return create_key(workspace.api_keys, name, clock or SystemClock())


def internal_key(workspace: Workspace, clock: Clock | None = None) -> str:
    """Return the key by which the workspace's own processes know each other, made if missing."""
    return internal_secret(workspace.keys, workspace.api_keys, clock or SystemClock())
