"""The whole loop in one go: history, model, live traffic, labels, drift, a second model, back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from assay.bootstrap.lifecycle import promote, rollback
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.training import train_model
from assay.clock import Clock, SystemClock
from assay.records import DAY_MS
from assay.simulation.pages import filled_pages
from assay.simulation.player import Reply
from assay.simulation.stage import Stage, alerts_of, set_up
from assay.simulation.switching import Switching, measure_switch
from assay.simulation.tape import Cue
from assay.simulation.verdict import verdict
from assay.simulation.world_settings import WorldSettings

LIVE_ROWS: Final = 20_000
DRIFT_ROWS: Final = 10_000
SWITCH_ROWS: Final = 12_000
"""At least as many as are sent while a model is promoted and taken back."""

WORLD_DAYS: Final = 94
WORLD_ROWS: Final = 540_000
SWITCH_SPEED: Final = 8_000.0
"""World seconds in a second while a model is promoted: some hundred transactions a second."""


def run_loop(
    folder: Path,
    *,
    seed: int = 1,
    rows: int = WORLD_ROWS,
    live_rows: int = LIVE_ROWS,
    drift_rows: int = DRIFT_ROWS,
    switch_rows: int = SWITCH_ROWS,
    days: int = WORLD_DAYS,
    customers: int = 10_000,
    progress: Progress = quiet,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Run the whole loop in a folder and return what came of it.

    Parameters
    ----------
    folder : Path
        Of the workspace to make.
    seed, rows, days, customers : int
        Of the world, which ends now.
    live_rows : int
        How many transactions are played before anything changes.
    drift_rows : int
        How many are played at most in a pandemic, until it is alerted.
    switch_rows : int
        How many are kept for the load under which models are switched.
    progress : callable
    clock : Clock, optional
        Says when now is.

    Returns
    -------
    dict
        ``history`` (transactions imported), what `verdict` gives for the ``live_rows``, and what
        docs/simulation.md lists for the rest of the loop.
    """
    end_ms = (clock or SystemClock()).now_ms()
    world = WorldSettings(
        seed=seed,
        start_ms=end_ms - days * DAY_MS,
        end_ms=end_ms,
        customers=customers,
        transactions=rows,
    )
    played = live_rows + drift_rows + switch_rows
    with set_up(folder, world, played, progress=progress) as stage:
        judged = _live(stage, live_rows, progress)
        quiet_alerts = alerts_of(stage.catch_up())
        new_alerts = _drift(stage, quiet_alerts, drift_rows, progress)
        second = train_model(stage.workspace, seed=seed, progress=progress).path.name
        promoted, back = _switches(stage, second, progress)
        report = stage.catch_up()
        pages = filled_pages(stage.up.console)
    return {
        "history": stage.scenario.history_rows,
        "model": stage.model,
        **judged,
        "second_model": second,
        "labels_matched": report["labels"]["matched"],
        "alerts_before_drift": len(quiet_alerts),
        "drift_alerts": len(new_alerts),
        "promote_ms": promoted.took_ms,
        "rollback_ms": back.took_ms,
        "rollback_failed_requests": back.failed_requests,
        "console_pages_ok": len(pages),
    }


def _live(stage: Stage, rows: int, progress: Progress) -> dict[str, Any]:
    """Play ordinary days and judge the decisions by the world's own truth."""
    replies: list[tuple[Cue, Reply]] = []

    def keep(cue: Cue, reply: Reply) -> None:
        replies.append((cue, reply))
        if len(replies) % 500 == 0:
            progress("play live traffic", len(replies), rows)

    stage.feed.on_reply = keep
    stage.feed.play(rows)
    progress("play live traffic", rows, rows)
    stage.feed.on_reply = lambda _cue, _reply: None
    return verdict([reply for _, reply in replies], [cue.fraud for cue, _ in replies])


def _drift(stage: Stage, known: set[int], rows: int, progress: Progress) -> set[int]:
    """Let a pandemic begin and play until it is alerted; return the new alerts."""
    progress("play a pandemic until it is alerted", 0, 0)
    stage.director.switch("pandemic", on=True)
    stage.feed.start(rows)
    stage.await_alert(known)
    stage.feed.stop()
    report = stage.catch_up()
    progress("play a pandemic until it is alerted", 1, 1)
    return alerts_of(report) - known


def _switches(stage: Stage, second: str, progress: Progress) -> tuple[Switching, Switching]:
    """Promote the second model under load, and take it back."""
    progress("promote and roll back under load", 0, 2)
    workspace, feed = stage.workspace, stage.feed
    feed.speed = SWITCH_SPEED
    feed.start()
    promoted = measure_switch(feed, lambda: promote(workspace, second, "demo"), second)
    progress("promote and roll back under load", 1, 2)
    back = measure_switch(feed, lambda: rollback(workspace, "demo"), stage.model)
    progress("promote and roll back under load", 2, 2)
    feed.stop()
    return promoted, back
