"""The writer's lock: one writer at a time, each with a larger epoch than all before."""

from __future__ import annotations

import fcntl
import os
from struct import Struct
from typing import Final

from google_crc32c import value

from assay import durable
from assay.errors import JournalError
from assay.journal.folder import Folder

_EPOCH: Final = Struct("<Q16s")


class WriterLock:
    """Held by the one process that may write into a folder.

    The lock keeps out a second writer on this machine for as long as the first lives, paused or
    not. The epoch keeps out a first writer that lost the lock without noticing: whoever takes
    over raises it, durably, before reading what is there.

    Parameters
    ----------
    folder : Folder
        Must exist.
    stream : bytes, optional
        16 bytes that name the stream; made at random when the folder is new.

    Attributes
    ----------
    epoch : int
        This writer's, counted from 1.
    stream : bytes
        The stream's name, the same for ever.

    Raises
    ------
    JournalError
        If another writer lives, the epoch file is damaged or missing, or the folder holds
        another stream.
    """

    def __init__(self, folder: Folder, stream: bytes | None = None) -> None:
        self._folder = folder
        self._path = folder.path / "epoch"
        self._epoch_fd = -1
        self._fd = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._take()
            self.epoch, self.stream = self._next(stream)
            self._write()
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"{self._folder.path} is in use by another scorer; accepted: one at a time"
            ) from None

    def _next(self, stream: bytes | None) -> tuple[int, bytes]:
        if not self._path.exists():
            if self._folder.numbers():
                raise JournalError(f"{self._path} is missing beside segments; restore it")
            named = os.urandom(16) if stream is None else stream
            assert len(named) == 16, "a stream's name has 16 bytes"
            return 1, named
        epoch, present = self._read()
        if stream not in (None, present):
            raise JournalError(f"{self._folder.path} holds another stream, {present.hex()}")
        return epoch + 1, present

    def _read(self) -> tuple[int, bytes]:
        data = self._path.read_bytes()
        body = data[: _EPOCH.size]
        if len(data) != _EPOCH.size + 4 or value(body).to_bytes(4, "little") != data[_EPOCH.size :]:
            raise JournalError(f"{self._path} is damaged; restore it from a copy")
        epoch, stream = _EPOCH.unpack(body)
        return epoch, stream

    def _write(self) -> None:
        body = _EPOCH.pack(self.epoch, self.stream)
        durable.replace(self._path, body + value(body).to_bytes(4, "little"))
        self._epoch_fd = os.open(self._path, os.O_RDONLY)
        self._inode = os.fstat(self._epoch_fd).st_ino

    def check(self) -> None:
        """Make sure that no other writer has taken over.

        Raises
        ------
        JournalError
            If one has.
        """
        # Our epoch file is held open, so its inode is nobody else's while we live.
        if self._path.stat().st_ino != self._inode:
            raise JournalError(
                f"{self._folder.path} was taken over: epoch {self.epoch} is stale, "
                f"{self._read()[0]} is in force"
            )

    def release(self) -> None:
        """Let another writer in."""
        for fd in (self._epoch_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._epoch_fd = self._fd = -1
