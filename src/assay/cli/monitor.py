"""``assay monitor``: what the running system does, and whether anything is out of order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.output import show

_SHARES = ("precision", "recall")


def monitor(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    hours: Annotated[int, typer.Option(min=1, help="How far back, in stream time.")] = 24,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show volume, money, performance, drift, alerts and labels as they are now.

    Stream time is the event time of the traffic: its newest event is now.
    """
    from assay.bootstrap.monitoring import live_report, performance_report
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    live, judged = live_report(opened, hours), performance_report(opened)
    document = live | {"performance": judged["summary"]}
    if as_json:
        show(document, as_json=True)
    else:
        _report(document, hours)


def _report(document: dict[str, Any], hours: int) -> None:
    out = Console()
    if document["error"]:
        out.print(Text(f"cannot be read: {document['error']}"))
    if document["stream_ms"] is None:
        out.print("Nothing was decided yet, or no worker follows the scorer (assay up).")
        return
    totals, currency = document["totals"], document["currency"]
    payments = max(totals["payments"], 1)
    frauds = totals["reported_fraud"]
    facts = {
        "scorer": _state(document["scorer"]),
        "worker": _state(document["worker"]),
        "feature state": _kept(document["journal"]),
        "newest event": _moment(document["stream_ms"]),
        f"payments, {hours} h": totals["payments"],
        **{
            name: f"{totals[name]:,} ({totals[name] / payments:.2%})"
            for name in ("approve", "challenge", "review", "decline", "degraded")
        },
        "approved": _money(totals["approved_ref"], currency),
        "stopped": _money(totals["stopped_ref"], currency),
        "reported as fraud": "unknown" if frauds is None else frauds,
        "labels": document["labels"],
    }
    show(facts, as_json=False)
    _alerts(out, document["alerts"])
    _findings(out, document["findings"])
    _performance(out, document["performance"])


def _alerts(out: Console, alerts: list[dict[str, Any]]) -> None:
    open_now = [alert for alert in alerts if alert["closed_ms"] is None]
    out.print(f"\n{len(open_now)} open alerts, {len(alerts) - len(open_now)} closed")
    for alert in open_now:
        about = ", ".join(filter(None, (alert["monitor"], alert["model"])))
        out.print(Text(f"  {about}: {alert['message']}"))


def _findings(out: Console, findings: list[dict[str, Any]]) -> None:
    if not findings:
        out.print("No drift to show before a whole window of traffic with one model.")
        return
    table = Table("monitor", "subject", "value", "alerts above", box=None)
    for row in findings[:8]:
        table.add_row(
            row["monitor"], Text(row["subject"]), f"{row['value']:.3f}", f"{row['threshold']:.3f}"
        )
    out.print(table)


def _performance(out: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("model", "payments", "matured", "frauds", "precision", "recall", box=None)
    for row in rows:
        shares = ("" if row[name] is None else f"{row[name]:.1%}" for name in _SHARES)
        found = (row[name] for name in ("payments", "matured", "frauds"))
        counts = ("" if n is None else f"{n:,}" for n in found)
        table.add_row(Text(row["model"]), *counts, *shares)
    if rows:
        out.print("\nOn matured payments, by release:")
        out.print(table)


def _state(process: dict[str, Any] | None) -> str:
    if process is None:
        return "not seen yet"
    since_ms = process.get("since_ms")
    since = "" if since_ms is None else f" since {_moment(since_ms)}"
    return ("up" if process.get("up") else "down") + since


def _kept(journal: dict[str, Any] | None) -> str:
    """Return whether the scorer's feature state was found right, and what is kept of it."""
    if journal is None:
        return "unknown, no worker runs"
    words = {"ok": "as the journal gives it", "behind": "being compared", "off": "not kept"}
    state = words.get(journal["state"], "WRONG, see the alert")
    if journal.get("reason"):
        state += f": {journal['reason']}"
    if journal.get("checked_rows"):
        state += f", {journal['checked_rows']:,} rows and {journal['checks']:,} pieces compared"
    snapshot = journal.get("snapshot")
    return state + (f", snapshot of {_moment(snapshot['at_ms'])}" if snapshot else "")


def _money(minor: int, currency: str) -> str:
    from assay.ingest.money import CURRENCIES

    decimals = CURRENCIES[currency].exponent
    return f"{minor / 10**decimals:,.{decimals}f} {currency}"


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
