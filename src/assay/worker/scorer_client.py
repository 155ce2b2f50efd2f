"""The scorer's HTTP front, asked by the worker."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from assay.errors import UnavailableError
from assay.records import Label, ResolvedLabel

_ANSWER_BYTES_MAX: Final = 1 << 22


class ScorerClient:
    """Asks the scorer, each time over a connection of its own, and never waits long.

    Any thread may use it. Every method raises `UnavailableError` if there is no scorer, it does
    not answer in time, or it answers with an error.

    Parameters
    ----------
    url : callable
        Gives the scorer's address now; None if none is announced.
    key : str
        The internal API key.
    timeout_s : float
        For connecting, and for each wait for bytes.
    """

    def __init__(self, url: Callable[[], str | None], key: str, timeout_s: float = 2.0) -> None:
        self._url, self._key, self._timeout_s = url, key, timeout_s

    def health(self) -> dict[str, Any]:
        """Return what ``GET /health`` says, whatever its status."""
        # Without the key: after a crash somebody else may listen where the scorer did.
        _, body = self._ask("GET", "/health", with_key=False)
        return _document(body)

    def counters(self) -> dict[str, Any]:
        """Return what the scorer did since its start."""
        status, body = self._ask("GET", "/v1/counters")
        return _document(_accepted(status, body))

    def report(self, labels: Sequence[Label]) -> None:
        """Report labels, at most 1,000; when this returns they are durable."""
        _accepted(*self._ask("POST", "/v1/labels", msgspec.json.encode(labels)))

    def submit(self, labels: Sequence[ResolvedLabel]) -> None:
        """Submit resolved labels, at most 1,000; when this returns they are durable."""
        rows = [
            {
                "report": label.report,
                "fraud": label.fraud,
                "reported_ms": label.reported_ms,
                "event": base64.b64encode(label.event.tobytes()).decode(),
            }
            for label in labels
        ]
        _accepted(*self._ask("POST", "/v1/resolved-labels", msgspec.json.encode(rows)))

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, with_key: bool = True
    ) -> tuple[int, bytes]:
        if (url := self._url()) is None:
            raise UnavailableError("no scorer is announced; start one with: assay up")
        where = urlsplit(url)
        assert where.hostname is not None, url
        connection = http.client.HTTPConnection(where.hostname, where.port, self._timeout_s)
        headers = {"content-type": "application/json"}
        if with_key:
            headers["authorization"] = f"Bearer {self._key}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            said = getattr(error, "strerror", None) or type(error).__name__
            raise UnavailableError(f"the scorer at {url} does not answer: {said}") from None
        finally:
            connection.close()


class _Detail(msgspec.Struct):
    message: str


class _Error(msgspec.Struct):
    error: _Detail


def _accepted(status: int, body: bytes) -> bytes:
    if 200 <= status < 300:
        return body
    try:
        said = msgspec.json.decode(body, type=_Error).error.message
    except msgspec.DecodeError:
        said = "no message"
    raise UnavailableError(f"the scorer answered {status}: {said}")


def _document(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        raise UnavailableError("the scorer answered with something else than JSON") from None
