"""Measures how fast the feature kernel replays a history on one core."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.scorer import read_history
from assay.clock import SystemClock
from assay.records import DAY_MS
from assay.simulation.load import machine
from assay.simulation.scenario import prepare
from assay.simulation.world_settings import WorldSettings

ROWS = 500_000
ROUNDS = 5
MICRO_BATCH_ROWS = 32


def measure_replay(folder: Path, progress: Progress = quiet) -> dict[str, Any]:
    """Replay a world's 95 days several times from an empty state and return the median speed."""
    end_ms = SystemClock().now_ms()
    world = WorldSettings(start_ms=end_ms - 95 * DAY_MS, end_ms=end_ms, transactions=ROWS)
    scenario = prepare(folder, world, MICRO_BATCH_ROWS, progress)
    events = read_history(scenario.workspace, None).events
    features = workspace_features(scenario.workspace)
    make_fold(scenario.workspace, features)  # compiles, if no one has
    replays, batches = [], []
    for done in range(ROUNDS):
        progress("replay", done, ROUNDS)
        fold = make_fold(scenario.workspace, features)
        started = time.perf_counter()
        fold.replay(events[:-MICRO_BATCH_ROWS])
        middle = time.perf_counter()
        fold(events[-MICRO_BATCH_ROWS:])
        batches.append(time.perf_counter() - middle)
        replays.append(middle - started)
    progress("replay", ROUNDS, ROUNDS)
    return {
        "replay_events_per_s": round((len(events) - MICRO_BATCH_ROWS) / statistics.median(replays)),
        "micro_batch_us_per_row": round(statistics.median(batches) / MICRO_BATCH_ROWS * 1e6, 2),
        "events": len(events),
        "features": len(features.names),
        "machine": machine(),
    }
