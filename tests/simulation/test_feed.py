from __future__ import annotations

import time
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from assay.simulation.feed import Feed
from assay.simulation.player import Reply
from assay.simulation.process import ScorerProcess
from assay.simulation.scenario import Scenario
from assay.simulation.tape import Cue


class Listener:
    """Keeps what a feed was answered, with the second at which it was."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, Cue, Reply]] = []

    def __call__(self, cue: Cue, reply: Reply) -> None:
        self.heard.append((time.monotonic(), cue, reply))

    def ids(self) -> list[str]:
        return [reply.decision()["transaction_id"] for _, _, reply in self.heard]


def test_all_is_played_with_its_labels(scenario: Scenario) -> None:
    """Every transaction is decided once, and the reports that came meanwhile are taken."""
    listener = Listener()
    with ScorerProcess(scenario.workspace.path) as scorer:
        feed = Feed(scorer.url, scenario.api_key, scenario.tape(), on_reply=listener)
        feed.play(3_000)
        first_ms = scenario.live["event_time"][0]
        last_ms = max(cue.event_ms for _, cue, _ in listener.heard)
        due = scenario.data.labels["reported_ms"].is_between(first_ms, last_ms).sum()
    assert feed.counts.decisions == 3_000
    assert feed.counts.errors == feed.counts.label_errors == 0
    assert sorted(listener.ids()) == sorted(scenario.live["transaction_id"][:3_000])
    assert feed.counts.labels == due > 20
    assert feed.counts.latency_ms > 0


def test_nothing_is_sent_before_its_time(scenario: Scenario, scorer: ScorerProcess) -> None:
    """At a chosen speed each answer comes after its share of the world's time has passed."""
    speed, listener = 4 * 3600.0, Listener()
    feed = Feed(scorer.url, scenario.api_key, scenario.tape(), speed=speed, on_reply=listener)
    started = time.monotonic()
    feed.play(100)
    first_ms = scenario.live["event_time"][0]
    last_ms = scenario.live["event_time"][99]
    for at, cue, _ in listener.heard:
        assert at - started >= (cue.event_ms - first_ms) / 1000 / speed - 0.002
    took_s = listener.heard[-1][0] - started
    assert took_s == pytest.approx((last_ms - first_ms) / 1000 / speed, abs=1.0)


def test_a_restarting_scorer_loses_nothing(scenario: Scenario) -> None:
    """A scorer that is killed and comes back under the same address has decided each once."""
    folder, listener = scenario.workspace.path, Listener()
    scorer = ScorerProcess(folder)
    feed = Feed(scorer.url, scenario.api_key, scenario.tape(), on_reply=listener)
    feed.start(4_000)
    while feed.counts.decisions < 500:
        time.sleep(0.01)
    scorer.kill()
    with ScorerProcess(folder, ("--port", str(urlsplit(scorer.url).port))) as again:
        assert again.url == scorer.url
        feed.wait()
    assert feed.counts.errors == 0
    assert feed.counts.retries > 0
    assert sorted(listener.ids()) == sorted(scenario.live["transaction_id"][:4_000])
    decisions = {reply.decision()["decision_id"] for _, _, reply in listener.heard}
    assert len(decisions) == 4_000


def test_a_feed_stops_and_goes_on(scenario: Scenario, scorer: ScorerProcess) -> None:
    """A feed that is stopped answers what it sent, and the next start goes on where it was."""
    listener, tape = Listener(), scenario.tape()
    feed = Feed(scorer.url, scenario.api_key, tape, on_reply=listener)
    stopper = Thread(target=lambda: (time.sleep(0.3), feed.stop()))
    feed.start()
    stopper.start()
    stopper.join()
    assert not feed.playing
    done = len(listener.heard)
    assert 0 < done < 12_000
    feed.play(50)
    assert sorted(listener.ids()) == sorted(scenario.live["transaction_id"][: done + 50])


def test_a_refused_transaction_is_an_error(scenario: Scenario, scorer: ScorerProcess) -> None:
    """An answer that no repeat would change is counted and not repeated."""
    feed = Feed(scorer.url, "ak_not_a_key", scenario.tape())
    feed.play(20)
    assert feed.counts.errors == 20
    assert feed.counts.decisions == feed.counts.retries == 0


def test_what_breaks_the_feed_is_raised(scenario: Scenario, scorer: ScorerProcess) -> None:
    """An exception of a listener ends the feed and comes out where it is awaited."""

    def broken(_cue: Cue, _reply: Reply) -> None:
        raise ZeroDivisionError

    feed = Feed(scorer.url, scenario.api_key, scenario.tape(), on_reply=broken)
    with pytest.raises(ZeroDivisionError):
        feed.play(10)
    assert Path(scenario.workspace.path).exists()
