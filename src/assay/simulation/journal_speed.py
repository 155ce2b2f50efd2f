"""Measures the journal: what a commit, an audit, a sealed record, following and recovery cost."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

from assay.bootstrap.audit import replay
from assay.bootstrap.journal_speed import (
    add_cards,
    measure_commit,
    measure_following,
    measure_sealing,
    take_snapshot,
)
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.training import train_model
from assay.clock import SystemClock
from assay.errors import UnavailableError
from assay.records import DAY_MS
from assay.simulation.load import machine
from assay.simulation.player import play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario, prepare
from assay.simulation.world_settings import WorldSettings

HISTORY_ROWS: Final = 200_000
PROBES: Final = 8
FOLLOW_RECORDS_PER_S: Final = 10_000
FOLLOW_S: Final = 6.0

FEATURES: Final = '''\
"""The shipped features, more windows of the card, and how its windows compare: 99 features."""

from assay.features.default_set import PAYMENT, default_features
from assay.features.definitions import Count, FeatureSet, Mean, Ratio, Std, Sum, window_ms

windows = [
    kind(
        name=f"card_{kind.__name__.lower()}_{window}",
        entity="card",
        window_ms=window_ms(window),
        where=PAYMENT,
        description=f"{kind.__name__} of the card's payments in {window}.",
    )
    for kind in (Count, Sum, Mean, Std)
    for window in ("6h", "14d", "60d")
]
ratios = [
    Ratio(
        name=f"card_{stem}_{over}_of_{under}",
        over=f"card_{stem}_{over}",
        under=f"card_{stem}_{under}",
        description=f"The card's {stem} in {over} over that in {under}.",
    )
    for stem, lengths in (
        ("count", ("10m", "1h", "6h", "24h", "7d", "14d", "30d", "60d", "90d")),
        ("sum", ("1h", "6h", "24h", "7d", "14d", "30d", "60d")),
        ("mean", ("7d", "14d", "30d", "60d", "90d")),
        ("std", ("14d", "30d", "60d")),
    )
    for over, under in zip(lengths, lengths[1:])
]
features = FeatureSet((*default_features().features, *windows, *ratios))
'''


def measure_journal(
    folder: Path, *, cards: int, records: int, progress: Progress = quiet
) -> dict[str, Any]:
    """Prepare a workspace with so many cards, journal so many decisions, and return the figures.

    Every figure comes from the real parts; `records_per_s` is for one core (processor time of
    the process that commits), the others by the clock.

    Raises
    ------
    UnavailableError
        If a scorer does not start or does not answer.
    """
    scenario = _prepare(folder, cards, records, progress)
    workspace = scenario.workspace
    bodies = scenario.bodies()
    with ScorerProcess(folder):  # folds the history and begins the stream
        pass
    state = take_snapshot(workspace, progress)
    os.sync()  # else the disk writes what the preparation left while commits are measured
    commit = measure_commit(workspace, bodies[:records], progress)
    ready = _measure_ready(scenario, bodies[records:], progress)
    progress("seal", 0, 0)
    sealing = measure_sealing(workspace, folder / "sealed")
    audited = replay(workspace, span="1..", progress=progress)
    progress("follow", 0, 0)
    following = measure_following(
        workspace, folder / "followed", records_per_s=FOLLOW_RECORDS_PER_S, seconds=FOLLOW_S
    )
    return {
        **commit,
        "replay_records_per_s": round(audited["decisions"] / audited["replay_s"]),
        "replay_same": audited["same"],
        **sealing,
        **ready,
        "ready_cards": state.pop("cards"),
        "ready_records": records,
        **state,
        **following,
        "machine": machine(),
    }


def _prepare(folder: Path, cards: int, records: int, progress: Progress) -> Scenario:
    end_ms = SystemClock().now_ms()
    world = WorldSettings(
        start_ms=end_ms - 120 * DAY_MS,
        end_ms=end_ms,
        transactions=HISTORY_ROWS + records + PROBES,
        customers=20_000,
    )
    scenario = prepare(folder, world, records + PROBES, progress)
    (folder / "features.py").write_text(FEATURES, encoding="utf-8")
    train_model(scenario.workspace, progress=progress)
    progress("import the cards", 0, 0)
    add_cards(scenario.workspace, cards, int(scenario.live["event_time"][0]))
    progress("import the cards", 1, 1)
    return scenario


def _measure_ready(scenario: Scenario, probes: list[bytes], progress: Progress) -> dict[str, Any]:
    """Kill a scorer with SIGKILL, start it again, and stop the clock at its first decision."""
    with ScorerProcess(scenario.workspace.path) as scorer:
        _decide(scorer, scenario, probes[0])
        scorer.kill()
    progress("start after kill -9", 0, 0)
    started = time.perf_counter()
    with ScorerProcess(scenario.workspace.path) as scorer:
        _decide(scorer, scenario, probes[1])
        ready_s = time.perf_counter() - started
        cpu_s, began = scorer.cpu_s(), scorer.ready
    progress("start after kill -9", 1, 1)
    return {
        "ready_s": round(ready_s, 2),
        "ready_cpu_s": round(cpu_s, 2),
        "recovered": began["recovered"],
        "ready_from_snapshot": began["snapshot"] is not None,
    }


def _decide(scorer: ScorerProcess, scenario: Scenario, body: bytes) -> None:
    reply = play(scorer.url, scenario.api_key, [body], connections=1)[0]
    if reply.status != 200:
        raise UnavailableError(f"the scorer answered with status {reply.status}; accepted: 200")
