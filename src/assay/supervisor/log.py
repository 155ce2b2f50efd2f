"""The log of one program: a file that only its owner may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 16 << 20
"""A log that is longer begins anew at the next start of its program."""

TAIL_BYTES: Final = 4_096
LINE_MAX: Final = 300


class Log:
    """Keeps what a program writes on standard error.

    Parameters
    ----------
    path : Path
        A log that is there already is kept as ``<name>.1``, in place of an older one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._rotate()

    def _rotate(self) -> None:
        if self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))

    def open(self) -> int:
        """Return a descriptor to append to, for the next life of the program."""
        if self.path.exists() and self.path.stat().st_size > BYTES_MAX:
            self._rotate()
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._start = os.fstat(handle).st_size
        return handle

    def last_line(self) -> str:
        """Return the last line that the program wrote in this life, or nothing."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(self._start, size - TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        text = lines[-1][:LINE_MAX] if lines else ""
        return "".join(c if c.isprintable() else "�" for c in text)
