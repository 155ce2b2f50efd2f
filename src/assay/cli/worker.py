"""``assay worker``: what follows the scorer."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from assay.cli.output import LOG_FORMAT, PEOPLE


def worker(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    host: Annotated[str | None, typer.Option(help="Address of health and metrics.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON when ready.")
    ] = False,
) -> None:
    """Follow the scorer's journal: tables, monitoring, labels. Stop with Ctrl-C.

    It may start before the scorer, and be stopped or killed at any time: it goes on where it was.
    """
    # Before Polars is imported: merging tables may take a core, not the scorer's as well.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from assay.bootstrap.run import announce, withdraw
    from assay.bootstrap.worker import build_worker
    from assay.listener import free_port
    from assay.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    opened = Workspace.open(workspace, host=host, worker_port=port)
    listen_host = opened.settings.host
    listen_port = free_port(listen_host, opened.settings.worker_port, "worker_port")
    at = f"[{listen_host}]" if ":" in listen_host else listen_host
    url = f"http://{at}:{listen_port}"

    def ready() -> None:
        announce(opened, "worker", url)
        if as_json:
            sys.stdout.write(msgspec.json.encode({"url": url}).decode() + "\n")
            sys.stdout.flush()
        else:
            PEOPLE.print(f"[bold]{url}[/] follows the journal")

    running = build_worker(opened)
    try:
        failure = running.worker.run(listen_host, listen_port, ready)
    finally:
        withdraw(opened, "worker")
        running.close()
    if failure is not None:
        sys.exit(f"assay: the worker stopped: {failure}")
