from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DatasetError
from assay.ingest.files import read_columns, read_pieces


def _read(
    path: Path, columns: frozenset[str] | None = None
) -> tuple[list[object], list[tuple[int, str]]]:
    rows: list[object] = []
    bad: list[tuple[int, str]] = []
    for piece in read_pieces(path, columns, rows=2):
        pairs = zip(piece.lines.tolist(), piece.frame.rows(), strict=True)
        rows += [(line, *row) for line, row in pairs]
        bad += [(row.line, row.reason) for row in piece.unreadable]
    return rows, bad


def test_hostile_csv_costs_only_its_own_lines(tmp_path: Path) -> None:
    """Ragged rows, stray quotes and broken bytes are told by line; all others are read."""
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbfa,b\r\n1,"two\nlines"\n\n2\n3,4,5\n6,"open\n7,8\n9,\xff\n10,""\n' + b"11,12"
    )
    assert read_columns(path) == ["a", "b"]
    rows, bad = _read(path)
    assert rows == [(2, "1", "two\nlines"), (8, "7", "8"), (10, "10", ""), (11, "11", "12")]
    assert [line for line, _ in bad] == [5, 6, 7, 9]


def test_many_open_quotes_lose_nothing(tmp_path: Path) -> None:
    """A quote that never closes does not swallow the rows after it."""
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,"x\n' + "".join(f"{n},y\n" for n in range(500)))
    rows, bad = _read(path)
    assert len(rows) == 500
    assert bad == [(2, "quotes that do not match")]


def test_monstrous_lines_are_cut(tmp_path: Path) -> None:
    """A line of megabytes is one bad row, and what follows is read."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "x" * 3_000_000 + "\n1,2\n")
    rows, bad = _read(path)
    assert rows == [(3, "1", "2")]
    assert [line for line, _ in bad] == [2]


def test_json_lines(tmp_path: Path) -> None:
    """Scalars are read as text; lines that are no flat object are told by line."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"a":1,"b":"x"}\nnope\n[1]\n\n{"a":{}}\n{"b":true,"a":1.5}\n' + "[" * 5000)
    assert read_columns(path) == ["a", "b"]
    rows, bad = _read(path, frozenset({"a", "b"}))
    assert rows == [(1, "1", "x"), (6, "1.5", "true")]
    assert [line for line, _ in bad] == [2, 3, 5, 7]


def test_long_json_lines_files(tmp_path: Path) -> None:
    """Columns are those of the first 1,000 rows, and every row after them is read too."""
    path = tmp_path / "x.jsonl"
    late = {900: ',"late":1'}
    path.write_text("".join(f'{{"a":{n}{late.get(n, "")}}}\n' for n in range(1500)))
    assert read_columns(path) == ["a", "late"]
    rows, bad = _read(path, frozenset({"a"}))
    assert rows == [(n + 1, str(n)) for n in range(1500)]
    assert bad == []


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    """Parquet comes in order with row numbers from 1."""
    pl.DataFrame({"a": range(5), "b": "x"}).write_parquet(tmp_path / "x.parquet")
    rows, bad = _read(tmp_path / "x.parquet", frozenset({"a"}))
    assert rows == [(n + 1, n) for n in range(5)]
    assert bad == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.parquet", b"PAR1 not"), ("x.parquet", b""), ("x.csv", b""), ("x.csv", b"a,a\n1,2\n"),
        ("x.csv", b"a,\xff\n1,2\n"), ("x.csv", b"a,\0\n1,2\n"), ("x.csv", bytes(range(256)) * 9),
        ("x.jsonl", b""), ("x.jsonl", bytes(range(256)) * 9), ("x.xls", b"x"),
    ],
)  # fmt: skip
def test_files_of_no_kind_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """Damaged, headless, binary and unknown files and folders raise DatasetError."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="accepted") as caught:
        _read(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="is a folder"):
        _read(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        _read(tmp_path / "nothing.csv")


@settings(max_examples=60)
@given(content=st.binary(max_size=300) | st.text('a1,"\n\r', max_size=200).map(str.encode))
def test_any_csv_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """No bytes crash the reader, and every line that is not blank is accounted for."""
    path = tmp_path_factory.mktemp("any") / "x.csv"
    path.write_bytes(b"a,b\n" + content)
    rows, bad = _read(path)
    assert len(rows) + len(bad) <= content.count(b"\n") + content.count(b"\r") + 1
