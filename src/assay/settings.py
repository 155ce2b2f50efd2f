"""The settings table: every name, default, unit and help text, read once.

A setting comes from the environment (``ASSAY_`` + the name in capitals), else from
``assay.toml`` in the workspace, else from its default.
An unknown name is refused with the nearest match.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from assay.errors import SettingsError


def _setting(default: Any, unit: str, help_text: str) -> Any:
    return field(default=default, metadata={"unit": unit, "help": help_text})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a user may set. Field metadata hold ``unit`` and ``help``."""

    host: str = _setting("127.0.0.1", "", "address the scorer listens on")
    port: int = _setting(8686, "", "port the scorer listens on; 0 takes a free one")
    reference_currency: str = _setting("EUR", "", "ISO 4217 currency that amounts are compared in")
    lateness_s: int = _setting(
        3600, "s", "how far behind the newest event one may be and still enter its windows"
    )
    entities_max: int = _setting(
        2_000_000, "", "most cards (and customers, merchants, devices) kept at once, each"
    )
    entity_events_max: int = _setting(
        64_000_000, "", "most events kept per kind of entity within 90 days"
    )
    batch_rows_max: int = _setting(256, "", "most transactions decided in one pass")
    queue_rows_max: int = _setting(4096, "", "most transactions waiting; beyond it: 503")
    body_bytes_max: int = _setting(65_536, "B", "largest request body")
    segment_mb: int = _setting(256, "MB", "size at which a journal segment is closed")
    journal_days: int = _setting(
        400, "d", "how long sealed segments of the journal are kept; 0 is for ever"
    )
    disk_reserve_mb: int = _setting(
        64, "MB", "free disk below which the journal takes nothing more: requests get 503"
    )
    disk_alarm_percent: int = _setting(
        85, "%", "how full the journal's disk may be before there is an alarm"
    )
    snapshot_records: int = _setting(
        200_000, "", "most journal records between two snapshots of the feature state"
    )
    snapshot_s: int = _setting(
        30, "s", "longest time between two snapshots of the feature state, when there is traffic"
    )
    keep_state: str = _setting(
        "on", "", "on or off: the worker keeps the feature state too, for snapshots and checks"
    )
    sync_standby: str = _setting(
        "", "", "host:port of the standby that must have a record on its disk before its answer"
    )
    standby_host: str = _setting("127.0.0.1", "", "address that a standby listens on")
    standby_port: int = _setting(8689, "", "port that a standby listens on; 0 takes a free one")
    standby_tls: str = _setting(
        "", "", "folder with ca.pem, cert.pem and key.pem: TLS both ways between scorer and standby"
    )
    idempotency_ids_max: int = _setting(
        50_000_000, "", "most transaction ids remembered for repeats"
    )
    idempotency_h: int = _setting(24, "h", "how long a transaction id is remembered for repeats")
    label_delay_days: int = _setting(
        7, "d", "gap between training and test so that late labels count as late"
    )
    label_maturity_days: int = _setting(
        30, "d", "age at which a payment without a label counts as genuine"
    )
    console_port: int = _setting(8687, "", "port the console listens on; 0 takes a free one")
    console_url: str = _setting(
        "", "", "address that browsers know the console by, behind a proxy that ends TLS: https://…"
    )
    worker_port: int = _setting(
        8688, "", "port of the worker's health and metrics; 0 takes a free one"
    )
    monitor_bucket_s: int = _setting(60, "s", "width of the bars that volumes are counted in")
    drift_window_h: int = _setting(24, "h", "stretch of traffic that is compared with training")
    table_flush_s: int = _setting(
        5, "s", "how often the worker adds what was decided to the tables"
    )
    attributes: tuple[str, ...] = _setting((), "", "names of extra transaction fields accepted")
    exempt: tuple[str, ...] = _setting(
        (), "", "id fields whose values may look like card numbers: transaction_id, merchant_id …"
    )

    def __post_init__(self) -> None:
        """Check ranges and relations between settings."""
        low = {
            "lateness_s": 0,
            "entities_max": 1024,
            "entity_events_max": 65_536,
            "batch_rows_max": 1,
            "queue_rows_max": 1,
            "body_bytes_max": 1024,
            "segment_mb": 1,
            "idempotency_ids_max": 1024,
            "idempotency_h": 1,
            "label_delay_days": 0,
            "label_maturity_days": 0,
            "monitor_bucket_s": 1,
            "drift_window_h": 1,
            "table_flush_s": 1,
            "journal_days": 0,
            "disk_reserve_mb": 1,
            "disk_alarm_percent": 1,
            "snapshot_records": 1000,
            "snapshot_s": 1,
        }
        for name, least in low.items():
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}; accepted: {least} or more")
        for name in ("port", "console_port", "worker_port", "standby_port"):
            if not 0 <= getattr(self, name) <= 65_535:
                raise SettingsError(f"{name} is {getattr(self, name)}; accepted: 0 to 65535")
        if self.queue_rows_max < self.batch_rows_max:
            raise SettingsError(
                f"queue_rows_max is {self.queue_rows_max}; "
                f"accepted: at least batch_rows_max ({self.batch_rows_max})"
            )
        if self.lateness_s > 30 * 86_400:
            raise SettingsError(f"lateness_s is {self.lateness_s}; accepted: at most 30 days")
        if self.keep_state not in {"on", "off"}:
            raise SettingsError(f"keep_state is {self.keep_state!r}; accepted: on, off")
        least_days = 90 + -(-self.lateness_s // 86_400) + self.label_maturity_days
        if 0 < self.journal_days < least_days:
            raise SettingsError(
                f"journal_days is {self.journal_days}; accepted: 0, or at least {least_days}: what "
                "features look back at, lateness_s and label_maturity_days"
            )


def load_settings(
    workspace: Path | None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Read the settings of a workspace.

    Parameters
    ----------
    workspace : Path or None
        Folder that holds ``assay.toml``; None takes the defaults.
    environ : Mapping, optional
        The environment; the process's own by default.
    overrides
        Values that win over both, such as a command-line option.

    Raises
    ------
    SettingsError
        If a name is unknown, a value has the wrong type, or two contradict each other.
    """
    values: dict[str, Any] = {}
    if workspace is not None and (path := workspace / "assay.toml").exists():
        values |= _read_toml(path)
    for key, text in (os.environ if environ is None else environ).items():
        if key.startswith("ASSAY_") and key not in NO_SETTINGS:
            name = key.removeprefix("ASSAY_").lower()
            _check_name("the environment", name, f"ASSAY_{name.upper()}")
            values[name] = _parse(name, text)
    values |= {name: value for name, value in overrides.items() if value is not None}
    return Settings(**values)


_TYPES: dict[str, type] = {f.name: type(f.default) for f in fields(Settings)}


NO_SETTINGS = frozenset({"ASSAY_API_KEY", "ASSAY_CACHE", "ASSAY_DEBUG"})
"""Variables that are read elsewhere."""


def _check_name(where: str, name: str, shown: str) -> None:
    if name not in _TYPES:
        near = difflib.get_close_matches(name, _TYPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(_TYPES)}"
        raise SettingsError(f"{where}: unknown setting {shown!r}; {hint}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not TOML: {error}") from None
    out = {}
    for name, value in document.items():
        _check_name(path.name, name, name)
        typed = tuple(value) if isinstance(value, list) else value
        if type(typed) is not _TYPES[name]:
            raise SettingsError(
                f"{path.name}: {name} is {value!r}; accepted: a value of type "
                f"{_TYPES[name].__name__}"
            )
        out[name] = typed
    return out


def _parse(name: str, text: str) -> Any:
    kind = _TYPES[name]
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise SettingsError(
                f"ASSAY_{name.upper()} is {text!r}; accepted: a whole number"
            ) from None
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text
