"""``assay demo``: the whole loop on a seeded world."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.panel import Panel

from assay.cli.output import PEOPLE, progress_bars, show
from assay.errors import SettingsError

if TYPE_CHECKING:
    from assay.simulation.show import Scene
    from assay.simulation.stage import Stage


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Run the loop once, print a summary, and exit.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the world.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Keep the workspace here; a temporary one by default.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON; with --once.")
    ] = False,
) -> None:
    """Play the whole loop on a made-up world; watch it in the console until Ctrl-C.

    Imports 90 days of a world's history, trains a model, starts scorer, worker and console, and
    plays live traffic: a day in 36 seconds, with the labels that come late. A second model is
    trained after the first days, and a pandemic begins after four minutes; the live page has
    buttons for more.

    With --once the loop runs headless and as fast as it goes: 20,000 live transactions, a pandemic
    until it is alerted, a second model that is promoted and rolled back under load, and the
    console's pages. The truth it is judged by is the world's own; no model ever saw it.
    """
    if as_json and not once:
        raise SettingsError("--json without --once; accepted: both, since only that ends")
    path = folder or Path(tempfile.mkdtemp(prefix="assay-demo-"))
    try:
        with _stoppable():
            _once(path, seed, as_json=as_json) if once else _on(path, seed)
    finally:
        if folder is None:
            shutil.rmtree(path, ignore_errors=True)
    if not once:
        PEOPLE.print(f"Everything is stopped. {_remains(folder)}")


def _once(path: Path, seed: int, *, as_json: bool) -> None:
    from assay.simulation.loop import run_loop

    started = time.perf_counter()
    with progress_bars() as report:
        result = run_loop(path, seed=seed, progress=report)
    show({"seconds": round(time.perf_counter() - started, 1), **result}, as_json=as_json)


def _on(path: Path, seed: int) -> None:
    from assay.simulation.show import play_on

    with ExitStack() as bars, PEOPLE.status("") as line:
        line.stop()
        report = bars.enter_context(progress_bars())

        def ready(stage: Stage) -> None:
            bars.close()
            PEOPLE.print(_address(stage))
            line.start()

        with suppress(KeyboardInterrupt):
            play_on(
                path,
                seed=seed,
                progress=report,
                on_ready=ready,
                on_scene=lambda scene: line.update(_line(scene)),
                say=lambda text: PEOPLE.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}"),
            )


def _address(stage: Stage) -> Panel:
    text = (
        f"[bold]{stage.up.console}[/]\n\n"
        "The console, signed in by itself on this machine: Live, Performance, Models, Data.\n"
        f"Decisions: {stage.up.scorer}/v1/decisions   Stop with Ctrl-C.\n\n"
        "In another terminal, once the second model is there:\n"
        f"assay model promote boosting-0.2.0 -w {stage.workspace.path}\n"
        f"assay monitor -w {stage.workspace.path}"
    )
    return Panel(text, title="Open in a browser", border_style="green", expand=False)


def _line(scene: Scene) -> str:
    moment = datetime.fromtimestamp(scene.world_ms / 1000, UTC)
    alerts = f"[bold red]{scene.alerts} open[/]" if scene.alerts else "none"
    return (
        f"{moment:%a %d %b %Y %H:%M} · {scene.per_s:,.0f}/s · {scene.decisions:,} decisions · "
        f"{scene.labels:,} labels · alerts: {alerts} · {scene.model or 'the scorer is away'}"
        + (f" · [red]{scene.errors:,} errors[/]" if scene.errors else "")
    )


def _remains(folder: Path | None) -> str:
    if folder is None:
        return "The workspace was temporary and is gone; --folder keeps one."
    return f"The workspace is in {folder}; go on with: assay up --workspace {folder}"


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM stop the demo as Ctrl-C does, so that no process stays behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
