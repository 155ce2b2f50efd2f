"""Small files that survive a power cut: each is there whole, old or new, or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable: what was created, renamed or removed in it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create a file and sync what it holds; its folder is the caller's to sync.

    Raises
    ------
    FileExistsError
        If it is there already.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Make a file hold `content`: after a crash it is the old one or the new one."""
    draft = _draft(path)
    try:
        write_new(draft, content, mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def create(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create a file whole, and never in the place of another.

    Raises
    ------
    FileExistsError
        If it is there already.
    """
    draft = _draft(path)
    try:
        write_new(draft, content, mode)
        path.hardlink_to(draft)  # unlike a rename, never takes another's place
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_once(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create a file whole, or leave the one that is there, whoever wrote it."""
    try:
        create(path, content, mode)
    except FileExistsError:
        sync_folder(path.parent)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
