from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from assay.errors import UnavailableError
from assay.records import Label, ResolvedLabel, empty_events
from assay.worker.scorer_client import ScorerClient


class Handler(BaseHTTPRequestHandler):
    """Gives the answers it was told to, and remembers what it was asked."""

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}
    asked: ClassVar[list[tuple[str, str | None, Any]]] = []

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.asked.append((self.path, self.headers["authorization"], body))
        status, content = self.answers[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 — the server's name for it

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Handler.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_asked(url: str) -> None:
    """All but health carry the key; labels go with their event in base64."""
    Handler.answers = {
        "/health": (503, b'{"status":"failed"}'),
        "/v1/counters": (200, b'{"decisions":1}'),
        "/v1/labels": (202, b"{}"),
        "/v1/resolved-labels": (200, b"{}"),
    }
    client = ScorerClient(lambda: url, "ak_1")
    assert client.health() == {"status": "failed"}
    assert client.counters() == {"decisions": 1}
    client.report([Label("t-1", True, 5)])
    event = empty_events(1)
    client.submit([ResolvedLabel(0, 0, 7, True, 5, event)])
    assert [key for _, key, _ in Handler.asked] == [None, *["Bearer ak_1"] * 3]
    assert Handler.asked[2][2] == [{"transaction_id": "t-1", "fraud": True, "reported_at": 5}]
    encoded = base64.b64encode(event.tobytes()).decode()
    assert Handler.asked[3][2] == [{"report": 7, "fraud": True, "reported_ms": 5, "event": encoded}]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((422, b'{"error":{"code":"c","message":"row 3 is wrong"}}'), "422: row 3 is wrong"),
        ((500, b"<html>"), "500: no message"),
        ((200, b"[]"), "something else than JSON"),
    ],
)
def test_other_answers(url: str, answer: tuple[int, bytes], said: str) -> None:
    """An error of the scorer is an error here, with the scorer's own words."""
    Handler.answers = {"/v1/counters": answer}
    with pytest.raises(UnavailableError, match=said):
        ScorerClient(lambda: url, "ak_1").counters()


def test_nobody_there() -> None:
    """No address, nobody listening, and one who never answers are told within the timeout."""
    with pytest.raises(UnavailableError, match="no scorer is announced"):
        ScorerClient(lambda: None, "ak_1").health()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="does not answer"):
            ScorerClient(lambda: url, "ak_1", timeout_s=0.05).health()
    with pytest.raises(UnavailableError, match="does not answer"):
        ScorerClient(lambda: url, "ak_1").health()
