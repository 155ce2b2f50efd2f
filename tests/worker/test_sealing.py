from __future__ import annotations

import threading
from typing import Any

import pytest

from assay.errors import JournalError, OwnerError, StalledError
from assay.worker.sealing import VERIFY_S, Sealing


class Files:
    """Segments as numbers: the odd ones are damaged."""

    def __init__(self, last: int) -> None:
        self.raw = list(range(1, last + 1))
        self.damaged: list[int] = []
        self.dropped_before: list[int] = []
        self.failure: Exception | None = None
        self.verified = 0

    def sealable(self) -> list[int]:
        if self.failure is not None:
            raise self.failure
        return list(self.raw)

    def seal(self, number: int) -> tuple[int, int] | None:
        self.raw.remove(number)
        if number % 2:
            self.damaged.append(number)
            return None
        return 100, 30

    def verify_next(self) -> bool:
        self.verified += 1
        return True

    def quarantined(self) -> list[dict[str, Any]]:
        return [{"number": number, "offset": 1, "what": "w"} for number in self.damaged]

    def drop(self, before_position: int) -> list[int]:
        self.dropped_before.append(before_position)
        return [1] if len(self.dropped_before) == 1 else []


def test_a_look_seals_tells_damage_and_drops() -> None:
    """Everything whole is sealed once, damage is listed, and nothing that is needed is dropped."""
    files = Files(4)
    sealing = Sealing(files, lambda: 77, lambda: None)
    for _ in range(2):
        sealing.look(threading.Event())
    assert sealing.document == {
        "sealed": 2,
        "saved_bytes": 140,
        "dropped": 1,
        "quarantined": files.quarantined(),
        "sealing_error": None,
    }
    assert files.dropped_before == [77, 77]


def test_a_full_disk_is_told_and_tried_again() -> None:
    """What cannot be done now waits for the next look."""
    files = Files(2)
    files.failure = StalledError("no room")
    sealing = Sealing(files, lambda: 0, lambda: None)
    sealing.look(threading.Event())
    assert sealing.document["sealing_error"] == "no room"
    files.failure = None
    sealing.look(threading.Event())
    assert (sealing.document["sealing_error"], sealing.document["sealed"]) == (None, 1)


def test_a_worker_that_was_taken_over_seals_nothing() -> None:
    """The owner is asked before every write, and its error ends the thread."""

    def taken_over() -> None:
        raise OwnerError("stale")

    files = Files(2)
    with pytest.raises(OwnerError):
        Sealing(files, lambda: 0, taken_over).run(threading.Event())
    assert files.raw == [1, 2]


def test_a_stop_is_heard_between_two_segments() -> None:
    """A worker that has to go does not seal all that is left."""
    files, stop = Files(4), threading.Event()
    stop.set()
    Sealing(files, lambda: 0, lambda: None).look(stop)
    assert files.raw == [1, 2, 3, 4]


def test_one_failure_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that cannot be sealed is told; the others are sealed, and old ones dropped."""
    files = Files(6)
    seal = files.seal

    def failing(number: int) -> tuple[int, int] | None:
        if number == 2:
            raise OSError("the disk failed")
        return seal(number)

    monkeypatch.setattr(files, "seal", failing)
    sealing = Sealing(files, lambda: 77, lambda: None)
    sealing.look(threading.Event())
    assert files.raw == [2]
    assert files.dropped_before == [77]
    assert sealing.document["sealed"] == 2
    assert sealing.document["sealing_error"] == "the disk failed"
    assert sealing.document["quarantined"] == files.quarantined()


def test_marks_that_cannot_be_listed_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known of damaged segments stays, and the look goes on the next time."""
    files = Files(3)
    sealing = Sealing(files, lambda: 77, lambda: None)
    sealing.look(threading.Event())
    known = sealing.document["quarantined"]

    def failing() -> list[dict[str, Any]]:
        raise JournalError("not listed")

    monkeypatch.setattr(files, "quarantined", failing)
    sealing.look(threading.Event())
    assert sealing.document["quarantined"] == known != []
    assert sealing.document["sealing_error"] == "not listed"


def test_compressed_segments_are_read_through_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One at a time when it is due, and not at every look."""
    files, now_s = Files(2), [100.0]
    monkeypatch.setattr("assay.worker.sealing.perf_counter", lambda: now_s[0])
    sealing = Sealing(files, lambda: 0, lambda: None)
    sealing.look(threading.Event())
    assert files.verified == 0
    for _ in range(3):
        now_s[0] += VERIFY_S
        sealing.look(threading.Event())
        sealing.look(threading.Event())
    assert files.verified == 3
