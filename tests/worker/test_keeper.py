from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from little_scorer import LittleScorer, LittleStates, make_keeper

from assay.errors import StalledError
from assay.worker.keeper import Keeper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "j"


def run(keeper: Keeper) -> dict[str, Any]:
    """Let a keeper begin if it has to, and take all that there is."""
    keeper._begin_due_s = keeper._rest_until_s = 0.0
    keeper.turn()
    while keeper.turn():
        keeper._rest_until_s = 0.0
    keeper._tell()
    return keeper.document


def test_an_equal_state_is_found_equal(folder: Path) -> None:
    """Rows and checks that are as they should be are counted, over starts and promotions."""
    scorer = LittleScorer(folder)
    for k in range(4):
        scorer.decide([3, 5, k])
        scorer.check(k)
    keeper = make_keeper(LittleStates(folder))
    found = run(keeper)
    assert (found["state"], found["checked_rows"], found["checks"]) == ("ok", 12, 4)
    scorer = scorer.restart(folder)
    scorer.decide([8, 9])
    scorer.check(1)
    found = run(keeper)
    assert (found["state"], found["checked_rows"], found["checks"]) == ("ok", 14, 5)
    assert found["behind_s"] == 0
    assert found["mismatch"] is None


def test_a_wrong_row_is_found_and_a_start_clears_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first differing feature is told; no snapshot is taken until the scorer starts anew."""
    scorer, states = LittleScorer(folder), LittleStates(folder)
    scorer.decide([3, 5])
    keeper = make_keeper(states, records=1)
    run(keeper)
    (before,) = states.kept

    def twist(features: Any) -> None:
        features[1, 1] = np.nextafter(features[1, 1], np.float32(9e9))

    scorer.decide([6, 7, 5], twist)
    found = run(keeper)
    assert found["state"] == "mismatch"
    difference = found["mismatch"]
    assert (difference["arrival"], difference["feature"]) == (5, "sum")
    assert difference["journalled"] == "1e-45 (00000001)"
    assert difference["recomputed"] == "0.0 (00000000)"
    assert "is not what the journal gives" in caplog.text
    scorer.decide([1, 2])
    assert run(keeper)["state"] == "mismatch"
    # a worker that starts now knows it as well
    keeper = make_keeper(states, records=1, before=found)
    assert run(keeper)["mismatch"] == difference
    assert states.kept == [before]
    scorer = scorer.restart(folder)
    scorer.decide([4])
    found = run(keeper)
    assert (found["state"], found["mismatch"], found["checked_rows"]) == ("ok", None, 1)
    assert states.begun[-1] == before.position
    assert states.kept[-1].rows == 8


def test_a_wrong_check_is_found(folder: Path) -> None:
    """A digest that is not the state's is told with its piece and both digests."""
    scorer = LittleScorer(folder)
    scorer.decide([3])
    scorer.check(2)
    scorer.check(3, digest=77)
    found = run(make_keeper(LittleStates(folder)))
    assert found["state"] == "mismatch"
    difference = found["mismatch"]
    assert (difference["feature"], difference["piece"]) == (None, 3)
    assert difference["journalled"] == f"{77:016x}"
    assert difference["recomputed"] == f"{scorer.fold.check(3):016x}"


def test_a_corrupted_scorer_is_found(folder: Path) -> None:
    """A bit that flips in the scorer's memory shows at the next check of its piece."""
    scorer = LittleScorer(folder)
    scorer.decide([3, 4, 5])
    keeper = make_keeper(LittleStates(folder))
    assert run(keeper)["state"] == "ok"
    scorer.fold.seen[6, 1] ^= 1 << 20
    for piece in range(7):
        scorer.check(piece)
    assert run(keeper)["mismatch"]["piece"] == 6


def test_what_ran_before_the_newest_start_is_not_compared(folder: Path) -> None:
    """Rows of an earlier run are folded only: other code or settings may have made them."""
    scorer = LittleScorer(folder)
    scorer.decide([3, 3], lambda features: features.fill(9))
    scorer.check(3, digest=1)
    scorer = scorer.restart(folder, runtime="r2")
    scorer.decide([3])
    found = run(make_keeper(LittleStates(folder)))
    assert (found["state"], found["checked_rows"], found["checks"]) == ("ok", 1, 0)


def test_other_versions_begin_the_state_anew(folder: Path) -> None:
    """A start with another feature set or runtime is followed from a state made for it."""
    scorer, states = LittleScorer(folder), LittleStates(folder)
    scorer.decide([3, 3])
    keeper = make_keeper(states)
    run(keeper)
    scorer = scorer.restart(folder, feature_set="g")
    scorer.decide([3])
    assert run(keeper)["state"] in {"ok", "off"}
    assert run(keeper)["state"] == "ok"
    assert states.begun == [0, 0]
    assert keeper.document["checked_rows"] == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.lists(st.integers(1, 99), max_size=9), st.just("check")), max_size=12),
    st.integers(1, 12),
)
def test_a_snapshot_is_what_stands_before_its_position(
    tmp_path_factory: pytest.TempPathFactory, script: list[Any], records: int
) -> None:
    """However records come: a kept state is that of all events before it, and nothing else."""
    folder = tmp_path_factory.mktemp("kept") / "j"
    scorer, states = LittleScorer(folder), LittleStates(folder)
    keeper = make_keeper(states, records)
    for k, entry in enumerate(script):
        if isinstance(entry, list):
            scorer.decide(entry)
        else:
            scorer.check(k)
        run(keeper)
        if states.kept and states.kept[-1].position == keeper.document["position"]:
            state = states.kept[-1]
            assert np.array_equal(state.fold.seen, scorer.fold.seen)  # type: ignore[attr-defined]
            assert state.next_arrival == scorer.ledger.next_arrival
            assert state.rows == scorer.rows
    run(later := make_keeper(states))
    assert later._state is not None
    assert np.array_equal(later._state.fold.seen, scorer.fold.seen)  # type: ignore[attr-defined]
    assert (keeper.document["state"], later.document["state"]) in {("ok", "ok"), ("off", "ok")}
    scorer.ledger.close()


def test_a_snapshot_that_fails_is_told_and_tried_again(folder: Path) -> None:
    """A full disk costs a snapshot, not the state."""
    scorer, states = LittleScorer(folder), LittleStates(folder)
    scorer.decide([3])
    keeper = make_keeper(states, records=1)
    states.failure = StalledError("no room")
    found = run(keeper)
    assert (found["state"], found["snapshot"], found["snapshot_error"]) == ("ok", None, "no room")
    states.failure = None
    scorer.decide([4])
    found = run(keeper)
    assert (found["snapshot_error"], found["snapshot"]["at_ms"]) == (None, 9)


def test_a_slow_snapshot_is_given_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one comes after eight times as long as the last one took, whatever is due."""
    scorer, states = LittleScorer(folder), LittleStates(folder)
    keep = states.keep

    def slow(state: Any) -> dict[str, Any]:
        time.sleep(0.05)
        return keep(state)

    monkeypatch.setattr(states, "keep", slow)
    scorer.decide([1])
    keeper = make_keeper(states, records=1)
    while not states.kept:
        keeper.turn()
    began_s = time.perf_counter()
    first = states.kept[-1].position
    while states.kept[-1].position == first:
        scorer.decide([1])
        keeper.turn()
    assert time.perf_counter() - began_s >= 0.35


def test_before_the_first_start_it_waits(folder: Path) -> None:
    """Without a journal there is no state, which is nobody's fault."""
    found = run(make_keeper(LittleStates(folder)))
    assert (found["state"], found["reason"]) == ("off", "the scorer has not started yet")


def test_a_journal_that_was_replaced_ends_only_the_state(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the journal turns the keeper off with a reason; its thread goes on."""
    caplog.set_level(logging.CRITICAL, "assay.worker.keeper")
    scorer = LittleScorer(folder)
    scorer.decide([1, 2])
    keeper = make_keeper(LittleStates(folder))
    run(keeper)
    scorer.ledger.close()
    path = max(folder.glob("*.journal"))
    path.write_bytes(path.read_bytes()[:-40])
    found = run(keeper)
    assert found["state"] == "off"
    assert "journal" in found["reason"]


def test_its_thread_stops_when_told(folder: Path) -> None:
    """While it waits or works, a stop ends it soon."""
    scorer = LittleScorer(folder)
    scorer.decide([1, 2])
    keeper, stop = make_keeper(LittleStates(folder)), threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    while keeper.document["checked_rows"] < 2:
        time.sleep(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_gap_ends_a_state_unless_a_snapshot_lies_behind_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read makes the state worthless: no snapshot of it, and no comparison."""
    scorer, states = LittleScorer(folder), LittleStates(folder)
    for _ in range(5):
        scorer.decide(list(range(1, 20)))
    late = LittleStates(folder)
    run(make_keeper(late, records=1))
    scorer.ledger.close()
    path = folder / "00000002.journal"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    keeper = make_keeper(states)
    found = run(keeper)
    assert found["state"] == "off"
    assert (states.kept, keeper._behind_gap > 2 << 40) == ([], True)
    found = run(keeper)
    assert (found["state"], found["reason"]) == ("off", "no snapshot lies behind it")
    assert "the journal cannot be read: " in caplog.text
    states.kept = late.kept[-1:]
    found = run(keeper)
    assert (found["state"], found["reason"]) == ("ok", None)
    assert states.begun == [0, late.kept[-1].position]
