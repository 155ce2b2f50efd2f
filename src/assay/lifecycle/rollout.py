"""Requests for a release: the newest says which model shall decide; the scorer takes it up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import Engine, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from assay.control.schema import ROLLOUT
from assay.errors import ReleaseError

Cause = Literal["promote", "rollback"]

NAME_MAX: Final = 64
"""Longest name of a model or a person."""


@dataclass(frozen=True)
class Request:
    """One request: a model shall decide, because somebody asked.

    Attributes
    ----------
    revision : int
        1, 2, …: each request has its own, and the largest holds.
    requested_ms : int
        Wall time.
    refused : str or None
        Why the scorer did not take it; such a request holds no more.
    """

    revision: int
    model: str
    cause: Cause
    requested_by: str
    requested_ms: int
    refused: str | None = None

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.requested_ms / 1000, UTC)
        did = {"promote": "promoted", "rollback": "rolled back to"}[self.cause]
        return (
            f"{self.requested_by} {did} {self.model} at {at:%Y-%m-%d %H:%M:%S} UTC "
            f"(revision {self.revision})"
        )


class Rollout:
    """The requests in the control database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def newest(self) -> Request | None:
        """Return the newest request, or None before the first."""
        return next(iter(self.last(1)), None)

    def last(self, count: int) -> list[Request]:
        """Return the newest requests, newest first, those that were refused as well."""
        rows = select(ROLLOUT).order_by(ROLLOUT.c.revision.desc()).limit(count)
        with self._engine.connect() as connection:
            return [Request(**row) for row in connection.execute(rows).mappings()]

    def request(
        self, model: str, cause: Cause, by: str, expected_revision: int, now_ms: int
    ) -> int:
        """Ask that a model decides; of two who saw the same state, exactly one succeeds.

        Parameters
        ----------
        model : str
            A version whose bundle the caller has checked.
        cause : {'promote', 'rollback'}
        by : str
            Who asks.
        expected_revision : int
            The newest revision that the caller has seen, 0 before the first.
        now_ms : int
            Wall time.

        Returns
        -------
        int
            The request's revision: it is on the disk.

        Raises
        ------
        ReleaseError
            If somebody came first; it says who, when and what. Or if a name is empty or longer
            than 64 characters.
        """
        for what, name in (("model", model), ("by", by)):
            if not 0 < len(name) <= NAME_MAX or not name.isprintable():
                raise ReleaseError(
                    f"{what} has {len(name)} characters; accepted: 1 to {NAME_MAX} printable ones"
                )
        revision = expected_revision + 1
        row = (revision, model, cause, by, now_ms)
        newest = select(func.coalesce(func.max(ROLLOUT.c.revision), 0)).scalar_subquery()
        # One statement: nobody can come between the look and the insert.
        request = insert(ROLLOUT).from_select(
            ["revision", "model", "cause", "requested_by", "requested_ms"],
            select(*map(literal, row)).where(newest == expected_revision),
        )
        try:
            with self._engine.begin() as connection:
                taken = connection.execute(request).rowcount == 1
        except IntegrityError:  # a database whose readers see no uncommitted maximum
            taken = False
        if not taken:
            raise ReleaseError(self._conflict(expected_revision))
        return revision

    def refuse(self, revision: int, reason: str) -> None:
        """Note that the scorer did not take a request: no restart shall take it up either."""
        row = update(ROLLOUT).where(ROLLOUT.c.revision == revision).values(refused=reason)
        with self._engine.begin() as connection:
            connection.execute(row)

    def _conflict(self, expected_revision: int) -> str:
        newest = self.newest()
        if newest is None or newest.revision <= expected_revision:
            held = 0 if newest is None else newest.revision
            return f"revision {expected_revision} is not known; accepted: {held}, the newest one"
        return f"{newest} came first; look again, and ask again if it is still right"
