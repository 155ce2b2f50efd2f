"""The worker, built from a workspace."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from assay.bootstrap.door import internal_key, make_tokeniser
from assay.bootstrap.monitoring import make_monitor
from assay.bootstrap.run import address_of
from assay.bootstrap.segments import WorkspaceSegments
from assay.clock import Clock, SystemClock
from assay.control.database import open_control
from assay.datasets.stream_table import StreamTable
from assay.datasets.stream_view import read_stream
from assay.datasets.table import TransactionTable
from assay.errors import OwnerError, UnavailableError
from assay.feedback.book import LabelBook
from assay.feedback.resolve import Resolver
from assay.journal.folded import decode_folded
from assay.journal.follower import Follower
from assay.journal.stretch import decode_stretches
from assay.owner import Owner
from assay.records import ResolvedLabel
from assay.serving.keys import KeyRing
from assay.worker.front import Front
from assay.worker.gaps import Gaps
from assay.worker.keeper import Keeper
from assay.worker.live_documents import LiveDocuments
from assay.worker.loop import Loop
from assay.worker.meter import Meter
from assay.worker.ports import Consumer
from assay.worker.scorer_client import ScorerClient
from assay.worker.scorer_watch import ScorerWatch
from assay.worker.sealing import Sealing
from assay.worker.status import Status
from assay.worker.worker import Worker
from assay.workspace import Workspace

log = logging.getLogger("assay.worker")


@dataclass(frozen=True)
class RunningWorker:
    """A worker that is ready to run, and what it holds."""

    worker: Worker
    loop: Loop
    status: Status
    owner: Owner
    engine: Engine

    def close(self) -> None:
        """Say that it has stopped, unless another has taken over, and let another in."""
        try:
            self.owner.check()
            self.status.leave()
        except (OwnerError, SQLAlchemyError) as error:
            log.warning("left without saying so: %s", error)
        finally:
            self.engine.dispose()
            self.owner.release()


def build_worker(workspace: Workspace, clock: Clock | None = None) -> RunningWorker:
    """Connect everything that a worker is made of.

    Raises
    ------
    AssayError
        If another worker runs, or a part is damaged or of another journal.
    """
    clock = clock or SystemClock()
    owner = Owner(workspace.run / "worker", "worker")
    try:
        return _build(workspace, clock, owner)
    except BaseException:
        owner.release()
        raise


def _build(workspace: Workspace, clock: Clock, owner: Owner) -> RunningWorker:
    settings, meter = workspace.settings, Meter(owner.epoch)
    engine = open_control(workspace.control)
    live = LiveDocuments(engine, clock)
    client = make_client(workspace)
    table = StreamTable(workspace.stream, owner.check, clock, settings.table_flush_s)
    monitor = make_monitor(workspace, engine, clock, owner.check)

    def behind_bytes() -> int:
        return follower.behind_bytes()

    book = LabelBook(
        engine,
        Resolver(partial(_parts, workspace)),
        partial(_submit, client),
        partial(make_tokeniser(workspace).hash64, "transaction"),
        clock,
        behind_bytes=behind_bytes,
        owner_check=owner.check,
    )
    consumers: tuple[Consumer, ...] = (table, monitor, book)

    def needed() -> int:
        return min(consumer.position for consumer in consumers)

    before = live.read("journal")
    segments = WorkspaceSegments(workspace, clock)

    def examine(position: int) -> None:
        owner.check()
        segments.examine(position)

    gaps = Gaps(clock, before, examine)
    follower = Follower(workspace.journal, needed(), on_gap=gaps.add)
    watch = ScorerWatch(client, clock, live.read("scorer"))
    keeper, floor = _make_keeper(workspace, clock, before)
    sealing = Sealing(segments, lambda: min(needed(), floor()), owner.check)
    status = Status(
        follower,
        watch,
        live,
        meter,
        clock,
        labels=lambda: book.counts,
        on_reading=monitor.reading,
        journal=lambda: _journal_document(keeper) | sealing.document | gaps.document(),
        on_causes=monitor.causes,
    )
    loop = Loop(follower, decode_stretches, consumers, meter, status.tell, table.flush)
    front = Front(meter, KeyRing.load(workspace.api_keys).check)
    threads: dict[str, Callable[[threading.Event], None]] = {
        "loop": loop.run,
        "watch": watch.run,
        "sealing": sealing.run,
    }
    if keeper is not None:
        threads["keeper"] = keeper.run
    return RunningWorker(Worker(threads, front), loop, status, owner, engine)


def _make_keeper(
    workspace: Workspace, clock: Clock, before: dict[str, Any] | None
) -> tuple[Keeper | None, Callable[[], int]]:
    """Return what keeps the feature state, and from where its snapshots need the journal."""
    settings = workspace.settings
    if settings.keep_state != "on":
        return None, lambda: 0
    # The feature kernel and what it needs are loaded only where the state is kept.
    from assay.bootstrap.states import WorkspaceStates

    states = WorkspaceStates(workspace, clock)
    keeper = Keeper(
        states,
        lambda position, on_gap: Follower(workspace.journal, position, on_gap=on_gap),
        decode_folded,
        clock,
        snapshot_records=settings.snapshot_records,
        snapshot_s=settings.snapshot_s,
        before=before,
    )
    return keeper, states.floor


def _journal_document(keeper: Keeper | None) -> dict[str, Any]:
    if keeper is not None:
        return keeper.document
    return {"state": "off", "reason": "keep_state is off", "mismatch": None, "snapshot": None}


def make_client(
    workspace: Workspace, key: str | None = None, timeout_s: float = 2.0
) -> ScorerClient:
    """Return a client of the workspace's scorer, wherever it is announced.

    Its API key is the internal one, unless another is given.
    """

    def url() -> str | None:
        address = address_of(workspace, "scorer")
        return None if address is None else address.url

    return ScorerClient(url, key or internal_key(workspace), timeout_s)


def _parts(workspace: Workspace) -> list[Path]:
    """Return the files of all transactions: imported ones, then the stream's."""
    stream = [workspace.stream / p.file for p in read_stream(workspace.stream).parts if p.rows]
    return TransactionTable(workspace.tables).files() + stream


def _submit(client: ScorerClient, labels: list[ResolvedLabel]) -> bool:
    try:
        client.submit(labels)
    except UnavailableError as error:
        log.warning("%d labels wait: %s", len(labels), error)
        return False
    return True
