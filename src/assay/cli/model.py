"""``assay model``: which models there are, and which decides."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assay.cli.output import show as show_result

app = typer.Typer(
    help="Models: list, show and compare them; promote one, or roll back.", no_args_is_help=True
)
Folder = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str | None, typer.Option(help="Who asks; the user of the system by default.")]

STYLES = {"live": "bold green", "previous": "cyan", "damaged": "red", "retired": "dim"}


@app.command("list")
def list_(workspace: Folder = Path(), as_json: Json = False) -> None:
    """List every version, newest first, with what decides now and what a rollback leads to."""
    from assay.bootstrap.lifecycle import models
    from assay.workspace import Workspace

    document = models(Workspace.open(workspace))
    if as_json:
        show_result(document, as_json=True)
        return
    out = Console()
    for line in _state(document):
        out.print(Text(line), soft_wrap=True)
    if document["models"]:
        out.print(_model_table(document["models"]))
        for row in document["models"]:
            if row["error"]:
                out.print(Text(f"{row['model']}: {row['error']}", "red"), soft_wrap=True)
    else:
        out.print("no models yet; train one with: assay train")


@app.command()
def show(model: str, workspace: Folder = Path(), as_json: Json = False) -> None:
    """Show all that one model's signed manifest says."""
    from assay.bootstrap.lifecycle import show
    from assay.workspace import Workspace

    document = show(Workspace.open(workspace), model)
    if as_json:
        show_result(document, as_json=True)
        return
    manifest = document.pop("manifest")
    test = manifest["metrics"].get("test", {})
    summary = {
        "model": document["model"],
        "status": document["status"],
        "created": _time(document["created_ms"]),
        "feature_set": f"{document['feature_set']} ({document['features']} features)",
        "dataset_snapshot": document["dataset_snapshot"][:16],
        "seed": document["seed"],
        **{f"test {name}": value for name, value in test.items()},
        "parameters": manifest["parameters"],
        "code_version": manifest["code_version"],
        "libraries": manifest["libraries"],
    }
    show_result(summary, as_json=False)


@app.command()
def compare(a: str, b: str, workspace: Folder = Path(), as_json: Json = False) -> None:
    """Compare two models: metrics, parameters, features."""
    from assay.bootstrap.lifecycle import compare
    from assay.workspace import Workspace

    document = compare(Workspace.open(workspace), a, b)
    if as_json:
        show_result(document, as_json=True)
        return
    out = Console()
    if not document["same_test"]:
        out.print("Each was judged on a test period of its own: metrics compare only roughly.")
    out.print(_table(("metric", a, b, "difference"), document["metrics"]))
    out.print(_table(("parameter", a, b), document["parameters"]))
    features = document["features"]
    both, sides = features["both"], ((a, features["only_a"]), (b, features["only_b"]))
    only = [f"only {name}: {', '.join(names)}" for name, names in sides if names]
    out.print(Text("; ".join([f"{both} features in both", *only])))


@app.command()
def promote(model: str, workspace: Folder = Path(), by: By = None, as_json: Json = False) -> None:
    """Let a model decide. The running scorer takes it without a pause and without a lost request.

    The bundle is checked first: signature, every file, feature set, policy. Exits with 1 and the
    reason if it is refused, and the model that decided goes on deciding.
    """
    from assay.bootstrap.lifecycle import promote
    from assay.workspace import Workspace

    _report(promote(Workspace.open(workspace), model, by or _user()), as_json=as_json)


@app.command()
def rollback(workspace: Folder = Path(), by: By = None, as_json: Json = False) -> None:
    """Let the model decide that did before. A second rollback leads back again."""
    from assay.bootstrap.lifecycle import rollback
    from assay.workspace import Workspace

    _report(rollback(Workspace.open(workspace), by or _user()), as_json=as_json)


def _report(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_result(result, as_json=True)
        return
    switch = f"{result['from'] or 'no model'} → {result['model']} (revision {result['revision']})"
    when = f"live after {result['took_ms']:,.0f} ms" if result["live"] else result["note"]
    Console().print(Text(f"{switch}: {when}"), soft_wrap=True)


def _state(document: Mapping[str, Any]) -> list[str]:
    """Return what decides and since when, in sentences."""
    lines = [document["error"]] if "error" in document else []
    live, scorer = document["live"], document["scorer"]
    since = f" since {_time(scorer['since_ms'])}" if scorer["since_ms"] else ""
    if scorer["up"]:
        lines.append(f"scorer up at {scorer['url']}{since}")
    else:
        lines.append(f"no scorer answers{since}")
    if live:
        verb = "decides" if scorer["up"] else "decided last,"
        at = f" since {_time(live['since_ms'])}" if live["since_ms"] else ""
        lines.append(f"{live['model']} {verb}{at} (policy {live['policy']})")
    elif scorer["rules_only"]:
        lines.append("it decides by rules alone, without a model")
    if document["previous"]:
        lines.append(f"a rollback leads to {document['previous']}")
    if scorer["refused"]:
        refused = scorer["refused"]
        lines.append(f"the scorer refused {refused['model']}: {refused['reason']}")
    return lines


def _model_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    for name in ("model", "status", "created, UTC", "average precision", "ROC AUC"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        metrics = row["metrics"]
        figures = (_interval(metrics), _number(metrics["roc_auc"]))
        status = Text(row["status"], STYLES.get(row["status"], ""))
        created = _time(row["created_ms"])[:16]
        table.add_row(Text(row["model"]), status, created, *figures)
    return table


def _table(heads: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(*heads, box=None)
    for row in rows:
        table.add_row(*(Text(_number(value)) for value in row.values()))
    return table


def _interval(metrics: Mapping[str, Any]) -> str:
    if metrics["average_precision"] is None:
        return ""
    low, high = metrics["average_precision_95"] or (None, None)
    around = "" if low is None else f", {low:.3f}-{high:.3f}"
    return f"{metrics['average_precision']:.3f}{around}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)


def _time(ms: int | None) -> str:
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"
