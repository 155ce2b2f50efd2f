import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import JournalError
from assay.journal.check_record import CHECK_BYTES, decode_check, encode_check
from assay.journal.entries import EntryHead, EntryKind
from assay.records import Check

U64 = st.integers(0, 2**64 - 1)


@given(U64, st.integers(0, 2**63 - 1), U64, U64)
def test_round_trip(arrival: int, arrival_ms: int, piece: int, digest: int) -> None:
    """A check gives back what was written, and all of it is public."""
    check = Check(arrival, arrival_ms, piece, digest)
    payload = encode_check(check)
    assert decode_check(payload) == check
    head = EntryHead.decode(payload)
    assert (head.kind, head.public_bytes, len(payload)) == (EntryKind.check, CHECK_BYTES, 40)


def test_another_kind_or_size_is_refused() -> None:
    """A payload of another kind, and one that is too short or too long, are refused."""
    payload = encode_check(Check(7, 8, 9, 10))
    with pytest.raises(JournalError, match="kind 2; accepted: 5"):
        decode_check(payload[:1] + b"\x02" + payload[2:])
    for other in (payload[:-1] + b"", payload + b"\x00"):
        with pytest.raises(JournalError, match=r"public part of 40|check 7 has 41 bytes"):
            decode_check(other)
