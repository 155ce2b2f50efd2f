"""What the supervisor runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Program:
    """A program that serves HTTP, says when it is ready, and answers ``GET /health``.

    Ready is one line of JSON on its standard output that holds ``url``. Its standard error is
    kept as its log.

    Attributes
    ----------
    name : str
        For people, and for the name of its log.
    command : callable
        Gives the command line; asked at every start.
    port_variable : str
        Variable of the environment that tells it its port.
    port : int
        Port at the first start; 0 takes a free one. A restart keeps the one that was taken.
    outdated : callable
        Asked about once a second; True starts it anew, after a clean stop.
    """

    name: str
    command: Callable[[], Sequence[str]]
    port_variable: str
    port: int = 0
    outdated: Callable[[], bool] = _never
