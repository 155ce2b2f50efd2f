"""The demo that goes on: days pass in seconds until somebody has seen enough."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.bootstrap.progress import Progress, quiet
from assay.clock import SystemClock
from assay.records import DAY_MS
from assay.simulation.director import SCENARIOS
from assay.simulation.events import EventName
from assay.simulation.stage import Stage, set_up
from assay.simulation.world_settings import WorldSettings

HISTORY_DAYS: Final = 90
LIVE_DAYS: Final = 105
ROWS_PER_DAY: Final = 5_700
SPEED: Final = 2_400.0
"""World seconds in a second: a day passes in 36 s, at about 160 transactions a second."""

FIRST_DAYS: Final = 3
"""Days that are played as fast as they are decided, so that the pages have something to show."""

TRAIN_AFTER_S: Final = 20.0
DRIFT_AFTER_S: Final = 240.0
DRIFT: Final[EventName] = "pandemic"

_AHEAD_S: Final = 6.0  # of play, while another world is made
_LOOK_S: Final = 0.25
_TELL_S: Final = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Scene:
    """Where the demo stands, for the line in the terminal.

    Attributes
    ----------
    world_ms : int
        The world's time, UTC milliseconds.
    per_s : float
        Transactions decided a second, lately.
    decisions, errors, labels : int
        So far.
    alerts : int
        That are open.
    model : str or None
        That is live; None while the scorer is away.
    """

    world_ms: int
    per_s: float
    decisions: int
    errors: int
    labels: int
    alerts: int
    model: str | None


def play_on(
    folder: Path,
    *,
    seed: int = 1,
    progress: Progress = quiet,
    on_ready: Callable[[Stage], None],
    on_scene: Callable[[Scene], None],
    say: Say,
) -> None:
    """Set everything up and play until the world has caught up with the wall clock.

    A second model is trained after the first days, and a pandemic begins after four minutes, unless
    somebody has pressed a button until then. KeyboardInterrupt ends it, and stops everything.

    Parameters
    ----------
    folder : Path
        Of the workspace to make.
    seed : int
        Of the world.
    progress : callable
        Told of the set-up.
    on_ready : callable
        Told when everything runs, before the first transaction.
    on_scene : callable
        Told about once a second where the demo stands.
    say : callable
        Told a sentence when something changes.
    """
    end_ms, days = SystemClock().now_ms(), HISTORY_DAYS + LIVE_DAYS
    world = WorldSettings(
        seed=seed,
        start_ms=end_ms - days * DAY_MS,
        end_ms=end_ms,
        transactions=days * ROWS_PER_DAY,
    )
    live_rows, ahead_ms = LIVE_DAYS * ROWS_PER_DAY, round(_AHEAD_S * SPEED * 1000)
    with set_up(folder, world, live_rows, ahead_ms=ahead_ms, progress=progress) as stage:
        on_ready(stage)
        Show(stage, on_scene, say).run()


class Show:
    """Plays on a stage that is set up: what happens by itself, and what the buttons ask for.

    Parameters
    ----------
    stage : Stage
    on_scene, say : callable
        As for `play_on`.
    first_rows : int
        Transactions that are played as fast as they are decided.
    train_after_s, drift_after_s : float
        When the second model is trained, and when a pandemic begins.
    """

    def __init__(
        self,
        stage: Stage,
        on_scene: Callable[[Scene], None],
        say: Say,
        *,
        first_rows: int = FIRST_DAYS * ROWS_PER_DAY,
        train_after_s: float = TRAIN_AFTER_S,
        drift_after_s: float = DRIFT_AFTER_S,
    ) -> None:
        self._stage, self._on_scene, self._say = stage, on_scene, say
        self._first_rows = first_rows
        self._train_after_s, self._drift_after_s = train_after_s, drift_after_s
        self._started_s = self._told_s = time.monotonic()
        self._decisions, self._pressed, self._alerts = 0, False, 0
        self._training: subprocess.Popen[bytes] | None = None
        self._trained = False

    def run(self) -> None:
        """Play to the end."""
        feed, director = self._stage.feed, self._stage.director
        director.announce(None)
        feed.start(self._first_rows)
        while feed.playing:
            self._turn(None)
        feed.wait()
        feed.speed = SPEED
        feed.start()
        try:
            while feed.playing:
                self._plan()
                self._turn(SPEED)
            feed.wait()
        finally:
            if self._training is not None:
                self._training.terminate()
                self._training.wait()
        self._say("The world has caught up with the clock on the wall; traffic has ended.")

    def _turn(self, speed: float | None) -> None:
        """Look at the buttons, and tell about once a second where things stand."""
        if (name := self._stage.director.poll()) is not None:
            self._pressed = True
            state = "begins" if name in self._stage.director.on else "ends"
            self._say(f"{SCENARIOS[name].title} {state}, as asked for in the console.")
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            scene = self._scene(now_s)
            if scene.alerts > self._alerts:
                self._say("The monitors raise an alert; the page Live says what they saw.")
            self._alerts = scene.alerts
            self._on_scene(scene)
            self._stage.director.announce(speed)
        time.sleep(_LOOK_S)

    def _scene(self, now_s: float) -> Scene:
        counts, report = self._stage.feed.counts, self._stage.report()
        per_s = (counts.decisions - self._decisions) / (now_s - self._told_s)
        self._told_s, self._decisions = now_s, counts.decisions
        return Scene(
            world_ms=self._stage.tape.world_ms,
            per_s=per_s,
            decisions=counts.decisions,
            errors=counts.errors,
            labels=counts.labels,
            alerts=sum(alert["closed_ms"] is None for alert in report["alerts"]),
            model=report["scorer"].get("model") if report["scorer"].get("up") else None,
        )

    def _plan(self) -> None:
        """Train a second model and let a pandemic begin, each when its time has come."""
        passed_s = time.monotonic() - self._started_s
        if passed_s >= self._train_after_s and self._training is None and not self._trained:
            self._say("A second model is being trained, on the labels that have come.")
            self._training = self._train()
        if self._training is not None and self._training.poll() is not None:
            good, self._training, self._trained = self._training.returncode == 0, None, True
            self._say(
                "The second model is there: compare and promote it on the page Models."
                if good
                else "The second model could not be trained; see .assay/train.log."
            )
        if passed_s >= self._drift_after_s and not self._pressed:
            self._pressed = True
            self._say("A pandemic begins; end it with its button on the page Live.")
            self._stage.director.ask(DRIFT, on=True)

    def _train(self) -> subprocess.Popen[bytes]:
        workspace = self._stage.workspace
        with (workspace.data / "train.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 — our own program
                [sys.executable, "-m", "assay", "train", "--workspace", str(workspace.path)],
                stdout=log,
                stderr=log,
            )
