"""The worker's HTTP front: health for the supervisor, metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from assay.worker.meter import Meter

_JSON: Final = [("content-type", "application/json")]
_TEXT: Final = [("content-type", "text/plain; version=0.0.4; charset=utf-8")]


class Scope(Protocol):
    """The part of an RSGI scope that is used."""

    proto: str
    method: str
    path: str
    headers: Any


class Front:
    """An RSGI application.

    Routes
    ------
    ``GET /health`` answers without a key: 200 while the loop turns, else 503.
    ``GET /metrics`` needs an API key.

    Parameters
    ----------
    meter : Meter
    check : callable
        From an ``Authorization`` header to the name of the key; None if none is valid.
    """

    def __init__(self, meter: Meter, check: Callable[[str | None], str | None]) -> None:
        self._meter, self._check = meter, check

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        """Answer one request."""
        if scope.proto != "http":
            protocol.close(1003)
        elif scope.path == "/health":
            health = self._meter.health()
            status = 200 if health["status"] == "ok" else 503
            protocol.response_bytes(status, _JSON, msgspec.json.encode(health))
        elif self._check(scope.headers.get("authorization")) is None:
            message = "no valid API key; accepted: 'authorization: Bearer ak_…'"
            _refuse(protocol, 401, "unauthorised", message)
        elif scope.path != "/metrics":
            _refuse(protocol, 404, "not_found", "no such path; accepted: /health, /metrics")
        elif scope.method != "GET":
            _refuse(protocol, 405, "method", "only GET is offered here; accepted: GET")
        else:
            protocol.response_bytes(200, _TEXT, self._meter.text())


def _refuse(protocol: Any, status: int, code: str, message: str) -> None:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    protocol.response_bytes(status, _JSON, body)
