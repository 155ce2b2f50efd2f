"""``assay train``: a candidate model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show


def train(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    seed: Annotated[int, typer.Option(help="Equal seeds give equal models.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train the next model version on everything imported.

    Splits by time with a gap for late labels, fits, calibrates, exports to ONNX, and judges the
    model on the last part of the data, which it has not seen. Writes a first policy.toml if
    there is none.
    """
    from assay.bootstrap import train_model
    from assay.workspace import Workspace

    with progress_bars() as report:
        result = train_model(Workspace.open(workspace), seed=seed, progress=report)
    show(
        {
            "model": result.path.name,
            "features": len(result.facts["features"]),
            "split": result.split.facts(),
            "metrics": result.metrics,
        },
        as_json=as_json,
    )
