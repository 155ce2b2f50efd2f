from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for sample_console.py: tests are not a package
from console_client import Ask, ask_at
from sample_console import API_KEY, Running, SampleReports, running_console


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A console over sample documents, shared by tests that put back what they change."""
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def reports(console: Running) -> Iterator[SampleReports]:
    """What the console shows; a test may change it."""
    yield console.reports
    console.reports.__init__()


@pytest.fixture
def ask(console: Running) -> Ask:
    """Asks the console as anybody."""
    return ask_at(console.port)


@pytest.fixture
def key() -> dict[str, str]:
    """Headers of a program with an API key."""
    return {"authorization": f"Bearer {API_KEY}"}


@pytest.fixture
def signed_in(console: Running) -> dict[str, str]:
    """Headers of a signed-in browser that sends what its pages tell it to."""
    from assay.console.sessions import csrf_token

    token = console.sessions.open()
    return {
        "cookie": f"assay_session_{console.port}={token}",
        "x_csrf_token": csrf_token(token),
        "content_type": "application/x-www-form-urlencoded",
    }
