"""Whether scorer and worker run: as the worker wrote it, and where that is old, by asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from assay.control.schema import LIVE

STALE_MS: Final = 10_000
"""A worker writes once a second; after so long it is taken to be gone."""

Document = dict[str, Any]


class Written(NamedTuple):
    """A live document, and when it was written (wall time)."""

    document: Document
    updated_ms: int


def written_live(connection: Connection) -> dict[str, Written]:
    """Return the live documents by name; one that cannot be read is left out."""
    out = {}
    for name, text, updated_ms in connection.execute(
        select(LIVE.c.name, LIVE.c.document, LIVE.c.updated_ms)
    ):
        try:
            out[name] = Written(msgspec.json.decode(text, type=dict[str, Any]), updated_ms)
        except msgspec.DecodeError:
            continue
    return out


def processes(
    written: Mapping[str, Written], now_ms: int, ask: Callable[[], Document | None]
) -> dict[str, Document | None]:
    """Return ``scorer`` and ``worker``: ``up``, ``since_ms`` and what was last known of them.

    Beside them ``journal``: what the worker knows of the feature state and of the journal's
    files; None without a worker that could know it.

    A worker that did not write for ten seconds is down since it last wrote. What it wrote of the
    scorer then says nothing any more, and the scorer is asked.

    Parameters
    ----------
    written : Mapping
        What `written_live` returned.
    now_ms : int
        Wall time.
    ask : callable
        What the scorer says of its health now; None: it does not answer.
    """
    worker, scorer = written.get("worker"), written.get("scorer")
    state = None if worker is None else dict(worker.document)
    if worker is not None and state is not None and _stale(worker, now_ms) and state.get("up"):
        state |= {"up": False, "since_ms": worker.updated_ms}
    watched = state is not None and state.get("up") is True
    journal = written.get("journal") if watched else None
    told = {"worker": state, "journal": None if journal is None else journal.document}
    if scorer is not None and watched and not _stale(scorer, now_ms):
        return {"scorer": scorer.document, **told}
    return {"scorer": _asked(scorer and scorer.document, ask()), **told}


def _stale(written: Written, now_ms: int) -> bool:
    return now_ms - written.updated_ms > STALE_MS


def _asked(before: Document | None, health: Document | None) -> Document | None:
    """Return the scorer's document by what it answered; since when is None if nobody saw it."""
    if health is not None:
        up = health.get("status") == "ok"
        return {**(before or {}), **health, "up": up, "since_ms": health.get("started_ms")}
    if before is None:
        return None
    seen_ms = None if before.get("up") else before.get("since_ms")
    return {**before, "status": "down", "up": False, "since_ms": seen_ms}
