"""``assay serve``: the scorer."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from assay.cli.output import LEFT_OUT, LOG_FORMAT, PEOPLE, progress_bars


def serve(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    model: Annotated[
        str | None,
        typer.Option(
            help="Model version, pinned; by default the one asked for last, else the newest."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    rules_only: Annotated[
        bool, typer.Option("--rules-only", help="Decide without a model, from the policy.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON when ready.")
    ] = False,
) -> None:
    """Decide transactions over HTTP, each answered when it is durable. Stop with Ctrl-C.

    After a crash or kill it recovers by itself: from a snapshot of the feature state and the
    journal since, or from the history and the whole journal.
    """
    from assay.bootstrap.run import announce, withdraw
    from assay.bootstrap.scorer import build_scorer, left_out_rows
    from assay.listener import free_port
    from assay.serving import server
    from assay.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    opened = Workspace.open(workspace, host=host, port=port)
    settings = opened.settings
    listen_port = free_port(settings.host, settings.port, "port")
    with progress_bars() as report:
        scorer = build_scorer(opened, model, rules_only=rules_only, progress=report)
    left_out = left_out_rows(opened, scorer.base)
    if left_out:
        PEOPLE.print(f"[yellow]{LEFT_OUT.format(rows=left_out)}[/]")
    at = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{at}:{listen_port}"

    def ready() -> None:
        if scorer.rollout is not None:
            scorer.rollout.start()
        announce(opened, "scorer", url)
        if as_json:
            line = {
                "url": url,
                "recovered": scorer.recovered,
                "cut_bytes": scorer.ledger.cut_bytes,
                "snapshot": scorer.snapshot,
            }
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
            sys.stdout.flush()
        else:
            PEOPLE.print(
                f"[bold]{url}[/] decides with {scorer.scoring.model_id}; "
                f"{scorer.recovered:,} decisions recovered"
            )

    try:
        failure = server.serve(scorer.app, scorer.engine, settings.host, listen_port, ready)
    finally:
        withdraw(opened, "scorer")
    if scorer.rollout is not None:
        scorer.rollout.stop()
    scorer.ledger.close()
    if failure is not None:
        sys.exit(f"assay: the scorer stopped: {failure}")
