"""The running demo: a workspace with a history and a model, its processes, and traffic for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assay.bootstrap.monitoring import live_report
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.training import train_model
from assay.errors import UnavailableError
from assay.simulation.director import Director
from assay.simulation.feed import Feed
from assay.simulation.process import UpProcess
from assay.simulation.scenario import Scenario, prepare
from assay.simulation.tape import Tape
from assay.simulation.world_settings import WorldSettings
from assay.workspace import Workspace

SETTINGS: Final = {"label_maturity_days": 2, "monitor_bucket_s": 3600, "table_flush_s": 1}
"""A demo's world runs thousands of times faster than the wall clock."""

_LOOK_S: Final = 0.2


@dataclass(frozen=True)
class Stage:
    """What a demo plays on.

    Attributes
    ----------
    scenario : Scenario
    model : str
        The first version.
    up : UpProcess
    tape : Tape
    feed : Feed
    director : Director
    """

    scenario: Scenario
    model: str
    up: UpProcess
    tape: Tape
    feed: Feed
    director: Director

    @property
    def workspace(self) -> Workspace:
        """Where all of it is kept."""
        return self.scenario.workspace

    def report(self) -> dict[str, Any]:
        """Return what the page *Live monitoring* shows."""
        return live_report(self.workspace)

    def catch_up(self, patience_s: float = 300.0) -> dict[str, Any]:
        """Return the report once the worker has seen all that was played.

        Raises
        ------
        UnavailableError
            If it does not come so far in time.
        """

        def seen(report: dict[str, Any]) -> bool:
            if report["error"]:
                return False
            known = sum(report["labels"].values()) >= self.feed.counts.labels
            return known and (report["stream_ms"] or 0) >= self.tape.world_ms

        return self._await(seen, patience_s)

    def await_alert(self, known: set[int], patience_s: float = 300.0) -> dict[str, Any]:
        """Return the report once there is an alert that is not known, or the feed has ended."""

        def enough(report: dict[str, Any]) -> bool:
            return bool(alerts_of(report) - known) or not self.feed.playing

        return self._await(enough, patience_s)

    def _await(self, enough: Callable[[dict[str, Any]], bool], patience_s: float) -> dict[str, Any]:
        until = time.monotonic() + patience_s
        while not enough(report := self.report()):
            if time.monotonic() > until:
                raise UnavailableError(f"the worker is not there yet after {patience_s:g} s")
            time.sleep(_LOOK_S)
        return report


def alerts_of(report: dict[str, Any]) -> set[int]:
    """Return the numbers of a report's alerts, open and closed."""
    return {alert["id"] for alert in report["alerts"]}


@contextmanager
def set_up(
    folder: Path,
    world: WorldSettings,
    live_rows: int,
    *,
    ahead_ms: int = 0,
    progress: Progress = quiet,
) -> Iterator[Stage]:
    """Make a world, import its history, train on it, start everything, and stop it at the end.

    Parameters
    ----------
    folder : Path
        Of the workspace to make.
    world : WorldSettings
    live_rows : int
        How many of its last transactions are left to be played.
    ahead_ms : int
        World time that is played of the old world while one with another event is made.
    progress : callable
    """
    scenario = prepare(folder, world, live_rows, progress, assay_toml=SETTINGS)
    trained = train_model(scenario.workspace, seed=world.seed, progress=progress)
    with raise_curtain(scenario, trained.path.name, ahead_ms=ahead_ms, progress=progress) as stage:
        yield stage


@contextmanager
def raise_curtain(
    scenario: Scenario, model: str, *, ahead_ms: int = 0, progress: Progress = quiet
) -> Iterator[Stage]:
    """Start scorer, worker and console over a scenario with a model; stop them at the end."""
    progress("start scorer, worker and console", 0, 0)
    with UpProcess(scenario.workspace.path, ("--auto-sign-in",)) as up:
        progress("start scorer, worker and console", 1, 1)
        tape = scenario.tape()
        director = Director(scenario.workspace, scenario.world, tape, ahead_ms=ahead_ms)
        try:
            with Feed(up.scorer, scenario.api_key, tape) as feed:
                yield Stage(scenario, model, up, tape, feed, director)
        finally:
            director.withdraw()
