"""The engine: what arrived while the last batch ran is the next batch.

Two threads: one computes (features, scores, actions), one writes (journal, sync, answers), so
that a batch is computed while the one before it reaches the disk. Numba, ONNX Runtime, hashing
and the sync release the interpreter lock; the event loop decodes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.clock import Clock
from assay.errors import ConflictError, UnavailableError
from assay.records import EVENT, Action, Batch, Events, Flag, Imported, Mode
from assay.serving.answers import Answers
from assay.serving.arrival import flag_arrivals
from assay.serving.ladder import Ladder
from assay.serving.ports import Features, Ledger, Versions

log = logging.getLogger("assay.serving")

_FAILED = "the scorer has failed and is stopping; send the transaction again after its restart"

_HASH_AT = EVENT.fields["transaction"][1] if EVENT.fields else 0


@dataclass(slots=True, eq=False)
class Pending:
    """A transaction on its way to an answer."""

    row: Imported
    digest: int
    answers: list[asyncio.Future[bytes]]
    """One for each request that waits: one that goes away must not cancel another's."""


@dataclass(slots=True)
class Counters:
    """What the engine has done since it started."""

    decisions: int = 0
    batches: int = 0
    commits: int = 0
    repeats: int = 0
    conflicts: int = 0
    refused: int = 0
    late: int = 0
    future: int = 0
    actions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    modes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))


class Engine:
    """Decides transactions in micro-batches and answers when they are durable.

    Parameters
    ----------
    features, ledger : ports
        The stages.
    ladder : Ladder
        Scores and decides.
    boots : mapping of int to Versions
        Boot records by arrival number.
    boot : int
        The one in force.
    lateness_ms : int
        How far behind shard time an event is late.
    batch_rows_max, queue_rows_max : int
        Most rows in one pass, and most rows between admission and answer.
    """

    def __init__(
        self,
        *,
        features: Features,
        ladder: Ladder,
        ledger: Ledger,
        boots: Mapping[int, Versions],
        boot: int,
        clock: Clock,
        lateness_ms: int,
        batch_rows_max: int,
        queue_rows_max: int,
    ) -> None:
        self._features, self._ladder, self._ledger = features, ladder, ledger
        self._clock, self._lateness_ms = clock, lateness_ms
        self._answers = {
            arrival: Answers(versions, ledger.decision_id) for arrival, versions in boots.items()
        }
        self._boot = boot
        self._batch_rows_max, self._queue_rows_max = batch_rows_max, queue_rows_max
        self._shard_time_ms = features.shard_time_ms
        self._arrived: SimpleQueue[Pending | None] = SimpleQueue()
        self._decided: SimpleQueue[tuple[list[Pending], Batch] | None] = SimpleQueue()
        self._waiting: dict[str, Pending] = {}
        self._threads: list[threading.Thread] = []
        self.counters = Counters()
        self.failure: str | None = None
        self.on_failure: Callable[[], None] = lambda: None

    # --- event loop -----------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the two threads; answers come back on this loop."""
        self._loop = loop
        threads = {
            "assay-compute": (self._compute, lambda: self._decided.put(None)),
            "assay-write": (self._write, self._written),
        }
        for name, work in threads.items():
            thread = threading.Thread(target=self._guard, args=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what was admitted and stop the threads."""
        self._arrived.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, row: Imported, digest: int) -> asyncio.Future[bytes] | bytes:
        """Admit a row; the answer comes at once if the transaction was decided before.

        Raises
        ------
        ConflictError
            If the id was sent before with another body.
        UnavailableError
            If too much is waiting, or the journal has failed.
        """
        waiting = self._waiting.get(row.public_id)
        if waiting is not None:
            self._check_same(digest, waiting.digest)
            self.counters.repeats += 1
            waiting.answers.append(self._loop.create_future())
            return waiting.answers[-1]
        if self.failure is not None:
            raise UnavailableError(_FAILED)
        id_hash = int.from_bytes(row.event[_HASH_AT : _HASH_AT + 8], "little")
        found = self._ledger.find(row.public_id, id_hash, digest, self._clock.now_ms())
        if found is not None:
            record, leaf = found
            self._check_same(digest, record.body_digest)
            self.counters.repeats += 1
            return self._answers[record.boot].render(
                row.public_id,
                record.arrival,
                record.score,
                record.action,
                record.mode,
                record.reasons,
                leaf,
            )
        if len(self._waiting) >= self._queue_rows_max:
            self.counters.refused += 1
            raise UnavailableError(
                f"{len(self._waiting)} transactions are waiting; send this one again shortly"
            )
        answer = self._loop.create_future()
        pending = self._waiting[row.public_id] = Pending(row, digest, [answer])
        self._arrived.put(pending)
        return answer

    def counts(self) -> dict[str, Any]:
        """Return what was done since the start, as builtins."""
        counted = asdict(self.counters)
        entities, events = self._features.refused
        return {
            **{name: n for name, n in counted.items() if isinstance(n, int)},
            "actions": {a.name: int(self.counters.actions[a]) for a in Action},
            "modes": {m.name: int(self.counters.modes[m]) for m in Mode},
            "failures": self._ladder.failures,
            "waiting": len(self._waiting),
            "entities_refused": entities,
            "entity_events_refused": events,
            **self._ledger.counts(),
        }

    def _check_same(self, digest: int, earlier: int) -> None:
        if digest != earlier:
            self.counters.conflicts += 1
            raise ConflictError(
                "transaction_id was sent before with another body; accepted: the same body, "
                "or a new id"
            )

    def _deliver(self, answered: list[tuple[Pending, bytes]]) -> None:
        for pending, answer in answered:
            del self._waiting[pending.row.public_id]
            for waiter in pending.answers:
                if not waiter.done():
                    waiter.set_result(answer)

    def _fail_waiting(self) -> None:
        error = UnavailableError(_FAILED)
        for pending in self._waiting.values():
            for waiter in pending.answers:
                if not waiter.done():
                    waiter.set_exception(error)
        self._waiting.clear()
        self.on_failure()

    # --- compute thread -------------------------------------------------------------------------

    def _compute(self) -> None:
        while (batch := self._next()) is not None:
            events = np.frombuffer(b"".join([p.row.event for p in batch]), EVENT).copy()
            self._decided.put((batch, self.decide(events)))

    def _next(self) -> list[Pending] | None:
        """Wait for a first row, then take what else has arrived."""
        first = self._arrived.get()
        if first is None:
            return None
        batch = [first]
        try:
            while len(batch) < self._batch_rows_max:
                following = self._arrived.get_nowait()
                if following is None:
                    self._arrived.put(None)
                    break
                batch.append(following)
        except Empty:
            pass
        return batch

    def decide(self, events: Events) -> Batch:
        """Stamp, fold, score and decide events; the caller journals the batch."""
        self._ledger.stamp(events, self._clock.now_ms())
        self._shard_time_ms = flag_arrivals(events, self._shard_time_ms, self._lateness_ms)
        return self._ladder(Batch(events, self._features(events)))

    # --- write thread ---------------------------------------------------------------------------

    def _write(self) -> None:
        while (first := self._decided.get()) is not None:
            group, last = [first], False
            try:
                while (more := self._decided.get_nowait()) is not None:
                    group.append(more)
                last = True
            except Empty:
                pass
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[tuple[list[Pending], Batch]]) -> None:
        leaves = self._ledger.commit(
            [
                (
                    batch,
                    [p.row.canonical for p in pendings],
                    np.array([p.digest for p in pendings], np.uint64),
                )
                for pendings, batch in group
            ]
        )
        answered = [
            answer
            for (pendings, batch), hashes in zip(group, leaves, strict=True)
            for answer in self._answer(pendings, batch, hashes)
        ]
        self._count(group)
        self._loop.call_soon_threadsafe(self._deliver, answered)

    def _answer(
        self, pendings: list[Pending], batch: Batch, leaves: list[bytes]
    ) -> list[tuple[Pending, bytes]]:
        render = self._answers[self._boot].render
        return [
            (pending, render(pending.row.public_id, arrival, score, action, mode, reasons, leaf))
            for pending, arrival, score, action, mode, reasons, leaf in zip(
                pendings,
                batch.events["arrival"].tolist(),
                batch.scores.tolist(),
                batch.actions.tolist(),
                batch.modes.tolist(),
                batch.reasons.tolist(),
                leaves,
                strict=True,
            )
        ]

    def _count(self, group: list[tuple[list[Pending], Batch]]) -> None:
        counters = self.counters
        counters.commits += 1
        for _, batch in group:
            counters.batches += 1
            counters.decisions += len(batch)
            flags = batch.events["flags"]
            counters.late += int((flags == Flag.late).sum())
            counters.future += int((flags == Flag.future).sum())
            counters.actions += np.bincount(batch.actions, minlength=4)
            counters.modes += np.bincount(batch.modes, minlength=4)

    def _guard(self, work: Callable[[], None], after: Callable[[], None]) -> None:
        """Run a thread; if it dies, admit nothing more: what it held can no longer be trusted."""
        try:
            work()
        except Exception as error:
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            log.critical("the scorer cannot go on", exc_info=error)
        finally:
            after()

    def _written(self) -> None:
        """After the writer, which ends last: what it committed is answered, the rest refused."""
        if self.failure is not None:
            self._loop.call_soon_threadsafe(self._fail_waiting)
