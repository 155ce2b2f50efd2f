"""``assay import``: a file of transactions into the workspace's table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from assay.cli.output import LEFT_OUT, PEOPLE, progress_bars, show

if TYPE_CHECKING:
    from assay.ingest.quality import QualityReport


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines.")],
    mapping: Annotated[Path, typer.Option("--map", help="Which column is which field (TOML).")],
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    since: Annotated[str | None, typer.Option(help="First event time, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Event times before this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring a file in: tokenised, checked, sorted, with a report on its quality.

    Rows that are not acceptable are counted, and kept with their line number and the reason in a
    dead-letter file. Card numbers are tokenised on the way and stored nowhere.
    """
    from dataclasses import asdict

    from assay.bootstrap.files import import_transactions
    from assay.bootstrap.scorer import left_out_rows
    from assay.ingest.decode import event_time_ms
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    letters = opened.dead_letters / f"import-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.jsonl"
    with progress_bars() as report:
        quality = import_transactions(
            opened,
            file,
            mapping,
            letters,
            since_ms=None if since is None else event_time_ms(since, "--since"),
            until_ms=None if until is None else event_time_ms(until, "--until"),
            progress=report,
        )
    left_out = left_out_rows(opened)
    if left_out:
        PEOPLE.print(f"[yellow]{LEFT_OUT.format(rows=left_out)}[/]")
    if as_json:
        show(asdict(quality) | {"dead_letters": str(letters)}, as_json=True)
    else:
        _report(quality, letters)


def _report(quality: QualityReport, letters: Path) -> None:
    """Print the quality report for a person: counts, then what was refused and why."""
    counts = ("read", "accepted", "rejected", "duplicates", "conflicts", "outside")
    table = {name: getattr(quality, name) for name in counts}
    if quality.first_ms is not None and quality.last_ms is not None:
        table |= {"from": _day(quality.first_ms), "to": _day(quality.last_ms)}
        table |= {"labels": quality.labels}
        partly = {f: f"{share:.0%}" for f, share in quality.presence.items() if share < 1}
        table |= {"partly present": partly or "none"}
    if quality.unmapped:
        table["columns not read"] = ", ".join(quality.unmapped)
    if letters.exists() and letters.stat().st_size:
        table["dead letters"] = str(letters)
    show(table, as_json=False)
    if quality.reasons:
        reasons = Table("rows", "why they were refused", "first lines", box=None)
        for why, found in quality.reasons.items():
            reasons.add_row(str(found["count"]), why, str(found["lines"])[1:-1])
        Console().print(reasons)
    if not quality.accepted:
        PEOPLE.print("[yellow]Nothing was imported.[/]")


def _day(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time_ms / 1000))
