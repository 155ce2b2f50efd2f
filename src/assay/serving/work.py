"""What stands in the engine's queues: transactions, labels and releases, in one order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from assay.records import Batch, Imported, LabelReport, ResolvedLabel
from assay.serving.ports import Decided, Decider, Model, Versions

WAITERS_MAX: Final = 32
"""Most requests that wait for the answer of one transaction."""


@dataclass(slots=True, eq=False)
class Pending:
    """A transaction on its way to an answer."""

    row: Imported
    digest: int
    answers: list[asyncio.Future[bytes]]
    """One for each request that waits: one that goes away must not cancel another's."""

    def join(self, waiter: asyncio.Future[bytes]) -> bool:
        """Let one more request wait, in the place of those that went away; False if too many do."""
        self.answers = [answer for answer in self.answers if not answer.done()]
        if len(self.answers) >= WAITERS_MAX:
            return False
        self.answers.append(waiter)
        return True

    def waiters(self) -> Sequence[asyncio.Future[Any]]:
        """Return what must be told how it ends."""
        return self.answers


@dataclass(slots=True, eq=False)
class Labels:
    """Labels of one request on their way to the disk."""

    rows: Sequence[LabelReport | ResolvedLabel]
    durable: asyncio.Future[None]

    def waiters(self) -> Sequence[asyncio.Future[Any]]:
        """Return what must be told how it ends."""
        return [self.durable]


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """What shall decide from here on."""

    versions: Versions
    model: Model | None
    decider: Decider


@dataclass(slots=True, eq=False)
class DecidedBatch:
    """Decided, and not yet on the disk."""

    boot: int
    pendings: list[Pending]
    batch: Batch

    def part(self) -> Decided:
        """Return what the ledger commits."""
        digests = np.array([pending.digest for pending in self.pendings], np.uint64)
        return self.boot, self.batch, [pending.row.canonical for pending in self.pendings], digests

    def sources(self) -> Sequence[object]:
        """Return what it was made of."""
        return self.pendings


@dataclass(slots=True, eq=False)
class Entered:
    """Labels, a release, or a check that have their arrival, and are not yet on the disk."""

    source: Labels | Release | None
    """None is a check."""
    payloads: list[bytes]

    def part(self) -> list[bytes]:
        """Return what the ledger commits."""
        return self.payloads

    def sources(self) -> Sequence[object]:
        """Return what it was made of."""
        return [self.source]
