"""``assay features``: the state behind the features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show

app = typer.Typer(help="The state behind the features.", no_args_is_help=True)


@app.callback()
def features() -> None:
    """Look after the state behind the features."""


@app.command()
def backfill(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    model: Annotated[
        str | None, typer.Option(help="Features of this model, not of the one that would start.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fold history and journal for a new feature set, so that its first start is quick.

    A scorer and a worker may run beside this.
    """
    from assay.bootstrap.backfill import backfill as fold_all
    from assay.workspace import Workspace

    with progress_bars() as report:
        result = fold_all(Workspace.open(workspace), report, model)
    show(result, as_json=as_json)
