"""The console as the process that people start, over a workspace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from console_client import Ask, ask_at
from sqlalchemy import insert

from assay.bootstrap.console import WorkspaceReports
from assay.bootstrap.door import create_api_key
from assay.bootstrap.run import address_of
from assay.control.database import open_control
from assay.control.schema import LIVE
from assay.errors import InputError, UnavailableError
from assay.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


@contextmanager
def started(workspace: Workspace, *options: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Give a running console and the line that it printed when it was ready."""
    command = [sys.executable, "-m", "assay", "console", "-w", str(workspace.path)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "ASSAY_CONSOLE_PORT"},
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def run(workspace: Workspace, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assay", "console", "-w", str(workspace.path), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def at(url: str) -> Ask:
    return ask_at(urlsplit(url).port)


def path_of(link: str) -> str:
    return "/" + link.partition("://")[2].partition("/")[2]


def test_it_starts_signs_in_shows_and_stops(workspace: Workspace) -> None:
    """An empty workspace has a console: sign-in, four pages, a new link, and a clean end."""
    key = create_api_key(workspace, "reader")
    with started(workspace) as (process, ready):
        ask = at(ready["url"])
        assert address_of(workspace, "console").url == ready["url"]
        cookie = ask(path_of(ready["sign_in"])).headers["set-cookie"].split(";")[0]
        for path in ("/live", "/performance", "/models", "/data"):
            assert ask(path, cookie=cookie).status == 200, path
            assert ask(f"{path}.json", authorization=f"Bearer {key}").status == 200, path
        link = json.loads(run(workspace, "--link", "--json").stdout)["sign_in"]
        assert "set-cookie" in ask(path_of(link)).headers
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3
        told = process.stderr.read()
    assert address_of(workspace, "console") is None
    assert not re.search("Traceback|ERROR", told)
    assert ready["sign_in"].rpartition("=")[2] not in told


def test_automatic_sign_in_stays_on_this_machine(workspace: Workspace) -> None:
    """It is refused on an address that others reach, with what is accepted."""
    done = run(workspace, "--host", "0.0.0.0", "--port", "0", "--auto-sign-in")
    assert done.returncode == 1
    assert "only on 127.0.0.1" in done.stderr
    with started(workspace, "--auto-sign-in") as (_, ready):
        assert at(ready["url"])("/live").status == 200


def test_a_proxy_s_address_is_checked_and_used(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link leads through console_url; a wrong one, or automatic sign-in, is refused."""
    monkeypatch.setenv("ASSAY_CONSOLE_URL", "https://fraud.example/assay")
    done = run(workspace, "--port", "0")
    assert done.returncode == 1
    assert "accepted: https://NAME" in done.stderr
    monkeypatch.setenv("ASSAY_CONSOLE_URL", "https://fraud.example")
    done = run(workspace, "--port", "0", "--auto-sign-in")
    assert done.returncode == 1
    assert "--auto-sign-in with console_url" in done.stderr
    with started(workspace) as (_, ready):
        assert ready["sign_in"].startswith("https://fraud.example/sign-in?link=")
        assert at(ready["url"])("/sign-in", host="fraud.example").status == 200


def test_the_banner_says_who_is_down(workspace: Workspace) -> None:
    """In an empty workspace nothing is said; a worker that fell silent is down."""
    engine = open_control(workspace.control)
    reports = WorkspaceReports(workspace, engine)
    assert reports.state() == dict.fromkeys(("scorer", "worker", "journal"))
    with engine.begin() as connection:
        document = json.dumps({"up": True, "since_ms": 1})
        connection.execute(insert(LIVE).values(name="worker", document=document, updated_ms=7_000))
    assert reports.state()["worker"] == {"up": False, "since_ms": 7_000}
    engine.dispose()


def test_a_link_needs_a_running_console(workspace: Workspace) -> None:
    """Without a console there is nothing to sign in to, and the program says so."""
    done = run(workspace, "--link")
    assert done.returncode == 1
    assert "no console is running" in done.stderr


def test_a_scenario_reaches_the_demo(workspace: Workspace) -> None:
    """A wish for a scenario that the demo offers is left where the demo looks."""
    engine = open_control(workspace.control)
    reports = WorkspaceReports(workspace, engine)
    assert reports.demo() is None
    with pytest.raises(UnavailableError):
        reports.play("pandemic", on=True)
    workspace.run.mkdir(exist_ok=True)
    offer = {"scenarios": [{"name": "pandemic", "title": "Pandemic", "on": False}], "speed": 1.0}
    (workspace.run / "demo.json").write_text(json.dumps(offer))
    reports.play("pandemic", on=True)
    wish = json.loads((workspace.run / "scenario.json").read_text())
    assert wish == {"name": "pandemic", "on": True}
    with pytest.raises(InputError):
        reports.play("../x", on=True)
    engine.dispose()
