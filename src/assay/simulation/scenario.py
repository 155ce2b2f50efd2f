"""A workspace with a world's history in it, and what comes after: for demo and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.bootstrap.create import create_workspace
from assay.bootstrap.door import create_api_key
from assay.bootstrap.files import import_transactions
from assay.bootstrap.progress import Progress, quiet
from assay.records import Transaction
from assay.simulation.tape import Tape, encode, without_outcomes
from assay.simulation.world import World
from assay.simulation.world_data import WorldData
from assay.simulation.world_settings import WorldSettings
from assay.workspace import Workspace


@dataclass(frozen=True)
class Scenario:
    """A prepared workspace.

    Attributes
    ----------
    workspace : Workspace
    api_key : str
    history_rows : int
        How many transactions were imported.
    live : DataFrame
        The world's transactions after the history, in order, as clients would send them.
    truth : DataFrame
        transaction_id, fraud for each of them; no model ever sees it.
    world : World
        That all of it comes from, to be changed while it is played.
    data : WorldData
        Its tables, the history included.
    """

    workspace: Workspace
    api_key: str
    history_rows: int
    live: pl.DataFrame
    truth: pl.DataFrame
    world: World
    data: WorldData

    def bodies(self) -> list[bytes]:
        """Return the live transactions as JSON bodies, without what is not yet known then."""
        return [encode(row) for row in without_outcomes(self.live).iter_rows(named=True)]

    def tape(self) -> Tape:
        """Return what is to be played, with the labels that come meanwhile."""
        return Tape(self.data, self.data.transactions.height - self.live.height)


def prepare(
    folder: Path,
    settings: WorldSettings,
    live_rows: int,
    progress: Progress = quiet,
    *,
    assay_toml: Mapping[str, int] | None = None,
) -> Scenario:
    """Make a world, import all but its last rows with the labels known by then.

    Parameters
    ----------
    folder : Path
        Of the workspace to make.
    settings : WorldSettings
    live_rows : int
        How many of the last transactions are left to be played.
    progress : callable
    assay_toml : mapping, optional
        Settings of the workspace that differ from the defaults.
    """
    progress("make a world", 0, 0)
    world = (source := World(settings)).generate()
    progress("make a world", 1, 1)
    workspace = create_workspace(folder, settings.reference_currency)
    with (folder / "assay.toml").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = {value}\n" for name, value in (assay_toml or {}).items())
    workspace = Workspace.open(folder)
    foreign = world.fx.filter(pl.col("currency") != settings.reference_currency)
    foreign.write_csv(workspace.fx)
    history, live = world.transactions[:-live_rows], world.transactions[-live_rows:]
    known = world.labels.filter(pl.col("reported_ms") < live["event_time"][0])
    known = known.unique("transaction_id", keep="last", maintain_order=True)
    table = workspace.data / "world.parquet"
    history.join(known, on="transaction_id", how="left", maintain_order="left").write_parquet(table)
    mapping = workspace.path / "sources" / "world.toml"
    mapping.write_text(_mapping(history.columns), encoding="utf-8")
    report = import_transactions(
        workspace, table, mapping, workspace.dead_letters / "world.jsonl", progress=progress
    )
    table.unlink()
    api_key = create_api_key(workspace, "world")
    truth = live.select("transaction_id").join(
        world.truth.select("transaction_id", "fraud"),
        on="transaction_id",
        how="left",
        maintain_order="left",
    )
    return Scenario(workspace, api_key, report.accepted, live, truth, source, world)


def _mapping(columns: list[str]) -> str:
    known = [name for name in Transaction.__struct_fields__ if name in columns]
    lines = ["[fields]"]
    for name in known:
        unit = {"event_time": ', unit = "ms"', "amount_minor": ', unit = "minor"'}.get(name, "")
        lines.append(f'{name} = {{ column = "{name}"{unit} }}')
    lines += ["", "[label]", 'column = "fraud"']
    lines += ['reported_at = { column = "reported_ms", unit = "ms" }', ""]
    return "\n".join(lines)
