"""What is live, and what was: from the scorer itself, and from the control database."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from assay.bootstrap.run import address_of
from assay.control.database import open_control
from assay.control.schema import LIVE
from assay.errors import ControlError
from assay.lifecycle.history import NO_MODEL, read_switches
from assay.lifecycle.rollout import Request, Rollout
from assay.workspace import Workspace

HEALTH_TIMEOUT_S: Final = 1.0
REQUESTS_READ: Final = 1_000

Health = dict[str, Any]
"""What ``GET /health`` of the scorer says; its feature set is the first 16 digits."""


def scorer_health(workspace: Workspace) -> Health | None:
    """Return what the running scorer says of itself, or None if none answers within a second."""
    address = address_of(workspace, "scorer")
    if address is None:
        return None
    parts = urlsplit(address.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        found = msgspec.json.decode(connection.getresponse().read())
    except (OSError, http.client.HTTPException, msgspec.DecodeError):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) and isinstance(found.get("model"), str) else None


class Past(msgspec.Struct):
    """What the control database holds about releases; newest first."""

    switches: list[dict[str, Any]] = []
    requests: list[Request] = []
    seen: dict[str, Any] = {}
    journal: dict[str, Any] = {}
    error: str | None = None

    @property
    def revision(self) -> int:
        """The newest request's, 0 before the first."""
        return self.requests[0].revision if self.requests else 0

    @property
    def asked(self) -> Request | None:
        """The request that holds."""
        return next((request for request in self.requests if request.refused is None), None)

    @classmethod
    def read(cls, workspace: Workspace) -> Past:
        """Read it; a database that is missing is empty, and one that is damaged says why."""
        if not workspace.control.exists():
            return cls()
        try:
            with control(workspace) as engine:
                return cls.of(engine)
        except ControlError as error:
            return cls(error=str(error))

    @classmethod
    def of(cls, engine: Engine) -> Past:
        """Read an open database."""
        with engine.connect() as connection:
            names = LIVE.c.name.in_(("scorer", "journal"))
            live = connection.execute(select(LIVE.c.name, LIVE.c.document).where(names))
            documents = {
                name: msgspec.json.decode(text, type=dict[str, Any]) for name, text in live
            }
        return cls(
            switches=read_switches(engine),
            requests=Rollout(engine).last(REQUESTS_READ),
            seen=documents.get("scorer", {}),
            journal=documents.get("journal", {}),
        )


@contextmanager
def control(workspace: Workspace) -> Iterator[Engine]:
    """Open the control database for a while; what goes wrong with it is a `ControlError`."""
    engine = open_control(workspace.control)
    try:
        yield engine
    except (SQLAlchemyError, msgspec.DecodeError) as error:
        said = getattr(error, "orig", None) or type(error).__name__
        raise ControlError(f"cannot use {workspace.control}: {said}; restore it") from None
    finally:
        engine.dispose()


def in_force(health: Health | None, past: Past) -> int:
    """Return the revision in force; without a scorer to ask, all that was asked for counts."""
    return past.revision if health is None else int(health.get("revision", 0))


def live_facts(health: Health | None, past: Past) -> dict[str, Any] | None:
    """Return what decides; with the scorer down, what decided last."""
    newest = past.switches[0] if past.switches else None
    if health is None:
        if newest is None or newest["model"] == NO_MODEL:
            return None
        facts = ("model", "policy", "feature_set", "revision")
        return {**{name: newest[name] for name in facts}, "since_ms": newest["at_ms"]}
    if health["model"] == NO_MODEL:
        return None
    revision = int(health.get("revision", 0))
    return {
        "model": health["model"],
        "policy": health.get("policy"),
        "feature_set": health.get("feature_set"),
        "revision": revision,
        "since_ms": _since_ms(health, past, revision),
    }


def _since_ms(health: Health, past: Past, revision: int) -> int | None:
    """Return since when the live model decides: from the journal, else from who asked for it."""
    newest = past.switches[0] if past.switches else None
    if newest and (newest["model"], newest["revision"]) == (health["model"], revision):
        return int(newest["at_ms"])
    asked = (r.requested_ms for r in past.requests if r.revision == revision)
    return max(next(asked, 0), health.get("started_ms") or 0) or None


def scorer_facts(workspace: Workspace, health: Health | None, past: Past) -> dict[str, Any]:
    """Return whether the scorer answers, since when, where, and what it refused."""
    address = address_of(workspace, "scorer")
    if health is not None:
        since_ms = health.get("started_ms") or (address.started_ms if address else None)
    else:
        since_ms = _down_since_ms(past)
    return {
        "up": health is not None,
        "since_ms": since_ms,
        "url": address.url if address else None,
        "refused": health.get("refused") if health else None,
        "rules_only": bool(health.get("rules_only")) if health else False,
    }


def _down_since_ms(past: Past) -> int | None:
    """Return since when the scorer is down, as the worker saw it; None if it could not see."""
    since_ms = past.seen.get("since_ms")
    if past.seen.get("up", True) or since_ms is None:
        return None
    started_again = any(switch["at_ms"] > since_ms for switch in past.switches[:1])
    return None if started_again else int(since_ms)
