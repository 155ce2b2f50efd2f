from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from console_client import Ask, ask_at
from sample_console import Running, SampleReports, running_console

from assay.clock import VirtualClock
from assay.console.sessions import IDLE_MS

PAGES = ["/live", "/performance", "/models", "/data"]
TWINS = [f"{page}.json" for page in PAGES]
ROLLBACK = "model=boosting-0.1.0&expected_revision=3"


@pytest.mark.parametrize("path", [*PAGES, "/", "/models/standing?revision=1", "/nothing"])
def test_a_stranger_is_led_to_sign_in(ask: Ask, path: str) -> None:
    """A page shows nothing to a stranger, not even whether it is there."""
    reply = ask(path)
    assert (reply.status, reply.headers["location"]) == (303, "/sign-in")
    assert reply.body == b""
    assert "assay console --link" in ask("/sign-in").text


@pytest.mark.parametrize("path", [*TWINS, "/metrics", "/live/events", "/models/compare.json"])
def test_a_strange_program_gets_the_error_shape(ask: Ask, path: str) -> None:
    """Programs without a valid key get 401 in the one shape of errors."""
    for headers in ({}, {"authorization": "Bearer ak_wrong"}, {"cookie": "assay_session_1=1.x"}):
        reply = ask(path, **headers)
        assert reply.status == 401
        assert set(reply.document["error"]) == {"code", "message"}


def test_a_link_signs_a_browser_in_once(console: Running, ask: Ask) -> None:
    """The link's answer sets a cookie that scripts cannot read and other sites cannot send."""
    link = urlsplit(console.link())
    address = f"{link.path}?{link.query}"
    cookie = ask(address).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie  # over plain HTTP it would never come back
    assert ask("/live", cookie=cookie.split(";")[0]).status == 200
    again = ask(address)
    assert "set-cookie" not in again.headers
    assert "was used before" in again.text


def test_sign_out_ends_the_session_on_the_server(ask: Ask, signed_in: dict[str, str]) -> None:
    """After sign-out the same cookie opens nothing."""
    assert ask("/live", **signed_in).status == 200
    reply = ask("/sign-out", "POST", **signed_in)
    assert reply.status == 200
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert ask("/live", **signed_in).status == 303


@pytest.mark.parametrize(
    "change",
    [
        {"x_csrf_token": ""},
        {"x_csrf_token": "0" * 64},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"cookie": ""},
    ],
)
def test_another_site_changes_nothing(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str], change: dict[str, str]
) -> None:
    """A change needs the session, its page's token and its own origin."""
    reply = ask("/models/rollback", "POST", ROLLBACK, **signed_in | change)
    assert reply.status in {401, 403}
    assert reports.asked == []


def test_a_page_may_change(
    ask: Ask, console: Running, reports: SampleReports, signed_in: dict[str, str]
) -> None:
    """What a page of the console sends is done."""
    own = {"origin": console.url, "sec_fetch_site": "same-origin"}
    assert ask("/models/rollback", "POST", ROLLBACK, **signed_in | own).status == 200
    assert reports.asked == [("rollback", "boosting-0.1.0", "admin (console)")]


def test_an_api_key_only_reads(ask: Ask, reports: SampleReports, key: dict[str, str]) -> None:
    """A key opens every page and twin, and switches nothing."""
    assert {ask(path, **key).status for path in PAGES + TWINS} == {200}
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert ask("/models/rollback", "POST", ROLLBACK, **key | form).status == 403
    assert [entry for entry in reports.asked if entry[0] != "performance"] == []


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("192.168.7.7", True),
        ("evil.test", False),
        ("127.0.0.1.evil.test", False),
        ("evil.test:127", False),
        ("127.0.0.1@evil.test", False),
        ("", False),
    ],
)
def test_a_rebound_name_is_not_served(ask: Ask, host: str, served: bool) -> None:
    """Only addresses and the console's own names are served, on every path."""
    for path in ("/health", "/sign-in"):
        assert (ask(path, host=host).status == 200) is served


def test_every_answer_is_strict(ask: Ask, key: dict[str, str]) -> None:
    """Pages, twins, files, redirects and errors carry the same rules for browsers."""
    for path in ("/live", "/live.json", "/sign-in", "/health", "/nothing", "/live?hours=x"):
        for headers in (key, {}):
            found = ask(path, **headers).headers
            policy = found["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert found["x-content-type-options"] == "nosniff"
            assert found["referrer-policy"] == "no-referrer"
            assert found["cache-control"] == "no-store"


def test_a_browser_here_signs_in_by_itself(tmp_path: Path) -> None:
    """With automatic sign-in a page that this machine opens gets a session, and only that."""
    with running_console(tmp_path, auto_sign_in=True) as running:
        ask = ask_at(running.port)
        reply = ask("/live")
        cookie = reply.headers["set-cookie"].split(";")[0]
        assert reply.status == 200
        assert re.search("x-csrf-token", reply.text)
        assert "set-cookie" not in ask("/live", cookie=cookie).headers
        for headers in (
            {"host": "10.0.0.8"},
            {"sec_fetch_site": "cross-site"},
            {"x_forwarded_for": "10.0.0.9"},
            {"x_forwarded_proto": "https"},
            {"x_real_ip": "10.0.0.9"},
            {"forwarded": "for=10.0.0.9"},
            {"via": "1.1 proxy"},
        ):
            assert ask("/live", **headers).status == 303
        assert _asked_in_http_1_0(running.port).startswith(b"HTTP/1.0 303")
        assert ask("/live.json").status == 401
        assert ask("/models/rollback", "POST", ROLLBACK).status == 401


def _asked_in_http_1_0(port: int) -> bytes:
    """Return what a proxy gets that says nothing about itself: nginx does so by default."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /live HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        return connection.recv(1024)


PROXIED = {"host": "fraud.example", "origin": "https://fraud.example", "x_forwarded_for": "9.9.9.9"}


def test_a_proxy_in_front_is_served(tmp_path: Path) -> None:
    """Under the address in console_url people sign in and promote; under a strange one nobody."""
    with running_console(tmp_path, public="https://fraud.example") as running:
        ask = ask_at(running.port)
        link = urlsplit(running.link())
        cookie = ask(f"{link.path}?{link.query}", host="fraud.example").headers["set-cookie"]
        assert cookie.startswith("__Host-assay_session=")
        assert {"Secure", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        session = PROXIED | {"cookie": cookie.split(";")[0]}
        token = re.search(r'"x-csrf-token": "(\w+)"', ask("/models", **session).text)
        assert token is not None
        session |= {
            "x_csrf_token": token[1],
            "content_type": "application/x-www-form-urlencoded",
            "sec_fetch_site": "same-origin",
        }
        form = "model=boosting-0.3.0&expected_revision="
        assert ask("/models/promote", "POST", f"{form}3", **session).status == 200
        upstream = session | {"host": f"127.0.0.1:{running.port}"}  # a proxy that sets its own
        assert ask("/models/promote", "POST", f"{form}4", **upstream).status == 200
        for wrong in ({"origin": "https://evil.test"}, {"origin": "http://fraud.example:1"}):
            assert ask("/models/promote", "POST", f"{form}5", **session | wrong).status == 403
        assert ask("/models", **session | {"host": "evil.test"}).status == 421
        assert len(running.reports.asked) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_whose_session_ended_leads_to_sign_in(ask: Ask, method: str) -> None:
    """A click and a part that refreshes itself both lead to sign-in, and swap nothing."""
    reply = ask("/models/rollback", method, ROLLBACK, hx_request="true")
    assert (reply.status, reply.headers["hx-redirect"], reply.body) == (401, "/sign-in", b"")


def test_a_refusal_is_a_panel_in_its_place(ask: Ask, signed_in: dict[str, str]) -> None:
    """What a page is refused comes as a panel for the place of outcomes, not for the table."""
    sent = signed_in | {"hx_request": "true", "x_csrf_token": "0"}
    reply = ask("/models/rollback", "POST", ROLLBACK, **sent)
    assert (reply.status, reply.headers["hx-retarget"]) == (403, "#outcome")
    assert reply.headers["content-type"].startswith("text/html")
    assert "reload it and try again" in reply.text


@pytest.mark.parametrize("path", ["/state", "/live/demo", "/models/standing?revision=3"])
def test_what_pages_ask_by_themselves_renews_nothing(tmp_path: Path, path: str) -> None:
    """An open page that nobody uses is signed out after an hour."""
    clock = VirtualClock(1_780_000_000_000)
    with running_console(tmp_path, clock=clock) as running:
        ask, token = ask_at(running.port), running.sessions.open()
        cookie = f"assay_session_{running.port}={token}"
        clock.advance(IDLE_MS - 60_000)
        assert ask(path, cookie=cookie).status < 300
        clock.advance(60_000)
        assert ask(path, cookie=cookie).status == 303


def test_a_strange_method_is_counted_as_other(ask: Ask, key: dict[str, str]) -> None:
    """Words that strangers send as methods do not become names in the metrics."""
    ask("/live", "FROBNICATE")
    text = ask("/metrics", **key).text
    assert 'method="other"' in text
    assert "FROBNICATE" not in text


def test_health_needs_no_key_and_metrics_do(ask: Ask, key: dict[str, str]) -> None:
    """Health tells nothing but that it answers; metrics count routes, never addresses."""
    assert ask("/health").document == {"status": "ok"}
    ask("/models/compare?a=secret-a&b=secret-b", **key)
    text = ask("/metrics", **key).text
    assert 'assay_console_requests_total{method="GET",route="/models/compare",status="200"}' in text
    assert "assay_console_request_seconds_bucket" in text
    assert "assay_console_open_streams" in text
    assert "secret-a" not in text
