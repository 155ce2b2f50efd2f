from __future__ import annotations

from pathlib import Path

import polars as pl

from assay.feedback.resolve import Resolver
from assay.records import EVENT, empty_events

STORED = [name for name in EVENT.names if not name.startswith("reserved")]


def part(path: Path, ids: dict[str, int], card: int, **columns: object) -> Path:
    events = empty_events(len(ids))
    events["transaction"], events["card"] = list(ids.values()), card
    events["event_time"] = 77
    frame = pl.DataFrame({name: events[name] for name in STORED})
    frame.with_columns(transaction_id=pl.Series([*ids]), **columns).write_parquet(path)
    return path


def test_two_ids_with_one_hash(tmp_path: Path) -> None:
    """Both transactions of a shared hash are found, each under its own id."""
    parts = [part(tmp_path / "1.parquet", {"a": 5, "b": 5, "c": 2**64 - 1}, card=3)]
    found = Resolver(lambda: parts).find({5})
    assert sorted(found) == ["a", "b"]
    assert int(found["a"].event["card"][0]) == 3
    assert found["a"].event["arrival_ms"][0] == 77  # an import carries its event time
    assert [*Resolver(lambda: parts).find({2**64 - 1})] == ["c"]


def test_imported_labels(tmp_path: Path) -> None:
    """The label of an import is known; -1 is none."""
    labels = {"fraud": pl.Series([1, -1], dtype=pl.Int8), "reported_ms": pl.Series([9, -1])}
    parts = [part(tmp_path / "1.parquet", {"a": 5, "b": 6}, card=3, **labels)]
    found = Resolver(lambda: parts).find({5, 6})
    assert found["a"].label == (9, True)
    assert found["b"].label is None


def test_only_new_files_are_searched(tmp_path: Path) -> None:
    """What came since the last call is found once, and the newest file wins."""
    parts = [part(tmp_path / "1.parquet", {"a": 5}, card=1)]
    resolver = Resolver(lambda: parts)
    assert resolver.arrived({5, 6}) == {5}
    assert resolver.arrived({5, 6}) == set()
    parts.append(part(tmp_path / "2.parquet", {"a": 5, "d": 6}, card=2))
    assert resolver.arrived({6, 7}) == {6}
    assert int(resolver.find({5})["a"].event["card"][0]) == 2


def test_every_column_comes_back(tmp_path: Path) -> None:
    """An event is found as it was stored, absent fields included."""
    parts = [part(tmp_path / "1.parquet", {"a": 5}, card=1)]
    event = Resolver(lambda: parts).find({5})["a"].event
    expected = empty_events(1)
    expected["transaction"], expected["card"] = 5, 1
    expected["event_time"] = expected["arrival_ms"] = 77
    assert event.tobytes() == expected.tobytes()
