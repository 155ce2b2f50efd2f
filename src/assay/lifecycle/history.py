"""What was live, in order: from the journal's switches, as the worker copied them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Engine, select

from assay.control.schema import SWITCHES
from assay.lifecycle.rollout import Request

NO_MODEL: Final = "none"
"""What a scorer names that decides by rules alone."""

SWITCHES_READ: Final = 1_000
"""How far back a rollback may look."""


def read_switches(engine: Engine) -> list[dict[str, Any]]:
    """Return the newest switches, newest first."""
    rows = select(SWITCHES).order_by(SWITCHES.c.arrival.desc()).limit(SWITCHES_READ)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(rows).mappings()]


def was_live(
    switches: Sequence[dict[str, Any]], requests: Sequence[Request], in_force: int
) -> list[str]:
    """Return the models that decided, newest first; neighbours may be equal.

    Parameters
    ----------
    switches : sequence of dict
        From `read_switches`. They hold the model that was live before the first request, too.
    requests : sequence of Request
        Newest first. They fill in what the worker has not copied yet.
    in_force : int
        Revision in force: what was asked for after it has not happened.
    """
    copied = max((switch["revision"] for switch in switches), default=0)
    pending = [r.model for r in requests if copied < r.revision <= in_force and not r.refused]
    return pending + [s["model"] for s in switches if s["model"] != NO_MODEL]


def rollback_target(models: Sequence[str], live: str | None) -> str | None:
    """Return the model that was live before the live one, or None.

    A rollback is a release as any other: after it, the next one leads back to where it came from.

    Parameters
    ----------
    models : sequence of str
        From `was_live`.
    live : str or None
        The model that decides now; None takes the last one that did.

    Examples
    --------
    >>> rollback_target(["c", "c", "b", "a"], "c")
    'b'
    >>> rollback_target(["b", "c", "b", "a"], "b")
    'c'
    >>> rollback_target(["a", "a"], "a") is None
    True
    """
    current = live or next(iter(models), None)
    return next((model for model in models if model != current), None)
