import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from assay.datasets.table import TransactionTable
from assay.ingest.decode import decode
from assay.ingest.encode import Encoder
from assay.ingest.importer import import_file, read_transactions
from assay.ingest.mapping import Mapping
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser

_ROOT = Path(__file__).parents[2]
_DATA = _ROOT.parent / "shared" / "data"
_ROWS = 5_000
_NOW_MS = 1_770_000_000_000


def _slice(name: str, folder: Path) -> Path:
    source = _DATA / name / "transactions.parquet"
    if not source.exists():
        pytest.skip("the shared files are not here")
    path = folder / f"{name}.parquet"
    pl.read_parquet(source, n_rows=_ROWS).write_parquet(path)
    return path


def _encoder(reference: str) -> Encoder:
    return Encoder(Tokeniser(bytes(32)), Rates(reference), memo=10_000)


def test_handbook_lacks_places_and_devices(tmp_path: Path, table: TransactionTable) -> None:
    """Fields that the file lacks are absent from the table's fields, not zeros."""
    path = _slice("handbook", tmp_path)
    mapping = Mapping.load(_ROOT / "docs/examples/handbook.toml")
    report = import_file(
        path, mapping, _encoder("EUR"), table, tmp_path / "dead.jsonl", now_ms=_NOW_MS
    )
    history = table.read()
    assert report.accepted == len(history.events) == _ROWS
    source = pl.read_parquet(path)
    cents = (source["TX_AMOUNT"] * 100).round().cast(pl.Int64).sum()
    assert history.events["amount_minor"].sum() == cents
    assert history.fraud.sum() == source["TX_FRAUD"].sum()
    assert {"card", "customer", "merchant", "amount_ref"} <= history.fields
    assert not {"latitude", "device", "ip", "category", "channel"} & history.fields


def test_no_sparkov_card_is_in_any_byte_written(
    tmp_path: Path, table: TransactionTable, make_encoder: Callable[..., Encoder]
) -> None:
    """No card, twelve digits or more, is found in tables, dead letters, reports or events."""
    path = _slice("sparkov", tmp_path)
    mapping = Mapping.load(_ROOT / "docs/examples/sparkov.toml")
    dead = tmp_path / "out" / "dead.jsonl"
    report = import_file(path, mapping, _encoder("USD"), table, dead, now_ms=_NOW_MS)
    assert report.accepted == _ROWS
    spoiled = tmp_path / "spoiled.csv"
    frame = pl.read_parquet(path).with_columns(merchant="cc_num", category=pl.lit("none"))
    frame.head(500).write_csv(spoiled)
    text = spoiled.read_text().splitlines()
    spoiled.write_text("\n".join([*text, *(line + ',"' for line in text[1:100])]))
    bad = import_file(spoiled, mapping, make_encoder(), table, dead, now_ms=_NOW_MS)
    assert bad.rejected == bad.read
    written = [file.read_bytes() for file in (tmp_path / "table").iterdir()]
    written += [dead.read_bytes(), json.dumps(vars(report) | vars(bad)).encode()]
    frames = [pl.read_parquet(file) for file in (tmp_path / "table").glob("*.parquet")]
    written += [frame.write_csv().encode() for frame in frames]
    cards = pl.read_parquet(path)["cc_num"].unique().to_list()
    assert {len(card) for card in cards} >= {12, 16}
    for card in cards:
        assert not any(card.encode() in content for content in written)


def test_sparkov_replays_under_the_imported_ids(tmp_path: Path, table: TransactionTable) -> None:
    """The made ids of a replay are those of the import, and its bodies pass the same door."""
    path = _slice("sparkov", tmp_path)
    mapping = Mapping.load(_ROOT / "docs/examples/sparkov.toml")
    import_file(path, mapping, _encoder("USD"), table, tmp_path / "dead.jsonl", now_ms=_NOW_MS)
    encoder = _encoder("USD")
    replayed = list(read_transactions(path, mapping, encoder))
    rows = [encoder.encode(decode(body)) for body, _ in replayed]
    history = table.read()
    history.events["arrival"] = history.events["arrival_ms"] = 0
    assert [row.public_id for row in rows] == history.transaction_ids.to_list()
    assert b"".join(row.event for row in rows) == history.events.tobytes()
    assert [fraud for _, fraud in replayed] == [bool(code) for code in history.fraud]
