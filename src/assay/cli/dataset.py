"""``assay dataset``: what was imported and streamed, and which model came of what."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.cli.output import PEOPLE, show

app = typer.Typer(help="What was imported and streamed.", no_args_is_help=True)

_Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace folder.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(workspace: _Workspace = Path(), as_json: _Json = False) -> None:
    """List imports, the stream, and the snapshots that models were trained on."""
    from assay.bootstrap.data import data_report
    from assay.workspace import Workspace

    report = data_report(Workspace.open(workspace))
    if as_json:
        show(report, as_json=True)
        return
    if report["error"]:
        PEOPLE.print(f"[yellow]{escape(report['error'])}[/]")
    _print_data(report)
    _print_models(report)


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(help="stream, a file, or the start of a checksum.")],
    workspace: _Workspace = Path(),
    as_json: _Json = False,
) -> None:
    """Show everything that is known of one import, snapshot or the stream."""
    from assay.bootstrap.data import find_data
    from assay.workspace import Workspace

    found = find_data(Workspace.open(workspace), name)
    if as_json:
        show(found, as_json=True)
        return
    parts = found.pop("parts", None)
    shown = {key: _shown(key, value) for key, value in found.items()}
    show(shown, as_json=False)
    if parts:
        _table(
            ("file", "rows", "labels", "from", "to", "sha256"),
            [
                (
                    p["file"],
                    p["rows"],
                    p["labels"],
                    _day(p["first_ms"]),
                    _day(p["last_ms"]),
                    p["sha256"][:12],
                )
                for p in parts
            ],
        )


def _print_data(report: dict[str, Any]) -> None:
    rows = [
        (
            i["source"] or i["file"],
            i["rows"],
            _day(i["first_ms"]),
            _day(i["last_ms"]),
            _day(i["created_ms"]),
            i["sha256"][:12],
        )
        for i in report["imports"]
    ]
    if stream := report["stream"]:
        times = (_day(stream[name]) for name in ("first_ms", "last_ms", "updated_ms"))
        name = f"stream {stream['stream']}, {stream['labels']:,} labels"
        rows.insert(0, (name, stream["rows"], *times, ""))
    if not rows:
        Console().print("No data yet; bring some with: assay import FILE --map MAPPING")
        return
    _table(("data", "rows", "from", "to", "written", "sha256"), rows)


def _print_models(report: dict[str, Any]) -> None:
    _table(
        ("snapshot", "rows", "of the stream", "frauds", "first used", "models"),
        [
            (
                s["snapshot"][:12],
                s["rows"],
                s["stream_rows"],
                s["frauds"],
                _day(s["created_ms"]),
                ", ".join(s["models"]),
            )
            for s in report["snapshots"]
        ],
    )
    _table(
        ("feature set", "features", "in features.py", "models"),
        [
            (
                f["digest"][:12],
                f["features"],
                "yes" if f["current"] else "no",
                ", ".join(f["models"]),
            )
            for f in report["feature_sets"]
        ],
    )
    for model in report["models"]:
        if model["error"]:
            PEOPLE.print(f"[yellow]{escape(model['model'])}: {escape(model['error'])}[/]")


def _table(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    table = Table(*names, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else escape(str(cell)) for cell in row)
        table.add_row(*cells)
    Console().print(table, "")


def _shown(key: str, value: Any) -> Any:
    if key.endswith("_ms"):
        return _day(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _day(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_ms / 1000))
