"""``assay train``: a candidate model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from assay.cli.output import progress_bars, show

if TYPE_CHECKING:
    from assay.training.train import TrainingResult
    from assay.workspace import Workspace


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
    from assay.bootstrap.training import train_model
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    with progress_bars() as report:
        result = train_model(opened, seed=seed, progress=report)
    if as_json:
        document = {
            "model": result.path.name,
            "features": len(result.facts["features"]),
            "split": result.split.facts(),
            "metrics": result.metrics,
        }
        show(document, as_json=True)
    else:
        _report(result, opened)


def _report(result: TrainingResult, workspace: Workspace) -> None:
    """Print for a person: the split, how well it ranks, and what thresholds would do."""
    test = result.metrics["test"]
    low, high = test["average_precision_95"]
    summary = {
        "model": result.path.name,
        "features": len(result.facts["features"]),
        "average precision": f"{test['average_precision']:.3f}, 95 % {low:.3f} to {high:.3f}",
        "ROC AUC": f"{test['roc_auc']:.4f}",
        "recall at 1 % false positives": f"{test['recall_at_1pct_fpr']:.1%}",
        "policy": str(workspace.policy),
    }
    show(summary, as_json=False)
    out = Console()
    out.print(f"\n{result.split}\n", highlight=False, soft_wrap=True)
    table = Table("threshold", "flagged", "precision", "recall", box=None)
    for row in result.metrics["thresholds"]:
        cut, judged = row["chosen_on"]["threshold"], row["test"]
        shares = (f"{judged[name]:.2%}" for name in ("flagged", "precision", "recall"))
        table.add_row(f"{cut:.4f}", *shares)
    out.print("Thresholds, judged on the test part; policy.toml holds the ones in force:")
    out.print(table)
