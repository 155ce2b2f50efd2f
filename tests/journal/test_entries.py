import hashlib

import pytest

from assay.errors import JournalError
from assay.journal.entries import EntryHead, first_arrival, leaf_of

HEAD = EntryHead(1, 9, 0, 30, 7, 1_700_000_000_000)


def test_head_round_trip() -> None:
    """A head gives back what was put in, and the arrival is read without the rest."""
    data = HEAD.encode() + b"public" + b"private"
    assert EntryHead.decode(data) == HEAD
    assert first_arrival(data) == 7
    assert first_arrival(b"\x01\x09\x00\x00") == 0


def test_leaf_leaves_out_the_private_part() -> None:
    """The leaf depends on the public part alone."""
    public = HEAD.encode() + b"public"
    expected = hashlib.sha256(b"\x00" + public).digest()
    assert leaf_of(public + b"secret") == leaf_of(public + b"erased") == expected


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x02" + HEAD.encode()[1:] + b"public", "version 2; accepted: 1"),
        (b"\x01\x01\x00\x00", "has 4 bytes"),
        (HEAD.encode(), "public part of 30"),
    ],
)
def test_wrong_heads_are_refused(payload: bytes, message: str) -> None:
    """A newer version, or sizes that cannot be, are refused clearly."""
    with pytest.raises(JournalError, match=message):
        leaf_of(payload)
