"""The journal's older files, as the worker looks after them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from assay.clock import Clock
from assay.journal.folder import Folder
from assay.journal.retention import drop_segments
from assay.journal.sealer import quarantined, seal, sealable
from assay.records import DAY_MS
from assay.workspace import Workspace


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

    def sealable(self) -> list[int]:
        """Return the numbers of the segments that are whole and not compressed yet."""
        return sealable(self._folder) if self._there() else []

    def seal(self, number: int) -> tuple[int, int] | None:
        """Compress one; return its bytes before and after, None if it is damaged."""
        done = seal(self._folder, number, self._clock)
        return None if done is None else (done.raw_bytes, done.sealed_bytes)

    def quarantined(self) -> list[dict[str, Any]]:
        """Return what is known of each damaged segment."""
        return [asdict(found) for found in quarantined(self._folder)] if self._there() else []

    def drop(self, before_position: int) -> list[int]:
        """Delete what is older than ``journal_days`` and lies before a position."""
        if not self._days or not before_position or not self._there():
            return []
        before_ms = self._clock.now_ms() - self._days * DAY_MS
        return drop_segments(self._folder, before_ms, before_position)

    def _there(self) -> bool:
        return self._folder.path.is_dir()
