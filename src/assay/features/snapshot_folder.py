"""A snapshot's folder: who works in it holds its lock, and only a free one is removed.

The lock is the kernel's, so it ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_DRAFT: Final = ".draft-"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a folder from being removed by `remove_free`.

    Raises
    ------
    FileNotFoundError
        If it is no more.
    """
    handle = _hold(folder)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def new_draft(parent: Path) -> Iterator[Path]:
    """Make a folder under a name that is no snapshot's, and hold it."""
    handle = -1
    while handle < 0:
        folder = _draft(parent)
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError):  # removed before it was held: once more
            handle = _hold(folder)
    try:
        yield folder
    finally:
        os.close(handle)


def drafts(parent: Path) -> list[Path]:
    """Return the folders that are being written, and those that a crash left."""
    return list(parent.glob(f"{_DRAFT}*"))


def remove_free(folder: Path) -> bool:
    """Remove a folder that nobody holds and that can be opened; return whether it was."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def remove(folder: Path) -> bool:
    """Remove a folder, and return whether there was one; after a crash it is a draft at most."""
    grave = _draft(folder.parent)
    try:
        folder.rename(grave)
    except FileNotFoundError:
        return False
    shutil.rmtree(grave, ignore_errors=True)
    return True


def _draft(parent: Path) -> Path:
    return parent / f"{_DRAFT}{secrets.token_hex(8)}"


def _hold(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        folder.stat()
    except BaseException:
        os.close(handle)
        raise
    return handle
