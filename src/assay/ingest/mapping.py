"""A mapping: which column of a user's file is which field of a transaction."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import polars as pl
from msgspec import Meta, Struct

from assay.errors import SettingsError
from assay.ingest import columns
from assay.ingest.encode import EXEMPTIBLE
from assay.ingest.firewall import contains_card_number, masked
from assay.ingest.zones import NAMES
from assay.records import DAY_MS, Transaction

FIELDS: Final = tuple(name for name in Transaction.__struct_fields__ if name != "attributes")
SECRET: Final = ("card_id", "customer_id", "device_id", "ip")
"""Fields whose clear value is never written."""

_READERS: Final = {
    "utc_offset_min": columns.whole,
    "latitude": columns.real,
    "longitude": columns.real,
    "merchant_category": columns.categories,
}


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one field comes from: a column, or a constant."""

    column: str | None = None
    constant: str | int | float | None = None
    values: dict[str, str | int | float] | None = None
    """Translation of the column's values."""
    others: Literal["reject", "absent"] = "reject"
    """What becomes of a value that `values` does not hold."""
    unit: Literal["s", "ms", "major", "minor"] | None = None
    zone: str | None = None
    format: str | None = None


class LabelSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the truth comes from, and when it was known: a column, or a fixed delay."""

    column: str
    delay_days: Annotated[float, Meta(ge=0, le=3650)] | None = None
    reported_at: Source | str | None = None


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    fields: dict[str, Source | str]
    attributes: dict[str, Source | str] = {}
    label: LabelSource | None = None
    exempt: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","


class Mapping:
    """How the columns of a file become transactions and labels.

    Attributes
    ----------
    exempt : frozenset of str
        Id fields that the card-number firewall lets pass.
    delimiter : str
        Of a CSV file.
    digest : str
        Of the mapping's text.
    makes_id : bool
        Whether the file has no transaction id, so that one is made from each row.
    """

    def __init__(self, document: _Document, digest: str) -> None:
        self._fields = {name: _source(source) for name, source in document.fields.items()}
        self._attributes = {name: _source(source) for name, source in document.attributes.items()}
        self._label = document.label
        self._ignored = document.ignore
        self.exempt = frozenset(document.exempt)
        self.delimiter = document.delimiter
        self.digest = digest
        self.makes_id = "transaction_id" not in self._fields
        self._check()

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a mapping from TOML.

        Raises
        ------
        SettingsError
            If the file is missing, not TOML, or names a field that does not exist.
        """
        try:
            return cls.parse(path.read_bytes())
        except OSError as error:
            raise SettingsError(
                f"the mapping {path.name} cannot be read: {error.strerror}"
            ) from None
        except SettingsError as error:
            raise SettingsError(f"{path.name}: {error}") from None

    @classmethod
    def parse(cls, text: bytes) -> Mapping:
        """Read a mapping from the bytes of a TOML document."""
        try:
            document = msgspec.convert(tomllib.loads(text.decode()), _Document)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError(f"not TOML: {error}") from None
        except msgspec.ValidationError as error:
            raise SettingsError(f"{error}") from None
        return cls(document, hashlib.sha256(text).hexdigest())

    def columns(self) -> frozenset[str]:
        """Return the names of all columns that are read."""
        names = {source.column for source in self._sources().values() if source.column}
        if self._label is not None:
            names.add(self._label.column)
            reported = self._reported()
            if reported is not None and reported.column:
                names.add(reported.column)
        return frozenset(names)

    def secret_columns(self) -> frozenset[str]:
        """Return the names of columns whose clear values must never be written."""
        sources = (self._fields.get(name) for name in SECRET)
        return frozenset(source.column for source in sources if source and source.column)

    def unmapped(self, present: list[str]) -> list[str]:
        """Return the columns of a file that are neither read nor on the ignore list.

        Raises
        ------
        SettingsError
            If a mapped column is missing; names the nearest one.
        """
        for name in sorted(self.columns()):
            if name not in present:
                near = difflib.get_close_matches(name, present, n=1)
                shown = ", ".join(repr(masked(column[:40])) for column in present[:40])
                hint = f"did you mean {masked(near[0])!r}?" if near else f"the file has: {shown}"
                raise SettingsError(f"column {name!r} is mapped but missing; {hint}")
        return [name for name in present if name not in self.columns() | set(self._ignored)]

    def apply(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, pl.Series]]:
        """Translate a piece of a file.

        Returns
        -------
        DataFrame
            One column per mapped field; attributes as ``attributes.NAME``; the label as
            ``label`` (1, 0, -1 unknown) and ``reported_ms`` (-1 unknown).
        dict of str to boolean Series
            Per field with any: the rows whose value could not be read.
        """
        out: dict[str, pl.Series] = {}
        bad: dict[str, pl.Series] = {}
        for name, source in self._sources().items():
            if name != "amount_minor":
                _put(out, bad, self._read(name, source, raw).alias(name), raw, source)
        if (money := self._fields.get("amount_minor")) is not None:
            amount = _amount(money, raw, out.get("currency"))
            _put(out, bad, amount.alias("amount_minor"), raw, money)
        if self._label is not None:
            self._put_label(out, bad, raw)
        return pl.DataFrame(out), {name: rows for name, rows in bad.items() if rows.any()}

    def _sources(self) -> dict[str, Source]:
        return self._fields | {f"attributes.{k}": v for k, v in self._attributes.items()}

    def _reported(self) -> Source | None:
        reported = self._label.reported_at if self._label else None
        return None if reported is None else _source(reported)

    def _read(self, name: str, source: Source, raw: pl.DataFrame) -> pl.Series:
        column = _column(source, raw)
        if name == "event_time":
            return columns.times(column, source.unit, source.zone, source.format)
        if name.startswith("attributes."):
            return columns.real(column) if column.dtype.is_numeric() else columns.text(column)
        return _READERS.get(name, columns.text)(column)

    def _put_label(
        self, out: dict[str, pl.Series], bad: dict[str, pl.Series], raw: pl.DataFrame
    ) -> None:
        assert self._label is not None
        source = Source(column=self._label.column)
        labels = columns.labels(raw[self._label.column])
        _put(out, bad, labels.alias("label"), raw, source)
        reported = self._reported()
        if reported is None:
            assert self._label.delay_days is not None
            when = out["event_time"] + int(self._label.delay_days * DAY_MS)
        else:
            when = columns.times(
                _column(reported, raw), reported.unit, reported.zone, reported.format
            )
            _put(out, bad, when.alias("reported_ms"), raw, reported)
        unknown = when.is_null() | (out["label"] == -1).fill_null(value=True)
        out["reported_ms"] = when.set(unknown, -1)

    def _check(self) -> None:
        for name in self._fields:
            if name not in FIELDS:
                raise SettingsError(f"unknown field {name!r}; {_nearest(name, FIELDS)}")
        for name in ("event_time", "card_id"):
            if name not in self._fields:
                raise SettingsError(f"field {name} is not mapped; accepted: a column for it")
        if any(map(contains_card_number, self._attributes)):
            raise SettingsError("an attribute's name holds a card number; accepted: words")
        for name in self.exempt - set(EXEMPTIBLE):
            raise SettingsError(f"exempt holds {name!r}; {_nearest(name, EXEMPTIBLE)}")
        for name, source in self._sources().items():
            _check_source(name, source)
        if (reported := self._reported()) is not None:
            _check_source("event_time", reported)
        if self._label and (self._label.delay_days is None) == (self._label.reported_at is None):
            raise SettingsError("label: accepted: one of delay_days and reported_at")


def _source(source: Source | str) -> Source:
    return Source(column=source) if isinstance(source, str) else source


def _check_source(name: str, source: Source) -> None:
    if (source.column is None) == (source.constant is None):
        raise SettingsError(f"field {name}: accepted: one of column and constant")
    if source.values is not None and source.column is None:
        raise SettingsError(f"field {name}: values translate a column, and there is none")
    units = {"event_time": ("s", "ms"), "amount_minor": ("major", "minor")}.get(name, ())
    if source.unit is not None and source.unit not in units:
        accepted = " or ".join(units) or "no unit"
        raise SettingsError(f"field {name}: unit is {source.unit!r}; accepted: {accepted}")
    if name == "amount_minor" and source.unit is None:
        raise SettingsError("field amount_minor has no unit; accepted: unit = 'major' or 'minor'")
    if name != "event_time" and (source.zone or source.format):
        raise SettingsError(f"field {name}: zone and format are for times alone")
    if source.zone is not None and source.zone not in NAMES:
        raise SettingsError(f"field {name}: zone is {source.zone!r}; accepted: an IANA name")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"accepted: {', '.join(known)}"


def _column(source: Source, raw: pl.DataFrame) -> pl.Series:
    if source.column is None:
        return pl.Series([source.constant]).new_from_index(0, len(raw))
    column = raw[source.column]
    if source.values is None:
        return column
    values = {key: str(value) for key, value in source.values.items()}
    return columns.text(column).replace_strict(values, default=None, return_dtype=pl.String)


def _amount(source: Source, raw: pl.DataFrame, currency: pl.Series | None) -> pl.Series:
    column = _column(source, raw)
    if source.unit == "minor":
        return columns.whole(column)
    return columns.amounts(column, currency if currency is not None else column.cast(pl.String))


def _put(
    out: dict[str, pl.Series],
    bad: dict[str, pl.Series],
    values: pl.Series,
    raw: pl.DataFrame,
    source: Source,
) -> None:
    out[values.name] = values
    if source.column is None or values.null_count() == 0 or source.others == "absent":
        return
    given = columns.text(raw[source.column]).is_not_null()
    bad[values.name] = values.is_null() & given
