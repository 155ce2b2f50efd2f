"""How a program is, for people and tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["starting", "healthy", "hung", "restarting", "stopping", "stopped"]


@dataclass(frozen=True)
class Status:
    """The state of one program.

    Attributes
    ----------
    url : str or None
        Where it listens, once it has said so.
    since_ms : int
        Wall time of the change to this state.
    restarts : int
        How often it was started again.
    reason : str
        Why it ended, or was ended, last.
    retry_s : float
        Seconds from `since_ms` until the next start, while restarting.
    ready : Mapping
        What it printed when it was ready; it may hold a sign-in link.
    """

    name: str
    state: State = "stopped"
    url: str | None = None
    pid: int | None = None
    since_ms: int = 0
    restarts: int = 0
    reason: str = ""
    retry_s: float = 0.0
    ready: Mapping[str, Any] = field(default_factory=dict)
