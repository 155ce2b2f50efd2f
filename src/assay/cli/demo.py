"""``assay demo``: the whole path on a seeded world."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show


def demo(
    once: Annotated[bool, typer.Option("--once", help="Run, print the summary, and exit.")] = False,
    seed: Annotated[int, typer.Option(help="Of the world.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the workspace here; a temporary one by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import a world's history, train, start the scorer, play live traffic, judge the decisions.

    The world ends now: about 92 days of history, then the last 20,000 transactions are played
    through HTTP as fast as the scorer answers them. The truth is the world's own; the model never
    saw it.
    """
    from assay.simulation.loop import run_loop

    started = time.perf_counter()
    path = folder or Path(tempfile.mkdtemp(prefix="assay-demo-"))
    try:
        with progress_bars() as report:
            result = run_loop(path, seed=seed, progress=report)
    finally:
        if folder is None:
            shutil.rmtree(path, ignore_errors=True)
    show({"seconds": round(time.perf_counter() - started, 1), **result}, as_json=as_json)
    del once  # every demo is headless until there is a console to open
