"""The tables of the control database, with who writes each.

Times are UTC milliseconds. *Stream time* is the event time of the traffic, which is what charts
and windows go by; *wall time* is the machine's clock, which is what people act by. In production
they differ by seconds; in a replay or a simulation by months.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA: Final = MetaData()


def _ms(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


# --- requests: console and command line -------------------------------------------------------

ROLLOUT: Final = Table(
    "rollout",
    METADATA,
    Column("revision", Integer, primary_key=True),  # 1, 2, …: taken by whoever comes first
    Column("model", String(64), nullable=False),
    Column("cause", String(16), nullable=False),  # promote, rollback
    Column("requested_by", String(64), nullable=False),
    _ms("requested_ms"),  # wall time
    Column("refused", Text, nullable=True),  # why the scorer did not take it, as it was told
)
"""Which model shall decide: the newest row. The scorer polls it; a row is only a request."""

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("sha256", String(64), primary_key=True),  # of the secret in the cookie or the link
    Column("kind", String(8), nullable=False),  # link, session
    Column("name", String(64), nullable=False),
    _ms("expires_ms"),  # wall time
)
"""Console sign-in: one-time links and the sessions that they became."""

# --- what the worker found ---------------------------------------------------------------------

PROGRESS: Final = Table(
    "progress",
    METADATA,
    Column("reader", String(32), primary_key=True),
    Column("stream", String(32), nullable=False),
    Column("position", BigInteger, nullable=False),  # everything before it is counted
    _ms("stream_ms"),  # newest event time seen
    _ms("updated_ms"),  # wall time
)
"""How far a reader of the journal has come; written with what it counted, in one transaction."""

SWITCHES: Final = Table(
    "switches",
    METADATA,
    Column("arrival", BigInteger, primary_key=True),  # of the boot record
    _ms("at_ms"),  # wall time: arrival of the record
    Column("cause", String(16), nullable=False),  # start, promote, rollback
    Column("revision", Integer, nullable=False),  # of the request; 0 at a start without one
    Column("model", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("feature_set", String(64), nullable=False),
    Column("runtime", String(64), nullable=False),
    _ms("first_event_ms", null=True),  # stream time of the first decision under it
)
"""Boot records of the journal: what decided, from which arrival on."""

KPI: Final = Table(
    "kpi",
    METADATA,
    Column("bucket_ms", BigInteger, primary_key=True),  # stream time, start of the bucket
    Column("model", String(64), primary_key=True),
    Column("events", BigInteger, nullable=False),  # of every kind
    Column("payments", BigInteger, nullable=False),  # of the kinds that are scored
    Column("approve", BigInteger, nullable=False),  # payments by action …
    Column("challenge", BigInteger, nullable=False),
    Column("review", BigInteger, nullable=False),
    Column("decline", BigInteger, nullable=False),
    Column("degraded", BigInteger, nullable=False),  # payments not in mode full
    Column("late", BigInteger, nullable=False),
    Column("future", BigInteger, nullable=False),
    Column("score_sum", Float, nullable=False),  # over payments with a score
    Column("approved_ref", BigInteger, nullable=False),  # not stopped; minor units
    Column("stopped_ref", BigInteger, nullable=False),  # declined or held for review
)
"""What was decided, by time and model."""

LATENCY: Final = Table(
    "latency",
    METADATA,
    Column("at_ms", BigInteger, primary_key=True),  # wall time of the reading
    _ms("stream_ms"),
    Column("decisions", BigInteger, nullable=False),  # since the reading before
    Column("per_s", Float, nullable=False),
    Column("p50_ms", Float, nullable=True),  # None: nothing was decided
    Column("p99_ms", Float, nullable=True),
    Column("refused", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
)

DRIFT: Final = Table(
    "drift",
    METADATA,
    Column("bucket_ms", BigInteger, primary_key=True),  # stream time
    Column("model", String(64), primary_key=True),
    Column("counts", LargeBinary, nullable=False),  # int64, shape (features + 1, bins); score last
)
"""Live histograms over the bins of a bundle's quantile grids: counts only, never rows."""

FINDINGS: Final = Table(
    "findings",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("monitor", String(32), nullable=False),  # feature_drift, score_drift, degraded …
    Column("model", String(64), nullable=False),
    Column("subject", String(128), nullable=False),  # a feature's name, or "score"
    _ms("from_ms"),  # stream time of what was looked at
    _ms("to_ms"),
    Column("rows", BigInteger, nullable=False),
    Column("value", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    _ms("found_ms"),  # wall time
)
"""What the monitors measured at their last look: one row per monitor, model and subject."""

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("monitor", String(32), nullable=False),
    Column("model", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("value", Float, nullable=False),  # the strongest subject's
    Column("threshold", Float, nullable=False),
    _ms("stream_ms"),
    _ms("opened_ms"),  # wall time
    _ms("closed_ms", null=True),
)
"""Open (closed_ms is null) and past alerts; at most one is open per monitor and model.

An alert about the system itself has an empty model.
"""

LABELS: Final = Table(
    "labels",
    METADATA,
    Column("report", BigInteger, primary_key=True),  # arrival number of the report
    Column("transaction_id", String(128), nullable=False, index=True),
    Column("fraud", Boolean, nullable=False),
    _ms("reported_ms"),  # as the reporter says
    _ms("arrived_ms"),  # wall time
    Column("state", String(16), nullable=False),  # waiting, matched, duplicate, conflict
)
"""Every label report that came, and what became of it."""

LIVE: Final = Table(
    "live",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("document", Text, nullable=False),  # JSON
    _ms("updated_ms"),  # wall time
)
"""Small documents that are replaced: ``recent`` decisions, ``scorer``, ``worker``, ``journal``."""
