"""``assay label``: late truth from a file to the running scorer."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from assay.cli.output import progress_bars, show

_LINES_SHOWN = 20


def label(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines.")],
    transaction_id: Annotated[
        str, typer.Option("--id", help="Column with the transaction id.")
    ] = "transaction_id",
    fraud: Annotated[
        str, typer.Option("--fraud", help="Column with true or false, 1 or 0, yes or no.")
    ] = "fraud",
    reported_at: Annotated[
        str,
        typer.Option("--reported-at", help="Column with the time of report, RFC 3339 or ms."),
    ] = "reported_at",
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report which transactions were fraud. The scorer must be running.

    The worker matches each label with its transaction; one that nobody knows yet waits. Rows that
    contradict each other are refused, all of them. An API key in ASSAY_API_KEY names who reports.
    """
    from assay.bootstrap.feedback import report_labels
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    letters = opened.dead_letters / f"label-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.jsonl"
    with progress_bars() as report:
        result = report_labels(
            opened,
            file,
            (transaction_id, fraud, reported_at),
            letters,
            api_key=os.environ.get("ASSAY_API_KEY") or None,
            progress=report,
        )
    if letters.stat().st_size:
        result["dead_letters"] = str(letters)
    else:
        letters.unlink()
    if as_json:
        show(result, as_json=True)
        return
    reasons, lines = result.pop("reasons"), result["conflicts"]
    result["conflicts"] = len(lines)
    if lines:
        more = " …" if len(lines) > _LINES_SHOWN else ""
        result["conflicts, lines"] = str(lines[:_LINES_SHOWN])[1:-1] + more
    show(result, as_json=False)
    if reasons:
        table = Table("rows", "why they were refused", "first lines", box=None)
        for why, found in reasons.items():
            table.add_row(str(found["count"]), why, str(found["lines"])[1:-1])
        Console().print(table)
