"""The first schema: requests, progress, what was decided, findings, labels."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, String, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    _requests()
    _progress()
    _counts()
    _findings()
    _labels()


def _requests() -> None:
    op.create_table(
        "rollout",
        Column("revision", Integer, primary_key=True),
        Column("model", String(64), nullable=False),
        Column("cause", String(16), nullable=False),
        Column("requested_by", String(64), nullable=False),
        Column("requested_ms", BigInteger, nullable=False),
        Column("refused", Text, nullable=True),
    )
    op.create_table(
        "sessions",
        Column("sha256", String(64), primary_key=True),
        Column("kind", String(8), nullable=False),
        Column("name", String(64), nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
    )


def _progress() -> None:
    op.create_table(
        "progress",
        Column("reader", String(32), primary_key=True),
        Column("stream", String(32), nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("stream_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "switches",
        Column("arrival", BigInteger, primary_key=True),
        Column("at_ms", BigInteger, nullable=False),
        Column("cause", String(16), nullable=False),
        Column("revision", Integer, nullable=False),
        Column("model", String(64), nullable=False),
        Column("policy", String(64), nullable=False),
        Column("feature_set", String(64), nullable=False),
        Column("runtime", String(64), nullable=False),
        Column("first_event_ms", BigInteger, nullable=True),
    )


def _counts() -> None:
    op.create_table(
        "kpi",
        Column("bucket_ms", BigInteger, primary_key=True),
        Column("model", String(64), primary_key=True),
        *(
            Column(name, BigInteger, nullable=False)
            for name in ("events", "payments", "approve", "challenge", "review", "decline")
        ),
        *(Column(name, BigInteger, nullable=False) for name in ("degraded", "late", "future")),
        Column("score_sum", Float, nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in ("approved_ref", "stopped_ref")),
    )
    op.create_table(
        "latency",
        Column("at_ms", BigInteger, primary_key=True),
        Column("stream_ms", BigInteger, nullable=False),
        Column("decisions", BigInteger, nullable=False),
        Column("per_s", Float, nullable=False),
        Column("p50_ms", Float, nullable=True),
        Column("p99_ms", Float, nullable=True),
        Column("refused", BigInteger, nullable=False),
        Column("errors", BigInteger, nullable=False),
    )
    op.create_table(
        "drift",
        Column("bucket_ms", BigInteger, primary_key=True),
        Column("model", String(64), primary_key=True),
        Column("counts", LargeBinary, nullable=False),
    )


def _findings() -> None:
    op.create_table(
        "findings",
        Column("id", Integer, primary_key=True),
        Column("monitor", String(32), nullable=False),
        Column("model", String(64), nullable=False),
        Column("subject", String(128), nullable=False),
        Column("from_ms", BigInteger, nullable=False),
        Column("to_ms", BigInteger, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("value", Float, nullable=False),
        Column("threshold", Float, nullable=False),
        Column("found_ms", BigInteger, nullable=False),
    )
    op.create_table(
        "alerts",
        Column("id", Integer, primary_key=True),
        Column("monitor", String(32), nullable=False),
        Column("model", String(64), nullable=False),
        Column("message", Text, nullable=False),
        Column("value", Float, nullable=False),
        Column("threshold", Float, nullable=False),
        Column("stream_ms", BigInteger, nullable=False),
        Column("opened_ms", BigInteger, nullable=False),
        Column("closed_ms", BigInteger, nullable=True),
    )


def _labels() -> None:
    op.create_table(
        "labels",
        Column("report", BigInteger, primary_key=True),
        Column("transaction_id", String(128), nullable=False, index=True),
        Column("fraud", Boolean, nullable=False),
        Column("reported_ms", BigInteger, nullable=False),
        Column("arrived_ms", BigInteger, nullable=False),
        Column("state", String(16), nullable=False),
    )
    op.create_table(
        "live",
        Column("name", String(32), primary_key=True),
        Column("document", Text, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
    )
