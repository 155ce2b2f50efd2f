"""``assay decide``: one transaction, for a look."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import PEOPLE, progress_bars, show


def decide(
    file: Annotated[
        Path | None, typer.Argument(help="One JSON transaction; stdin by default.")
    ] = None,
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    model: Annotated[str | None, typer.Option(help="Model version; the newest by default.")] = None,
    rules_only: Annotated[
        bool, typer.Option("--rules-only", help="Decide without a model, from the policy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what would be decided now, and show the features. Nothing is recorded.

    The answer rests on the history and on all that the scorer has journalled so far; the scorer
    may be running.
    """
    from assay.bootstrap.look import look
    from assay.workspace import Workspace

    if file is None and sys.stdin.isatty():
        PEOPLE.print("Reading one JSON transaction from the terminal; end it with Ctrl-D.")
    body = sys.stdin.buffer.read() if file is None else file.read_bytes()
    with progress_bars() as report:
        result = look(
            Workspace.open(workspace), body, model, rules_only=rules_only, progress=report
        )
    if as_json:
        show(result, as_json=True)
        return
    features = result.pop("features")
    show(result, as_json=False)
    sys.stdout.write("\n")
    show(features, as_json=False)
