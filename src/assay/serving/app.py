"""The raw HTTP route: authenticate, admit, wait for the durable answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any, Protocol

import msgspec

from assay.errors import (
    AssayError,
    CardNumberError,
    ConflictError,
    InputError,
    UnavailableError,
)
from assay.serving.engine import Engine
from assay.serving.keys import KeyRing
from assay.serving.ports import Door

log = logging.getLogger("assay.serving")

_JSON = ("content-type", "application/json")
_STATUS: Mapping[type[AssayError], int] = {
    CardNumberError: 400,
    InputError: 422,
    ConflictError: 409,
    UnavailableError: 503,
}


class Scope(Protocol):
    """The part of an RSGI scope that is used."""

    proto: str
    method: str
    path: str
    headers: Any


class _HttpError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def error_body(
    code: str, message: str, field: str = "", got: str = "", accepted: str = ""
) -> bytes:
    """Return the one JSON shape that every error has."""
    detail = {"code": code, "message": message}
    if field or got or accepted:
        detail |= {"field": field, "got": got, "accepted": accepted}
    return msgspec.json.encode({"error": detail})


class App:
    """An RSGI application over an engine.

    Routes
    ------
    ``POST /v1/decisions`` decides one transaction.
    ``GET /v1/counters`` tells what was done since the start, caps that were reached included.
    ``GET /health`` answers without a key: 200 when decisions can be made, else 503.

    Parameters
    ----------
    engine : Engine
    door : Door
        Decodes, checks and tokenises a body.
    keys : KeyRing
    body_bytes_max : int
        Longer bodies get 413.
    versions : mapping
        What health reports beside its state.
    """

    def __init__(
        self,
        engine: Engine,
        door: Door,
        keys: KeyRing,
        *,
        body_bytes_max: int,
        versions: Mapping[str, str],
    ) -> None:
        self._engine, self._keys = engine, keys
        self._admit, self._check_path = door.admit, door.check_path
        self._body_bytes_max, self._versions = body_bytes_max, dict(versions)

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        """Answer one request."""
        started = perf_counter_ns()
        if scope.proto != "http":
            protocol.close(1003)
            return
        try:
            if scope.path == "/v1/decisions":
                body = await self._decide(scope, protocol)
                took_ms = (perf_counter_ns() - started) / 1e6
                headers = [_JSON, ("server-timing", f"assay;dur={took_ms:.2f}")]
                protocol.response_bytes(200, headers, body)
            else:
                self._other(scope, protocol)
        except _HttpError as error:
            protocol.response_bytes(error.status, [_JSON], error_body(error.code, error.message))
        except AssayError as error:
            self._refuse(protocol, error)

    async def _decide(self, scope: Scope, protocol: Any) -> bytes:
        self._authenticate(scope)
        if scope.method != "POST":
            raise _HttpError(405, "method", f"{scope.method} is not offered here; accepted: POST")
        length = scope.headers.get("content-length")
        if length is None or not length.isdigit():
            raise _HttpError(411, "length", "the request has no content-length; accepted: a number")
        if int(length) > self._body_bytes_max:
            raise _HttpError(
                413, "too_large", f"body of {length} bytes; accepted: {self._body_bytes_max}"
            )
        answer = self._engine.submit(*self._admit(await protocol()))
        return answer if isinstance(answer, bytes) else await answer

    def _authenticate(self, scope: Scope) -> None:
        if self._keys.check(scope.headers.get("authorization")) is None:
            raise _HttpError(
                401, "unauthorised", "no valid API key; accepted: 'authorization: Bearer ak_…'"
            )

    def _other(self, scope: Scope, protocol: Any) -> None:
        if scope.path == "/health":
            failure = self._engine.failure
            state = {"status": "ok" if failure is None else "failed", **self._versions}
            body = msgspec.json.encode(state)
            protocol.response_bytes(200 if failure is None else 503, [_JSON], body)
            return
        self._authenticate(scope)
        if scope.path == "/v1/counters":
            protocol.response_bytes(200, [_JSON], msgspec.json.encode(self._engine.counts()))
            return
        self._check_path(scope.path)
        raise _HttpError(
            404, "not_found", "no such path; accepted: /v1/decisions, /v1/counters, /health"
        )

    @staticmethod
    def _refuse(protocol: Any, error: AssayError) -> None:
        status = _STATUS.get(type(error))
        if status is None:  # not the caller's fault, and nothing that a caller should read
            log.error("a request failed: %s", error)
            body = error_body("internal", "the scorer could not answer; its log says why")
            protocol.response_bytes(500, [_JSON], body)
            return
        headers = [_JSON, ("retry-after", "1")] if status == 503 else [_JSON]
        extra = (error.field, error.got, error.accepted) if isinstance(error, InputError) else ()
        protocol.response_bytes(status, headers, error_body(error.code, str(error), *extra))
