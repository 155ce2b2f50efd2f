"""A workspace: what a user keeps in git, and beside it, under ``.assay/``, what Assay keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import SettingsError
from assay.settings import Settings, load_settings

_SETTINGS_TOML = """\
# Settings of this workspace; docs/settings.md lists them all with their defaults.
reference_currency = "{currency}"
"""

_FEATURES_PY = '''\
"""The features of this workspace: a FeatureSet named ``features``.

A feature whose fields the data lack is left out when a model is trained.
"""

from assay.features.default_set import default_features

features = default_features()
'''

_FX_CSV = """\
date,currency,rate
"""

_MAPPING_TOML = """\
# Which column of your file is which field; docs/ingest.md explains every key.
# Leave out what the file lacks: an absent field is unknown, not zero.
[fields]
transaction_id = "id"
card_id = "card"                # tokenised on the way in, whatever it looks like
event_time = "time"             # 2026-01-31T12:00:00+01:00; without an offset:
                                # {{ column = "time", zone = "Europe/Lisbon" }}
amount_minor = {{ column = "amount", unit = "major" }}
currency = {{ constant = "{currency}" }}
merchant_id = "merchant"
# customer_id, merchant_category, merchant_country, channel, device_id, latitude, longitude …

[label]
column = "is_fraud"
delay_days = 7                  # how long after the payment the truth was known
"""

_GITIGNORE = ".assay/\n"


@dataclass(frozen=True)
class Workspace:
    """Paths and settings of one workspace."""

    path: Path
    settings: Settings

    @classmethod
    def open(cls, path: Path, **overrides: Any) -> Workspace:
        """Open a folder that `create` made.

        Raises
        ------
        SettingsError
            If the folder is no workspace or a setting is wrong.
        """
        if not (path / "assay.toml").is_file():
            raise SettingsError(
                f"{path} is no workspace (it has no assay.toml); make one with: assay init {path}"
            )
        return cls(path, load_settings(path, **overrides))

    @classmethod
    def create(cls, path: Path, reference_currency: str = "EUR") -> Workspace:
        """Make a workspace; files that are there already stay as they are."""
        for folder in (path, path / "sources", path / ".assay"):
            folder.mkdir(parents=True, exist_ok=True)
        (path / ".assay").chmod(0o700)
        for name, text in {
            "assay.toml": _SETTINGS_TOML.format(currency=reference_currency),
            "features.py": _FEATURES_PY,
            "fx.csv": _FX_CSV,
            "sources/payments.toml": _MAPPING_TOML.format(currency=reference_currency),
            ".gitignore": _GITIGNORE,
        }.items():
            if not (path / name).exists():
                (path / name).write_text(text, encoding="utf-8")
        return cls.open(path)

    @property
    def data(self) -> Path:
        """Folder of everything that Assay writes."""
        return self.path / ".assay"

    @property
    def keys(self) -> Path:
        """Folder of the tokenisation and signing keys, and the hashes of API keys."""
        return self.data / "keys"

    @property
    def api_keys(self) -> Path:
        """File with the hashes of the API keys."""
        return self.keys / "api_keys.json"

    @property
    def tables(self) -> Path:
        """Folder of imported transactions."""
        return self.data / "tables" / "transactions"

    @property
    def models(self) -> Path:
        """Folder of model bundles."""
        return self.data / "models"

    @property
    def journal(self) -> Path:
        """Folder of the scorer's journal."""
        return self.data / "journal"

    @property
    def state(self) -> Path:
        """Folder of the snapshots of the feature state."""
        return self.data / "state"

    @property
    def versions(self) -> Path:
        """Folder of policies and feature sets that decided, by their version."""
        return self.data / "versions"

    @property
    def dead_letters(self) -> Path:
        """Folder of rows that imports refused."""
        return self.data / "dead_letters"

    @property
    def stream(self) -> Path:
        """Folder of the tables that the worker makes of the journal."""
        return self.data / "tables" / "stream"

    @property
    def snapshots(self) -> Path:
        """Folder of the records of dataset versions."""
        return self.data / "tables" / "snapshots"

    @property
    def control(self) -> Path:
        """The control database."""
        return self.data / "control.sqlite"

    @property
    def run(self) -> Path:
        """Folder of what running processes tell each other: addresses, locks, logs."""
        return self.data / "run"

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.path / "policy.toml"

    @property
    def fx(self) -> Path:
        """The table of exchange rates."""
        return self.path / "fx.csv"
