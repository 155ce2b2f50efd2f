"""Which model decided, from which arrival on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from assay.control.schema import SWITCHES
from assay.records import Switch

NO_MODEL: Final = "none"
"""What a scorer without a model calls itself."""

Ints = NDArray[np.int64]


class Switches:
    """The boot records seen so far.

    Parameters
    ----------
    connection : Connection
        Those that were written are read from it.
    """

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute(select(SWITCHES).order_by(SWITCHES.c.arrival)).mappings()
        self._rows: dict[int, dict[str, Any]] = {row["arrival"]: dict(row) for row in rows}
        self._changed: set[int] = set()

    @property
    def model(self) -> str | None:
        """The model in force; None before the first boot record."""
        return next(reversed(self._rows.values()))["model"] if self._rows else None

    @property
    def reign_ms(self) -> int | None:
        """Stream time of the first event since the model in force came; None before there is one.

        A restart under the same model does not begin a new reign.
        """
        first = None
        for row in reversed(self._rows.values()):
            if row["model"] != self.model:
                break
            first = first if row["first_event_ms"] is None else row["first_event_ms"]
        return first

    def take(self, switches: list[Switch]) -> None:
        """Add boot records; those that are known stay as they are."""
        for switch in switches:
            if switch.arrival not in self._rows:
                self._rows[switch.arrival] = {
                    "arrival": switch.arrival,
                    "at_ms": switch.arrival_ms,
                    "cause": switch.cause,
                    "revision": switch.revision,
                    "model": switch.model,
                    "policy": switch.policy,
                    "feature_set": switch.feature_set,
                    "runtime": switch.runtime,
                    "first_event_ms": None,
                }
                self._changed.add(switch.arrival)

    def models(self, boots: NDArray[np.uint64], time_ms: Ints) -> tuple[list[str], Ints]:
        """Return the models that decided, and for each decision which of them.

        Parameters
        ----------
        boots : ndarray of uint64, shape (n,)
        time_ms : ndarray of int64, shape (n,)
            Stream time of each decision: the first under a boot record is noted.
        """
        found, first, inverse = np.unique(boots, return_index=True, return_inverse=True)
        names = []
        for boot, at in zip(found.tolist(), first.tolist(), strict=True):
            row = self._rows.get(boot)
            names.append(NO_MODEL if row is None else row["model"])
            if row is not None and row["first_event_ms"] is None:
                row["first_event_ms"] = int(time_ms[at])
                self._changed.add(boot)
        known = sorted(set(names))
        place = np.array([known.index(name) for name in names], np.int64)
        return known, place[inverse]

    def write(self, connection: Connection) -> None:
        """Write what is new or changed."""
        if self._changed:
            rows = [self._rows[arrival] for arrival in sorted(self._changed)]
            statement = insert(SWITCHES)
            first = {"first_event_ms": statement.excluded.first_event_ms}
            connection.execute(statement.on_conflict_do_update(["arrival"], set_=first), rows)

    def written(self) -> None:
        """Take note that the transaction of the last `write` is durable."""
        self._changed.clear()
