from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError

from assay.control import database
from assay.control.database import HEAD, migrate, open_control
from assay.control.schema import LIVE, METADATA, ROLLOUT
from assay.errors import ControlError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".assay" / "control.sqlite"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = open_control(path)
    yield engine
    engine.dispose()


def request(engine: Engine, revision: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(ROLLOUT).values(
                revision=revision,
                model="boosting-0.1.0",
                cause="promote",
                requested_by="ana",
                requested_ms=1,
            )
        )


def test_migrations_give_the_schema(engine: Engine) -> None:
    """From nothing, the migrations make exactly the tables that schema.py declares."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_head_is_the_newest_migration() -> None:
    """HEAD, which spares a start the import of Alembic, names the newest packaged step."""
    folder = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    """Opening again keeps every row."""
    engine = open_control(path)
    request(engine, 1)
    engine.dispose()
    engine = open_control(path)
    with engine.connect() as connection:
        assert connection.execute(select(ROLLOUT.c.model)).scalars().all() == ["boosting-0.1.0"]
    engine.dispose()


def test_only_the_owner_may_read(engine: Engine, path: Path) -> None:
    """The database and what SQLite puts beside it have mode 0600."""
    request(engine, 1)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.glob("control.sqlite*")}
    assert {"control.sqlite", "control.sqlite-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_commits_are_synced(engine: Engine) -> None:
    """Every connection syncs at each commit and writes ahead, so that a request survives."""
    with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_newer_database_is_refused(path: Path) -> None:
    """A schema that a later Assay wrote is left alone, and the message says what to do."""
    engine = open_control(path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ControlError, match="newer Assay"):
        open_control(path)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    raw.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """Something else in its place is refused by name, and stays as it is."""
    content = b"not a database, but long enough to look at " * 40
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ControlError, match=r"control\.sqlite"):
        open_control(path)
    assert path.read_bytes() == content


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    """A path that cannot be opened is an error of the control database, not of Python."""
    path.mkdir(parents=True)
    with pytest.raises(ControlError, match="cannot open"):
        open_control(path)


def test_a_failed_upgrade_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps are one transaction: one that fails midway leaves an empty schema."""

    def fails(connection: object, target: str, name: str) -> None:
        migrate(connection, target, name)  # type: ignore[arg-type]
        raise ControlError("stopped after the last step")

    monkeypatch.setattr(database, "migrate", fails)
    with pytest.raises(ControlError, match="stopped"):
        open_control(path)
    monkeypatch.undo()
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    raw.close()
    open_control(path).dispose()


OPENER = """
import sys, time
from pathlib import Path
from sqlalchemy import insert
from assay.control.database import open_control
from assay.control.schema import LIVE
while time.time() < float(sys.argv[3]):
    pass
engine = open_control(Path(sys.argv[1]))
with engine.begin() as connection:
    connection.execute(insert(LIVE).values(name=sys.argv[2], document="{}", updated_ms=1))
engine.dispose()
"""


def test_many_processes_may_open_it_first(path: Path) -> None:
    """Processes that all find no database make one between them, and all write to it."""
    at = str(time.time() + 2.5)
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPENER, str(path), f"p{n}", at],
            stderr=subprocess.PIPE,
        )
        for n in range(6)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert said == [b""] * 6
    engine = open_control(path)
    with engine.connect() as connection:
        names = set(connection.execute(select(LIVE.c.name)).scalars())
    engine.dispose()
    assert names == {f"p{n}" for n in range(6)}


def test_a_reader_does_not_wait_for_a_writer(engine: Engine, path: Path) -> None:
    """While one process holds a write open, another reads the last committed state at once."""
    request(engine, 1)
    other = open_control(path)
    with engine.begin() as writing:
        writing.execute(ROLLOUT.delete())
        began = time.monotonic()
        with other.connect() as reading:
            assert reading.execute(select(ROLLOUT.c.revision)).scalars().all() == [1]
        assert time.monotonic() - began < 1
    other.dispose()


def test_a_transaction_that_read_first_may_write(engine: Engine) -> None:
    """A transaction that selected before another one committed still writes, after waiting."""
    errors: list[Exception] = []

    def write(name: str) -> None:
        try:
            for _ in range(20):
                with engine.begin() as connection:
                    connection.execute(select(LIVE)).all()
                    connection.execute(LIVE.delete().where(LIVE.c.name == name))
                    connection.execute(insert(LIVE).values(name=name, document="", updated_ms=1))
        except Exception as error:  # noqa: BLE001 — whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_transaction_is_whole_or_not_at_all(engine: Engine) -> None:
    """An error inside a transaction takes back what it had written."""
    request(engine, 1)

    def write_twice() -> None:
        with engine.begin() as connection:
            connection.execute(insert(LIVE).values(name="half", document="", updated_ms=1))
            connection.execute(text("INSERT INTO rollout VALUES (1, 'm', 'promote', 'b', 1, NULL)"))

    with pytest.raises(IntegrityError):
        write_twice()
    with engine.connect() as connection:
        assert connection.execute(select(LIVE.c.name)).all() == []


def test_alembic_is_not_imported_once_the_schema_is_there(path: Path) -> None:
    """Only a start that finds another schema pays for Alembic."""
    open_control(path).dispose()
    script = (
        "import sys; from pathlib import Path; from assay.control.database import open_control;"
        f"open_control(Path({str(path)!r})).dispose(); print('alembic' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"
