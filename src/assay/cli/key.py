"""``assay key``: API keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import PEOPLE, show

app = typer.Typer(help="API keys: create one (shown once), or revoke it.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--workspace", "-w", help="Workspace folder.")]


@app.command()
def create(
    name: str,
    workspace: Folder = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a key and show its secret, which cannot be shown again. Takes effect at next start."""
    from assay.bootstrap.door import create_api_key
    from assay.workspace import Workspace

    secret = create_api_key(Workspace.open(workspace), name)
    show({"name": name, "api_key": secret}, as_json=as_json)


@app.command()
def revoke(name: str, workspace: Folder = Path()) -> None:
    """Revoke a key by its name. Takes effect at the scorer's next start."""
    from assay.serving.keys import revoke_key
    from assay.workspace import Workspace

    revoke_key(Workspace.open(workspace).api_keys, name)
    PEOPLE.print(f"{name} is revoked; restart the scorer")
