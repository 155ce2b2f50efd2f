"""``assay up``: scorer, worker and console, kept running."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from assay.cli.output import PEOPLE

if TYPE_CHECKING:
    from assay.supervisor.status import Status
    from assay.supervisor.supervisor import Supervisor

NO_MODEL = (
    "There is no model yet, so the scorer decides by rules alone. Train one with assay train and "
    "let it decide with assay model promote; the scorer then starts anew with it."
)
STYLES = {"healthy": "green", "hung": "bold red", "restarting": "yellow", "stopped": "dim"}


def up(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="Workspace folder.")
    ] = Path(),
    host: Annotated[str | None, typer.Option(help="Address the scorer listens on.")] = None,
    port: Annotated[int | None, typer.Option(help="Of the scorer; 0 takes a free one.")] = None,
    console_port: Annotated[
        int | None, typer.Option(help="Of the console; 0 takes a free one.")
    ] = None,
    worker_port: Annotated[
        int | None, typer.Option(help="Of the worker's health and metrics; 0 takes a free one.")
    ] = None,
    auto_sign_in: Annotated[
        bool, typer.Option("--auto-sign-in", help="Sign in whoever opens the console here.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON per change, and when ready.")
    ] = False,
) -> None:
    """Run scorer, worker and console; restart what dies or hangs. Stop with Ctrl-C.

    Each writes a log to .assay/run; the log of the run before ends in .log.1.
    """
    from assay.bootstrap.up import ScorerCommand, make_programs
    from assay.owner import Owner
    from assay.supervisor.supervisor import Supervisor
    from assay.workspace import Workspace

    ports = {"port": port, "console_port": console_port, "worker_port": worker_port}
    opened = Workspace.open(workspace, host=host, **ports)
    with Owner(opened.run / "supervisor", "supervisor"):
        command = ScorerCommand(opened, opened.settings.host)
        show = _Show(as_json=as_json)
        if command.rules_only:
            show.note(NO_MODEL)
        programs = make_programs(opened, command, auto_sign_in=auto_sign_in)
        show.supervisor = supervisor = Supervisor(programs, opened.run, show)
        with Live(get_renderable=show.table, console=PEOPLE) if show.live else nullcontext():
            asyncio.run(_until_signalled(supervisor))


async def _until_signalled(supervisor: Supervisor) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await supervisor.run(stop)


class _Show:
    """Shows every change: to people on stderr, and to tools as JSON on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.supervisor: Supervisor | None = None
        self.live = PEOPLE.is_terminal
        self._as_json = as_json
        self._ready: dict[str, Any] = {}
        self._console: tuple[Any, ...] = ()

    def __call__(self, status: Status) -> None:
        self._emit({"event": "state", **_facts(status)})
        if not self.live:
            PEOPLE.print(_line(status), soft_wrap=True)
        if status.state == "healthy":
            if status.name == "console" and not self._as_json:
                self._show_console(status)
            self._show_ready()

    def note(self, text: str) -> None:
        """Show a sentence."""
        PEOPLE.print(Text(text, "yellow"), soft_wrap=True)
        self._emit({"event": "note", "text": text})

    def table(self) -> Table:
        """Return one line for each program."""
        table = Table.grid(padding=(0, 2))
        for status in self.supervisor.statuses if self.supervisor else ():
            table.add_row(*_cells(status))
        return table

    def _show_console(self, status: Status) -> None:
        """Show where the console is, again when its sign-in link is another."""
        sign_in = status.ready.get("sign_in")
        if self._console == (status.url, sign_in):
            return
        self._console = (status.url, sign_in)
        # Without a frame, which would break the link in two.
        text = Text.assemble("\nconsole  ", (status.url or "", "bold"))
        if sign_in:
            text.append("\nsign in  ").append(str(sign_in), "bold").append("  (works once)")
        text.append("\nCtrl-C stops everything\n", "dim")
        PEOPLE.print(text, soft_wrap=True)

    def _show_ready(self) -> None:
        """Tell tools once that all are ready, and again when an address is another."""
        statuses: Sequence[Status] = self.supervisor.statuses if self.supervisor else ()
        urls = {status.name: status.url for status in statuses}
        if any(status.state != "healthy" for status in statuses):
            return
        signs_in = [status.ready.get("sign_in") for status in statuses if status.name == "console"]
        ready = {"event": "ready", **urls, "sign_in": signs_in[0] if signs_in else None}
        if ready != self._ready:
            self._ready = ready
            self._emit(ready)

    def _emit(self, document: dict[str, Any]) -> None:
        if self._as_json:
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
            sys.stdout.flush()


def _facts(status: Status) -> dict[str, Any]:
    facts = {name: getattr(status, name) for name in ("name", "state", "url", "pid", "restarts")}
    return {**facts, "reason": status.reason, "retry_s": status.retry_s, "at_ms": status.since_ms}


def _line(status: Status) -> Text:
    return Text("  ").join(cell for cell in _cells(status) if cell)


def _cells(status: Status) -> tuple[Text, ...]:
    """Return name, state, address, since when, and what went wrong last."""
    state = status.state.replace("restarting", f"restarting in {_left_s(status):.0f} s")
    again = f"{status.restarts} restarts" if status.restarts > 1 else "1 restart"
    told = [again] if status.restarts else []
    if status.reason:
        told.append(status.reason)
    since = f"since {datetime.fromtimestamp(status.since_ms / 1000):%H:%M:%S}"  # noqa: DTZ006
    return (
        Text(f"{status.name:<7}"),
        Text(state, STYLES.get(status.state, "")),
        Text(status.url or ""),
        Text(since if status.since_ms else ""),
        Text("; ".join(told), "dim"),
    )


def _left_s(status: Status) -> float:
    return max(0.0, status.retry_s - (time.time() - status.since_ms / 1000))
