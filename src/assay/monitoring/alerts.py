"""Findings and alerts as they stand in the control database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from assay.control.schema import ALERTS, FINDINGS
from assay.monitoring.finding import Finding
from assay.monitoring.look import message

CLEAR_AT: Final = 0.8
"""An alert closes when all is below this share of its threshold, so that it does not flicker."""

SYSTEM: Final = ""
"""In the place of the model: the alert is about the system itself, whatever model decides."""


def replace_findings(
    connection: Connection,
    model: str,
    findings: Iterable[Finding],
    from_ms: int,
    to_ms: int,
    now_ms: int,
) -> None:
    """Put the last look's findings in the place of those of the look before.

    `from_ms` and `to_ms` are stream time, `now_ms` is wall time.
    """
    connection.execute(delete(FINDINGS))
    rows = [
        {
            "monitor": finding.monitor,
            "model": model,
            "subject": finding.subject[:128],
            "from_ms": from_ms,
            "to_ms": to_ms,
            "rows": finding.rows,
            "value": finding.value,
            "threshold": finding.threshold,
            "found_ms": now_ms,
        }
        for finding in findings
    ]
    if rows:
        connection.execute(insert(FINDINGS), rows)


def settle_alerts(
    connection: Connection, model: str, findings: list[Finding], stream_ms: int, now_ms: int
) -> None:
    """Open, sharpen and close alerts by what the monitors found.

    An alert opens when a subject is above its threshold, says what its worst moment was like
    while it is open, and closes when every subject is below 0.8 of its threshold.
    What found nothing, for want of payments, neither opens nor closes anything.
    Alerts of a model that decides no more are closed: nothing new is known about it.
    Alerts about the system are left alone.
    """
    gone = ALERTS.c.closed_ms.is_(None) & ~ALERTS.c.model.in_((model, SYSTEM))
    connection.execute(update(ALERTS).where(gone).values(closed_ms=now_ms))
    for monitor, group in groupby(findings, key=lambda finding: finding.monitor):
        found = list(group)
        at = (ALERTS.c.monitor == monitor) & (ALERTS.c.model == model)
        standing = connection.execute(
            select(ALERTS).where(at, ALERTS.c.closed_ms.is_(None))
        ).first()
        worst = max(found, key=lambda finding: finding.ratio)
        if standing is None and worst.ratio > 1:
            row = _row(found, worst) | {"monitor": monitor, "model": model}
            connection.execute(insert(ALERTS).values(stream_ms=stream_ms, opened_ms=now_ms, **row))
        elif standing is not None:
            this = update(ALERTS).where(ALERTS.c.id == standing.id)
            if worst.ratio < CLEAR_AT:
                connection.execute(this.values(closed_ms=now_ms))
            elif worst.ratio > max(1.0, standing.value / standing.threshold):
                connection.execute(this.values(**_row(found, worst)))


def settle_system(
    connection: Connection, causes: Mapping[str, str | None], stream_ms: int, now_ms: int
) -> None:
    """Open, reword and close alerts about the system itself.

    Parameters
    ----------
    connection : Connection
    causes : mapping
        From each kind of alert to what is wrong, in a sentence, or None if it is in order.
        What is not named is not known now: it stays as it is.
    stream_ms, now_ms : int
        Stream time and wall time.
    """
    for monitor, cause in causes.items():
        at = (ALERTS.c.monitor == monitor) & (ALERTS.c.model == SYSTEM)
        standing = connection.execute(
            select(ALERTS).where(at, ALERTS.c.closed_ms.is_(None))
        ).first()
        if standing is None:
            if cause is not None:
                row = {"message": cause, "value": 1.0, "threshold": 1.0, "stream_ms": stream_ms}
                named = {"monitor": monitor, "model": SYSTEM, "opened_ms": now_ms}
                connection.execute(insert(ALERTS).values(named | row))
        elif cause != standing.message:
            change = {"closed_ms": now_ms} if cause is None else {"message": cause}
            connection.execute(update(ALERTS).where(ALERTS.c.id == standing.id).values(**change))


def _row(found: list[Finding], worst: Finding) -> dict[str, Any]:
    return {"message": message(found), "value": worst.value, "threshold": worst.threshold}
