"""Measures how long a change of model takes to be felt by those who ask for decisions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Final

from assay.errors import UnavailableError
from assay.simulation.feed import Feed
from assay.simulation.player import Reply
from assay.simulation.tape import Cue

_PATIENCE_S: Final = 30.0
_BEFORE: Final = 100
"""Answers to see before the request, so that the load is there."""


@dataclass(frozen=True)
class Switching:
    """What callers felt of a switch.

    Attributes
    ----------
    took_ms : float
        From the request to the first answer that names the other model.
    failed_requests : int
        Answers other than 200 in that time, those that were mended by asking again included.
    """

    took_ms: float
    failed_requests: int


def measure_switch(feed: Feed, ask: Callable[[], object], model: str) -> Switching:
    """Ask for a switch while a feed plays, and listen to its answers.

    Parameters
    ----------
    feed : Feed
        That plays.
    ask : callable
        Requests the switch; it may block.
    model : str
        That the answers shall name.

    Raises
    ------
    UnavailableError
        If no answer names the model in time.
    """
    heard: list[tuple[float, bool, str]] = []
    named, before = Event(), feed.on_reply

    def listen(cue: Cue, reply: Reply) -> None:
        before(cue, reply)
        said = str(reply.decision()["model"]) if reply.status == 200 else ""
        heard.append((time.monotonic(), reply.status == 200, said))
        if said == model and asked_s:
            named.set()

    asked_s = 0.0
    feed.on_reply = listen
    try:
        _await(lambda: len(heard) >= _BEFORE)
        retries, asked_s = feed.counts.retries, time.monotonic()
        ask()
        if not named.wait(_PATIENCE_S):
            raise UnavailableError(f"no answer named {model} within {_PATIENCE_S:g} s")
    finally:
        feed.on_reply = before
    felt_s = min(at for at, _, said in heard if at >= asked_s and said == model)
    failed = sum(not good for at, good, _ in heard if asked_s <= at <= felt_s)
    failed += feed.counts.retries - retries
    return Switching(round((felt_s - asked_s) * 1000, 1), failed)


def _await(true: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not true():
        if time.monotonic() > until:
            raise UnavailableError("the feed gets no answers; accepted: one that plays")
        time.sleep(0.01)
