"""Follows the journal, and keeps what people and alarms want to know of it.

Everything is counted exactly once: sums are added to those in the control database in the same
transaction that moves the monitor's position, so a kill at any moment loses and doubles nothing.
What windows need is in the database too, and nothing else has to be rebuilt at a start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.sqlite import insert

from assay.clock import Clock
from assay.control.schema import KPI, LIVE, PROGRESS
from assay.errors import ControlError
from assay.monitoring.alerts import replace_findings, settle_alerts, settle_system
from assay.monitoring.drift import Drift
from assay.monitoring.finding import Finding
from assay.monitoring.kpi import Kpi
from assay.monitoring.latency import Latency
from assay.monitoring.look import degraded_findings, drift_findings
from assay.monitoring.recent import Recent
from assay.monitoring.switches import Switches
from assay.records import Batch, Events, Flag, Stretch

_HOUR_MS: Final = 3_600_000


class Monitor:
    """Takes stretches of the journal and keeps figures, drift, findings and alerts.

    Parameters
    ----------
    engine : Engine
        The control database.
    grids_of : callable
        From a model to its document of grids; None: it has none.
    clock : Clock
        Dates what is written.
    bucket_s : int
        Width of the bars that volumes are counted in, seconds of stream time.
    drift_window_h : int
        Stretch of traffic that is compared with training, hours of stream time.
    owner_check : callable
        Raises if another worker has taken over; called before everything that is written.
    """

    name: Final = "monitor"

    def __init__(
        self,
        engine: Engine,
        grids_of: Callable[[str], Mapping[str, Any] | None],
        clock: Clock,
        bucket_s: int,
        drift_window_h: int,
        owner_check: Callable[[], None],
    ) -> None:
        self._engine, self._clock, self._owner_check = engine, clock, owner_check
        self._bucket_ms = bucket_s * 1000
        with engine.connect() as connection:
            self._progress = _Progress.read(connection, self.name)
            self._switches = Switches(connection)
            self._recent = Recent(_live(connection, "recent"))
        self._kpi = Kpi(self._bucket_ms)
        self._drift = Drift(grids_of, drift_window_h * _HOUR_MS)
        self._latency = Latency()
        self._taken, self._stream_ms = self._progress.position, self._progress.stream_ms
        self._looked: tuple[str | None, int] = None, 0
        self._causes: dict[str, str | None] = {}

    @property
    def position(self) -> int:
        """Where the journal goes on after what is durable here."""
        return self._progress.position

    @property
    def stream_ms(self) -> int:
        """The newest event time seen, UTC milliseconds; 0 before the first event."""
        return self._stream_ms

    def follow(self, stream: str) -> None:
        """Say whose journal the stretches come from; to be called before the first.

        Raises
        ------
        ControlError
            If what was counted is of another stream: positions and numbers would be mixed.
        """
        known = self._progress.stream
        if known not in ("", stream):
            raise ControlError(
                f"the control database counts stream {known}, the journal is of {stream}; "
                "accepted: move .assay/control.sqlite away with the journal that it was made of"
            )
        self._progress = _Progress(stream, self._progress.position, self._progress.stream_ms)

    def take(self, stretch: Stretch) -> None:
        """Count what lies at or after the position and was not taken before."""
        self._switches.take(stretch.switches)
        self._recent.learn(stretch.switches)
        fresh = np.flatnonzero(stretch.positions >= self._taken)
        if len(fresh):
            batch = _part(stretch.batch, fresh)
            time_ms = self._times(batch.events)
            models, model = self._switches.models(stretch.boots[fresh], time_ms)
            self._kpi.take(batch, time_ms, models, model)
            self._drift.take(batch, time_ms, models, model)
            self._recent.take(stretch, fresh, models, model)
        self._taken = max(self._taken, stretch.position)

    def commit(self, position: int) -> None:
        """Make all that was taken durable, and look whether anything is out of order.

        Parameters
        ----------
        position : int
            Where the journal goes on after everything that was read; less than the monitor's own
            while another consumer catches up.
        """
        if position <= self.position:
            return
        assert position >= self._taken, (position, self._taken)
        self._owner_check()
        progress = _Progress(self._progress.stream, position, self._stream_ms)
        now_ms = self._clock.now_ms()
        with self._engine.begin() as connection:
            for part in (self._switches, self._kpi, self._drift):
                part.write(connection)
            _put_live(connection, "recent", self._recent.document(), now_ms)
            looked = self._look(connection, now_ms)
            progress.write(connection, self.name, now_ms)
        self._progress, self._taken, self._looked = progress, position, looked
        for part in (self._switches, self._kpi, self._drift):
            part.written()

    def reading(self, counters: Mapping[str, Any], at_ms: int) -> None:
        """Turn the scorer's counters, and those read before, into a row of latency.

        Parameters
        ----------
        counters : Mapping
            What ``GET /v1/counters`` answered.
        at_ms : int
            When it was asked, wall time.
        """
        self._owner_check()
        with self._engine.begin() as connection:
            self._latency.reading(connection, counters, at_ms, self._stream_ms)

    def causes(self, causes: Mapping[str, str | None]) -> None:
        """Let alerts say what is wrong with the system itself; see `settle_system`."""
        told = self._causes.items()
        news = {name: cause for name, cause in causes.items() if (name, cause) not in told}
        if not news:
            return
        self._owner_check()
        with self._engine.begin() as connection:
            settle_system(connection, news, self._stream_ms, self._clock.now_ms())
        self._causes |= news

    def _times(self, events: Events) -> NDArray[np.int64]:
        """Return the stream time of each event, and move on to the newest.

        A late or future event counts at the newest time before it: a caller's wrong clock moves
        no window and fills no bucket of another year.
        """
        time_ms = events["event_time"].astype(np.int64)
        flagged = events["flags"] & (Flag.late | Flag.future) != 0
        newest = np.maximum.accumulate(np.where(flagged, self._stream_ms, time_ms))
        newest = np.maximum(newest, self._stream_ms)
        self._stream_ms = int(newest[-1])
        return np.where(flagged & (newest > 0), newest, time_ms)

    def _look(self, connection: Connection, now_ms: int) -> tuple[str | None, int]:
        """Let the monitors look once a bucket; return what was looked at."""
        model, to_ms = self._switches.model, self._stream_ms
        looking = model, to_ms // self._bucket_ms
        if model is None or looking == self._looked:
            return self._looked
        from_ms = to_ms - self._drift.window_ms
        findings = self._drifting(connection, model) + _degraded(connection, model, from_ms)
        replace_findings(connection, model, findings, from_ms, to_ms, now_ms)
        settle_alerts(connection, model, findings, to_ms, now_ms)
        self._drift.prune(connection, to_ms)
        return looking

    def _drifting(self, connection: Connection, model: str) -> list[Finding]:
        """Return drift over a whole window of the model's own traffic; before it is full, none.

        Part of a day is not a day: nights and mornings differ without any drift.
        """
        grids, since_ms = self._drift.grids(model), self._switches.reign_ms
        if grids is None or since_ms is None or self._stream_ms - since_ms < self._drift.window_ms:
            return []
        counts = self._drift.window(connection, model, self._stream_ms, since_ms)
        return drift_findings(grids, counts)


@dataclass(frozen=True, slots=True)
class _Progress:
    stream: str = ""
    position: int = 0
    stream_ms: int = 0

    @classmethod
    def read(cls, connection: Connection, reader: str) -> _Progress:
        row = connection.execute(select(PROGRESS).where(PROGRESS.c.reader == reader)).first()
        return cls() if row is None else cls(row.stream, row.position, row.stream_ms)

    def write(self, connection: Connection, reader: str, now_ms: int) -> None:
        values = {
            "stream": self.stream,
            "position": self.position,
            "stream_ms": self.stream_ms,
            "updated_ms": now_ms,
        }
        statement = insert(PROGRESS).values(reader=reader, **values)
        connection.execute(statement.on_conflict_do_update(["reader"], set_=values))


def _part(batch: Batch, rows: NDArray[np.intp]) -> Batch:
    if len(rows) == len(batch):
        return batch
    return Batch(
        batch.events[rows],
        batch.features[rows],
        batch.scores[rows],
        batch.actions[rows],
        batch.reasons[rows],
        batch.modes[rows],
    )


def _degraded(connection: Connection, model: str, from_ms: int) -> list[Finding]:
    sums = select(func.sum(KPI.c.payments), func.sum(KPI.c.degraded))
    where = (KPI.c.bucket_ms >= from_ms) & (KPI.c.model == model)
    payments, degraded = connection.execute(sums.where(where)).one()
    return degraded_findings(int(payments or 0), int(degraded or 0))


def _live(connection: Connection, name: str) -> dict[str, Any]:
    text = connection.execute(select(LIVE.c.document).where(LIVE.c.name == name)).scalar()
    return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])


def _put_live(connection: Connection, name: str, document: dict[str, Any], now_ms: int) -> None:
    values = {"document": msgspec.json.encode(document).decode(), "updated_ms": now_ms}
    statement = insert(LIVE).values(name=name, **values)
    connection.execute(statement.on_conflict_do_update(["name"], set_=values))
