from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from assay.records import DAY_MS, Transaction
from assay.simulation import Event, World, WorldData, WorldSettings
from assay.simulation.tape import Cue, Tape

START_MS = 1_740_960_000_000  # Monday, 3 March 2025
SETTINGS = WorldSettings(
    start_ms=START_MS,
    end_ms=START_MS + 28 * DAY_MS,
    customers=200,
    merchants=200,
    transactions=6_000,
)
FIRST = 2_000


@pytest.fixture(scope="module")
def world() -> World:
    return World(SETTINGS)


@pytest.fixture(scope="module")
def data(world: World) -> WorldData:
    return world.generate()


def drain(tape: Tape, rows: int = 1 << 30) -> list[Cue]:
    out = []
    while len(out) < rows and (cue := tape.take()) is not None:
        out.append(cue)
    return out


def test_everything_is_handed_out_once_in_order(data: WorldData) -> None:
    """From the first row on each transaction comes once, in order of time, with its truth."""
    tape = Tape(data, FIRST)
    cues = drain(tape)
    assert tape.ended
    assert tape.peek() is None
    assert [cue.event_ms for cue in cues] == data.transactions["event_time"][FIRST:].to_list()
    assert [cue.fraud for cue in cues] == data.truth["fraud"][FIRST:].to_list()
    sent = [msgspec.json.decode(cue.body, type=Transaction) for cue in cues]
    assert [row.transaction_id for row in sent] == data.truth["transaction_id"][FIRST:].to_list()
    asked = [row for row in sent if row.kind in ("authorisation", "transfer")]
    assert all(row.response_code is None for row in asked)
    assert any(row.response_code for row in sent)


def test_labels_come_when_their_report_is_passed(data: WorldData) -> None:
    """Each report since the first row comes once, never before the world has passed its time."""
    tape = Tape(data, FIRST)
    start_ms, told = tape.world_ms, []
    while drain(tape, 100):
        while labels := tape.labels(rows_max=7):
            assert all(int(label.reported_at) <= tape.world_ms for label in labels)
            told += labels
    due = data.labels.filter(data.labels["reported_ms"].is_between(start_ms, tape.world_ms))
    assert [label.transaction_id for label in told] == due["transaction_id"].to_list()
    assert len(told) > 20


def test_a_held_tape_goes_on_in_the_other_world(world: World, data: WorldData) -> None:
    """Nothing after the hold is handed out before the switch, nothing twice or never after it."""
    tape = Tape(data, FIRST)
    first = drain(tape, 700)
    from_ms = tape.hold(margin_ms=3_600_000)
    first += drain(tape)
    assert first[-1].event_ms < from_ms
    assert not tape.ended
    pandemic = Event(name="pandemic", start_ms=from_ms)
    new = world.change(from_ms, (pandemic,)).generate()
    tape.go_on(new)
    cues = first + drain(tape)
    ids = [msgspec.json.decode(cue.body)["transaction_id"] for cue in cues]
    assert ids == new.transactions["transaction_id"][FIRST:].to_list()
    assert tape.ended


def test_a_hold_that_comes_to_nothing_changes_nothing(data: WorldData) -> None:
    """A tape that is let go without another world goes on in its own."""
    tape = Tape(data, FIRST)
    first = drain(tape, 10)
    tape.hold()
    assert tape.take() is None
    tape.go_on()
    assert len(first + drain(tape)) == len(data.transactions) - FIRST


def test_a_world_without_a_rest_ends_at_once(data: WorldData) -> None:
    """A tape that begins at the end is at its end."""
    tape = Tape(data, data.transactions.height)
    assert tape.ended
    assert tape.take() is None
    assert tape.labels() == []
    assert replace(SETTINGS).end_ms > tape.world_ms
