"""The raw HTTP route: authenticate, admit, wait for the durable answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, Final, Protocol

import msgspec

from assay.errors import (
    AssayError,
    AuditUnavailableError,
    CardNumberError,
    ConflictError,
    DamageError,
    InputError,
    UnavailableError,
)
from assay.serving.engine import Engine
from assay.serving.keys import INTERNAL, KeyRing
from assay.serving.latency import Latency
from assay.serving.lookups import Lookups
from assay.serving.metrics import CONTENT_TYPE, Metrics
from assay.serving.outcome import OutcomeUnknownError
from assay.serving.ports import Door

log = logging.getLogger("assay.serving")

LABELS_BYTES_MAX: Final = 262_144
"""Longest body with labels: a thousand of them."""

_LABEL_ROUTES: Final = {"/v1/labels": 202, "/v1/resolved-labels": 200}
_DECISION: Final = "/v1/decisions/"
_PATHS: Final = "/v1/decisions, /v1/decisions/{id}, /v1/labels, /v1/counters, /metrics, /health"
_JSON = ("content-type", "application/json")
_STATUS: Mapping[type[AssayError], int] = {
    CardNumberError: 400,
    InputError: 422,
    ConflictError: 409,
    UnavailableError: 503,
    AuditUnavailableError: 503,
    OutcomeUnknownError: 504,
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
    ``GET /v1/decisions/{id}`` tells what is journalled of a decision.
    ``POST /v1/labels`` takes reports of what turned out to be fraud or not.
    ``POST /v1/resolved-labels`` takes them with their transactions, from the worker only.
    ``GET /v1/counters`` tells what was done since the start, caps that were reached included.
    ``GET /metrics`` tells the same to Prometheus.
    ``GET /health`` answers without a key: 200 when decisions can be made, else 503.

    Parameters
    ----------
    engine : Engine
    door : Door
        Decodes, checks and tokenises a body.
    keys : KeyRing
    find : callable
        From a decision's id to the document of what is journalled of it; None if there is none.
    body_bytes_max : int
        Longer bodies get 413; labels have a bound of their own.
    refused : callable
        Returns the request for a release that could not be loaded, or None.
    rules_only : bool
        Whether the scorer was started to decide without a model.
    started_ms : int
        When it was started, wall time.
    """

    def __init__(
        self,
        engine: Engine,
        door: Door,
        keys: KeyRing,
        find: Callable[[str], bytes | None],
        *,
        body_bytes_max: int,
        refused: Callable[[], Mapping[str, Any] | None],
        rules_only: bool,
        started_ms: int,
    ) -> None:
        self._engine, self._keys, self._door = engine, keys, door
        self._admit, self._lookups = door.admit, Lookups(find)
        self._body_bytes_max = body_bytes_max
        self._refused, self._rules_only, self._started_ms = refused, rules_only, started_ms
        self._latency, self._errors = Latency(), 0
        self._metrics = Metrics(
            lambda: {**self.counts(), "latency_sum_ms": self._latency.sum_ms}, self.health
        )

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
                self._latency.add(took_ms)
                headers = [_JSON, ("server-timing", f"assay;dur={took_ms:.2f}")]
                protocol.response_bytes(200, headers, body)
            elif scope.path in _LABEL_ROUTES:
                await self._labels(scope, protocol)
            elif scope.path.startswith(_DECISION):
                await self._journalled(scope, protocol)
            else:
                self._other(scope, protocol)
        except _HttpError as error:
            protocol.response_bytes(error.status, [_JSON], error_body(error.code, error.message))
        except AssayError as error:
            self._refuse(protocol, error)
        except Exception:
            self._errors += 1
            raise

    def counts(self) -> dict[str, Any]:
        """Return what was done since the start."""
        return {
            **self._engine.counts(),
            "errors": self._errors,
            "latency_ms": self._latency.document(),
        }

    def health(self) -> dict[str, Any]:
        """Return the state, the versions in force, and a request that could not be taken up."""
        versions = self._engine.in_force
        return {
            "status": "ok" if self._engine.failure is None else "failed",
            "model": versions.model,
            "policy": versions.policy,
            "feature_set": versions.feature_set,
            "runtime": versions.runtime,
            "revision": versions.revision,
            "refused": self._refused(),
            "started_ms": self._started_ms,
            "next_arrival": self._engine.next_arrival,
            "rules_only": self._rules_only,
            **self._engine.journal(),
        }

    async def _decide(self, scope: Scope, protocol: Any) -> bytes:
        self._authenticate(scope)
        body = await self._body(scope, protocol, self._body_bytes_max)
        row, digest = self._admit(body)
        again = self._engine.waits(row.public_id)
        answer = self._engine.submit(row, digest)
        if isinstance(answer, bytes):
            return answer
        return await (_while_there(answer, protocol) if again else answer)

    async def _journalled(self, scope: Scope, protocol: Any) -> None:
        self._authenticate(scope)
        if scope.method != "GET":
            raise _HttpError(405, "method", f"{scope.method} is not offered here; accepted: GET")
        found = await self._lookups(scope.path.removeprefix(_DECISION))
        if found is None:
            self._door.check_path(scope.path)
            raise _HttpError(
                404,
                "not_found",
                "no such decision in this scorer's journal; accepted: a decision_id as answered",
            )
        protocol.response_bytes(200, [_JSON], found)

    async def _labels(self, scope: Scope, protocol: Any) -> None:
        key = self._authenticate(scope)
        resolved = scope.path == "/v1/resolved-labels"
        if resolved and key != INTERNAL:
            raise _HttpError(403, "forbidden", "this route is for Assay's own worker only")
        body = await self._body(scope, protocol, LABELS_BYTES_MAX)
        rows = self._door.resolved(body) if resolved else self._door.reports(body, key)
        await self._engine.enter(rows)
        accepted = msgspec.json.encode({"accepted": len(rows)})
        protocol.response_bytes(_LABEL_ROUTES[scope.path], [_JSON], accepted)

    @staticmethod
    async def _body(scope: Scope, protocol: Any, bytes_max: int) -> bytes:
        if scope.method != "POST":
            raise _HttpError(405, "method", f"{scope.method} is not offered here; accepted: POST")
        length = scope.headers.get("content-length")
        if length is None or not length.isdigit():
            raise _HttpError(411, "length", "the request has no content-length; accepted: a number")
        if int(length) > bytes_max:
            raise _HttpError(413, "too_large", f"body of {length} bytes; accepted: {bytes_max}")
        body: bytes = await protocol()
        return body

    def _authenticate(self, scope: Scope) -> str:
        key = self._keys.check(scope.headers.get("authorization"))
        if key is None:
            raise _HttpError(
                401, "unauthorised", "no valid API key; accepted: 'authorization: Bearer ak_…'"
            )
        return key

    def _other(self, scope: Scope, protocol: Any) -> None:
        if scope.path == "/health":
            status = 200 if self._engine.failure is None else 503
            protocol.response_bytes(status, [_JSON], msgspec.json.encode(self.health()))
            return
        self._authenticate(scope)
        if scope.path == "/v1/counters":
            protocol.response_bytes(200, [_JSON], msgspec.json.encode(self.counts()))
            return
        if scope.path == "/metrics":
            headers = [("content-type", CONTENT_TYPE)]
            protocol.response_bytes(200, headers, self._metrics.render())
            return
        self._door.check_path(scope.path)
        raise _HttpError(404, "not_found", f"no such path; accepted: {_PATHS}")

    def _refuse(self, protocol: Any, error: AssayError) -> None:
        status = _STATUS.get(type(error))
        if status is None:  # not the caller's fault, and nothing that a caller should read
            self._errors += 1
            log.error("a request failed: %s", error)
            what = "internal", "the scorer could not answer; its log says why"
            if isinstance(error, DamageError):
                what = "damaged", "the record is damaged on the disk; the scorer's log says where"
            body = error_body(*what)
            protocol.response_bytes(500, [_JSON], body)
            return
        headers = [_JSON, ("retry-after", "1")] if status == 503 else [_JSON]
        extra = (error.field, error.got, error.accepted) if isinstance(error, InputError) else ()
        protocol.response_bytes(status, headers, error_body(error.code, str(error), *extra))


async def _while_there(answer: asyncio.Future[bytes], protocol: Any) -> bytes:
    """Wait for an answer until the client goes away: in a long stall it comes again and again."""
    gone = asyncio.ensure_future(protocol.client_disconnect())
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if not answer.done():
        answer.cancel()
        raise UnavailableError("the client went away")
    return answer.result()
