"""The live documents in the control database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Engine, insert, select, update

from assay.clock import Clock
from assay.control.schema import LIVE


class LiveDocuments:
    """Small JSON documents that are replaced as the running system changes.

    Parameters
    ----------
    engine : Engine
        Of the control database.
    clock : Clock
        Dates each change.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a document; None if there is none that can be read."""
        with self._engine.connect() as db:
            text = db.execute(select(LIVE.c.document).where(LIVE.c.name == name)).scalar()
        try:
            return msgspec.json.decode(text or "", type=dict[str, Any])
        except msgspec.DecodeError:
            return None

    def write(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace some documents in one transaction."""
        now_ms = self._clock.now_ms()
        with self._engine.begin() as db:
            for name, document in documents.items():
                values = {"document": msgspec.json.encode(document).decode(), "updated_ms": now_ms}
                if not db.execute(update(LIVE).where(LIVE.c.name == name).values(values)).rowcount:
                    db.execute(insert(LIVE).values(name=name, **values))
