"""``assay replay``: a file through a running scorer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from assay.cli.output import progress_bars, show


def replay(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines.")],
    mapping: Annotated[Path, typer.Option("--map", help="Which column is which field (TOML).")],
    url: Annotated[str, typer.Option(help="Of the scorer.")] = "http://127.0.0.1:8686",
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    since: Annotated[str | None, typer.Option(help="First event time, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Event times before this one.")] = None,
    connections: Annotated[int, typer.Option(help="Requests in flight at once.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a file's transactions through HTTP, in order of time, and judge the decisions.

    They become part of the scorer's stream, as live ones do; those that were imported already are
    left out, or its windows would hold them twice. The API key is read from ASSAY_API_KEY.

    Where the file has labels, scores are compared with them. Answers other than 200 are counted
    by status.
    """
    from assay.bootstrap.files import client_bodies, imported_ids
    from assay.errors import SettingsError, UnavailableError
    from assay.ingest.decode import event_time_ms
    from assay.simulation.player import play
    from assay.simulation.verdict import verdict
    from assay.workspace import Workspace

    key = os.environ.get("ASSAY_API_KEY")
    if not key:
        raise SettingsError("no API key; accepted: one in the environment, as ASSAY_API_KEY")
    opened = Workspace.open(workspace)
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
        known = imported_ids(opened)
        fresh = [
            row for row in rows if msgspec.json.decode(row[0], type=_Id).transaction_id not in known
        ]
        report("read the file", 1, 1)
        replies = play(
            url,
            key,
            [body for body, _ in fresh],
            connections=connections,
            on_reply=lambda done, total: report("replay", done, total),
        )
    if replies and not any(reply.status for reply in replies):
        raise UnavailableError(f"no scorer answers at {url}; start one with: assay serve")
    result = verdict(replies, [label for _, label in fresh])
    show({"already_imported": len(rows) - len(fresh), **result}, as_json=as_json)


class _Id(msgspec.Struct):
    transaction_id: str
