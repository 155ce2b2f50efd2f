from __future__ import annotations

from pathlib import Path

import pytest

from assay.datasets.snapshots import Snapshot, read_snapshot, read_snapshots, write_snapshot
from assay.errors import DatasetError


def snapshot(digest: str, created_ms: int) -> Snapshot:
    return Snapshot(digest, created_ms, ["ab"], "abc", 700, 10, 5, 2, 15, 1)


def test_records_are_read_as_written(tmp_path: Path) -> None:
    """A record comes back whole by its digest, and all of them newest first."""
    old, new = snapshot("a" * 64, 1), snapshot("b" * 64, 2)
    for one in (new, old):
        write_snapshot(tmp_path / "s", one)
    assert read_snapshot(tmp_path / "s", "a" * 64) == old
    assert read_snapshots(tmp_path / "s") == ([new, old], [])


def test_the_first_record_stays(tmp_path: Path) -> None:
    """Training again on the same rows does not change when they were first used."""
    write_snapshot(tmp_path, snapshot("a" * 64, 1))
    write_snapshot(tmp_path, snapshot("a" * 64, 9))
    assert read_snapshot(tmp_path, "a" * 64).created_ms == 1


def test_missing_and_damaged_records_are_named(tmp_path: Path) -> None:
    """One that was never written, and one that is no record, raise DatasetError; others stay."""
    with pytest.raises(DatasetError, match="no record of snapshot aaaaaaaaaaaaaaaa"):
        read_snapshot(tmp_path / "none", "a" * 64)
    assert read_snapshots(tmp_path / "none") == ([], [])
    write_snapshot(tmp_path, snapshot("b" * 64, 2))
    (tmp_path / f"{'a' * 16}.json").write_text("{}")
    found, errors = read_snapshots(tmp_path)
    assert [one.snapshot for one in found] == ["b" * 64]
    assert errors == [f"snapshots/{'a' * 16}.json is damaged; accepted: restore it"]
