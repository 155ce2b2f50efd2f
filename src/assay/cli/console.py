"""``assay console``: pages for people."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from assay.cli.output import LOG_FORMAT, PEOPLE, show

if TYPE_CHECKING:
    from assay.workspace import Workspace


def console(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    auto_sign_in: Annotated[
        bool,
        typer.Option(
            help="Sign browsers on this machine in by themselves; never behind a proxy or a "
            "forwarded port."
        ),
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Print a new sign-in link for the running console.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON when ready.")
    ] = False,
) -> None:
    """Show models, live traffic, performance and data in a browser. Stop with Ctrl-C.

    Sign in with the one-time link that it prints; it works once, for ten minutes.
    """
    from assay.bootstrap.console import run_console, sign_in_link
    from assay.listener import free_port
    from assay.workspace import Workspace

    opened = Workspace.open(workspace, host=host, console_port=port)
    if link:
        show(_new_link(opened), as_json=as_json)
        return
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    listen_port = free_port(opened.settings.host, opened.settings.console_port, "console_port")
    url = _url(opened.settings.host, listen_port)

    def ready() -> None:
        sign_in = sign_in_link(opened, url)
        if as_json:
            line = msgspec.json.encode({"url": url, "sign_in": sign_in}).decode()
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            return
        PEOPLE.print(f"console at [bold]{url}[/]")
        PEOPLE.print(f"sign in, once and within ten minutes: {sign_in}", soft_wrap=True)

    run_console(opened, listen_port, url, ready, auto_sign_in=auto_sign_in)


def _url(host: str, port: int) -> str:
    """Return where a browser on this machine finds what listens on ``host``."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 — only read
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"


def _new_link(workspace: Workspace) -> dict[str, str]:
    from assay.bootstrap.console import sign_in_link
    from assay.bootstrap.run import address_of
    from assay.errors import UnavailableError

    running = address_of(workspace, "console")
    if running is None:
        raise UnavailableError("no console is running here; start one with: assay console")
    return {"url": running.url, "sign_in": sign_in_link(workspace, running.url)}
