"""The engine: what arrived while the last batch ran is the next batch.

Two threads: one computes (features, scores, actions), one writes (journal, sync, answers), so
that a batch is computed while the one before it reaches the disk. Numba, ONNX Runtime, hashing
and the sync release the interpreter lock; the event loop decodes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Never

import numpy as np

from assay.clock import Clock
from assay.errors import AuditUnavailableError, ConflictError, UnavailableError
from assay.records import EVENT, Batch, Events, Imported, LabelReport, ResolvedLabel
from assay.serving.answers import Answers
from assay.serving.arrival import flag_arrivals
from assay.serving.counters import Counters
from assay.serving.ladder import Ladder
from assay.serving.outcome import FAILED, UNAVAILABLE, UNKNOWN, OutcomeUnknownError
from assay.serving.ports import Features, Ledger, Versions
from assay.serving.resolved import Resolved
from assay.serving.work import DecidedBatch, Entered, Labels, Pending, Release

log = logging.getLogger("assay.serving")

_HASH_AT = EVENT.fields["transaction"][1] if EVENT.fields else 0

LABELS_WAITING_MAX = 8
"""Most requests with labels between admission and answer."""


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
    check_every_s : float, optional
        How often, while there is traffic, the hash of a piece of the feature state is journalled;
        by default never.

    Attributes
    ----------
    in_force : Versions
        The newest that are on the disk.
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
        check_every_s: float | None = None,
    ) -> None:
        self._features, self._ladder, self._ledger = features, ladder, ledger
        self._clock, self._lateness_ms = clock, lateness_ms
        self._answers = {
            arrival: Answers(versions, ledger.decision_id) for arrival, versions in boots.items()
        }
        self._boot = boot
        self.in_force = boots[boot]
        self._batch_rows_max, self._queue_rows_max = batch_rows_max, queue_rows_max
        self._shard_time_ms = features.shard_time_ms
        self._check_every_s, self._checked_s = check_every_s, time.monotonic()
        self._piece = ledger.next_arrival  # so that short lives do not all check the same pieces
        self._arrived: SimpleQueue[Pending | Labels | Release | None] = SimpleQueue()
        self._held: list[Labels | Release | None] = []
        self._decided: SimpleQueue[DecidedBatch | Entered | None] = SimpleQueue()
        self._waiting: dict[str, Pending] = {}
        self._labels: set[Labels] = set()
        self._resolved = Resolved()
        self._group: list[DecidedBatch | Entered] = []
        self._unknown: set[str] = set()
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

    def give_up(self) -> None:
        """From now on fail where the journal would have to be waited for."""
        self._ledger.give_up()

    def stop(self) -> None:
        """Finish what was admitted and stop the threads.

        Where the journal takes no records, what was admitted is refused: it is never waited for.
        """
        self.give_up()
        self._arrived.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, row: Imported, digest: int) -> asyncio.Future[bytes] | bytes:
        """Admit a row; the answer comes at once if the transaction was decided before.

        Raises
        ------
        ConflictError
            If the id was sent before with another body.
        AuditUnavailableError
            If the journal takes no records now.
        UnavailableError
            If too much is waiting, or the journal has failed.
        OutcomeUnknownError
            If the journal failed while the transaction was being made durable.
        """
        waiting = self._waiting.get(row.public_id)
        if waiting is not None:
            self._check_same(digest, waiting.digest)
            answer = self._loop.create_future()
            if not waiting.join(answer):
                self._refuse(f"{len(waiting.answers)} requests wait for this transaction")
            self.counters.repeats += 1
            return answer
        if self.failure is not None:
            if row.public_id in self._unknown:
                raise OutcomeUnknownError(UNKNOWN)
            raise UnavailableError(FAILED)
        id_hash = int.from_bytes(row.event[_HASH_AT : _HASH_AT + 8], "little")
        found = self._ledger.find(row.public_id, id_hash, digest)
        if found is not None:
            record, leaf = found
            self._check_same(digest, record.body_digest)
            self.counters.repeats += 1
            return self._answers_of(record.boot).again(row.public_id, record, leaf)
        self._check_journal()
        if len(self._waiting) >= self._queue_rows_max:
            self._refuse(f"{len(self._waiting)} transactions are waiting")
        answer = self._loop.create_future()
        pending = self._waiting[row.public_id] = Pending(row, digest, [answer])
        self._arrived.put(pending)
        return answer

    def waits(self, public_id: str) -> bool:
        """Tell whether a transaction is on its way to an answer."""
        return public_id in self._waiting

    def enter(self, rows: Sequence[LabelReport] | Sequence[ResolvedLabel]) -> asyncio.Future[None]:
        """Admit at least one label; the future is done when all are durable.

        Raises
        ------
        AuditUnavailableError
            If the journal takes no records now.
        UnavailableError
            If too much is waiting, or the journal has failed.
        """
        if self.failure is not None:
            raise UnavailableError(FAILED)
        self._check_journal()
        if len(self._labels) >= LABELS_WAITING_MAX:
            self._refuse(f"{len(self._labels)} requests with labels are waiting")
        labels = Labels(rows, self._loop.create_future())
        self._labels.add(labels)
        self._arrived.put(labels)
        return labels.durable

    def switch(self, release: Release) -> None:
        """Let a release decide from the next batch on; any thread may call it."""
        self._arrived.put(release)

    def counts(self) -> dict[str, Any]:
        """Return what was done since the start, as builtins."""
        entities, events = self._features.refused
        return {
            **self.counters.document(),
            "failures": self._ladder.failures,
            "waiting": len(self._waiting),
            "entities_refused": entities,
            "entity_events_refused": events,
            **self._ledger.counts(),
        }

    @property
    def next_arrival(self) -> int:
        """The number that the next input gets."""
        return self._ledger.next_arrival

    def journal(self) -> dict[str, Any]:
        """Return ``stalled``, why nothing new is admitted now or None, and the ``disk``."""
        return {"stalled": self._ledger.unavailable(), "disk": self._ledger.disk()}

    def _check_journal(self) -> None:
        """Refuse at once what could only wait: the caller's payment cannot."""
        if self._ledger.unavailable() is not None:
            self.counters.refused += 1
            raise AuditUnavailableError(UNAVAILABLE)

    def _answers_of(self, boot: int) -> Answers:
        """Return what renders the answers of a boot record, which may be older than the start."""
        answers = self._answers.get(boot)
        if answers is None:
            answers = Answers(self._ledger.versions(boot), self._ledger.decision_id)
            self._answers[boot] = answers
        return answers

    def _check_same(self, digest: int, earlier: int) -> None:
        if digest != earlier:
            self.counters.conflicts += 1
            raise ConflictError(
                "transaction_id was sent before with another body; accepted: the same body, "
                "or a new id"
            )

    def _refuse(self, waiting: str) -> Never:
        self.counters.refused += 1
        raise UnavailableError(f"{waiting}; send this one again shortly")

    def _deliver(self, answered: list[tuple[Pending, bytes]], labels: list[Labels]) -> None:
        for pending, answer in answered:
            del self._waiting[pending.row.public_id]
            for waiter in pending.answers:
                if not waiter.done():
                    waiter.set_result(answer)
        for entered in labels:
            self._labels.discard(entered)
            if not entered.durable.done():
                entered.durable.set_result(None)

    def _fail_waiting(self, written: list[DecidedBatch | Entered]) -> None:
        """Refuse what waits, but for what was written: of that nobody knows what came of it."""
        unknown = {source for work in written for source in work.sources()}
        self._unknown = {p.row.public_id for p in unknown if isinstance(p, Pending)}
        waiting: list[Labels | Pending] = [*self._labels, *self._waiting.values()]
        for source in waiting:
            for waiter in source.waiters():
                if not waiter.done():
                    known = source not in unknown
                    error = UnavailableError(FAILED) if known else OutcomeUnknownError(UNKNOWN)
                    waiter.set_exception(error)
        self._waiting.clear()
        self._labels.clear()
        self.on_failure()

    # --- compute thread -------------------------------------------------------------------------

    def _compute(self) -> None:
        while (work := self._next()) is not None:
            if isinstance(work, list):
                events = np.frombuffer(b"".join([p.row.event for p in work]), EVENT).copy()
                batch = self.decide(events)
                self._decided.put(DecidedBatch(self._boot, work, batch))
                self._check_state()
            elif isinstance(work, Labels):
                work.rows = self._resolved.fresh(work.rows)
                payloads = self._ledger.enter(work.rows, self._clock.now_ms())
                self._decided.put(Entered(work, payloads))
            else:
                self._use(work)

    def _check_state(self) -> None:
        """Journal the hash of a piece of the state, if it is time: the worker has the same."""
        now_s = time.monotonic()
        if self._check_every_s is None or now_s - self._checked_s < self._check_every_s:
            return
        self._checked_s = now_s
        digest = self._features.check(self._piece)
        payloads = self._ledger.check(self._piece, digest, self._clock.now_ms())
        self._piece += 1
        self._decided.put(Entered(None, payloads))

    def _use(self, release: Release) -> None:
        """Decide by a release from here on; its boot record is committed ahead of all that."""
        self._boot, payloads = self._ledger.switch(release.versions, self._clock.now_ms())
        self._answers[self._boot] = Answers(release.versions, self._ledger.decision_id)
        self._ladder.use(release.model, release.decider)
        self._decided.put(Entered(release, payloads))

    def _next(self) -> list[Pending] | Labels | Release | None:
        """Wait for what comes next; if it is a transaction, take those that follow it as well."""
        first = self._held.pop() if self._held else self._arrived.get()
        if not isinstance(first, Pending):
            return first
        batch = [first]
        try:
            while len(batch) < self._batch_rows_max:
                following = self._arrived.get_nowait()
                if not isinstance(following, Pending):
                    self._held.append(following)
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
            self._group = group
            self._commit(group)
            self._group = []
            if last:
                return

    def _commit(self, group: list[DecidedBatch | Entered]) -> None:
        leaves = self._ledger.commit([work.part() for work in group])
        answered: list[tuple[Pending, bytes]] = []
        labels: list[Labels] = []
        self.counters.commits += 1
        for work, hashes in zip(group, leaves, strict=True):
            if isinstance(work, DecidedBatch):
                answered += self._answer(work, hashes)
                self.counters.count_batch(work.batch)
            elif isinstance(work.source, Labels):
                labels.append(work.source)
                self.counters.count_labels(work.source)
            elif work.source is None:
                self.counters.checks += 1
            else:
                self.in_force = work.source.versions
                self.counters.switches += 1
        self._loop.call_soon_threadsafe(self._deliver, answered, labels)

    def _answer(self, work: DecidedBatch, leaves: list[bytes]) -> list[tuple[Pending, bytes]]:
        render, batch = self._answers[work.boot].render, work.batch
        return [
            (pending, render(pending.row.public_id, arrival, score, action, mode, reasons, leaf))
            for pending, arrival, score, action, mode, reasons, leaf in zip(
                work.pendings,
                batch.events["arrival"].tolist(),
                batch.scores.tolist(),
                batch.actions.tolist(),
                batch.modes.tolist(),
                batch.reasons.tolist(),
                leaves,
                strict=True,
            )
        ]

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
            written = self._group if self._ledger.written else []
            self._loop.call_soon_threadsafe(self._fail_waiting, written)
