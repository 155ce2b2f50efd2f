"""A workspace whose journal holds decisions: made by a real scorer's parts, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.scorer import build_scorer
from assay.bootstrap.versions import keep_versions
from assay.clock import VirtualClock
from assay.journal.entries import first_arrival
from assay.journal.folder import Folder
from assay.journal.log import Log
from assay.journal.reader import read_journal
from assay.journal.segment_file import segment_head
from assay.records import EVENT
from assay.workspace import Workspace

BATCH_ROWS = 50


def decide_all(
    workspace: Workspace, bodies: Sequence[bytes], clock: VirtualClock, *, rules_only: bool = False
) -> None:
    """Start a scorer, decide the bodies in batches, and stop it."""
    scorer = build_scorer(workspace, rules_only=rules_only, clock=clock)
    keep_versions(workspace, scorer.scoring)
    door = Door(make_encoder(workspace), clock)
    try:
        for start in range(0, len(bodies), BATCH_ROWS):
            rows = [door.admit(body) for body in bodies[start : start + BATCH_ROWS]]
            events = np.frombuffer(b"".join(row.event for row, _ in rows), EVENT).copy()
            batch = scorer.engine.decide(events)
            canonicals = [row.canonical for row, _ in rows]
            digests = np.array([digest for _, digest in rows], np.uint64)
            scorer.ledger.commit([(scorer.ledger.boot, batch, canonicals, digests)])
            clock.advance(100)
    finally:
        scorer.ledger.close()


def rewrite(workspace: Workspace, change: Callable[[int, bytearray], None]) -> None:
    """Write the journal anew as a forger would: records changed, every checksum right.

    The change is told the record's arrival number and gets its payload.
    """
    records = list(read_journal(workspace.journal))
    stream = segment_head(Folder(workspace.journal), 1).stream
    workspace.journal.rename(workspace.journal.with_name("before"))
    log = Log.open(workspace.journal, VirtualClock(1_800_000_000_000), stream=stream)
    for _, payload in records:
        changed = bytearray(payload)
        change(first_arrival(payload), changed)
        log.append([bytes(changed)])
    log.close()
