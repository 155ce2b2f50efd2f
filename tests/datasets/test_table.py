import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.clock import VirtualClock
from assay.datasets.table import TransactionTable
from assay.errors import DatasetError
from assay.records import EVENT, empty_events


def _append(table: TransactionTable, times: list[int], ids: list[str], **extra: object) -> None:
    events = empty_events(len(times))
    events["event_time"] = times
    events["card"] = 7
    events["transaction"] = [hash(name) % 1000 + 1 for name in ids]
    table.append(
        events,
        pl.Series(ids),
        np.arange(1, len(ids) + 1, dtype=np.uint64),
        np.full(len(ids), 1, np.int8),
        np.full(len(ids), 9, np.int64),
        provenance={"source": "x.csv", "fields": ["merchant_name"], **extra},
    )


def test_imports_are_read_as_one_sorted_history(tmp_path: Path) -> None:
    """Rows of several imports come by (time, id), numbered from 1, arrival at event time."""
    table = TransactionTable(tmp_path / "t", VirtualClock(5))
    _append(table, [10, 30], ["b", "c"])
    _append(table, [10, 20], ["a", "d"])
    history = table.read()
    assert history.events.dtype == EVENT
    assert history.transaction_ids.to_list() == ["a", "b", "d", "c"]
    assert history.events["arrival"].tolist() == [1, 2, 3, 4]
    assert history.events["arrival_ms"].tolist() == [10, 10, 20, 30]
    assert np.isnan(history.events["latitude"]).all()
    assert {"card", "event_time", "transaction", "merchant_name"} == history.fields
    assert sorted(table.known()[1].tolist()) == [1, 1, 2, 2]
    manifest = json.loads((tmp_path / "t" / "manifest.json").read_text())
    assert [entry["created_ms"] for entry in manifest["imports"]] == [5, 5]


def test_snapshot_is_of_the_contents(tmp_path: Path) -> None:
    """Equal contents have equal snapshots; more rows, another one."""
    tables = [TransactionTable(tmp_path / name, VirtualClock(n)) for n, name in enumerate("ab")]
    for table in tables:
        _append(table, [10], ["x"], source=str(table))
    assert tables[0].read().snapshot == tables[1].read().snapshot
    _append(tables[0], [11], ["y"])
    assert tables[0].read().snapshot != tables[1].read().snapshot


def test_an_older_snapshot_can_be_read(tmp_path: Path) -> None:
    """A snapshot names the rows that were there then; one that never was is refused."""
    table = TransactionTable(tmp_path)
    _append(table, [10], ["x"])
    before = table.read().snapshot
    _append(table, [11], ["y"])
    assert table.read(before).transaction_ids.to_list() == ["x"]
    assert (table.rows(before), table.rows()) == (1, 2)
    with pytest.raises(DatasetError, match="never had snapshot 0000"):
        table.read("0" * 64)


def test_an_empty_table_has_a_snapshot(tmp_path: Path) -> None:
    """A table without rows is read as one, and its snapshot stays readable after an import."""
    table = TransactionTable(tmp_path)
    empty = table.read()
    assert (len(empty.events), len(empty.transaction_ids), empty.fields) == (0, 0, frozenset())
    assert table.rows() == table.rows(empty.snapshot) == 0
    _append(table, [10], ["x"])
    assert len(table.read(empty.snapshot).events) == 0


def test_damage_is_noticed(tmp_path: Path) -> None:
    """One changed byte, a missing file and a broken manifest each raise DatasetError."""
    table = TransactionTable(tmp_path)
    _append(table, [10], ["x"])
    [file] = tmp_path.glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{file.name} is damaged"):
        table.read()
    file.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        table.known()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DatasetError, match="of the table is damaged"):
        table.read()


def test_a_file_without_an_entry_does_not_count(tmp_path: Path) -> None:
    """What a crash leaves before the manifest is replaced is not part of the table."""
    table = TransactionTable(tmp_path)
    _append(table, [10], ["x"])
    manifest = (tmp_path / "manifest.json").read_bytes()
    _append(table, [11], ["y"])
    (tmp_path / "manifest.json").write_bytes(manifest)
    assert table.read().transaction_ids.to_list() == ["x"]
    _append(table, [11], ["y"])
    assert table.read().transaction_ids.to_list() == ["x", "y"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer is refused until the first is done."""
    first, second = TransactionTable(tmp_path), TransactionTable(tmp_path)
    with first.writing(), pytest.raises(DatasetError, match="another import"), second.writing():
        pass
    with second.writing():
        pass
