"""A disk in memory of what was synced: a power cut loses, tears or reorders the rest.

The method is that of SQLite's ``test6.c``.
The real file system holds what programs see; beside it, this keeps every version that a file, or
the folder's listing, has had since its last sync.
At a power cut each sector of each file, and each name in the folder, is one of its versions.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

SECTOR_BYTES = 512


class PowerCutError(BaseException):
    """The process ends here: nothing it does afterwards reaches the disk."""


class FaultDisk:
    """One flat folder whose power can be cut, and which can be full.

    Attributes
    ----------
    path : Path
        The folder; another after each power cut.
    room : int
        Bytes that may still be written.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._turn = root, 0
        self.room = 1 << 40
        self._countdown, self._dead = 0, False
        self._ids: dict[tuple[int, int], int] = {}
        self._versions: dict[int, list[bytes]] = {}
        self._patch = pytest.MonkeyPatch()
        self._real: dict[str, Any] = {}
        self._place({})
        for name in (
            "open",
            "write",
            "fsync",
            "fdatasync",
            "ftruncate",
            "replace",
            "link",
            "unlink",
        ):
            self._real[name] = getattr(os, name)
            self._patch.setattr(os, name, getattr(self, f"_{name}"))
        self._real["statvfs"] = os.statvfs
        self._patch.setattr(os, "statvfs", self._statvfs)

    def close(self) -> None:
        """Give the real disk back."""
        self._patch.undo()

    def cut_after(self, operations: int) -> None:
        """Let the process die in the midst of an operation that is still to come; 0: do not."""
        self._countdown = operations

    def restart(self) -> None:
        """Another process begins; the machine never stopped."""
        self._dead, self._countdown = False, 0

    def power_cut(self, seed: int) -> None:
        """Put in the folder's place what a power cut might have left of it."""
        chance = random.Random(seed)
        names = sorted({name for listing in self._listings for name in listing})
        left = {}
        for name in names:
            number = chance.choice(self._listings).get(name)
            if number is not None and name != "lock":
                left[name] = _torn(self._versions[number], chance)
        self._place(left)
        self.restart()

    # --- what is on the disk ------------------------------------------------------------------

    def _place(self, files: dict[str, bytes]) -> None:
        self._turn += 1
        self.path = self._root / str(self._turn)
        self.path.mkdir()
        self._ids.clear()
        self._versions.clear()
        for name, content in files.items():
            (self.path / name).write_bytes(content)
        self._listings = [self._listing()]
        for name, number in self._listings[0].items():
            self._versions[number] = [files[name]]

    def _listing(self) -> dict[str, int]:
        with os.scandir(self.path) as found:
            return {entry.name: self._id(entry.stat()) for entry in found}

    def _id(self, stat: os.stat_result) -> int:
        number = self._ids.setdefault(
            (stat.st_dev, stat.st_ino), len(self._ids) + self._turn * 10**6
        )
        self._versions.setdefault(number, [b""])
        return number

    def _file(self, fd: int) -> int | None:
        stat = os.fstat(fd)
        return self._ids.get((stat.st_dev, stat.st_ino))

    def _forget(self, path: str) -> None:
        """Let another file have the inode of one that goes."""
        if Path(path).exists():
            stat = Path(path).stat()
            number = self._ids.pop((stat.st_dev, stat.st_ino), None)
            if number is not None:
                self._ids[-1, number] = number  # keeps numbers apart

    def _ours(self, path: Any) -> bool:
        return os.fspath(path).startswith(f"{self.path}/")

    def _dies(self) -> bool:
        if self._dead:
            raise PowerCutError
        self._countdown -= 1
        self._dead = self._countdown == 0
        return self._dead

    def _step(self) -> None:
        if self._dies():
            raise PowerCutError

    def _listed(self) -> None:
        self._listings.append(self._listing())

    # --- what programs call -------------------------------------------------------------------

    def _open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        creates = self._ours(path) and flags & os.O_CREAT and not Path(path).exists()
        if creates:
            self._step()
            if self.room < SECTOR_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd: int = self._real["open"](path, flags, mode)
        if creates:
            self._listed()
        return fd

    def _write(self, fd: int, data: Any) -> int:
        number = self._file(fd)
        if number is None:
            return int(self._real["write"](fd, data))
        dies = self._dies()
        if not self.room and len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data[: min(self.room, len(data) // 2 if dies else len(data))])
        self.room -= len(part)
        written = int(self._real["write"](fd, part))
        assert written == len(part)
        self._versions[number].append(self._versions[number][-1] + part)
        if dies:
            raise PowerCutError
        return written

    def _fsync(self, fd: int) -> None:
        if os.fstat(fd).st_ino == self.path.stat().st_ino:
            self._step()
            self._listings = [self._listing()]
        elif self._ours(Path(f"/proc/self/fd/{fd}").readlink()):
            self._step()
            number = self._id(os.fstat(fd))
            self._versions[number] = [Path(f"/proc/self/fd/{fd}").read_bytes()]

    _fdatasync = _fsync

    def _ftruncate(self, fd: int, length: int) -> None:
        self._step()
        number = self._file(fd)
        assert number is not None
        self._real["ftruncate"](fd, length)
        content = self._versions[number][-1]
        self.room += len(content) - length
        self._versions[number].append(content[:length])

    def _replace(self, source: Any, target: Any) -> None:
        if self._ours(target):
            self._step()
            self._forget(target)
        self._real["replace"](source, target)
        self._listed()

    def _link(self, source: Any, target: Any, **kwargs: Any) -> None:
        if self._ours(target):
            self._step()
        self._real["link"](source, target, **kwargs)
        if self._ours(target):
            self._listed()

    def _unlink(self, path: Any, *args: Any, **kwargs: Any) -> None:
        if self._ours(path) and Path(path).exists():
            self._step()
            if Path(path).stat().st_nlink == 1:
                self._forget(path)
            self._real["unlink"](path, *args, **kwargs)
            self._listed()
        else:
            self._real["unlink"](path, *args, **kwargs)

    def _statvfs(self, path: Any) -> os.statvfs_result:
        if Path(path) != self.path:
            return self._real["statvfs"](path)  # type: ignore[no-any-return]
        return os.statvfs_result((1, 1, 1 << 41, self.room, self.room, 0, 0, 0, 0, 255))


def _torn(versions: list[bytes], chance: random.Random) -> bytes:
    """Return what a power cut may leave of a file that had these versions since its sync."""
    if len(versions) == 1:
        return versions[0]
    way = chance.choice(("lost", "whole", "torn", "sectors", "sectors"))
    if way == "lost":
        return versions[0]
    if way == "whole":
        return versions[-1]
    sizes = [len(version) for version in versions]
    size = chance.choice([*sizes, chance.randint(min(sizes), max(sizes))])
    if way == "torn":
        return versions[-1][:size]
    out = b""
    for at in range(0, size, SECTOR_BYTES):
        sector = chance.choice(versions)[at : at + SECTOR_BYTES]
        out += sector.ljust(SECTOR_BYTES, b"\0")
    return out[:size]
