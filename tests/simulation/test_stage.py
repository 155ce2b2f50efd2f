from __future__ import annotations

import os
import signal
import time

from assay.bootstrap.run import address_of
from assay.simulation.scenario import Scenario
from assay.simulation.stage import raise_curtain


def test_a_killed_scorer_comes_back_and_nothing_is_lost(scenario: Scenario) -> None:
    """The supervisor starts it anew under its old address, and the feed repeats what failed."""
    heard: list[str] = []
    with raise_curtain(scenario, "boosting-0.1.0") as stage:
        stage.feed.on_reply = lambda _cue, reply: heard.append(reply.decision()["decision_id"])
        stage.feed.start(3_000)
        while stage.feed.counts.decisions < 300:
            time.sleep(0.01)
        scorer = address_of(stage.workspace, "scorer")
        assert scorer is not None
        os.kill(scorer.pid, signal.SIGKILL)
        stage.feed.wait()
        report = stage.catch_up()
    assert stage.feed.counts.decisions == len(set(heard)) == 3_000
    assert stage.feed.counts.errors == stage.feed.counts.label_errors == 0
    assert stage.feed.counts.retries > 0
    assert sum(report["labels"].values()) == stage.feed.counts.labels > 0
