"""The engine with the real journal, and parts that fail on purpose."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from assay.clock import VirtualClock
from assay.decisions.decide import decide
from assay.decisions.policy import Policy
from assay.errors import AuditUnavailableError, ConflictError, StalledError, UnavailableError
from assay.ingest.encode import Encoder
from assay.ingest.money import Rates
from assay.ingest.tokens import Tokeniser
from assay.journal.boot_record import BootRecord
from assay.journal.check_record import decode_check
from assay.journal.decision_record import decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.journal.stretch import decode_stretches
from assay.records import EVENT, Batch, Imported, LabelReport, ResolvedLabel, Transaction
from assay.serving.engine import LABELS_WAITING_MAX, Engine
from assay.serving.ladder import Ladder
from assay.serving.outcome import OutcomeUnknownError
from assay.serving.work import WAITERS_MAX, Release

CLOCK = VirtualClock(1_800_000_000_000)
ENCODER = Encoder(Tokeniser(bytes(32)), Rates("EUR"))
POLICY = Policy.load('version = "1"\n[thresholds]\nreview = 0.5\n', ["amount_ref"])

REPORT = LabelReport(0, 0, "t-1", True, CLOCK.now_ms(), "bank")
LABEL = ResolvedLabel(0, 0, 3, True, CLOCK.now_ms(), np.zeros(1, EVENT))


class Features:
    """One feature; fails from a given batch on, or waits to be let go."""

    shard_time_ms = 0
    refused = (0, 0)

    def __init__(self, fail_at: int = 0) -> None:
        self.fail_at, self.calls = fail_at, 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, events: np.ndarray) -> np.ndarray:
        self.gate.wait(10)
        self.calls += 1
        if self.calls == self.fail_at:
            raise ZeroDivisionError
        return np.zeros((len(events), 1), np.float32)

    def check(self, piece: int) -> int:
        """Return the piece's number and how many batches there were."""
        return piece << 32 | self.calls


class Model:
    """Finds nothing risky."""

    def score(self, features: np.ndarray) -> np.ndarray:
        return np.zeros(len(features), np.float32)


def row(number: int, amount: int = 5) -> tuple[Imported, int]:
    tx = Transaction(f"t-{number}", CLOCK.now_ms(), "card-1", amount_minor=amount, currency="EUR")
    encoded = ENCODER.encode(tx)
    return encoded, ENCODER.body_hash(encoded)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A started stream."""
    opened = started(tmp_path)
    yield opened
    opened.close()


def engine_over(
    ledger: Any,
    features: Features,
    queue_rows_max: int = 100,
    check_every_s: float | None = None,
) -> Engine:
    def decider(batch: Batch) -> None:
        decide(batch, POLICY)

    return Engine(
        features=features,
        ladder=Ladder(Model(), decider, CLOCK),
        ledger=ledger,
        boots=ledger.boots,
        boot=ledger.boot,
        clock=CLOCK,
        lateness_ms=3_600_000,
        batch_rows_max=8,
        queue_rows_max=queue_rows_max,
        check_every_s=check_every_s,
    )


def journalled(folder: Path) -> list[str]:
    return [
        decode_decision(payload).transaction_id
        for _, payload in read_journal(folder)
        if EntryHead.decode(payload).kind == EntryKind.decision
    ]


def test_a_full_queue_refuses_and_leaves_no_id(ledger: Ledger, tmp_path: Path) -> None:
    """Beyond the bound a transaction is refused; sent again later, it is decided as new."""

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features, queue_rows_max=8)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        waiting = [engine.submit(*row(i)) for i in range(8)]
        with pytest.raises(UnavailableError):
            engine.submit(*row(99))
        assert engine.counts()["refused"] == 1
        repeat = engine.submit(*row(3))
        features.gate.set()
        answers = await asyncio.gather(*waiting)
        assert await repeat == answers[3]
        assert b"t-99" in await engine.submit(*row(99))
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())
    assert sorted(journalled(tmp_path)) == sorted([f"t-{i}" for i in range(8)] + ["t-99"])


def test_a_conflict_in_flight_is_refused(ledger: Ledger) -> None:
    """While the first is being decided, the same id with another body is a conflict already."""

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        first = engine.submit(*row(1))
        with pytest.raises(ConflictError):
            engine.submit(*row(1, amount=6))
        features.gate.set()
        await first
        with pytest.raises(ConflictError):
            engine.submit(*row(1, amount=6))
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


def test_a_waiter_that_leaves_does_not_cancel_another(ledger: Ledger) -> None:
    """Two requests wait for one decision; one goes away and the other is answered."""

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        leaves, stays = engine.submit(*row(1)), engine.submit(*row(1))
        assert isinstance(leaves, asyncio.Future)
        leaves.cancel()
        features.gate.set()
        assert b"t-1" in await stays
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


def test_what_is_refused_is_never_committed(ledger: Ledger, tmp_path: Path) -> None:
    """When computing dies, what was committed is answered and the rest refused: no mix."""

    async def main() -> list[str]:
        engine = engine_over(ledger, Features(fail_at=4))
        stopped = asyncio.Event()
        engine.on_failure = stopped.set
        engine.start(asyncio.get_running_loop())
        answered = []
        for i in range(40):
            try:
                answer = engine.submit(*row(i))
                assert isinstance(answer, asyncio.Future)
                answer.add_done_callback(
                    lambda f, i=i: None if f.exception() else answered.append(f"t-{i}")
                )
            except UnavailableError:
                break
            await asyncio.sleep(0.001)
        await asyncio.wait_for(stopped.wait(), 10)
        assert engine.failure is not None
        with pytest.raises(UnavailableError):
            engine.submit(*row(100))
        await asyncio.to_thread(engine.stop)
        return answered

    answered = asyncio.run(main())
    assert answered
    assert sorted(answered) == sorted(journalled(tmp_path))


def test_a_failed_disk_acknowledges_nothing_more(ledger: Ledger) -> None:
    """After the journal fails, waiting and later requests are refused without telling where."""

    class Broken:
        def __init__(self, inner: Ledger) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def commit(self, _batches: Any) -> Any:
            raise OSError(5, "disk", "/secret/path")

    async def main() -> None:
        engine = engine_over(Broken(ledger), Features())
        engine.start(asyncio.get_running_loop())
        with pytest.raises(UnavailableError) as caught:
            await engine.submit(*row(1))
        assert "/secret/path" not in str(caught.value)
        with pytest.raises(UnavailableError):
            engine.submit(*row(2))
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


class Surer:
    """Finds everything as risky as it is told to."""

    def __init__(self, score: float) -> None:
        self.given = score

    def score(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), self.given, np.float32)


def release(ledger: Ledger, number: int) -> Release:
    """Return a release whose model gives its number in hundredths."""

    def decider(batch: Batch) -> None:
        decide(batch, POLICY)

    boot = replace(ledger.boots[ledger.boot], model=f"m-{number}", revision=number, cause="promote")
    return Release(boot, Surer(number / 100), decider)


def test_everything_keeps_its_order(ledger: Ledger, tmp_path: Path) -> None:
    """What is admitted in an order is journalled in that order; each decision names the release
    that decided it, and its answer, a repeat's too, is that release's.
    """

    async def main() -> list[Any]:
        features = Features()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        answers = [engine.submit(*row(0)), engine.submit(*row(1))]
        labels = [engine.enter([REPORT, REPORT])]
        for number in (1, 2, 3):
            engine.switch(release(ledger, number))
            answers += [engine.submit(*row(100 * number + i)) for i in range(12)]
            labels.append(engine.enter([dataclasses.replace(LABEL, report=number)]))
        features.gate.set()
        answered = [await answer for answer in answers]
        await asyncio.gather(*labels)
        assert engine.in_force.revision == 3
        counts = engine.counts()
        assert (counts["label_reports"], counts["labels"], counts["switches"]) == (2, 3, 3)
        assert [engine.submit(*row(i)) for i in (0, 100, 301)] == [answered[i] for i in (0, 2, 27)]
        await asyncio.to_thread(engine.stop)
        return [json.loads(answer) for answer in answered]

    answered = asyncio.run(main())
    (stretch,) = decode_stretches([*read_journal(tmp_path)], 0)
    assert [report.arrival for report in stretch.reports] == [4, 5]
    assert [switch.arrival for switch in stretch.switches] == [1, 6, 20, 34]
    assert [label.arrival for label in stretch.labels] == [19, 33, 47]
    assert stretch.boots.tolist() == [1] * 2 + [6] * 12 + [20] * 12 + [34] * 12
    for decision, boot, score in zip(answered, stretch.boots, stretch.batch.scores, strict=True):
        number = [1, 6, 20, 34].index(boot)
        assert decision["model"] == ("m" if number == 0 else f"m-{number}")
        assert decision["score"] == pytest.approx(score, abs=1e-6) == number / 100


def test_a_label_that_comes_again_is_written_once(ledger: Ledger, tmp_path: Path) -> None:
    """A resolved label that was sent again while it was on its way is acknowledged, not doubled;
    a report that comes again is a report.
    """

    async def main() -> None:
        engine = engine_over(ledger, Features())
        engine.start(asyncio.get_running_loop())
        await asyncio.gather(engine.enter([LABEL, LABEL]), engine.enter([LABEL]))
        await engine.enter([LABEL])
        await asyncio.gather(engine.enter([REPORT]), engine.enter([REPORT]))
        assert engine.counts()["labels"] == 1
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())
    (stretch,) = decode_stretches([*read_journal(tmp_path)], 0)
    assert [label.report for label in stretch.labels] == [LABEL.report]
    assert len(stretch.reports) == 2


def test_too_many_labels_are_refused(ledger: Ledger) -> None:
    """Beyond the bound a request with labels is refused, and those before it are not lost."""

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        engine.submit(*row(1))
        waiting = [engine.enter([REPORT]) for _ in range(LABELS_WAITING_MAX)]
        with pytest.raises(UnavailableError, match="labels are waiting"):
            engine.enter([REPORT])
        waiting[3].cancel()
        features.gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        await engine.enter([REPORT])
        assert engine.counts()["label_reports"] == LABELS_WAITING_MAX + 1
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


def test_labels_are_refused_when_the_engine_fails(ledger: Ledger) -> None:
    """A label behind a batch that fails is not accepted, nor is any later one."""

    async def main() -> None:
        features = Features(fail_at=1)
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        engine.submit(*row(1)).add_done_callback(lambda answer: answer.exception())
        waiting = engine.enter([REPORT])
        features.gate.set()
        with pytest.raises(UnavailableError):
            await waiting
        with pytest.raises(UnavailableError):
            engine.enter([REPORT])
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


class Standby:
    """Another disk that may be away."""

    here = True

    def send(self, position: int) -> None:
        """Do nothing."""

    def wait(self, _position: int) -> None:
        """Stall while it is away."""
        if not self.here:
            raise StalledError("the standby is away")

    def close(self) -> None:
        """Do nothing."""


def started(folder: Path, **options: Any) -> Ledger:
    ledger = Ledger(
        folder, CLOCK, segment_bytes=1 << 20, ids_max=1000, horizon_ms=86_400_000, **options
    )
    ledger.recover(1, lambda _events: None, lambda _rows: None)
    ledger.start(
        BootRecord(
            model="m",
            policy=POLICY.id,
            feature_set="f",
            runtime="r",
            fx="x",
            time_zones="z",
            dataset="d",
            reasons=POLICY.reasons,
        )
    )
    return ledger


async def stalled(ledger: Ledger) -> None:
    def wait() -> None:
        while ledger.stalled is None:
            time.sleep(0.005)

    await asyncio.wait_for(asyncio.to_thread(wait), 5)


def test_a_stalled_journal_refuses_at_once(tmp_path: Path) -> None:
    """While the journal takes nothing, what is new is refused at once, what was decided is given
    again, what was admitted waits, and all goes on by itself afterwards.
    """
    standby = Standby()
    ledger = started(tmp_path, mirror=lambda _stream, _epoch: standby)

    async def main() -> None:
        engine = engine_over(ledger, Features())
        engine.start(asyncio.get_running_loop())
        before = await engine.submit(*row(1))
        standby.here = False
        waiting = engine.submit(*row(2))
        await stalled(ledger)
        for refused in (
            lambda: engine.submit(*row(3)),
            lambda: engine.enter([REPORT]),
            lambda: engine.enter([LABEL]),
        ):
            with pytest.raises(AuditUnavailableError, match="could not be journalled"):
                refused()
        assert engine.journal()["stalled"] == "the standby is away"
        assert engine.submit(*row(1)) == before
        assert engine.counts()["refused"] == 3
        standby.here = True
        assert b"t-2" in await waiting
        assert b"t-3" in await engine.submit(*row(3))
        await engine.enter([REPORT])
        assert engine.failure is None
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())
    ledger.close()
    assert journalled(tmp_path) == ["t-1", "t-2", "t-3"]


class Stepwise(Features):
    """Lets one batch pass for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = threading.Semaphore(0)

    def __call__(self, events: np.ndarray) -> np.ndarray:
        assert self.steps.acquire(timeout=10)
        return super().__call__(events)


def test_stopping_does_not_wait_for_a_stalled_journal(tmp_path: Path) -> None:
    """Who is stopped while the journal takes nothing ends. What was written already may be decided,
    so it is not refused but in doubt; what is refused is not in the journal.
    """
    standby = Standby()
    ledger = started(tmp_path, mirror=lambda _stream, _epoch: standby)

    async def main() -> list[Any]:
        features = Stepwise()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        standby.here = False
        waiting: list[Any] = [
            engine.submit(*row(i)) for i in range(9)
        ]  # one more than a batch takes
        waiting += [engine.submit(*row(0)), engine.enter([REPORT])]
        features.steps.release()
        await stalled(ledger)
        engine.give_up()
        features.steps.release(9)
        await asyncio.wait_for(asyncio.to_thread(engine.stop), 2)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(OutcomeUnknownError):
            engine.submit(*row(0))
        with pytest.raises(UnavailableError):
            engine.submit(*row(8))
        return told

    *told, again, labels = asyncio.run(main())
    ledger.close()
    written = journalled(tmp_path)
    assert 1 <= len(written) <= 8
    for i, error in enumerate(told):
        assert type(error) is (OutcomeUnknownError if f"t-{i}" in written else UnavailableError)
    assert type(again) is OutcomeUnknownError
    assert type(labels) is UnavailableError


def test_written_labels_are_not_refused(tmp_path: Path) -> None:
    """Labels that were written, but not made durable, are in doubt: the next start has them."""
    standby = Standby()
    ledger = started(tmp_path, mirror=lambda _stream, _epoch: standby)

    async def main() -> None:
        engine = engine_over(ledger, Features())
        engine.start(asyncio.get_running_loop())
        standby.here = False
        waiting = engine.enter([REPORT])
        await stalled(ledger)
        await asyncio.wait_for(asyncio.to_thread(engine.stop), 2)
        with pytest.raises(OutcomeUnknownError, match="send the same again"):
            await waiting
        with pytest.raises(UnavailableError):
            engine.enter([REPORT])

    asyncio.run(main())
    ledger.close()
    (stretch,) = decode_stretches([*read_journal(tmp_path)], 0)
    assert len(stretch.reports) == 1


def test_requests_for_one_transaction_are_bounded(ledger: Ledger) -> None:
    """Beyond the bound one more request for a transaction that is on its way is refused at once;
    those that went away make room.
    """

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features)
        engine.start(asyncio.get_running_loop())
        features.gate.clear()
        waiting: list[Any] = [engine.submit(*row(1)) for _ in range(WAITERS_MAX)]
        with pytest.raises(UnavailableError, match="wait for this transaction"):
            engine.submit(*row(1))
        assert engine.counts()["repeats"] == WAITERS_MAX - 1
        for gone in waiting[:3]:
            assert isinstance(gone, asyncio.Future)
            gone.cancel()
        waiting[:3] = [engine.submit(*row(1)) for _ in range(3)]
        with pytest.raises(UnavailableError):
            engine.submit(*row(1))
        features.gate.set()
        assert len(set(await asyncio.gather(*waiting))) == 1
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())


def test_nothing_is_admitted_at_a_full_disk(tmp_path: Path) -> None:
    """With less free than the reserve even the first request is refused, before it is tried."""
    started(tmp_path).close()
    ledger = Ledger(
        tmp_path,
        CLOCK,
        segment_bytes=1 << 20,
        ids_max=1000,
        horizon_ms=86_400_000,
        reserve_bytes=1 << 60,
    )
    ledger.recover(1, lambda _events: None, lambda _rows: None)
    ledger.boot = max(ledger.boots)

    async def main() -> None:
        engine = engine_over(ledger, Features())
        engine.start(asyncio.get_running_loop())
        with pytest.raises(AuditUnavailableError):
            engine.submit(*row(1))
        assert engine.journal()["disk"]["full"]
        assert engine.failure is None
        await asyncio.to_thread(engine.stop)

    asyncio.run(main())
    ledger.close()


def test_checks_keep_their_place(ledger: Ledger, tmp_path: Path) -> None:
    """Hashes of pieces of the state that counts on are journalled between batches, each where the
    state was what it says.
    """

    async def main() -> None:
        features = Features()
        engine = engine_over(ledger, features, check_every_s=0.0)
        engine.start(asyncio.get_running_loop())
        for i in range(5):
            await asyncio.gather(*(engine.submit(*row(10 * i + k)) for k in range(3)))
        await asyncio.to_thread(engine.stop)
        assert engine.counts()["checks"] == features.calls

    asyncio.run(main())
    first, checks = 0, []
    for seen, (_, payload) in enumerate(read_journal(tmp_path), 1):
        head = EntryHead.decode(payload)
        if head.kind == EntryKind.check:
            check = decode_check(payload)
            first = first or check.piece
            checks.append(check)
            assert check.piece == first + len(checks) - 1
            assert check.digest == check.piece << 32 | len(checks)
        assert head.arrival == seen
    assert len(checks) >= 5
