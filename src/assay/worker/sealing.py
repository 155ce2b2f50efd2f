"""Compresses the journal's segments once they are whole, and deletes those that are old enough."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final

from assay.errors import JournalError
from assay.worker.ports import Segments

log = logging.getLogger("assay.worker.sealing")

LOOK_S: Final = 3.0

VERIFY_S: Final = 60.0
"""A segment of 256 MB is read through in less than a second."""


class Sealing:
    """Looks after the journal's older files, in a thread of its own.

    Parameters
    ----------
    segments : Segments
    needed : callable
        Position from which on somebody still needs the journal.
    owner_check : callable
        Raises if another worker has taken over; called before everything that is written.

    Attributes
    ----------
    document : dict
        ``sealed`` and ``dropped`` segments and ``saved_bytes`` since the start, those that are
        ``quarantined`` now, and ``sealing_error``: what failed first at the last look, or None.
    """

    def __init__(
        self, segments: Segments, needed: Callable[[], int], owner_check: Callable[[], None]
    ) -> None:
        self._segments, self._needed, self._owner_check = segments, needed, owner_check
        self._verify_due_s = perf_counter() + VERIFY_S
        self.document: dict[str, Any] = {
            "sealed": 0,
            "saved_bytes": 0,
            "dropped": 0,
            "quarantined": [],
            "sealing_error": None,
        }

    def run(self, stop: threading.Event) -> None:
        """Look every few seconds until told to stop.

        Raises
        ------
        OwnerError
            If another worker has taken over.
        """
        while not stop.is_set():
            self.look(stop)
            stop.wait(LOOK_S)

    def look(self, stop: threading.Event) -> None:
        """Do once what there is to do; what fails is told and tried again at the next look."""
        errors: list[str] = []
        self._try(lambda: self._seal_all(stop, errors), errors)
        if stop.is_set():
            return
        self._try(self._drop, errors)
        self._try(self._verify, errors)
        self._try(self._look_for_marks, errors)
        error = errors[0] if errors else None
        if error and error != self.document["sealing_error"]:
            log.warning("segments wait: %s", error)
        self.document = self.document | {"sealing_error": error}

    def _try(self, step: Callable[[], None], errors: list[str]) -> None:
        """Take a step; if it fails, the others are taken all the same."""
        try:
            step()
        except (JournalError, OSError) as problem:
            errors.append(str(problem))

    def _seal_all(self, stop: threading.Event, errors: list[str]) -> None:
        for number in self._segments.sealable():
            if stop.is_set():
                return
            self._try(partial(self._seal, number), errors)

    def _verify(self) -> None:
        """Now and then read a compressed segment through: nobody else may for a year."""
        if perf_counter() < self._verify_due_s:
            return
        self._verify_due_s = perf_counter() + VERIFY_S
        self._owner_check()
        if not self._segments.verify_next():
            log.error("a compressed segment has become damaged")

    def _look_for_marks(self) -> None:
        self.document = self.document | {"quarantined": self._segments.quarantined()}

    def _seal(self, number: int) -> None:
        self._owner_check()
        if (sizes := self._segments.seal(number)) is None:
            log.error("segment %d is damaged and stays as it is", number)
            return
        before, after = sizes
        done = self.document
        self.document = done | {
            "sealed": done["sealed"] + 1,
            "saved_bytes": done["saved_bytes"] + before - after,
        }

    def _drop(self) -> None:
        self._owner_check()
        dropped = self._segments.drop(self._needed())
        if dropped:
            log.info("deleted segments %s, which are older than journal_days", dropped)
            self.document = self.document | {"dropped": self.document["dropped"] + len(dropped)}
