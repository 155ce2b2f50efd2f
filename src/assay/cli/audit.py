"""``assay audit``: what the journal says of a decision, and whether it comes out again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.output import printable, progress_bars
from assay.cli.output import show as show_result

app = typer.Typer(
    help="For auditors: show one decision whole; compute decisions again and compare.",
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="A decision or transaction id.")],
    workspace: Folder = Path(),
    as_json: Json = False,
) -> None:
    """Show all that the journal holds about one decision.

    The answer as it was given, the versions that gave it, the features it was given on, the
    transaction with its tokens, and where the record stands. Of a transaction that was decided
    more than once, the newest decision. The scorer may be running.
    """
    from assay.bootstrap.audit import show
    from assay.workspace import Workspace

    document = show(Workspace.open(workspace), name)
    if as_json:
        show_result(document, as_json=True)
        return
    parts = [document.pop(part) for part in ("versions", "transaction", "features")]
    document["reasons"] = [f"{row['code']} {row['text']}" for row in document["reasons"]]
    document["arrived"] = _time(document["arrival_ms"])
    show_result(_exact(document), as_json=False)
    for title, part in zip(("versions", "transaction", "features"), parts, strict=True):
        sys.stdout.write(f"\n{title}\n")
        show_result(_exact(part), as_json=False)


@app.command()
def replay(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="A decision or transaction id.")
    ] = None,
    span: Annotated[
        str | None,
        typer.Option("--range", metavar="A..B", help="Arrival numbers, or RFC 3339 times."),
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Compute the features again, too.")
    ] = False,
    workspace: Folder = Path(),
    as_json: Json = False,
) -> None:
    """Compute decisions again and compare them with the journal, bit for bit.

    Score, reasons and action come from the stored features, by the model, policy and rung that
    decided. Under another runtime (another version, library or processor) a score may be off by
    0.000001. With --features the vectors themselves are folded again from the events before
    them. Prints the first difference, and exits with 1 if there is any.
    """
    from assay.bootstrap.audit import replay
    from assay.errors import JournalError
    from assay.workspace import Workspace

    with progress_bars() as report:
        document = replay(Workspace.open(workspace), name, span, features=features, progress=report)
    if not document["decisions"] and not document["gaps"]:
        raise JournalError("no decision lies in that range, so nothing was compared")
    if as_json:
        show_result(document, as_json=True)
    else:
        _print(document)
    if not document["same"]:
        raise typer.Exit(1)


def _print(document: dict[str, Any]) -> None:
    refolded = document.pop("features", [])
    gaps = document.pop("gaps")
    differences = [document.pop("first_difference")]
    differences += [part.pop("first_difference") for part in refolded]
    show_result(document, as_json=False)
    for part in refolded:
        sys.stdout.write("\nfeatures\n")
        show_result(part, as_json=False)
    for gap in gaps:
        sys.stdout.write(f"\nnot read: {printable(gap)}\n")
    for found in filter(None, differences):
        sys.stdout.write("\nfirst difference\n")
        show_result(_exact(found), as_json=False)


def _exact(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as text that can be copied: no digit grouped, none left out."""
    return {
        name: f"{value:.9g}" if isinstance(value, float) else _plain(value)
        for name, value in part.items()
    }


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
