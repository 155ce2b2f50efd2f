from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from assay.errors import CardNumberError
from assay.feedback.label_file import LabelFile
from assay.ingest.dead_letters import DeadLetters
from assay.ingest.decode import event_time_ms
from assay.ingest.files import read_pieces
from assay.ingest.firewall import contains_card_number

AT = 1_780_000_000_000
COLUMNS = ("transaction_id", "fraud", "reported_at")


def check(transaction_id: str, reported_at: str | int) -> int:
    if contains_card_number(transaction_id):
        raise CardNumberError("transaction_id")
    return event_time_ms(reported_at, "reported_at")


def load(path: Path, columns: tuple[str, str, str] = COLUMNS) -> tuple[LabelFile, list[dict]]:
    letters = path.with_name("dead.jsonl")
    with DeadLetters(letters, frozenset()) as dead:
        found = LabelFile.load(lambda: read_pieces(path, frozenset(columns)), columns, check, dead)
    return found, [json.loads(line) for line in letters.read_text().splitlines()]


def test_duplicates_and_conflicts(tmp_path: Path) -> None:
    """A row that comes again counts once; rows that contradict each other are refused, all."""
    path = tmp_path / "labels.csv"
    rows = [
        ("a", 1, AT),
        ("a", "yes", AT),
        ("a", 0, AT + 1),
        ("b", 1, AT),
        ("b", 0, AT),
        ("c", "No", AT),
    ]
    path.write_text(
        "transaction_id,fraud,reported_at\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    )
    found, letters = load(path)
    labels = [(label.transaction_id, label.fraud, label.reported_at) for label in found.labels()]
    assert labels == [("a", True, AT), ("a", False, AT + 1), ("c", False, AT)]
    assert (found.read, found.duplicates, found.conflicts, found.rejected) == (6, 1, [5, 6], 0)
    assert [letter["line"] for letter in letters] == [5, 6]


def test_bad_rows_are_kept_without_a_card_number(tmp_path: Path) -> None:
    """Each bad row is counted by its reason and kept with its line; no card number is."""
    path = tmp_path / "labels.csv"
    path.write_text(
        "transaction_id,fraud,reported_at,other\n"
        f"4111111111111111,1,{AT},x\n"
        f"a,perhaps,{AT},x\n"
        "b,1,yesterday,x\n"
        f",1,{AT},x\n"
        "c,1\n"
        f"{'d' * 129},1,{AT},x\n"
        f"e,1,{'9' * 5000},x\n"
        f"f,1,2026-06-01T00:00:00+02:00,4111111111111111\n"
    )
    found, letters = load(path)
    assert [label.transaction_id for label in found.labels()] == ["f"]
    assert found.rejected == 7
    assert sorted(letter["line"] for letter in letters) == [2, 3, 4, 5, 6, 7, 8]
    assert sum(reason["count"] for reason in found.reasons.values()) == 7
    text = path.with_name("dead.jsonl").read_text() + str(found.reasons)
    assert "4111111111111111" not in text


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_typed_files(tmp_path: Path, kind: str) -> None:
    """Parquet and JSON lines give the same labels as text does, under names of their own."""
    frame = pl.DataFrame({"id": ["a", "b"], "bad": [True, False], "when": [AT, AT + 5]})
    path = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        frame.with_columns(
            when=pl.Series(
                [
                    datetime.fromtimestamp(AT / 1000, UTC),
                    datetime.fromtimestamp((AT + 5) / 1000, UTC),
                ]
            )
        ).write_parquet(path)
    else:
        frame.write_ndjson(path)
    found, letters = load(path, ("id", "bad", "when"))
    labels = [(label.transaction_id, label.fraud, label.reported_at) for label in found.labels()]
    assert labels == [("a", True, AT), ("b", False, AT + 5)]
    assert letters == []
