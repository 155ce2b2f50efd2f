"""``assay standby``: the journal on a second machine, which can take over."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from assay.cli.output import LOG_FORMAT, PEOPLE, show

app = typer.Typer(
    help="Keep a scorer's journal on a second machine, and take over.", invoke_without_command=True
)
Folder = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace folder.")]


@app.callback()
def standby(
    context: typer.Context,
    workspace: Folder = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON when ready.")
    ] = False,
) -> None:
    """Have every record on this disk too before the scorer answers. Stop with Ctrl-C.

    The scorer finds it by its setting sync_standby, and answers nothing while it is away.
    """
    if context.invoked_subcommand is not None:
        return
    from assay.bootstrap.standby import announce_standby, build_standby, withdraw_standby
    from assay.workspace import Workspace

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    opened = Workspace.open(workspace)
    receiver = build_standby(opened)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: receiver.stop())
    url = announce_standby(opened, receiver)
    try:
        if as_json:
            line = {"url": url, "position": receiver.position, "epoch": receiver.epoch}
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
            sys.stdout.flush()
        else:
            PEOPLE.print(f"[bold]{url}[/] keeps the journal")
        ending = receiver.run()
    finally:
        withdraw_standby(opened)
    if ending == "serve":
        _serve(workspace, as_json=as_json)


@app.command()
def promote(
    workspace: Folder = Path(),
    serve: Annotated[
        bool, typer.Option(help="Start the scorer; else the standby only ends.")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Although answered decisions may be missing here.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take over: from here on the old scorer can acknowledge nothing, and this workspace decides.

    The standby that runs becomes the scorer; if none runs, this process does.
    """
    from assay.bootstrap.standby import promote, wait_for
    from assay.workspace import Workspace

    opened = Workspace.open(workspace)
    promotion, address = promote(opened, serve=serve, force=force)
    PEOPLE.print(f"took over with epoch {promotion.epoch}; the old scorer is refused")
    if serve and address is None:
        _serve(workspace, as_json=as_json)
    url = None if address is None else wait_for(opened, address, serve=serve)
    show({**promotion._asdict(), "url": url}, as_json=as_json)


def _serve(workspace: Path, *, as_json: bool) -> NoReturn:
    """Become ``assay serve``."""
    command = (*("-m", "assay", "serve", "--workspace", str(workspace)), *["--json"] * as_json)
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 — our own program
