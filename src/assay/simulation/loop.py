"""The whole path in one go: world, import, training, scorer, live traffic, verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.training import train_model
from assay.clock import Clock, SystemClock
from assay.records import DAY_MS
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import prepare
from assay.simulation.verdict import verdict
from assay.simulation.world_settings import WorldSettings

LIVE_ROWS = 20_000
WORLD_DAYS = 96
WORLD_ROWS = 550_000


def run_loop(
    folder: Path,
    *,
    seed: int = 1,
    rows: int = WORLD_ROWS,
    live_rows: int = LIVE_ROWS,
    days: int = WORLD_DAYS,
    customers: int = 10_000,
    progress: Progress = quiet,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Run the whole path in a folder and return what came of it.

    Parameters
    ----------
    folder : Path
        Of the workspace to make.
    seed, rows, days, customers : int
        Of the world, which ends now.
    live_rows : int
        How many of its last transactions are played through HTTP.
    progress : callable
    clock : Clock, optional
        Says when now is.

    Returns
    -------
    dict
        ``history`` (transactions imported) and what `verdict` gives for the live ones.
    """
    end_ms = (clock or SystemClock()).now_ms()
    world = WorldSettings(
        seed=seed,
        start_ms=end_ms - days * DAY_MS,
        end_ms=end_ms,
        customers=customers,
        transactions=rows,
    )
    scenario = prepare(folder, world, live_rows, progress)
    trained = train_model(scenario.workspace, seed=seed, progress=progress)
    progress("start the scorer", 0, 0)
    with ScorerProcess(folder) as scorer:
        progress("start the scorer", 1, 1)
        replies = play(
            scorer.url,
            scenario.api_key,
            scenario.bodies(),
            on_reply=lambda done, total: progress("play live traffic", done, total),
        )
        scorer.stop()
    return {
        "history": scenario.history_rows,
        "model": trained.path.name,
        **verdict(replies, scenario.truth["fraud"].to_list()),
    }
