from __future__ import annotations

import stat
from pathlib import Path

import pytest

from assay import durable


def test_replace_is_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    """The file holds the last content, with its mode, and nothing else stays in the folder."""
    path = tmp_path / "file"
    durable.replace(path, b"old")
    durable.replace(path, b"new", 0o644)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_write_once_never_replaces(tmp_path: Path) -> None:
    """The first content stays, whoever writes after it."""
    path = tmp_path / "file"
    durable.write_once(path, b"first")
    durable.write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_write_new_refuses_what_is_there(tmp_path: Path) -> None:
    """An existing file is an error and stays as it was."""
    durable.write_new(tmp_path / "file", b"first")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_create_never_takes_anothers_place(tmp_path: Path) -> None:
    """A file that is there stays as it is, and says so."""
    path = tmp_path / "x"
    durable.create(path, b"one")
    with pytest.raises(FileExistsError):
        durable.create(path, b"two")
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
