"""Releases change under load: no request fails, none sees a mix, and the journal says which."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from assay.bootstrap.door import internal_key
from assay.clock import SystemClock
from assay.control.database import open_control
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.lifecycle.rollout import Rollout
from assay.records import SCORED_KINDS, Stretch, Switch
from assay.scoring.bundle import ALLOWED, Bundle, write_bundle
from assay.scoring.keys import public_key, signing_key
from assay.scoring.scorer import Scorer
from assay.simulation.player import Reply, play
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

FIRST, SECOND = "boosting-0.1.0", "boosting-0.2.0"
CLOCK = SystemClock()


def halved(graph: bytes) -> bytes:
    """Return a graph that gives half the score: another model, told apart in every answer."""
    model = onnx.load_from_string(graph)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["whole" if name == output.name else name for name in node.output]
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    model.graph.initializer.append(half)
    model.graph.node.append(helper.make_node("Mul", ["whole", "half"], [output.name]))
    return model.SerializeToString()


def second_model(workspace: Workspace, **changed: Any) -> None:
    """Write a second version beside the trained one."""
    source = workspace.models / FIRST
    facts = msgspec.json.decode((source / "manifest.json").read_bytes())
    for name in ("format_version", "rungs", "files"):
        del facts[name]
    files = {path.name: path.read_bytes() for path in source.iterdir() if path.name in ALLOWED}
    files["model.onnx"] = halved(files["model.onnx"])
    facts |= {"version": "0.2.0", **changed}
    write_bundle(workspace.models / SECOND, facts, files, signing_key(workspace.keys))


def get(url: str, path: str, key: str = "") -> Any:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
    body = connection.getresponse().read()
    connection.close()
    return body if path == "/metrics" else json.loads(body)


def wait_for(wanted: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Switching:
    """Asks for the one and the other model in turn, until it is told to stop."""

    def __init__(self, workspace: Workspace, every_s: float, swaps: int) -> None:
        self._workspace, self._every_s, self._swaps = workspace, every_s, swaps
        self._engine = open_control(workspace.control)
        self.asked: dict[int, tuple[str, int]] = {}
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        rollout = Rollout(self._engine)
        policy = self._workspace.policy
        texts = [policy.read_text("utf-8"), policy.read_text("utf-8").replace('"1"', '"2"', 1)]
        for swap in range(self._swaps):
            if self.ended.wait(self._every_s):
                return
            draft = policy.with_name("draft")
            draft.write_text(texts[(swap + 1) % 2], "utf-8")
            draft.replace(policy)
            model = (SECOND, FIRST)[swap % 2]
            now_ms = CLOCK.now_ms()
            self.asked[rollout.request(model, "promote", "test", swap, now_ms)] = model, now_ms

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._thread.join()
        self._engine.dispose()


def check_journal(workspace: Workspace) -> tuple[list[Switch], list[Stretch]]:
    """Check that every decision is what the model of its boot record gives, and return all."""
    follower = Follower(workspace.journal)
    stretches = []
    while records := follower.read():
        stretches += decode_stretches(records, follower.position)
    switches = sorted((s for part in stretches for s in part.switches), key=lambda s: s.arrival)
    starts = np.array([switch.arrival for switch in switches], np.uint64)
    key = public_key(workspace.keys)
    models = {s.model: Scorer(Bundle.load(workspace.models / s.model, key)) for s in switches}
    for part in stretches:
        arrivals = part.batch.events["arrival"]
        newest = starts[np.searchsorted(starts, arrivals) - 1]
        np.testing.assert_array_equal(part.boots, newest, "a decision names an older release")
        for switch in switches:
            rows = (part.boots == switch.arrival) & np.isin(part.batch.events["kind"], SCORED_KINDS)
            given = models[switch.model].score(part.batch.features[rows])
            np.testing.assert_array_equal(part.batch.scores[rows], given)
    return switches, stretches


def test_no_request_fails_or_sees_a_mix(scenario: Scenario) -> None:
    """Under load the release changes ten times in a few seconds: every request is answered by
    exactly one release, live within a second of its request, and a repeat is answered as before.
    """
    workspace, key, bodies = scenario.workspace, scenario.api_key, scenario.bodies()
    second_model(workspace)
    with ScorerProcess(workspace.path) as process:
        replies: list[Reply] = []
        with Switching(workspace, 0.3, 10) as switching:
            at = 0
            while len(switching.asked) < 10 or at < 4000:
                replies += play(process.url, key, bodies[at : at + 500])
                at += 500
        last = max(switching.asked)
        wait_for(lambda: get(process.url, "/health")["revision"] == last)
        again = play(process.url, key, bodies[:at:7])
        counters = get(process.url, "/v1/counters", key)
    assert {reply.status for reply in replies} == {200}
    assert [reply.body for reply in again] == [reply.body for reply in replies[::7]]
    assert counters["switches"] == len(switching.asked)
    assert counters["errors"] == counters["refused"] == 0

    switches, stretches = check_journal(workspace)
    assert [(s.revision, s.model) for s in switches] == [
        (0, SECOND),
        *((revision, model) for revision, (model, _) in sorted(switching.asked.items())),
    ]
    by_arrival = {switch.arrival: switch for switch in switches}
    boots = np.concatenate([part.boots for part in stretches])
    arrivals = np.concatenate([part.batch.events["arrival"] for part in stretches])
    boot_of = dict(zip(arrivals.tolist(), boots.tolist(), strict=True))
    for reply in replies:
        decision = reply.decision()
        switch = by_arrival[boot_of[int(decision["decision_id"].rpartition("-")[2])]]
        assert (decision["model"], decision["policy"]) == (switch.model, switch.policy)
    assert len({(s.model, s.policy) for s in switches[1:]}) == 2
    took_ms = [s.arrival_ms - switching.asked[s.revision][1] for s in switches[1:]]
    assert max(took_ms) < 1000, took_ms
    print(f"live after {took_ms} ms")  # noqa: T201


def test_a_kill_between_releases_loses_nothing(scenario: Scenario) -> None:
    """After kill -9 while releases change, every decision's release is in the journal, and a
    restart serves the newest request.
    """
    workspace, key, bodies = scenario.workspace, scenario.api_key, scenario.bodies()
    second_model(workspace)
    acknowledged: list[tuple[int, Reply]] = []
    process = ScorerProcess(workspace.path)
    killer = threading.Timer(1.0, process.kill)
    with Switching(workspace, 0.11, 8) as switching:
        killer.start()
        replies = play(process.url, key, bodies[:8000])
        killer.join()
        acknowledged = [(i, reply) for i, reply in enumerate(replies) if reply.status == 200]
    assert len(acknowledged) > 100
    assert {reply.status for reply in replies} == {0, 200}
    newest = max(switching.asked)
    with ScorerProcess(workspace.path) as process:
        health = get(process.url, "/health")
        assert (health["revision"], health["model"]) == (newest, switching.asked[newest][0])
        again = play(process.url, key, [bodies[i] for i, _ in acknowledged])
    assert [reply.body for reply in again] == [reply.body for _, reply in acknowledged]
    switches, _ = check_journal(workspace)
    assert [s.cause for s in switches].count("start") == 2
    assert (switches[-1].revision, switches[-1].cause) == (newest, "start")


def ask(workspace: Workspace, model: str, expected: int) -> None:
    engine = open_control(workspace.control)
    Rollout(engine).request(model, "promote", "test", expected, CLOCK.now_ms())
    engine.dispose()


def test_what_cannot_be_loaded_is_refused(scenario: Scenario) -> None:
    """A damaged bundle, one for other features, an unknown one and a policy that does not compile
    leave the release in force, and health says why; the next good request goes live.
    """
    workspace = scenario.workspace
    second_model(workspace, feature_set="0" * 64)
    ask(workspace, FIRST, 0)
    with ScorerProcess(workspace.path) as process:

        def refused(revision: int) -> str:
            wait_for(
                lambda: (get(process.url, "/health")["refused"] or {}).get("revision") == revision
            )
            health = get(process.url, "/health")
            assert (health["status"], health["model"], health["revision"]) == ("ok", FIRST, 1)
            assert str(workspace.path) not in health["refused"]["reason"]
            assert b"assay_request_refused 1.0" in get(process.url, "/metrics", scenario.api_key)
            assert play(process.url, scenario.api_key, scenario.bodies()[:5])[0].status == 200
            return str(health["refused"]["reason"])

        assert get(process.url, "/health")["refused"] is None
        ask(workspace, SECOND, 1)
        assert "feature set" in refused(2)
        ask(workspace, "../models/boosting-0.1.0", 2)
        assert "no model" in refused(3)
        graph = workspace.models / SECOND / "model.onnx"
        content = bytearray(graph.read_bytes())
        content[len(content) // 2] ^= 1
        graph.write_bytes(content)
        ask(workspace, SECOND, 3)
        assert "was changed" in refused(4)
        policy = workspace.policy.read_text("utf-8")
        workspace.policy.write_text("rules = 3", "utf-8")
        ask(workspace, FIRST, 4)
        assert refused(5)
        workspace.policy.write_text(policy, "utf-8")
        ask(workspace, FIRST, 5)
        wait_for(lambda: get(process.url, "/health")["revision"] == 6)
        assert get(process.url, "/health")["refused"] is None


def test_a_restart_promotes_nothing(scenario: Scenario) -> None:
    """A model that was trained meanwhile, or half written, does not decide after a restart."""
    workspace = scenario.workspace
    with ScorerProcess(workspace.path) as process:
        assert get(process.url, "/health")["model"] == FIRST
        process.kill()
    second_model(workspace)
    (workspace.models / ".boosting-0.3.0-ab12cd_3").mkdir()
    with ScorerProcess(workspace.path) as process:
        assert get(process.url, "/health")["model"] == FIRST


def test_a_restart_passes_over_what_cannot_be_loaded(scenario: Scenario) -> None:
    """A scorer that starts takes the newest request whose model loads, and tells of the newer."""
    workspace = scenario.workspace
    second_model(workspace, feature_set="0" * 64)
    ask(workspace, FIRST, 0)
    ask(workspace, SECOND, 1)
    with ScorerProcess(workspace.path) as process:
        wait_for(lambda: get(process.url, "/health")["refused"] is not None)
        health = get(process.url, "/health")
        assert (health["model"], health["revision"]) == (FIRST, 1)
        assert health["refused"]["revision"] == 2


@pytest.mark.parametrize(
    ("arguments", "model"), [(("--model", FIRST), FIRST), (("--rules-only",), "none")]
)
def test_a_pinned_scorer_stays(scenario: Scenario, arguments: tuple[str, ...], model: str) -> None:
    """A scorer that was told its model, or to have none, takes no other up."""
    workspace = scenario.workspace
    second_model(workspace)
    ask(workspace, SECOND, 0)
    with ScorerProcess(workspace.path, arguments) as process:
        time.sleep(0.4)
        health = get(process.url, "/health")
        assert (health["model"], health["revision"]) == (model, 0)
        assert health["rules_only"] == (model == "none")


def test_trouble_with_the_database_stops_nothing(scenario: Scenario) -> None:
    """A control database that is locked, damaged, deleted or new leaves decisions as they are;
    once it can be read again, a request is taken up.
    """
    workspace, key, bodies = scenario.workspace, scenario.api_key, scenario.bodies()
    second_model(workspace)
    workspace.control.write_bytes(b"no database" * 100)
    with ScorerProcess(workspace.path) as process:

        def decides(first: int) -> bool:
            replies = play(process.url, key, bodies[first : first + 50])
            return {reply.status for reply in replies} == {200}

        assert get(process.url, "/health")["model"] == SECOND
        assert decides(0)
        workspace.control.unlink()
        assert decides(50)
        ask(workspace, FIRST, 0)
        wait_for(lambda: get(process.url, "/health")["model"] == FIRST)
        holder = sqlite3.connect(workspace.control)
        holder.execute("BEGIN EXCLUSIVE")
        assert decides(100)
        holder.rollback()
        holder.close()
        for path in workspace.data.glob("control.sqlite*"):
            path.unlink()
        assert decides(150)
        ask(workspace, SECOND, 0)
        wait_for(lambda: get(process.url, "/health")["model"] == SECOND)
        assert decides(200)


def test_labels_are_durable_when_they_are_accepted(scenario: Scenario) -> None:
    """A label that was accepted is in the journal after kill -9, in order, with who brought it;
    a resolved one comes from the internal key only.
    """
    workspace = scenario.workspace
    internal = internal_key(workspace)
    process = ScorerProcess(workspace.path)
    address = urlsplit(process.url)
    rows = [
        {"transaction_id": f"t-{i}", "fraud": i % 2 == 0, "reported_at": 1_780_000_000_000 + i}
        for i in range(1000)
    ]
    resolved = [{"report": 9, "fraud": True, "reported_ms": 5, "event": "AAAA" * 42 + "AAA="}]

    def post(path: str, document: Any, key: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        headers = {"authorization": f"Bearer {key}"}
        connection.request("POST", path, json.dumps(document), headers)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    assert post("/v1/labels", rows[0], scenario.api_key) == (202, {"accepted": 1})
    assert post("/v1/labels", rows, scenario.api_key) == (202, {"accepted": 1000})
    assert post("/v1/resolved-labels", resolved, scenario.api_key)[0] == 403
    assert post("/v1/resolved-labels", resolved, internal) == (200, {"accepted": 1})
    process.kill()
    follower = Follower(workspace.journal)
    (stretch,) = decode_stretches(follower.read(), follower.position)
    assert [report.transaction_id for report in stretch.reports] == [
        row["transaction_id"] for row in [rows[0], *rows]
    ]
    assert {report.source for report in stretch.reports} == {"world"}
    assert [label.report for label in stretch.labels] == [9]
    arrivals = [record.arrival for record in (*stretch.reports, *stretch.labels)]
    assert arrivals == list(range(arrivals[0], arrivals[0] + 1002))
    run = workspace.run / "scorer.json"
    assert json.loads(run.read_bytes())["url"] == process.url
    with ScorerProcess(workspace.path) as process:
        assert get(process.url, "/health")["next_arrival"] == arrivals[-1] + 2
        assert json.loads(run.read_bytes())["pid"] == process.pid != os.getpid()
    assert not run.exists()
