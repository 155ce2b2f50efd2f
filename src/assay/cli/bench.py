"""``assay bench``: figures that anyone can measure again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.output import progress_bars, show

app = typer.Typer(help="Measure this machine; each verb prints its figures.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure this machine; each verb prints its figures and the machine."""


@app.command()
def score(
    seconds: Annotated[int, typer.Option(help="How long the load lasts.")] = 20,
    connections: Annotated[int, typer.Option(help="Connections of the load tool.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decisions a second over HTTP, each synced before its answer, and their latency.

    Every request is a new transaction of a seeded world after its imported history. The load comes
    from wrk (Debian: apt-get install wrk) on the same machine; it is closed loop: each connection
    waits for its answer.
    """
    from assay.simulation.load import measure

    with _folder() as folder, progress_bars() as report:
        result = measure(folder, seconds=seconds, connections=connections, progress=report)
    show(result, as_json=as_json)


@app.command()
def features(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Events a second that the feature kernel replays for a training set, on one core."""
    from assay.simulation.replay_speed import measure_replay

    with _folder() as folder, progress_bars() as report:
        result = measure_replay(folder, progress=report)
    show(result, as_json=as_json)


@app.command()
def journal(
    cards: Annotated[int, typer.Option(help="Cards in the state of the scorer.")] = 1_000_000,
    records: Annotated[int, typer.Option(help="Decisions in the journal.")] = 200_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time the journal: synced records a second, audits, bytes, and a start after kill -9.

    Takes some minutes, most of them to prepare a workspace with that many cards.
    """
    from assay.simulation.journal_speed import measure_journal

    with _folder() as folder, progress_bars() as report:
        result = measure_journal(folder, cards=cards, records=records, progress=report)
    show(result, as_json=as_json)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        yield Path(folder)
