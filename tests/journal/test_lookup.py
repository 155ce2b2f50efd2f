"""Looking records up, sealed or not, while the journal grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assay.clock import VirtualClock
from assay.errors import DamageError, JournalError
from assay.journal.decision_record import decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.folder import Folder
from assay.journal.lookup import Lookup
from assay.journal.sealer import seal, sealable

Writer = Callable[..., list[tuple[int, bytes]]]


def check(lookup: Lookup, written: list[tuple[int, bytes]]) -> None:
    for position, payload in written:
        head = EntryHead.decode(payload)
        assert lookup.by_arrival(head.arrival) == (position, payload)
        if head.kind == EntryKind.decision:
            record = decode_decision(payload)
            transaction = int(record.event["transaction"][0])
            assert lookup.by_transaction(transaction) == [(position, payload)]
            assert lookup.boot(record.boot).model == "m"


def test_everything_is_found_while_it_grows_and_is_sealed(
    tmp_path: Path, write_stream: Writer
) -> None:
    """One lookup finds every record, before and after its segment is sealed, and new ones too."""
    lookup = Lookup(tmp_path)
    assert (lookup.by_arrival(1), lookup.by_transaction(1), lookup.stream) == (None, [], "")
    written = write_stream(tmp_path, 25)
    check(lookup, written)
    folder = Folder(tmp_path)
    for number in sealable(folder)[:3]:
        seal(folder, number, VirtualClock(1))
    check(lookup, written)
    written += write_stream(tmp_path, 25, 100)
    for number in sealable(folder):
        seal(folder, number, VirtualClock(1))
    check(lookup, written)
    check(Lookup(tmp_path), written)
    assert len(lookup.stream) == 16
    for missing in (0, 27, 99, 126, 2**63):
        assert lookup.by_arrival(missing) is None
    for missing in (2, 27):
        with pytest.raises(JournalError, match=f"has no boot record {missing}"):
            lookup.boot(missing)


def test_repeats_are_found_newest_first(tmp_path: Path, write_stream: Writer) -> None:
    """All decisions about one transaction are found, in sealed segments and others."""
    written = write_stream(tmp_path, 25)
    seal(Folder(tmp_path), 1, VirtualClock(1))
    again = write_stream(tmp_path, 25, 1000)
    transaction = int(decode_decision(written[3][1]).event["transaction"][0])
    lookup = Lookup(tmp_path)
    assert lookup.by_transaction(transaction) == [written[3]]
    for number in sealable(Folder(tmp_path)):
        seal(Folder(tmp_path), number, VirtualClock(1))
    assert lookup.by_transaction(transaction) == [written[3]]
    assert lookup.by_transaction(int(decode_decision(again[5][1]).event["transaction"][0])) == [
        again[5]
    ]


def test_damage_is_told(tmp_path: Path, write_stream: Writer) -> None:
    """A damaged record is an error with file and offset; its neighbours are found."""
    written = write_stream(tmp_path, 25)
    lookup = Lookup(tmp_path)
    check(lookup, written)
    position, payload = written[7]
    path = Folder(tmp_path).segment(position >> 40)
    data = bytearray(path.read_bytes())
    data[(position & 0xFFFFFFFF) + 50] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamageError, match=f"{path.name}: damaged at offset"):
        lookup.by_arrival(EntryHead.decode(payload).arrival)
    check(lookup, written[:7] + written[8:])
