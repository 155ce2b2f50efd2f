"""A simulated world under the monitor: history, grids, days of traffic, and what was alerted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.files import import_transactions
from assay.bootstrap.training import train_model
from assay.clock import VirtualClock
from assay.control.database import open_control
from assay.control.schema import ALERTS
from assay.datasets.table import TransactionTable
from assay.features.definitions import FeatureSet
from assay.monitoring.grids import Grids, make_grids
from assay.monitoring.look import drift_thresholds
from assay.monitoring.monitor import Monitor
from assay.records import DAY_MS, SCORED_KINDS, Batch, Stretch, Switch
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.scoring.scorer import Scorer
from assay.simulation.events import Event, EventName
from assay.simulation.scenario import Scenario, prepare
from assay.simulation.world_settings import WorldSettings
from assay.workspace import Workspace

HOUR_MS = 3_600_000
END_MS = 1_780_272_000_000

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Watched:
    """What came of it.

    Attributes
    ----------
    alerts : list of dict
        Rows of the control database.
    event_ms : int
        When drift was switched on, if it was.
    ratios : dict
        Subject → its largest PSI in thresholds, over every 24 hours.
    """

    alerts: list[dict[str, Any]]
    event_ms: int
    ratios: dict[str, float]

    def hours(self) -> list[float]:
        """Return how long after the event each alert of drift opened."""
        drifts = [alert for alert in self.alerts if alert["monitor"] != "degraded"]
        return [(alert["stream_ms"] - self.event_ms) / HOUR_MS for alert in drifts]

    def __str__(self) -> str:
        worst = sorted(self.ratios.items(), key=lambda item: -item[1])[:4]
        named = ", ".join(f"{name} {ratio:.2f}" for name, ratio in worst)
        hours = ", ".join(f"{hours:.0f} h" for hours in self.hours()) or "none"
        return f"largest PSI in thresholds: {named}; alerts after the event: {hours}"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a world and of the days that are watched."""

    days: int
    live_days: int
    customers: int
    per_day: int


def watch(
    folder: Path, seed: int, size: Size, drift: EventName | None, *, trained: bool
) -> Watched:
    """Make a world, and let the monitor follow its last days hour by hour.

    Drift is switched on two days after the traffic begins. Without `trained` a fixed formula
    stands for the model, and the newest two thirds of the history for what it was not fitted on.
    """
    end_ms = END_MS - seed * 3 * DAY_MS + seed * 5 * HOUR_MS  # another weekday and hour for each
    event_ms = end_ms - (size.live_days - 2) * DAY_MS
    world = WorldSettings(
        seed=seed,
        start_ms=end_ms - size.days * DAY_MS,
        end_ms=end_ms,
        customers=size.customers,
        merchants=1_000,
        transactions=size.days * size.per_day,
        events=() if drift is None else (Event(name=drift, start_ms=event_ms),),
    )
    made = prepare(folder, world, size.live_days * size.per_day)
    features = _features(made.workspace)
    bundle = train_model(made.workspace, seed=seed).path if trained else None
    batch = _everything(made, features)
    live = batch.events["event_time"] >= int(made.live["event_time"][0])
    if bundle is None:
        batch.scores = _formula(batch.features, features.names)
        document = _grids(batch, np.flatnonzero(~live), features.names)
    else:
        loaded = Bundle.load(bundle, public_key(made.workspace.keys), features.digest)
        batch.scores = Scorer(loaded).score(batch.features)
        document = dict(loaded.quantiles)
    watched = _rows(batch, np.flatnonzero(live))
    return Watched(_follow(folder, watched, document), event_ms, _ratios(watched, document))


def _features(workspace: Workspace) -> FeatureSet:
    table = TransactionTable(workspace.tables).read()
    kinds = frozenset(int(kind) for kind in set(table.events["kind"].tolist()))
    return workspace_features(workspace).available(table.fields, kinds)


def _everything(made: Scenario, features: FeatureSet) -> Batch:
    """Import the live traffic too, and return all events with their features."""
    workspace, file = made.workspace, made.workspace.data / "live.parquet"
    mapping = workspace.path / "sources" / "live.toml"
    text = (workspace.path / "sources" / "world.toml").read_text()
    mapping.write_text(text.partition("[label]")[0])
    made.live.write_parquet(file)
    import_transactions(workspace, file, mapping, workspace.dead_letters / "live.jsonl")
    events = TransactionTable(workspace.tables).read().events
    n = len(events)
    bytes_, reasons = np.zeros(n, np.uint8), np.zeros((n, 4), np.uint16)
    matrix = make_fold(workspace, features).replay(events)
    return Batch(events, matrix, np.zeros(n, np.float32), bytes_, reasons, bytes_)


def _formula(features: Matrix, names: tuple[str, ...]) -> Matrix:
    amount = np.nan_to_num(features[:, names.index("amount_ref")])
    count = np.nan_to_num(features[:, names.index("card_count_24h")])
    return (1 / (1 + np.exp(6 - amount / 20_000 - count / 4))).astype(np.float32)


def _grids(batch: Batch, history: NDArray[np.intp], names: tuple[str, ...]) -> dict[str, Any]:
    rows = history[np.isin(batch.events["kind"][history], SCORED_KINDS)][len(history) // 3 :]
    times = batch.events["event_time"][rows]
    return make_grids(batch.features[rows], names, batch.scores[rows], times)


def _rows(batch: Batch, rows: NDArray[np.intp]) -> Batch:
    return Batch(
        batch.events[rows],
        batch.features[rows],
        batch.scores[rows],
        batch.actions[rows],
        batch.reasons[rows],
        batch.modes[rows],
    )


def _hours(batch: Batch) -> list[Batch]:
    hours = batch.events["event_time"] // HOUR_MS
    edges = np.flatnonzero(np.diff(hours)) + 1
    return [_rows(batch, rows) for rows in np.split(np.arange(len(batch)), edges)]


def _follow(folder: Path, batch: Batch, document: dict[str, Any]) -> list[dict[str, Any]]:
    engine = open_control(folder / "watched.sqlite")
    monitor = Monitor(engine, lambda _: document, VirtualClock(1), 60, 24, lambda: None)
    switches, at = [Switch(1, 1, "start", 0, "m", "p", "f", "r", ())], 0
    for part in _hours(batch):
        n = len(part)
        places, ids, texts = np.arange(at, at + n), [""] * n, [b"{}"] * n
        at += n
        boots = np.ones(n, np.uint64)
        monitor.take(Stretch(at, part, boots, places, ids, texts, switches))
        monitor.commit(at)
        switches = []
    with engine.connect() as connection:
        alerts = [dict(row) for row in connection.execute(select(ALERTS)).mappings()]
    engine.dispose()
    return alerts


def _ratios(batch: Batch, document: dict[str, Any]) -> dict[str, float]:
    grids = Grids.load(document)
    payments = np.flatnonzero(np.isin(batch.events["kind"], SCORED_KINDS))
    parts = _hours(_rows(batch, payments))
    counts = np.cumsum([grids.count(part.features, part.scores) for part in parts], axis=0)
    windows = counts[24:] - counts[:-24]
    psi = np.array([grids.psi(window) for window in windows])
    worst = (psi / drift_thresholds(grids.psi_day)).max(axis=0)
    return dict(zip(grids.subjects, worst.tolist(), strict=True))
