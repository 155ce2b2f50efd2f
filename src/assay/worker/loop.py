"""The worker's loop: read the journal, feed the consumers, make it durable."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from assay.worker.meter import Meter
from assay.worker.ports import Consumer, Decode, Follower

RECORDS_MAX: Final = 16_384
"""Records of one turn: they are the loop's whole memory, however far behind it is."""

COMMIT_S: Final = 1.0
_IDLE_S: Final = 0.05


class Loop:
    """Follows the journal for its consumers. One thread runs it.

    An error of the journal or of a consumer ends it: what was not committed is read again at the
    next start, so nothing is lost and nothing goes wrong in silence.

    Parameters
    ----------
    follower : Follower
        At the smallest position of the consumers.
    decode : callable
    consumers : sequence of Consumer
    meter : Meter
    each_second : callable
        Called after every round of commits, by the loop's thread.
    flush : callable
        Given the position at a clean stop, ahead of the last commits: makes durable what a
        consumer would still keep back.
    """

    def __init__(
        self,
        follower: Follower,
        decode: Decode,
        consumers: Sequence[Consumer],
        meter: Meter,
        each_second: Callable[[], None] = lambda: None,
        flush: Callable[[int], None] = lambda _position: None,
    ) -> None:
        self._follower, self._decode, self._consumers = follower, decode, consumers
        self._meter, self._each_second, self._flush = meter, each_second, flush
        self._commit_due_s = perf_counter() + COMMIT_S
        self._began = False

    def run(self, stop: threading.Event) -> None:
        """Turn until told to stop, then commit everything.

        Raises
        ------
        AssayError
            If the journal or a consumer fails.
        """
        while not stop.is_set():
            read = self.turn()
            if perf_counter() >= self._commit_due_s:
                self.commit()
            if not read:
                stop.wait(_IDLE_S)
        self._follower.sync()
        self._flush(self._follower.position)
        self.commit()

    def turn(self) -> int:
        """Read once and feed the consumers; return the number of records."""
        started_s = perf_counter()
        records = self._follower.read(RECORDS_MAX)
        if records:
            self._begin()
            for stretch in self._decode(records, self._follower.position):
                for consumer in self._consumers:
                    consumer.take(stretch)
                self._meter.took(stretch)
        took_s = perf_counter() - started_s
        self._meter.turned(took_s, self._follower.position, read=bool(records))
        return len(records)

    def _begin(self) -> None:
        if not self._began:
            for consumer in self._consumers:
                consumer.follow(self._follower.stream)
            self._began = True

    def commit(self) -> None:
        """Make what was read durable, then what was made of it."""
        self._follower.sync()
        position = self._follower.position
        for consumer in self._consumers:
            started_s = perf_counter()
            consumer.commit(position)
            took_s = perf_counter() - started_s
            self._meter.flushed(consumer.name, took_s, consumer.position)
        self._each_second()
        self._commit_due_s = perf_counter() + COMMIT_S
