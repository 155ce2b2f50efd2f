from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from assay.records import DAY_MS
from assay.simulation import World, WorldData, WorldSettings
from assay.simulation.director import Director
from assay.simulation.tape import Cue, Tape
from assay.workspace import Workspace

START_MS = 1_740_960_000_000  # Monday, 3 March 2025
SETTINGS = WorldSettings(
    start_ms=START_MS,
    end_ms=START_MS + 28 * DAY_MS,
    customers=200,
    merchants=200,
    transactions=6_000,
)
FIRST, SOON = 2_000, 500


@pytest.fixture(scope="module")
def played() -> tuple[World, WorldData]:
    world = World(SETTINGS)
    return world, world.generate()


@pytest.fixture
def tape(played: tuple[World, WorldData]) -> Tape:
    return Tape(played[1], FIRST)


@pytest.fixture
def director(played: tuple[World, WorldData], tape: Tape, tmp_path: Path) -> Director:
    return Director(Workspace.create(tmp_path), played[0], tape)


def drain(tape: Tape, rows: int = 1 << 30) -> list[Cue]:
    out = []
    while len(out) < rows and (cue := tape.take()) is not None:
        out.append(cue)
    return out


def shops(cues: list[Cue]) -> float:
    channels = [msgspec.json.decode(cue.body).get("channel") for cue in cues]
    return channels.count("pos") / len(channels)


def press(tmp_path: Path, document: object) -> None:
    path = tmp_path / ".assay" / "run" / "scenario.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(document))


def test_a_scenario_changes_what_comes(
    director: Director, tape: Tape, played: tuple[World, WorldData]
) -> None:
    """From the switch on there are fewer payments in shops; switched off, they come back."""
    drain(tape, SOON)
    usual = shops(drain(Tape(played[1], FIRST + SOON)))
    director.switch("pandemic", on=True)
    assert director.on == {"pandemic"}
    during = drain(tape, 1_500)
    assert shops(during) < 0.75 * usual
    director.switch("pandemic", on=False)
    after = drain(tape)
    assert director.on == set()
    assert shops(after) > 0.8 * usual
    ids = [msgspec.json.decode(cue.body)["transaction_id"] for cue in during + after]
    assert len(set(ids)) == len(ids)


def test_a_press_in_the_console_is_taken_once(
    director: Director, tape: Tape, tmp_path: Path
) -> None:
    """What is pressed switches the scenario, and its file is gone."""
    drain(tape, SOON)
    assert director.poll() is None
    press(tmp_path, {"name": "voucher_ring", "on": True})
    assert director.poll() == "voucher_ring"
    director.close()
    assert director.on == {"voucher_ring"}
    assert director.poll() is None
    assert not list((tmp_path / ".assay" / "run").iterdir())


@pytest.mark.parametrize("document", [{"name": "flood", "on": True}, {"on": 1}, [], "x"])
def test_a_press_that_makes_no_sense_is_dropped(
    director: Director, tape: Tape, tmp_path: Path, document: object
) -> None:
    """An unknown scenario or another document changes nothing and is not read again."""
    press(tmp_path, document)
    assert director.poll() is None
    assert director.on == set()
    assert len(drain(tape, SOON)) == SOON
    assert not (tmp_path / ".assay" / "run" / "scenario.json").exists()


def test_several_presses_end_as_they_were_asked(director: Director, tape: Tape) -> None:
    """Presses while a world is being made are all obeyed, the last word on each counting."""
    drain(tape, SOON)
    director.ask("pandemic", on=True)
    director.ask("voucher_ring", on=True)
    director.ask("pandemic", on=False)
    until = time.monotonic() + 20
    while tape.take() is None and time.monotonic() < until:
        time.sleep(0.01)
    director.close()
    assert director.on == {"voucher_ring"}
    cues = drain(tape)
    assert tape.ended
    assert [cue.event_ms for cue in cues] == sorted(cue.event_ms for cue in cues)


def test_the_console_is_told(director: Director, tape: Tape, tmp_path: Path) -> None:
    """The announcement lists titles and states, speed and the world's time, until withdrawn."""
    drain(tape, SOON)
    director.switch("black_friday", on=True)
    director.announce(2_400.0)
    path = tmp_path / ".assay" / "run" / "demo.json"
    told = msgspec.json.decode(path.read_bytes())
    assert told["speed"] == 2_400
    assert told["world_ms"] == tape.world_ms
    on = {row["title"]: row["on"] for row in told["scenarios"]}
    assert on == {"Black Friday": True, "Pandemic": False, "New fraud pattern": False}
    director.withdraw()
    assert not path.exists()


def test_nothing_changes_in_a_world_that_has_ended(director: Director, tape: Tape) -> None:
    """A button pressed after the end is remembered and makes no world."""
    drain(tape)
    director.switch("pandemic", on=True)
    assert tape.ended
    assert tape.take() is None
