import csv
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.datasets.table import TransactionTable
from assay.errors import CardNumberError
from assay.ingest.decode import decode
from assay.ingest.encode import Encoder
from assay.ingest.importer import import_file, read_transactions
from assay.ingest.mapping import Mapping

_MAPPING = """
exempt = ["merchant_id"]
[fields]
transaction_id = "id"
event_time = "at"
card_id = "card"
amount_minor = { column = "amount", unit = "major" }
currency = "currency"
merchant_id = "shop"
merchant_name = "name"
latitude = "lat"
longitude = "lon"
ip = "ip"
[attributes]
colour = "colour"
[label]
column = "fraud"
reported_at = "reported"
"""
_COLUMNS = "id at card amount currency shop name lat lon ip colour fraud reported other".split()  # noqa: SIM905 - a header reads better
_CARD = "604400000012"  # twelve digits: no rule knows it for a card number
_NOW_MS = 1_770_000_000_000
_AT = "2026-01-02T10:00:00.250+01:00"
_GOOD = ["t1", _AT, _CARD, "10.005", "USD", "m", "Shop", "1.239", "2", "192.0.2.77", "red", "1",
         "2026-01-09T00:00:00Z", "secret"]  # fmt: skip

_Make = Callable[..., Encoder]


def _changed(**changes: str) -> list[str]:
    return [changes.get(name, value) for name, value in zip(_COLUMNS, _GOOD, strict=True)]


def _write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([_COLUMNS, *rows])
    return path


def _mapping(*, made: bool = False) -> Mapping:
    text = _MAPPING.replace('transaction_id = "id"\n', "") if made else _MAPPING
    return Mapping.parse(text.encode())


def _encoder(make: _Make) -> Encoder:
    return make(attributes=("colour",), exempt=frozenset({"merchant_id"}), memo=100)


def test_file_and_http_give_the_same_bytes(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """One row by CSV, Parquet, JSON lines and as a client's JSON is the same event and body."""
    as_csv = _write(tmp_path / "x.csv", [_GOOD])
    frame = pl.read_csv(as_csv, schema_overrides={"card": pl.String})
    frame.write_parquet(tmp_path / "x.parquet")
    frame.write_ndjson(tmp_path / "x.jsonl")
    client = {
        "transaction_id": "t1", "event_time": _AT, "card_id": _CARD, "amount_minor": 1000,
        "currency": "USD", "merchant_id": "m", "merchant_name": "Shop", "latitude": 1.239,
        "longitude": 2, "ip": "192.0.2.77", "attributes": {"colour": "red"},
    }  # fmt: skip
    expected = make_encoder(attributes=("colour",)).encode(decode(json.dumps(client).encode()))
    for path in (as_csv, tmp_path / "x.parquet", tmp_path / "x.jsonl"):
        encoder = _encoder(make_encoder)
        [(body, fraud)] = read_transactions(path, _mapping(), encoder)
        assert fraud is True
        assert encoder.encode(decode(body)) == expected
    import_file(
        as_csv, _mapping(), _encoder(make_encoder), table, tmp_path / "dead.jsonl", now_ms=_NOW_MS
    )
    history = table.read()
    history.events["arrival"] = history.events["arrival_ms"] = 0
    assert history.events.tobytes() == expected.event
    assert history.reported_ms.tolist() == [1_767_916_800_000]


_BAD = [
    ("amount_minor", _changed(amount="-1")),
    ("amount_minor", _changed(amount="NaN")),
    ("amount_minor", _changed(amount="ten")),
    ("amount_minor", _changed(amount="")),
    ("amount_minor", _changed(amount="1e12")),
    ("event_time", _changed(at="2026-02-30T00:00:00Z")),
    ("event_time", _changed(at="2026-01-02 10:00:00")),
    ("event_time", _changed(at="")),
    ("currency", _changed(currency="XXX")),
    ("currency", _changed(currency="usd")),
    ("currency", _changed(currency="GBP")),
    ("merchant_name", _changed(name="Shop 4111 1111 1111 1111")),
    ("transaction_id", _changed(id="4111111111111111")),
    ("latitude", _changed(lat="NaN")),
    ("latitude", _changed(lat="91")),
    ("longitude", _changed(lon="")),
    ("ip", _changed(ip="nowhere")),
    ("card_id", _changed(card="")),
    ("card_id", _changed(card="x" * 129)),
    ("label", _changed(fraud="perhaps")),
    ("attributes.colour", _changed(colour="4111-1111-1111-1111")),
]


def test_bad_rows_are_counted_and_kept(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """Every bad row is in the dead letters by line and field; the good ones are imported."""
    rows = [_GOOD, *(row for _, row in _BAD), ["too", "short"], _changed(id="t2")]
    path, dead = _write(tmp_path / "x.csv", rows), tmp_path / "dead.jsonl"
    report = import_file(path, _mapping(), _encoder(make_encoder), table, dead, now_ms=_NOW_MS)
    assert (report.read, report.accepted) == (len(rows), 2)
    assert report.rejected == len(_BAD) + 1
    assert report.unmapped == ["other"]
    letters = {letter["line"]: letter for letter in map(json.loads, dead.read_text().splitlines())}
    assert len(letters) == report.rejected
    for line, (field, _) in enumerate(_BAD, start=3):
        assert letters[line]["field"] == field
        assert letters[line]["row"]["card"] == "[masked]" or field == "card_id"
        assert "other" not in letters[line]["row"]
    text = dead.read_text() + str(report)
    for secret in (_CARD, "4111", "192.0.2.77"):
        assert secret not in text
    assert sum(reason["count"] for reason in report.reasons.values()) == report.rejected  # type: ignore[misc]


def test_repeats_are_told_apart(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """An id that was there already is a duplicate or a conflict, in a file and across files."""
    rows = [_GOOD, _GOOD, _changed(amount="11", at="2026-01-02T10:00:01+01:00"), _changed(id="t2")]
    path, dead = _write(tmp_path / "x.csv", rows), tmp_path / "dead.jsonl"
    report = import_file(path, _mapping(), _encoder(make_encoder), table, dead, now_ms=_NOW_MS)
    assert (report.accepted, report.duplicates, report.conflicts) == (2, 1, 1)
    assert len(dead.read_text().splitlines()) == 2
    again = import_file(path, _mapping(), _encoder(make_encoder), table, dead, now_ms=_NOW_MS)
    assert (again.accepted, again.duplicates, again.conflicts) == (0, 3, 1)
    assert len(table.read().events) == 2


@pytest.mark.parametrize("made", [False, True])
def test_shuffled_file_gives_the_same_table(
    tmp_path: Path, make_encoder: _Make, *, made: bool
) -> None:
    """The order of rows in a file changes nothing, repeats and labels of equals included."""
    rows = [
        _changed(id=f"t{n}", amount=str(n % 5), fraud=str(n % 2), card=f"c{n % 3}", name="")
        for n in range(40)
    ] + [_changed(id="t3", amount=str(n)) for n in range(4)]
    found = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        path = _write(tmp_path / "x.csv", rows)
        table = TransactionTable(tmp_path / str(seed))
        encoder = _encoder(make_encoder)
        report = import_file(
            path, _mapping(made=made), encoder, table, tmp_path / "dead.jsonl", now_ms=_NOW_MS
        )
        assert report.accepted == (44 if made else 40)
        history = table.read()
        found.append((history.snapshot, history.transaction_ids.to_list()))
        replayed = read_transactions(path, _mapping(made=made), encoder)
        ids = [decode(body).transaction_id for body, _ in replayed]
        assert sorted(set(ids)) == sorted(history.transaction_ids)
    assert found[0] == found[1] == found[2]


def test_made_ids_are_stable_and_import_once(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """A file without ids, imported twice, adds nothing; a changed label changes no id."""
    dead = tmp_path / "dead.jsonl"
    for fraud, accepted in (("1", 2), ("0", 0)):
        path = _write(tmp_path / "x.csv", [_changed(fraud=fraud)] * 2)
        report = import_file(
            path, _mapping(made=True), _encoder(make_encoder), table, dead, now_ms=_NOW_MS
        )
        assert (report.accepted, report.duplicates) == (accepted, 2 - accepted)


def test_time_range_is_half_open(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """Rows before since, and from until on, are counted as outside."""
    times = ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"]
    rows = [_changed(id=at, at=at) for at in times]
    path, day = _write(tmp_path / "x.csv", rows), 1_767_398_400_000
    seen: list[tuple[int, int]] = []
    report = import_file(
        path, _mapping(), _encoder(make_encoder), table, tmp_path / "dead.jsonl",
        now_ms=_NOW_MS, since_ms=day, until_ms=day + 86_400_000,
        progress=lambda *at: seen.append(at),
    )  # fmt: skip
    assert (report.read, report.accepted, report.outside) == (3, 1, 2)
    assert table.read().events["event_time"].tolist() == [day]
    assert seen[-1][0] == seen[-1][1]


def test_rows_of_the_future_are_rejected(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """A row up to five minutes ahead of the import passes; one later is a dead letter."""
    times = ["2026-01-02T00:05:00Z", "2026-01-02T00:05:00.001Z", "2099-01-01T00:00:00Z"]
    path = _write(tmp_path / "x.csv", [_changed(id=at, at=at) for at in times])
    dead = tmp_path / "dead.jsonl"
    now_ms = 1_767_312_000_000
    report = import_file(path, _mapping(), _encoder(make_encoder), table, dead, now_ms=now_ms)
    assert (report.accepted, report.rejected) == (1, 2)
    assert table.read().events["event_time"].tolist() == [now_ms + 300_000]
    letters = [json.loads(line) for line in dead.read_text().splitlines()]
    assert [(letter["line"], letter["field"]) for letter in letters] == [
        (3, "event_time"), (4, "event_time"),
    ]  # fmt: skip
    reason = "event_time: got a time in the future; accepted: a time not after the import"
    assert list(report.reasons) == [reason]
    assert len(list(read_transactions(path, _mapping(), _encoder(make_encoder)))) == 3


def test_label_without_a_report_time_is_unknown(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """Nobody knows when such a label could be learnt from: it is counted and not kept."""
    rows = [
        _changed(id="t1", reported=""),
        _changed(id="t1", reported=""),
        _changed(id="t2", fraud="0", reported=""),
        _changed(id="t3", fraud=""),
        _changed(id="t4"),
        _changed(id="t5", fraud="0"),
    ]
    path, dead = _write(tmp_path / "x.csv", rows), tmp_path / "dead.jsonl"
    encoder = _encoder(make_encoder)
    report = import_file(path, _mapping(), encoder, table, dead, now_ms=_NOW_MS)
    assert report.labels == {"fraud": 1, "genuine": 1, "unknown": 1, "unreported": 2}
    history = table.read()
    assert history.fraud.tolist() == [-1, -1, -1, 1, 0]
    assert history.reported_ms.tolist() == [-1, -1, -1, 1_767_916_800_000, 1_767_916_800_000]
    truth = [fraud for _, fraud in read_transactions(path, _mapping(), encoder)]
    assert truth == [None, None, None, None, True, False]


def test_interrupted_import_changes_nothing(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """An import that stops half-way leaves the table and the older dead letters as they were."""
    path, dead = _write(tmp_path / "x.csv", [_GOOD]), tmp_path / "dead.jsonl"
    dead.write_text("before")

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_file(
            path, _mapping(), _encoder(make_encoder), table, dead, now_ms=_NOW_MS, progress=stop
        )
    assert table.rows() == 0
    assert dead.read_text() == "before"
    assert np.array_equal(table.known()[0], [])


def test_card_number_in_a_path_is_refused(
    tmp_path: Path, make_encoder: _Make, table: TransactionTable
) -> None:
    """A file named after a card is not opened, and its name is not repeated."""
    path = _write(tmp_path / "4111111111111111.csv", [_GOOD])
    with pytest.raises(CardNumberError) as caught:
        import_file(
            path, _mapping(), _encoder(make_encoder), table, tmp_path / "dead.jsonl", now_ms=_NOW_MS
        )
    assert "4111" not in str(caught.value)
