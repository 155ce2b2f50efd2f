from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sample_documents as sample
from sample_console import API_KEY, Running, SampleReports, running_console

from assay.errors import ControlError


@contextmanager
def open_streams(
    console: Running, count: int = 1, **headers: str
) -> Iterator[list[http.client.HTTPResponse]]:
    """Follow the live page several times over."""
    with ExitStack() as stack:
        streams = []
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=10)
            stack.callback(connection.close)
            sent = headers or {"authorization": f"Bearer {API_KEY}"}
            connection.request("GET", "/live/events", headers=sent)
            streams.append(stack.enter_context(connection.getresponse()))
        yield streams


def next_event(stream: http.client.HTTPResponse) -> tuple[str, Any]:
    """Return the name and the document of the next event that has one."""
    name = ""
    while line := stream.readline():
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            return name, json.loads(value)
    return "end", None


def test_events_carry_the_document_every_second(console: Running) -> None:
    """Each event is the whole live document, about a second after the one before."""
    with open_streams(console) as (stream,):
        assert stream.getheader("content-type").startswith("text/event-stream")
        assert next_event(stream) == ("live", sample.live())
        began = time.monotonic()
        assert next_event(stream)[0] == "live"
        assert 0.5 < time.monotonic() - began < 2


def test_trouble_does_not_end_the_stream(console: Running, reports: SampleReports) -> None:
    """While the document cannot be made the stream says so, and goes on after."""
    with open_streams(console) as (stream,):
        assert next_event(stream)[0] == "live"
        reports.failure = ControlError("the control database is damaged")
        while (event := next_event(stream))[0] == "live":
            pass
        assert event == ("trouble", {"error": "the control database is damaged"})
        reports.failure = None
        while (event := next_event(stream))[0] == "trouble":
            pass
        assert event[0] == "live"


def test_browsers_share_the_work(console: Running, reports: SampleReports) -> None:
    """Many streams make one document a second together, and are counted."""
    made: list[int] = []

    def counted(hours: int) -> Any:
        made.append(hours)
        return reports.live(hours)

    feed = console.console.feed
    feed._report = counted
    before = feed._open
    with open_streams(console, 8) as streams:
        for _ in range(2):
            assert {next_event(stream)[0] for stream in streams} == {"live"}
        assert len(made) <= 4
        assert feed._open >= before + 8 - 1
    feed._report = reports.live


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The console stops within two seconds though browsers still listen."""
    with ExitStack() as stack:
        with running_console(tmp_path) as running:
            streams = stack.enter_context(open_streams(running, 3))
            for stream in streams:
                next_event(stream)
            began = time.monotonic()
        assert time.monotonic() - began < 2
        assert next_event(streams[0])[0] in {"live", "end"}


def test_a_stream_ends_with_its_key(console: Running, reports: SampleReports) -> None:
    """A stream that was opened with an API key ends soon after the key was taken away."""
    with open_streams(console) as (stream,):
        assert next_event(stream)[0] == "live"
        reports.keys.clear()
        began = time.monotonic()
        while next_event(stream)[0] == "live":
            pass
        assert time.monotonic() - began < 6


def test_signing_out_ends_the_stream(console: Running) -> None:
    """A stream ends soon after its session was closed."""
    token = console.sessions.open()
    with open_streams(console, cookie=f"assay_session_{console.port}={token}") as (stream,):
        assert next_event(stream)[0] == "live"
        console.sessions.close(token)
        began = time.monotonic()
        while next_event(stream)[0] == "live":
            pass
        assert time.monotonic() - began < 6
