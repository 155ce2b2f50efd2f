"""The decision record: everything needed to give an answer again and to compute it again.

::

    public   entry head 24 | boot u64 | score f32 | action u8 | mode u8 | arm u16 |
             reasons 4 x u16 | event flags u8 | 7 zero | commitment 32        = 88 bytes
    private  format u8 | 3 zero |
             salt 16 | features u16 | 2 zero | canonical bytes u32 | body digest u64 |
             event 128 | features x f32 | canonical JSON

The commitment is SHA-256 over the byte 2 and everything after the private part's first four
bytes. Format 0 is plain; another number will say how those bytes are encrypted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from assay.errors import JournalError
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.frames import PAYLOAD_VERSION
from assay.records import EVENT, REASONS_MAX, Batch

SALT_BYTES: Final = 16

PUBLIC: Final = np.dtype(
    [
        ("version", "u1"),
        ("kind", "u1"),
        ("flags", "<u2"),
        ("public_bytes", "<u4"),
        ("arrival", "<u8"),
        ("arrival_ms", "<i8"),
        ("boot", "<u8"),
        ("score", "<f4"),
        ("action", "u1"),
        ("mode", "u1"),
        ("arm", "<u2"),
        ("reasons", "<u2", (REASONS_MAX,)),
        ("event_flags", "u1"),
        ("reserved", "u1", (7,)),
        ("commitment", "u1", (32,)),
    ]
)
PUBLIC_BYTES: Final = PUBLIC.itemsize

_ENVELOPE: Final = b"\x00\x00\x00\x00"
_BODY_AT: Final = PUBLIC_BYTES + len(_ENVELOPE)


@lru_cache(maxsize=8)
def _body_dtype(n_features: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("salt", "u1", (SALT_BYTES,)),
            ("n_features", "<u2"),
            ("reserved", "<u2"),
            ("canonical_bytes", "<u4"),
            ("body_digest", "<u8"),
            ("event", EVENT),
            ("features", "<f4", (n_features,)),
        ]
    )


DIGEST_AT: Final = _BODY_AT + SALT_BYTES + 8
"""Where the body digest stands in a payload; the event follows it."""

EVENT_END: Final = DIGEST_AT + 8 + EVENT.itemsize


COUNT_AT: Final = _BODY_AT + SALT_BYTES
"""Where the number of features stands in a payload, two bytes."""


@lru_cache(maxsize=8)
def fixed_dtype(n_features: int) -> np.dtype[np.void]:
    """Return the layout of a payload but for its end, the canonical transaction."""
    envelope = ("envelope", "u1", (len(_ENVELOPE),))
    return np.dtype([("public", PUBLIC), envelope, ("body", _body_dtype(n_features))])


class WithId(Struct):
    """What is read of a canonical transaction to know which it is."""

    transaction_id: str


class DecisionRecord(Struct, frozen=True, eq=False):
    """A decision as it was journalled.

    Attributes
    ----------
    arrival, arrival_ms : int
        Number in the stream, and UTC milliseconds.
    boot : int
        Arrival number of the boot record that names the versions in force.
    score : float
        In [0, 1], higher is riskier; NaN if no model scored.
    action, mode, arm, event_flags : int
        Codes of `records.Action`, `records.Mode`; the arm's number; bits of `records.Flag`.
    reasons : tuple of int
        Four codes, strongest first; 0 is none.
    commitment, salt : bytes
        The public part's hash over the private part, and what makes it unguessable.
    body_digest : int
        Keyed digest of `canonical`, as idempotency compares it.
    event : ndarray of `EVENT`, shape (1,)
    features : ndarray of float32, shape (n_features,)
    canonical : bytes
        The tokenised transaction as JSON.
    """

    arrival: int
    arrival_ms: int
    boot: int
    score: float
    action: int
    mode: int
    arm: int
    event_flags: int
    reasons: tuple[int, ...]
    commitment: bytes
    salt: bytes
    body_digest: int
    event: NDArray[np.void]
    features: NDArray[np.float32]
    canonical: bytes

    @property
    def transaction_id(self) -> str:
        """The caller's id, from the canonical transaction."""
        return msgspec.json.decode(self.canonical, type=WithId).transaction_id


def stream_name(stream: bytes) -> str:
    """Return a stream's name as text: 16 letters and digits that hold 80 of its 128 random bits.

    Examples
    --------
    >>> stream_name(bytes(range(16)))
    'aaaqeayeaudaocaj'
    """
    return base64.b32encode(stream[:10]).decode("ascii").lower()


def decision_id(name: str, arrival: int) -> str:
    """Return a decision's id: unique for ever, because an acknowledged arrival is given once.

    Examples
    --------
    >>> decision_id("aaaqeayeaudaocaj", 42)
    'aaaqeayeaudaocaj-42'
    """
    return f"{name}-{arrival}"


def encode_decisions(
    batch: Batch,
    canonicals: Sequence[bytes],
    body_digests: NDArray[np.uint64],
    *,
    boot: int,
    salts: bytes,
    arms: NDArray[np.uint16] | int = 0,
) -> tuple[list[bytes], list[bytes]]:
    """Encode a decided batch.

    Parameters
    ----------
    batch : Batch
        n decided transactions, their events with arrival number and time.
    canonicals : sequence of bytes
        The n tokenised transactions as JSON with sorted keys.
    body_digests : ndarray of uint64, shape (n,)
        Keyed digests of `canonicals`.
    boot : int
        Arrival number of the boot record in force.
    salts : bytes
        16 fresh random bytes for each.
    arms : ndarray of uint16, shape (n,), or int
        The arm that answered each.

    Returns
    -------
    payloads : list of bytes
    leaves : list of bytes
        The 32 bytes of `leaf_of` for each.
    """
    n = len(batch)
    assert len(canonicals) == n, (n, len(canonicals))
    assert len(salts) == n * SALT_BYTES, (n, len(salts))
    bodies = _bodies(batch, canonicals, body_digests, salts)
    sha256 = hashlib.sha256
    commitments = b"".join([sha256(b"\x02" + body).digest() for body in bodies])
    public = _public(batch, boot, arms, commitments).tobytes()
    payloads, leaves = [], []
    at = 0
    for body in bodies:
        head = public[at : at + PUBLIC_BYTES]
        at += PUBLIC_BYTES
        payloads.append(head + _ENVELOPE + body)
        leaves.append(sha256(b"\x00" + head).digest())
    return payloads, leaves


def _bodies(
    batch: Batch, canonicals: Sequence[bytes], digests: NDArray[np.uint64], salts: bytes
) -> list[bytes]:
    n, n_features = batch.features.shape
    dtype = _body_dtype(n_features)
    rows = np.zeros(n, dtype)
    rows["salt"] = np.frombuffer(salts, np.uint8).reshape(n, SALT_BYTES)
    rows["n_features"] = n_features
    rows["canonical_bytes"] = [len(canonical) for canonical in canonicals]
    rows["body_digest"] = digests
    rows["event"] = batch.events
    rows["features"] = batch.features
    data, size = rows.tobytes(), dtype.itemsize
    return [data[i * size : (i + 1) * size] + canonical for i, canonical in enumerate(canonicals)]


def _public(
    batch: Batch, boot: int, arms: NDArray[np.uint16] | int, commitments: bytes
) -> NDArray[np.void]:
    n = len(batch)
    rows = np.zeros(n, PUBLIC)
    rows["version"] = PAYLOAD_VERSION
    rows["kind"] = EntryKind.decision
    rows["public_bytes"] = PUBLIC_BYTES
    rows["arrival"] = batch.events["arrival"]
    rows["arrival_ms"] = batch.events["arrival_ms"]
    rows["boot"] = boot
    rows["score"] = batch.scores
    rows["action"] = batch.actions
    rows["mode"] = batch.modes
    rows["arm"] = arms
    rows["reasons"] = batch.reasons
    rows["event_flags"] = batch.events["flags"]
    rows["commitment"] = np.frombuffer(commitments, np.uint8).reshape(n, 32)
    return rows


def check_plain(payload: bytes) -> None:
    """Make sure that a payload is a decision whose private part can be read.

    Raises
    ------
    JournalError
        If it is something else, too short, or encrypted.
    """
    head = EntryHead.decode(payload)
    if head.kind != EntryKind.decision:
        raise JournalError(f"a record has kind {head.kind}; accepted: {EntryKind.decision:d}")
    if head.public_bytes != PUBLIC_BYTES or len(payload) < EVENT_END:
        raise JournalError(f"decision record {head.arrival} is too short: {len(payload)} bytes")
    if payload[PUBLIC_BYTES] != 0:
        raise JournalError(
            f"decision record {head.arrival}: its private part has format "
            f"{payload[PUBLIC_BYTES]}; accepted: 0"
        )


def decode_decision(payload: bytes) -> DecisionRecord:
    """Read a payload of kind `EntryKind.decision`.

    Raises
    ------
    JournalError
        If it is none, or its sizes contradict each other.
    """
    check_plain(payload)
    public = np.frombuffer(payload, PUBLIC, 1)[0]
    sizes = np.frombuffer(payload, _body_dtype(0), 1, _BODY_AT)[0]
    n_features = int(sizes["n_features"])
    canonical_at = EVENT_END + 4 * n_features
    if len(payload) != canonical_at + int(sizes["canonical_bytes"]):
        raise JournalError(f"decision record {public['arrival']}: its sizes contradict each other")
    body = np.frombuffer(payload, _body_dtype(n_features), 1, _BODY_AT)
    return DecisionRecord(
        arrival=int(public["arrival"]),
        arrival_ms=int(public["arrival_ms"]),
        boot=int(public["boot"]),
        score=float(public["score"]),
        action=int(public["action"]),
        mode=int(public["mode"]),
        arm=int(public["arm"]),
        event_flags=int(public["event_flags"]),
        reasons=tuple(public["reasons"].tolist()),
        commitment=public["commitment"].tobytes(),
        salt=body["salt"].tobytes(),
        body_digest=int(body["body_digest"][0]),
        event=body["event"],
        features=body["features"][0],
        canonical=payload[canonical_at:],
    )
