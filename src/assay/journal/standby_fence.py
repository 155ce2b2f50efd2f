"""The fence of a standby: it keeps other writers out of its folder, and old ones off its line."""

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
"""The file that `WriterLock` keeps too: whoever writes here next has a larger epoch."""


class Fence:
    """Holds the writer's lock of a folder, and remembers the largest epoch seen.

    Unlike a writer, a standby does not raise the epoch by starting: it would shut out the writer
    that it serves.

    Parameters
    ----------
    folder : Folder
        Made if missing.

    Attributes
    ----------
    epoch : int
        The largest seen; 0 before any.
    stream : bytes
        The stream's name; empty before any.

    Raises
    ------
    JournalError
        If a scorer or another standby lives here, or the epoch is damaged or missing.
    """

    def __init__(self, folder: Folder) -> None:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder.path / "epoch"
        self._fd = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.epoch, self.stream = self._read(folder)
        except BlockingIOError:
            self.release()
            raise JournalError(
                f"{folder.path} is in use by a scorer or another standby; accepted: one at a time"
            ) from None
        except BaseException:
            self.release()
            raise

    def _read(self, folder: Folder) -> tuple[int, bytes]:
        if not self._path.exists():
            if folder.numbers():
                raise JournalError(f"{self._path} is missing beside segments; restore it")
            return 0, b""
        data = self._path.read_bytes()
        body = data[: _EPOCH.size]
        if len(data) != _EPOCH.size + 4 or value(body).to_bytes(4, "little") != data[_EPOCH.size :]:
            raise JournalError(f"{self._path} is damaged; restore it from a copy")
        epoch, stream = _EPOCH.unpack(body)
        return epoch, stream

    def rise(self, epoch: int, stream: bytes) -> None:
        """Refuse every smaller epoch from here on, durably."""
        assert epoch >= self.epoch, "an epoch never falls"
        if (epoch, stream) != (self.epoch, self.stream):
            body = _EPOCH.pack(epoch, stream)
            durable.replace(self._path, body + value(body).to_bytes(4, "little"))
            self.epoch, self.stream = epoch, stream

    def release(self) -> None:
        """Let a writer in."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
