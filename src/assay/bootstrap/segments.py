"""The journal's older files, as the worker looks after them."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from assay.clock import Clock
from assay.errors import DamageError, JournalError, StalledError
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.quarantine import quarantine
from assay.journal.retention import drop_segments
from assay.journal.sealer import quarantined, seal, sealable, verify
from assay.journal.segments import OFFSET_BITS
from assay.records import DAY_MS
from assay.workspace import Workspace

log = logging.getLogger("assay.worker")


class WorkspaceSegments:
    """The segments of one workspace's journal; see `worker.ports.Segments`.

    Parameters
    ----------
    workspace : Workspace
    clock : Clock
        Tells how old a segment is.
    """

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._folder, self._clock = Folder(workspace.journal), clock
        self._days = workspace.settings.journal_days
        self._verified = 0
        self._reserve_bytes = workspace.settings.disk_reserve_mb << 20

    def sealable(self) -> list[int]:
        """Return the numbers of the segments that are whole and not compressed yet."""
        return sealable(self._folder) if self._there() else []

    def seal(self, number: int) -> tuple[int, int] | None:
        """Compress one; return its bytes before and after, None if it is damaged.

        Raises
        ------
        StalledError
            If that would take more of the disk than the journal's reserve leaves.
        """
        self._check_room(self._folder.segment(number).stat().st_size)
        done = seal(self._folder, number, self._clock)
        return None if done is None else (done.raw_bytes, done.sealed_bytes)

    def verify_next(self) -> bool:
        """Read the next compressed segment through, round and round; False if it is damaged."""
        numbers = self._folder.numbers() if self._there() else []
        marked = set(self._folder.marked())
        sealed = [n for n in numbers if n not in marked and self._folder.sealed(n).exists()]
        if not sealed:
            return True
        self._verified = next((n for n in sealed if n > self._verified), sealed[0])
        with suppress(FileNotFoundError):
            return verify(self._folder, self._verified, self._clock)
        return True

    def quarantined(self) -> list[dict[str, Any]]:
        """Return what is known of each damaged segment."""
        return [asdict(found) for found in quarantined(self._folder)] if self._there() else []

    def examine(self, position: int) -> None:
        """Mark the segment at a position durably, if it is damaged there."""
        try:
            Follower(self._folder.path, position).read(1)
        except DamageError as bad:
            quarantine(self._folder, position >> OFFSET_BITS, bad, self._clock.now_ms())
        except JournalError as error:  # it was removed, or is no segment's fault
            log.info("no segment is quarantined: %s", error)

    def drop(self, before_position: int) -> list[int]:
        """Delete what is older than ``journal_days`` and lies before a position."""
        if not self._days or not before_position or not self._there():
            return []
        before_ms = self._clock.now_ms() - self._days * DAY_MS
        return drop_segments(self._folder, before_ms, before_position)

    def _check_room(self, need: int) -> None:
        """Leave the journal its reserve: the segment goes only after what is written for it."""
        disk = os.statvfs(self._folder.path)
        free = disk.f_bavail * disk.f_frsize
        if free < need + self._reserve_bytes:
            raise StalledError(
                f"compressing a segment needs {need >> 20} MB beside the reserve, {free >> 20} MB "
                "are free; accepted: more room, the journal goes on without"
            )

    def _there(self) -> bool:
        return self._folder.path.is_dir()
