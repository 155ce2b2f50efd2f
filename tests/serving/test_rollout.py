"""Taking up requests: what goes live, what is refused, and trouble that stops nothing."""

from __future__ import annotations

from dataclasses import dataclass

from assay.clock import VirtualClock
from assay.errors import BundleError
from assay.serving.rollout import Request, Rollout
from assay.serving.work import Release


@dataclass
class Asked:
    """A request."""

    revision: int
    model: str
    cause: str = "promote"


class Place:
    """Where requests lie and releases come from; anything in it can be broken."""

    def __init__(self) -> None:
        self.newest: Asked | None = None
        self.trouble = False
        self.loaded: list[int] = []
        self.live: list[Release] = []
        self.rollout = Rollout(
            self.look, self.load, self.live.append, (3, "m-1"), VirtualClock(10**12)
        )

    def look(self) -> Asked | None:
        if self.trouble:
            raise OSError("the disk is gone")
        return self.newest

    def load(self, request: Request) -> Release:
        self.loaded.append(request.revision)
        if request.model == "broken":
            raise BundleError("its signature is wrong")
        if request.model == "busy" and len(self.loaded) < 3:
            raise OSError("too many open files")
        if request.model == "odd":
            raise ZeroDivisionError("/a/secret/place")
        return Release(request, None, lambda _batch: None)  # type: ignore[arg-type]

    def ask(self, revision: int, model: str) -> None:
        self.newest = Asked(revision, model)
        self.rollout.poll()


def test_only_what_is_new_goes_live() -> None:
    """Each request is taken up once; the one in force at the start is not taken up again."""
    place = Place()
    assert place.rollout.poll()
    place.ask(3, "m-1")
    assert place.loaded == []
    for _ in range(3):
        place.ask(4, "m-2")
    place.ask(5, "m-2")
    assert place.loaded == [4, 5]
    assert len(place.live) == 2


def test_a_request_of_a_new_database_is_taken_up() -> None:
    """Revisions that begin again, after the database was lost, are requests all the same."""
    place = Place()
    place.ask(1, "m-2")
    assert place.loaded == [1]


def test_what_does_not_load_is_refused_once() -> None:
    """A refusal says which and why, without a foreign error's text, until a later one succeeds."""
    place = Place()
    for _ in range(2):
        place.ask(4, "broken")
    refusal = {"revision": 4, "model": "broken", "reason": "its signature is wrong"}
    assert place.rollout.refused == refusal
    assert place.loaded == [4]
    place.ask(5, "odd")
    assert place.rollout.refused == {
        "revision": 5,
        "model": "odd",
        "reason": "it does not load: ZeroDivisionError",
    }
    assert place.live == []
    place.ask(6, "m-2")
    assert place.rollout.refused is None
    assert len(place.live) == 1


def test_what_may_pass_is_tried_again() -> None:
    """A load that failed for want of files or memory is no refusal: the next look tries anew."""
    place = Place()
    place.newest = Asked(4, "busy")
    assert [place.rollout.poll() for _ in range(4)] == [False, False, True, True]
    assert place.rollout.refused is None
    assert len(place.live) == 1


def test_a_withdrawn_request_changes_nothing() -> None:
    """When a refused request is withdrawn, the one in force is the newest and is not loaded."""
    place = Place()
    place.ask(4, "broken")
    place.ask(3, "m-1")
    assert place.loaded == [4]
    place.ask(5, "m-2")
    place.ask(6, "broken")
    place.ask(5, "m-2")
    assert place.loaded == [4, 5, 6]


def test_trouble_is_waited_out() -> None:
    """While requests cannot be read nothing changes, and then they are read again."""
    place = Place()
    place.newest, place.trouble = Asked(4, "m-2"), True
    assert not place.rollout.poll()
    assert place.loaded == []
    place.trouble = False
    assert place.rollout.poll()
    assert place.loaded == [4]


def test_it_stops_at_once() -> None:
    """The thread ends when it is told to, started or not."""
    Place().rollout.stop()
    started = Place().rollout
    started.start()
    started.stop()
    assert not started._thread.is_alive()
