"""What serving needs of other stages; `bootstrap` supplies it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assay.records import Batch, Events, Imported, LabelReport, ResolvedLabel

Decided = tuple[int, Batch, Sequence[bytes], NDArray[np.uint64]]
"""Arrival of the boot record in force, n decisions, their canonical transactions and digests."""


class Door(Protocol):
    """Turns a request's body into a safe row."""

    def admit(self, body: bytes) -> tuple[Imported, int]:
        """Return the row and the keyed digest of its canonical form.

        Raises
        ------
        InputError
            If the body is not an acceptable transaction.
        """
        ...

    def reports(self, body: bytes, source: str) -> list[LabelReport]:
        """Return the labels of a body: one, or an array; `source` brought them.

        Raises
        ------
        InputError
            If one of them is not acceptable.
        """
        ...

    def resolved(self, body: bytes) -> list[ResolvedLabel]:
        """Return the labels of a body that were matched with their transactions.

        Raises
        ------
        InputError
            If one of them is not acceptable.
        """
        ...

    def check_path(self, path: str) -> None:
        """Refuse a path with a card number in it.

        Raises
        ------
        CardNumberError
            If there is one.
        """
        ...


class Features(Protocol):
    """The feature state of the stream."""

    @property
    def refused(self) -> tuple[int, int]:
        """Entities and events that were not kept because a bound was reached."""
        ...

    @property
    def shard_time_ms(self) -> int:
        """Largest event time folded so far."""
        ...

    def __call__(self, events: Events) -> NDArray[np.float32]:
        """Fold events in and return the features each had on arrival, shape (n, f)."""
        ...

    def check(self, piece: int) -> int:
        """Return a 64-bit hash of a piece of the state; numbers that count on go round it."""
        ...


class Model(Protocol):
    """The model in force."""

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return calibrated scores, shape (n,), or raise."""
        ...


class Decider(Protocol):
    """The policy in force."""

    def __call__(self, batch: Batch) -> None:
        """Fill the batch's actions, reasons and modes."""
        ...


class Record(Protocol):
    """A journalled decision, as far as an answer needs it."""

    @property
    def arrival(self) -> int:
        """Number in the stream."""
        ...

    @property
    def boot(self) -> int:
        """Arrival number of the versions in force."""
        ...

    @property
    def score(self) -> float:
        """NaN if no model scored."""
        ...

    @property
    def action(self) -> int:
        """Code of `records.Action`."""
        ...

    @property
    def mode(self) -> int:
        """Code of `records.Mode`."""
        ...

    @property
    def reasons(self) -> tuple[int, ...]:
        """Reason codes; 0 is none."""
        ...

    @property
    def body_digest(self) -> int:
        """Keyed digest of the canonical transaction."""
        ...


class Versions(Protocol):
    """What a boot record names."""

    @property
    def model(self) -> str:
        """Model version."""
        ...

    @property
    def policy(self) -> str:
        """Policy version."""
        ...

    @property
    def feature_set(self) -> str:
        """Feature-set version."""
        ...

    @property
    def runtime(self) -> str:
        """Digest of code, lock file, settings and processor class."""
        ...

    @property
    def revision(self) -> int:
        """Of the request that put the model in force; 0 without one."""
        ...

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, by number."""
        ...

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Code and sentence of each reason, by number."""
        ...


class Ledger(Protocol):
    """The journal, as the engine uses it."""

    @property
    def next_arrival(self) -> int:
        """The number that the next input gets."""
        ...

    def stamp(self, events: Events, now_ms: int) -> None:
        """Give a batch its arrival numbers and time."""
        ...

    def enter(self, labels: Sequence[LabelReport | ResolvedLabel], now_ms: int) -> list[bytes]:
        """Give labels their arrival and return their payloads."""
        ...

    def switch(self, boot: Any, now_ms: int) -> tuple[int, list[bytes]]:
        """Give versions their arrival; return it and the payload that says so."""
        ...

    def commit(self, parts: Sequence[Decided | list[bytes]]) -> list[list[bytes]]:
        """Write batches and payloads durably, in order; return the leaves of each part."""
        ...

    @property
    def written(self) -> bool:
        """Whether what the last commit was given is in the journal, durable or not."""
        ...

    def check(self, piece: int, digest: int, now_ms: int) -> list[bytes]:
        """Give the hash of a piece of the feature state its arrival and return its payload."""
        ...

    def find(self, transaction_id: str, id_hash: int, digest: int) -> tuple[Record, bytes] | None:
        """Return an earlier decision of a transaction id and its leaf."""
        ...

    def versions(self, boot: int) -> Versions:
        """Return the versions that an earlier decision names."""
        ...

    @property
    def stalled(self) -> str | None:
        """Why what is being committed waits; None if it does not."""
        ...

    def unavailable(self) -> str | None:
        """Return why nothing new can be journalled now; None if it can."""
        ...

    def give_up(self) -> None:
        """From now on let a commit fail that would have to wait until there is room again."""
        ...

    def disk(self) -> dict[str, Any]:
        """Return how full the disk is: used_percent, free_bytes, alarm, full."""
        ...

    def decision_id(self, arrival: int) -> str:
        """Return a decision's public id."""
        ...

    def counts(self) -> dict[str, int]:
        """Return what the journal has had to forget."""
        ...
