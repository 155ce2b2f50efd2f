"""Opens the control database, and brings its schema to this version of Assay."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from assay.control.schema import METADATA
from assay.errors import ControlError

HEAD: Final = "0001"
"""The newest migration: what a database must be at for this version of Assay."""

BUSY_TIMEOUT_MS: Final = 5_000
"""How long a writer waits for another; transactions take milliseconds."""


def open_control(path: Path) -> Engine:
    """Open the control database; a missing one is made, an older one upgraded.

    Any number of processes may open, read and write it at once. Readers never wait for a writer
    (write-ahead log). Writers take turns: a transaction takes the write lock at its first INSERT,
    UPDATE or DELETE and waits up to 5 s for it; what it selected before that statement was read
    outside of the lock, so a decision that rests on what was read needs a constraint to hold it.
    A commit is on the disk when it returns, so that a request survives a power cut.

    Parameters
    ----------
    path : Path
        The SQLite file. It, and what SQLite puts beside it, is readable by its owner only.

    Returns
    -------
    sqlalchemy.Engine
        The caller's to dispose.

    Raises
    ------
    ControlError
        If the file is no control database, is damaged, cannot be opened, or is newer than this
        version of Assay.
    """
    try:
        _touch(path)
        engine = _engine(path)
    except OSError as error:
        raise ControlError(f"cannot open {path}: {error.strerror}") from None
    try:
        if _version(engine) != HEAD:
            with _lock(path):
                _upgrade(engine, path)
    except SQLAlchemyError as error:
        engine.dispose()
        said = getattr(error, "orig", None) or type(error).__name__
        raise ControlError(
            f"cannot use {path}: {said}; accepted: a control database of Assay, restore it or "
            "move it away to begin a new one"
        ) from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def _touch(path: Path) -> None:
    """Make the file before SQLite does, which would let others read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        # BEGIN IMMEDIATE ahead of the first statement that writes: a transaction that began as a
        # reader could not become a writer once another has written, and would fail at once.
        hide_parameters=True,  # errors are logged; the values may be ids and merchants' names
        connect_args={"isolation_level": "IMMEDIATE", "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    with closing(connection.cursor()) as cursor:
        # FULL, not NORMAL: in a write-ahead log NORMAL syncs at checkpoints only, and a power
        # cut could take a rollback back that somebody saw confirmed.
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
            cursor.execute(f"PRAGMA {pragma}")


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        known = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.exec_driver_sql(known).first() is None:
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
        return None if row is None else str(row[0])


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process at a time make or upgrade the schema."""
    handle = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _upgrade(engine: Engine, path: Path) -> None:
    version = _version(engine)
    if version == HEAD:  # another process has done it meanwhile
        return
    with engine.connect() as connection:
        if version is None:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        # All steps in one transaction: after a crash the schema is the old one or the new one.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection, HEAD, path.name)
        connection.commit()


def migrate(connection: Connection, target: str, name: str = "the database") -> None:
    """Run the packaged migrations up to `target`, inside the caller's transaction.

    Raises
    ------
    ControlError
        If the database is at a version that this Assay does not know.
    """
    # Alembic costs half a second to import, and only the first start of a version needs it.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))

    def steps(at: Any, _context: object) -> Any:
        return scripts._upgrade_revs(target, at)  # noqa: SLF001 — as Alembic's own command does

    with EnvironmentContext(Config(), scripts, fn=steps, destination_rev=target) as environment:
        environment.configure(connection, target_metadata=METADATA, transactional_ddl=True)
        try:
            environment.run_migrations()
        except CommandError:
            raise ControlError(
                f"{name} has a schema that this version of Assay does not know; "
                f"accepted: up to {HEAD}, so use the newer Assay that wrote it"
            ) from None
