"""A workspace with small signed bundles, and a small scorer that takes what is asked for."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from assay.bootstrap import run
from assay.bootstrap.create import create_workspace
from assay.control.database import open_control
from assay.lifecycle.rollout import Rollout
from assay.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parent))  # for small_bundle.py: tests are not a package
from small_bundle import FEATURES, write_small_bundle

Start = Callable[..., "SmallScorer"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "w")


@pytest.fixture
def bundle(workspace: Workspace) -> Callable[..., Path]:
    """Return a function that writes a bundle of the workspace's features, signed with its key."""
    return partial(write_small_bundle, workspace)


class SmallScorer:
    """Answers /health over HTTP and follows the newest request, as the real one does."""

    def __init__(self, workspace: Workspace, model: str, **changed: Any) -> None:
        self.health: dict[str, Any] = {
            "status": "ok",
            "model": model,
            "policy": "first",
            "feature_set": FEATURES.digest[:16],
            "revision": 0,
            "refused": None,
            "started_ms": 1_000,
            "rules_only": False,
            **changed,
        }
        self.refuses: dict[str, str] = {}
        self._workspace, self._stopped = workspace, threading.Event()
        health = self.health

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(health).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.01,)),
            threading.Thread(target=self._follow),
        ]

    def _follow(self) -> None:
        engine = open_control(self._workspace.control)
        rollout = Rollout(engine)
        while not self._stopped.is_set():
            newest = rollout.newest()
            if newest and newest.revision != self.health["revision"]:
                if reason := self.refuses.get(newest.model):
                    refused = {"revision": newest.revision, "model": newest.model}
                    self.health["refused"] = {**refused, "reason": reason}
                else:
                    self.health.update(model=newest.model, revision=newest.revision, refused=None)
            time.sleep(0.02)
        engine.dispose()

    @contextmanager
    def running(self) -> Iterator[SmallScorer]:
        for thread in self._threads:
            thread.start()
        run.announce(
            self._workspace, "scorer", f"http://127.0.0.1:{self._server.server_address[1]}"
        )
        try:
            yield self
        finally:
            self._stopped.set()
            self._server.shutdown()
            self._server.server_close()
            for thread in self._threads:
                thread.join()


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Start]:
    """Return a function that starts a small scorer, stopped after the test."""
    with ExitStack() as stack:
        yield lambda model, **changed: stack.enter_context(
            SmallScorer(workspace, model, **changed).running()
        )
