"""``assay import``: a file of transactions into the workspace's table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show


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

    from assay.bootstrap import import_transactions
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
    show(asdict(quality) | {"dead_letters": str(letters)}, as_json=as_json)
