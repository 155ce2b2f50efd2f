"""Changes the world while it is played, when somebody presses a scenario's button."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Final

import msgspec

from assay import durable
from assay.simulation.events import Event, EventName
from assay.simulation.tape import Tape
from assay.simulation.world import World
from assay.workspace import Workspace


@dataclass(frozen=True)
class _Scenario:
    title: str
    intensity: float


SCENARIOS: Final[dict[EventName, _Scenario]] = {
    "black_friday": _Scenario("Black Friday", 0.5),
    "pandemic": _Scenario("Pandemic", 1.0),
    "voucher_ring": _Scenario("New fraud pattern", 1.5),
}
"""Black Friday at half strength is three times the load."""


class _Press(msgspec.Struct, frozen=True):
    name: str
    on: bool


class Director:
    """Switches events of the world that a tape plays, from the moment at hand on.

    ``.assay/run/demo.json`` tells the console which scenarios there are;
    ``.assay/run/scenario.json`` brings back what was pressed.

    Parameters
    ----------
    workspace : Workspace
    world : World
        That the tape plays.
    tape : Tape
    ahead_ms : int
        World time that is still played of the old world while the new one is made.
    """

    def __init__(
        self, workspace: Workspace, world: World, tape: Tape, *, ahead_ms: int = 0
    ) -> None:
        self._run, self._world, self._tape = workspace.run, world, tape
        self._ahead_ms = ahead_ms
        self._events: dict[EventName, Event] = {}
        self._past: list[Event] = []
        self._wanted: set[EventName] = set()
        self._worker: Thread | None = None

    @property
    def on(self) -> frozenset[EventName]:
        """Scenarios that are asked for."""
        return frozenset(self._wanted)

    def ask(self, name: EventName, *, on: bool) -> None:
        """Ask for a scenario to be on or off; the world changes in the background."""
        (self._wanted.add if on else self._wanted.discard)(name)
        self._begin()

    def switch(self, name: EventName, *, on: bool) -> None:
        """Switch a scenario and return when the world has changed."""
        self.ask(name, on=on)
        self.close()

    def poll(self) -> EventName | None:
        """Take what was pressed, if anything, and return the scenario's name."""
        self._begin()
        press = self._take()
        for name in SCENARIOS:
            if press is not None and press.name == name:
                self.ask(name, on=press.on)
                return name
        return None

    def announce(self, speed: float | None) -> None:
        """Tell the console which scenarios there are, and where the world stands."""
        scenarios = [
            {"name": name, "title": scenario.title, "on": name in self._wanted}
            for name, scenario in SCENARIOS.items()
        ]
        document = {"scenarios": scenarios, "speed": speed or 0.0, "world_ms": self._tape.world_ms}
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.replace(self._demo, msgspec.json.encode(document))

    def withdraw(self) -> None:
        """Tell the console that nothing is played any more."""
        self.close()
        for path in (self._demo, self._pressed):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Return when the world is as it was asked for."""
        while self._worker is not None:
            self._worker.join()
            self._worker = None
            self._begin()

    def _begin(self) -> None:
        """Start to change the world if that is asked for and nobody is at it."""
        if self._worker is not None and not self._worker.is_alive():
            self._worker = None
        if self._worker is None and self._wanted != self._events.keys() and not self._tape.ended:
            self._worker = Thread(target=self._change, name="director", daemon=True)
            self._worker.start()

    def _change(self) -> None:
        """Hold the tape, make the world that goes on from there, and let it go."""
        wanted, from_ms = set(self._wanted), self._tape.hold(self._ahead_ms)
        data = None
        try:
            for name in self._events.keys() - wanted:
                self._end(self._events.pop(name), from_ms)
            for name in wanted - self._events.keys():
                intensity = SCENARIOS[name].intensity
                self._events[name] = Event(name=name, start_ms=from_ms, intensity=intensity)
            if from_ms >= self._world.end_ms:
                return
            self._world = self._world.change(from_ms, (*self._past, *self._events.values()))
            data = self._world.generate()
        finally:
            self._tape.go_on(data)

    def _end(self, event: Event, from_ms: int) -> None:
        if event.start_ms < from_ms:
            self._past.append(replace(event, end_ms=from_ms))

    def _take(self) -> _Press | None:
        taken = self._pressed.with_suffix(".taken")
        try:
            self._pressed.replace(taken)
            return msgspec.json.decode(taken.read_bytes(), type=_Press)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        finally:
            taken.unlink(missing_ok=True)

    @property
    def _demo(self) -> Path:
        return self._run / "demo.json"

    @property
    def _pressed(self) -> Path:
        return self._run / "scenario.json"
