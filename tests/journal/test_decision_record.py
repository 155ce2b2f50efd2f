import hashlib
import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import JournalError
from assay.journal.decision_record import (
    PUBLIC_BYTES,
    decision_id,
    decode_decision,
    encode_decisions,
    stream_name,
)
from assay.journal.entries import leaf_of
from assay.records import Batch

Maker = Callable[..., tuple[Batch, list[bytes]]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 130))
def test_round_trip(make_batch: Maker, seed: int, n: int, n_features: int) -> None:
    """Every column of a batch comes back bit for bit, and the hashes hold."""
    batch, canonicals = make_batch(seed, n, n_features)
    salts = os.urandom(16 * n)
    digests = np.random.default_rng(seed).integers(0, 2**64, n, np.uint64, endpoint=False)
    arms = np.arange(n, dtype=np.uint16)
    payloads, leaves = encode_decisions(batch, canonicals, digests, boot=5, salts=salts, arms=arms)
    for i, payload in enumerate(payloads):
        record = decode_decision(payload)
        assert record.event.tobytes() == batch.events[i].tobytes()
        assert record.features.tobytes() == batch.features[i].tobytes()
        assert record.canonical == canonicals[i]
        assert record.transaction_id == f"t-{i}"
        assert (record.boot, record.arm, record.body_digest) == (5, i, digests[i])
        assert (record.action, record.mode) == (batch.actions[i], batch.modes[i])
        assert record.arrival == batch.events["arrival"][i]
        assert record.arrival_ms == batch.events["arrival_ms"][i]
        assert record.event_flags == batch.events["flags"][i]
        assert np.float32(record.score) == batch.scores[i]
        assert record.reasons == tuple(batch.reasons[i])
        assert record.salt == salts[16 * i : 16 * i + 16]
        assert leaves[i] == leaf_of(payload)
        private = payload[PUBLIC_BYTES + 4 :]
        assert record.commitment == hashlib.sha256(b"\x02" + private).digest()


def test_unscored_is_kept_as_nan(make_batch: Maker) -> None:
    """A decision without a model keeps its NaN."""
    batch, canonicals = make_batch(1, 1, 3)
    batch.scores[:] = np.nan
    payloads, _ = encode_decisions(
        batch, canonicals, np.zeros(1, np.uint64), boot=1, salts=bytes(16)
    )
    assert np.isnan(decode_decision(payloads[0]).score)


def test_private_part_is_outside_the_leaf(make_batch: Maker) -> None:
    """The leaf stays when the private part is replaced, and the salt hides equal contents."""
    batch, canonicals = make_batch(1, 1, 3)
    digests = np.zeros(1, np.uint64)
    (one,), (leaf,) = encode_decisions(batch, canonicals, digests, boot=1, salts=b"a" * 16)
    _, (other,) = encode_decisions(batch, canonicals, digests, boot=1, salts=b"b" * 16)
    assert leaf_of(one[:PUBLIC_BYTES] + b"\x01 encrypted") == leaf
    assert other != leaf


def test_unreadable_records_are_refused(make_batch: Maker) -> None:
    """Another kind, an encrypted private part and wrong sizes are refused clearly."""
    batch, canonicals = make_batch(1, 1, 3)
    (payload,), _ = encode_decisions(
        batch, canonicals, np.zeros(1, np.uint64), boot=1, salts=bytes(16)
    )
    cases = {
        "kind 1; accepted: 2": payload[:1] + b"\x01" + payload[2:],
        "format 7; accepted: 0": payload[:PUBLIC_BYTES] + b"\x07" + payload[PUBLIC_BYTES + 1 :],
        "too short": payload[: PUBLIC_BYTES + 40],
        "sizes contradict": payload + b"!",
    }
    for message, bad in cases.items():
        with pytest.raises(JournalError, match=message):
            decode_decision(bad)


def test_decision_ids_differ() -> None:
    """Ids differ between arrivals and between streams."""
    ids = {
        decision_id(stream_name(os.urandom(16)), arrival)
        for _ in range(20)
        for arrival in (1, 11, 111)
    }
    assert len(ids) == 60
