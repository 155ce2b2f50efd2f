"""The door: what turns the bytes of a caller or a file into safe rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay import durable
from assay.clock import Clock, SystemClock
from assay.errors import (
    CardNumberError,
    SettingsError,
)
from assay.ingest.decode import decode
from assay.ingest.encode import EXEMPTIBLE, Encoder
from assay.ingest.firewall import contains_card_number
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser, load_or_create_key
from assay.records import Imported
from assay.serving.keys import create_key
from assay.workspace import Workspace

if TYPE_CHECKING:
    pass


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


@dataclass(frozen=True)
class Door:
    """Decodes, checks and tokenises the body of a request."""

    encoder: Encoder

    def admit(self, body: bytes) -> tuple[Imported, int]:
        """Return the safe row and the keyed digest of its canonical form."""
        row = self.encoder.encode(decode(body))
        return row, self.encoder.body_hash(row)

    def check_path(self, path: str) -> None:
        """Refuse a path with a card number in it."""
        if contains_card_number(path):
            raise CardNumberError("path")


def create_api_key(workspace: Workspace, name: str, clock: Clock | None = None) -> str:
    """Make an API key and return its secret, which cannot be had again."""
    return create_key(workspace.api_keys, name, clock or SystemClock())
