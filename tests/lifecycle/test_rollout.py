from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from assay.control.database import open_control
from assay.errors import ReleaseError
from assay.lifecycle.rollout import Request, Rollout


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_control(tmp_path / "control.sqlite")
    yield engine
    engine.dispose()


def test_nothing_was_asked_for_yet(engine: Engine) -> None:
    """Before the first request there is no newest one."""
    assert Rollout(engine).newest() is None


def test_the_newest_request_holds(engine: Engine) -> None:
    """Each request takes the next revision, and the newest one is what the scorer reads."""
    rollout = Rollout(engine)
    assert rollout.request("boosting-0.1.0", "promote", "ana", 0, 1_000) == 1
    assert rollout.request("boosting-0.2.0", "rollback", "ben", 1, 2_000) == 2
    assert rollout.newest() == Request(2, "boosting-0.2.0", "rollback", "ben", 2_000)
    assert [request.revision for request in rollout.last(5)] == [2, 1]


def test_who_comes_second_learns_who_came_first(engine: Engine) -> None:
    """A request on an old view is refused with who, what and when, and nothing is written."""
    rollout = Rollout(engine)
    rollout.request("boosting-0.1.0", "promote", "ana", 0, 1_800_000_000_000)
    with pytest.raises(ReleaseError) as caught:
        rollout.request("boosting-0.2.0", "promote", "ben", 0, 1)
    said = str(caught.value)
    assert "ana promoted boosting-0.1.0 at 2027-01-15 08:00:00 UTC (revision 1)" in said
    assert len(rollout.last(9)) == 1


def test_a_revision_from_nowhere_is_refused(engine: Engine) -> None:
    """A caller that has seen more than there is looks at another database: no gap is left."""
    with pytest.raises(ReleaseError, match="revision 7 is not known; accepted: 0"):
        Rollout(engine).request("boosting-0.1.0", "promote", "ana", 7, 1)
    assert Rollout(engine).newest() is None


@pytest.mark.parametrize("by", ["", "a" * 65, "two\nlines"])
def test_a_name_must_be_readable(engine: Engine, by: str) -> None:
    """Who asks is one line of at most 64 characters: it is shown to everybody."""
    with pytest.raises(ReleaseError, match="by has"):
        Rollout(engine).request("boosting-0.1.0", "promote", by, 0, 1)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=12))
def test_a_request_counts_only_on_the_newest_view(seen: list[int]) -> None:
    """Whatever callers have seen, revisions are 1, 2, … without a gap, one for each accepted."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_control(Path(folder) / "control.sqlite")
        rollout, held = Rollout(engine), 0
        for expected in seen:
            if expected == held:
                held = rollout.request("m", "promote", "ana", expected, 1)
            else:
                with pytest.raises(ReleaseError):
                    rollout.request("m", "promote", "ana", expected, 1)
        assert [r.revision for r in rollout.last(99)] == list(range(held, 0, -1))
        engine.dispose()


def test_of_many_threads_one_wins(engine: Engine) -> None:
    """Threads that saw the same state ask at once: one is taken, the others hear of it."""
    won: list[str] = []
    lost: list[str] = []
    gate = threading.Barrier(8)

    def ask(name: str) -> None:
        gate.wait()
        try:
            Rollout(engine).request(f"of-{name}", "promote", name, 0, 1)
            won.append(name)
        except ReleaseError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=ask, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert all(f"{won[0]} promoted of-{won[0]}" in said for said in lost)


ASK = """
import sys, time
from pathlib import Path
from assay.control.database import open_control
from assay.errors import ReleaseError
from assay.lifecycle.rollout import Rollout
engine = open_control(Path(sys.argv[1]))
while time.time() < float(sys.argv[3]):
    pass
try:
    Rollout(engine).request("of-" + sys.argv[2], "promote", sys.argv[2], 0, 1)
    print("won")
except ReleaseError as error:
    print(error)
engine.dispose()
"""


def test_of_many_processes_one_wins(tmp_path: Path) -> None:
    """Processes that saw the same state ask at once: one is taken, the others hear of it."""
    path, at = tmp_path / "control.sqlite", str(time.time() + 3)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(path), f"p{n}", at], stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    winner = f"p{said.index('won')}"
    assert said.count("won") == 1
    assert all(f"{winner} promoted of-{winner}" in line for line in said if line != "won")
