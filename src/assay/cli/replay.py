"""``assay replay``: a file through a running scorer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show


def replay(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines.")],
    mapping: Annotated[Path, typer.Option("--map", help="Which column is which field (TOML).")],
    url: Annotated[str, typer.Option(help="Of the scorer.")] = "http://127.0.0.1:8686",
    key: Annotated[
        str, typer.Option(envvar="ASSAY_API_KEY", help="API key; better in the environment.")
    ] = "",
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    since: Annotated[str | None, typer.Option(help="First event time, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Event times before this one.")] = None,
    connections: Annotated[int, typer.Option(help="Requests in flight at once.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a file's transactions through HTTP, in order of time, and judge the decisions.

    Where the file has labels, scores are compared with them. Answers other than 200 are counted
    by status.
    """
    from assay.bootstrap import client_bodies
    from assay.errors import SettingsError
    from assay.ingest.decode import event_time_ms
    from assay.simulation.player import play
    from assay.simulation.verdict import verdict
    from assay.workspace import Workspace

    if not key:
        raise SettingsError("no API key; give one with --key or ASSAY_API_KEY")
    opened = Workspace.open(workspace)
    os.environ.pop("ASSAY_API_KEY", None)
    with progress_bars() as report:
        report("read the file", 0, 0)
        rows = list(
            client_bodies(
                opened,
                file,
                mapping,
                since_ms=None if since is None else event_time_ms(since, "--since"),
                until_ms=None if until is None else event_time_ms(until, "--until"),
            )
        )
        report("read the file", 1, 1)
        replies = play(
            url,
            key,
            [body for body, _ in rows],
            connections=connections,
            on_reply=lambda done, total: report("replay", done, total),
        )
    show(verdict(replies, [label for _, label in rows]), as_json=as_json)
