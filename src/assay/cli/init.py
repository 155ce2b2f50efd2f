"""``assay init``: a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import PEOPLE, show


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; files there stay as they are.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 reference currency.")] = "EUR",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a workspace: settings, features, exchange rates, sources, and one API key.

    The key is shown once. Next: describe your file's columns in sources/ and run assay import.
    """
    from assay.bootstrap.create import create_workspace
    from assay.bootstrap.door import create_api_key

    workspace = create_workspace(folder, currency)
    result: dict[str, object] = {"workspace": str(folder)}
    if not workspace.api_keys.exists():
        result["api_key"] = create_api_key(workspace, "first")
    show(result, as_json=as_json)
    if not as_json:
        PEOPLE.print(
            "The key is not shown again. Next: name your file's columns in "
            f"{folder}/sources/payments.toml, then: assay import FILE --map MAPPING"
        )
