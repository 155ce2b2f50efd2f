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
    """Train the next model version on everything imported, and on the scorer's stream.

    Of the stream it learns what the worker has read, with the labels that came meanwhile.
    Splits by time with a gap for late labels, fits, calibrates, exports to ONNX, and judges the
    model on the last part of the data, which it has not seen. Writes a first policy.toml if
    there is none.
    """
    from assay.bootstrap.training import train_model
    from assay.datasets.snapshots import read_snapshot
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    with progress_bars() as report:
        result = train_model(opened, seed=seed, progress=report)
    data = read_snapshot(opened.snapshots, result.facts["dataset_snapshot"])
    learned = {
        "imported_rows": data.imported_rows,
        "stream_rows": data.stream_rows,
        "stream_labels": data.stream_labels,
        "frauds": data.frauds,
    }
    if as_json:
        document = {
            "model": result.path.name,
            "snapshot": data.snapshot,
            "learned_from": learned,
            "features": len(result.facts["features"]),
            "split": result.split.facts(),
            "metrics": result.metrics,
        }
        show(document, as_json=True)
    else:
        _report(result, opened, learned)


def _report(result: TrainingResult, workspace: Workspace, learned: dict[str, int]) -> None:
    """Print for a person: the split, how well it ranks, and what thresholds would do."""
    test = result.metrics["test"]
    low, high = test["average_precision_95"]
    summary = {
        "model": result.path.name,
        "learned from": {name.replace("_", " "): rows for name, rows in learned.items()},
        "snapshot": result.facts["dataset_snapshot"][:16],
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
