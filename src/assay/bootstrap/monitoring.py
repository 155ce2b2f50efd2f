"""The monitor of the worker, and what it and the tables say, as documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from assay.bootstrap.live import scorer_health
from assay.clock import Clock, SystemClock
from assay.control.database import open_control
from assay.control.schema import KPI, PROGRESS, SWITCHES
from assay.datasets.stream_view import read_stream
from assay.errors import AssayError, DatasetError
from assay.monitoring.judged import COLUMNS, Ints, Judged, judge
from assay.monitoring.live import empty_live, label_counts, label_states, live_document
from assay.monitoring.monitor import Monitor
from assay.monitoring.performance import (
    at_threshold,
    series,
    summary,
    threshold_table,
    without_labels,
)
from assay.monitoring.processes import Written, processes, written_live
from assay.monitoring.ranked import rank
from assay.monitoring.switches import NO_MODEL
from assay.records import DAY_MS, SCORED_KINDS
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.workspace import Workspace

_NO_LABELS = pl.DataFrame(
    schema={"transaction": pl.UInt64, "event_time": pl.Int64, "fraud": pl.Boolean}
)


def make_monitor(
    workspace: Workspace, engine: Engine, clock: Clock, owner_check: Callable[[], None]
) -> Monitor:
    """Return the monitor that a worker feeds."""
    settings = workspace.settings
    return Monitor(
        engine,
        lambda model: _grids(workspace, model),
        clock,
        settings.monitor_bucket_s,
        settings.drift_window_h,
        owner_check,
    )


def _grids(workspace: Workspace, model: str) -> Mapping[str, Any] | None:
    """Return the grids in a model's bundle, once its signature and digests are checked."""
    if model == NO_MODEL:
        return None
    return Bundle.load(workspace.models / model, public_key(workspace.keys)).quantiles


def live_report(
    workspace: Workspace, hours: int = 24, clock: Clock | None = None
) -> dict[str, Any]:
    """Return what is going on now.

    Parameters
    ----------
    workspace : Workspace
    hours : int
        How far back, 1 or more.
    clock : Clock, optional
        Tells how old is what the worker wrote.

    Returns
    -------
    dict
        As docs/monitoring.md lists it; ``error`` says what could not be read, else it is None.
        What could not be read is None too, never 0.
    """
    assert hours >= 1, hours
    currency, bucket_ms = _reference(workspace), workspace.settings.monitor_bucket_s * 1000
    written: Mapping[str, Written] = {}
    try:
        with _control(workspace) as connection:
            frauds_of = partial(_frauds_ms, workspace)
            document = live_document(connection, currency, hours, bucket_ms, frauds_of)
            written = written_live(connection)
    except (AssayError, SQLAlchemyError) as problem:
        document = empty_live(currency, None) | {"error": _said(problem)}
    now_ms = (clock or SystemClock()).now_ms()
    return document | processes(written, now_ms, partial(scorer_health, workspace))


def _frauds_ms(workspace: Workspace, from_ms: int, to_ms: int) -> Ints:
    """Return the event times of the payments in [from_ms, to_ms) that are labelled as fraud."""
    stream, time = read_stream(workspace.stream), pl.col("event_time")
    frauds = stream.labels().filter("fraud", time >= from_ms, time < to_ms)
    if frauds.is_empty():
        return frauds["event_time"].to_numpy()
    decided = stream.decisions(("transaction", "kind"), from_ms, to_ms)
    payments = decided.filter(pl.col("kind").is_in([int(kind) for kind in SCORED_KINDS]))
    return frauds.join(payments, on="transaction", how="semi")["event_time"].to_numpy()


def performance_report(
    workspace: Workspace,
    from_ms: int | None = None,
    to_ms: int | None = None,
    model: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Return how good decisions were, as far as the truth is known.

    Parameters
    ----------
    workspace : Workspace
    from_ms, to_ms : int, optional
        Event times in [from_ms, to_ms); all by default.
    model : str, optional
        Series and thresholds are of its decisions only; of all by default.
    threshold : float, optional
        ``chosen`` is what it would have done.

    Returns
    -------
    dict
        As docs/monitoring.md lists it; ``error`` says what could not be read, else it is None.
    """
    document = _empty_performance(_reference(workspace), model)
    labels, error = _labels(workspace)
    try:
        with _control(workspace) as connection:
            facts = _facts(connection)
        document["labels"] = facts["labels"]
        if facts["stream_ms"] is None or facts["from_ms"] is None:
            return document | {"error": error}
        from_ms = facts["from_ms"] if from_ms is None else from_ms
        to_ms = facts["stream_ms"] + 1 if to_ms is None else to_ms
        document |= {"from_ms": from_ms, "to_ms": to_ms}
        if from_ms < to_ms:
            matured_ms = facts["stream_ms"] - workspace.settings.label_maturity_days * DAY_MS
            decisions = read_stream(workspace.stream).decisions(COLUMNS, from_ms, to_ms)
            judged = judge(decisions, labels, facts["model_of"], matured_ms)
            document |= {"matured_ms": matured_ms, "models": list(judged.models)}
            report = _judgement(judged, model, threshold, from_ms, to_ms)
            document |= report if error is None else without_labels(report)
    except (AssayError, SQLAlchemyError) as problem:
        error = _said(problem)
    return document | {"error": error}


def _judgement(
    judged: Judged, model: str | None, threshold: float | None, from_ms: int, to_ms: int
) -> dict[str, Any]:
    ranked = rank(judged)
    report = {"summary": summary(judged, ranked)}
    if model is not None:
        place = judged.models.index(model) if model in judged.models else -1
        judged, ranked = judged.of(place), ranked.of(place)
    return report | {
        "series": series(judged, from_ms, to_ms),
        "thresholds": threshold_table(ranked),
        "chosen": None if threshold is None else at_threshold(ranked, threshold),
    }


def _empty_performance(currency: str, model: str | None) -> dict[str, Any]:
    names = ("bucket_ms", "payments", "frauds", "precision", "recall")
    return {
        "from_ms": None,
        "to_ms": None,
        "model": model,
        "models": [],
        "matured_ms": None,
        "currency": currency,
        "labels": label_states(None),
        "summary": [],
        "series": {name: [] for name in (*names, "stopped_fraud_ref", "missed_fraud_ref")},
        "thresholds": [],
        "chosen": None,
    }


def _facts(connection: Connection) -> dict[str, Any]:
    """Return what the control database adds: models, newest time, labels by state."""
    switches = connection.execute(select(SWITCHES.c.arrival, SWITCHES.c.model))
    newest = select(PROGRESS.c.stream_ms).where(PROGRESS.c.reader == "monitor")
    return {
        "model_of": {int(arrival): str(model) for arrival, model in switches},
        "stream_ms": connection.execute(newest).scalar() or None,
        # Not the smallest event time of the table: a late event may be of any year.
        "from_ms": connection.execute(select(func.min(KPI.c.bucket_ms))).scalar(),
        "labels": label_counts(connection),
    }


@contextmanager
def _control(workspace: Workspace) -> Iterator[Connection]:
    engine = open_control(workspace.control)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _labels(workspace: Workspace) -> tuple[pl.DataFrame, str | None]:
    """Return the labels that were matched, or why they cannot be read."""
    try:
        return read_stream(workspace.stream).labels(), None
    except DatasetError as error:
        return _NO_LABELS, str(error)


def _reference(workspace: Workspace) -> str:
    return workspace.settings.reference_currency


def _said(problem: Exception) -> str:
    """Return an error in words; the database's own names its statement, which nobody needs."""
    if isinstance(problem, AssayError):
        return str(problem)
    return (
        f"the control database cannot be read: {getattr(problem, 'orig', type(problem).__name__)}"
    )
