"""The lock of a writer: one lives at a time, and a stale one is refused by its epoch."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from assay import durable
from assay.errors import OwnerError


class Owner:
    """Holds a folder for one writer until `release`.

    The lock keeps a second writer out while this one lives. The epoch, which every holder raises
    by one, stops a writer that lost the lock without noticing: it was suspended, or its folder
    was moved to another machine.

    Parameters
    ----------
    folder : Path
        Made if missing.
    what : str
        Who writes there, for messages: ``worker``, ``trainer``.

    Attributes
    ----------
    epoch : int
        Counts the holders of this folder, from 1.

    Raises
    ------
    OwnerError
        If another holder lives, or the epoch file is damaged.
    """

    def __init__(self, folder: Path, what: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._what = folder / "epoch", what
        self._epoch_fd = -1
        self._lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.epoch = self._last() + 1
            durable.replace(self._path, str(self.epoch).encode())
            # Held open, so that its inode is nobody else's while we live.
            self._epoch_fd = os.open(self._path, os.O_RDONLY)
            self._inode = os.fstat(self._epoch_fd).st_ino
        except BlockingIOError:
            self.release()
            raise OwnerError(
                f"another {what} is running in {folder}; accepted: one at a time"
            ) from None
        except BaseException:
            self.release()
            raise

    def _last(self) -> int:
        try:
            text = self._path.read_text("ascii")
        except FileNotFoundError:
            return 0
        if not text.isdigit():
            raise OwnerError(f"{self._path} is damaged; accepted: a number, restore it")
        return int(text)

    def check(self) -> None:
        """Make sure that no other holder has taken over; called before every write.

        Raises
        ------
        OwnerError
            If one has.
        """
        if self._path.stat().st_ino != self._inode:
            raise OwnerError(
                f"the {self._what} was taken over: epoch {self.epoch} is stale, {self._last()} is "
                "in force"
            )

    def release(self) -> None:
        """Let another writer in."""
        for fd in (self._epoch_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._epoch_fd = self._lock_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
