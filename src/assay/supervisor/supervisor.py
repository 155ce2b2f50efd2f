"""Keeps programs running until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from assay.supervisor.child import Child
from assay.supervisor.program import Program
from assay.supervisor.status import Status
from assay.supervisor.timing import Timing


class Supervisor:
    """Runs programs side by side; they die with this process, however it ends.

    Parameters
    ----------
    programs : sequence of Program
        They start at the same time, and stop one after another, the last one first.
    logs : Path
        Folder of their logs, ``<name>.log``.
    tell : callable
        Called with every new status.
    timing : Timing
    """

    def __init__(
        self,
        programs: Sequence[Program],
        logs: Path,
        tell: Callable[[Status], None],
        timing: Timing | None = None,
    ) -> None:
        self._children = [
            Child(program, logs / f"{program.name}.log", timing or Timing(), tell)
            for program in programs
        ]

    @property
    def statuses(self) -> list[Status]:
        """How each program is, in their order."""
        return [child.status for child in self._children]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the programs running until `stop` is set, then stop them."""
        tasks = [asyncio.create_task(child.keep()) for child in self._children]
        waiting = asyncio.create_task(stop.wait())
        # A child's task ends early only by an error of our own: that must not go unseen.
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        for child, task in reversed(list(zip(self._children, tasks, strict=True))):
            await child.stop()
            await asyncio.wait({task})
        await asyncio.gather(*tasks)
