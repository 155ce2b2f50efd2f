import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from assay.journal.idempotency import NEW, IdempotencyTable

HOUR_MS = 3_600_000
IDS_MAX = 1000


def spread(number: int) -> int:
    """Return a number's 64-bit hash; reversible, so two never collide."""
    return number * 0x9E3779B97F4A7C15 % 2**64


def insert(table: IdempotencyTable, hashes: list[int], position: int, now_ms: int) -> None:
    """Insert ids whose body is their hash, at consecutive positions."""
    ids = np.array(hashes, np.uint64)
    positions = np.arange(position, position + len(ids), dtype=np.int64)
    table.insert_many(ids, ids, positions, np.full(len(ids), now_ms, np.int64))


class AgainstADict(RuleBasedStateMachine):
    """The table answers as a list of everything ever inserted would."""

    @initialize()
    def start(self) -> None:
        """Begin with an empty table at some time."""
        self.table = IdempotencyTable(IDS_MAX, HOUR_MS)
        self.now_ms = 1_700_000_000_000
        self.model: dict[int, tuple[int, int]] = {}
        self.total = self.newest_ms = 0

    def expected(self, number: int) -> int:
        """Return the position the promise asks for, or NEW."""
        ordinal, arrival_ms = self.model.get(number, (-IDS_MAX, 0))
        recent = self.total - ordinal <= IDS_MAX
        return (
            ordinal + 1
            if recent and max(self.now_ms, self.newest_ms) - arrival_ms < HOUR_MS
            else NEW
        )

    @rule(first=st.integers(0, 4000), count=st.integers(1, 400))
    def decide(self, first: int, count: int) -> None:
        """Look up a run of ids and insert those that are new."""
        new = []
        for number in range(first, first + count):
            found = self.table.lookup(spread(number), spread(number), self.now_ms)
            assert found == self.expected(number)
            if found == NEW:
                new.append(number)
        insert(self.table, [spread(number) for number in new], self.total + 1, self.now_ms)
        if new:
            self.newest_ms = max(self.newest_ms, self.now_ms)
        for number in new:
            self.model[number] = (self.total, self.now_ms)
            self.total += 1

    @rule(delta_ms=st.integers(0, HOUR_MS // 2) | st.sampled_from([-5000, HOUR_MS, 30 * HOUR_MS]))
    def turn_clock(self, delta_ms: int) -> None:
        """Let time pass, jump far, or step back a little."""
        self.now_ms += delta_ms

    @rule(number=st.integers(0, 4400))
    def other_body(self, number: int) -> None:
        """Another body for a known id gives the complement of the position."""
        found = self.table.lookup(spread(number), 1, self.now_ms)
        expected = self.expected(number)
        assert found == (NEW if expected == NEW else ~expected)

    @invariant()
    def bounded(self) -> None:
        """Keep no more than a little beyond the number promised."""
        if hasattr(self, "table"):
            assert self.table.size + self.table.dropped == self.total
            assert self.table.size <= IDS_MAX + 3 * 128
            assert self.table.bytes < 100_000


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, derandomize=True
)


def test_horizon_is_exact() -> None:
    """An id is found to the last millisecond of its time, then counts as new and is counted."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    insert(table, [7], 1 << 40, 5)
    assert table.lookup(7, 7, 5 + HOUR_MS - 1) == 1 << 40
    assert table.expired == 0
    assert table.lookup(7, 7, 5 + HOUR_MS) == NEW
    assert table.expired == 1


def test_last_ids_are_exact() -> None:
    """Exactly the last ids are found."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    insert(table, [spread(i) for i in range(5000)], 1, 5)
    found = [table.lookup(spread(i), spread(i), 5) for i in range(5000)]
    assert found == [NEW] * (5000 - IDS_MAX) + list(range(5001 - IDS_MAX, 5001))


def test_clock_stepping_back() -> None:
    """An id that was too old once stays so when the clock steps back, dropped or not."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    insert(table, [7], 1, 0)
    insert(table, [8], 2, HOUR_MS)
    assert table.lookup(7, 7, HOUR_MS - 5000) == NEW
    assert table.lookup(8, 8, HOUR_MS - 5000) == 2


def test_a_generation_lives_as_long_as_its_newest_id() -> None:
    """Ids in time are found though older ones of their generation are not."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    insert(table, [7], 1, 0)
    insert(table, [spread(i) for i in range(127)], 2, HOUR_MS - 1)
    insert(table, [8], 500, HOUR_MS + 1)
    insert(table, [spread(i) for i in range(1000, 1300)], 501, HOUR_MS + 1)
    found = [table.lookup(spread(i), spread(i), HOUR_MS + 1) for i in range(127)]
    assert found == list(range(2, 129))
    assert table.lookup(7, 7, HOUR_MS + 1) == NEW


def test_newest_of_an_id_wins() -> None:
    """An id that was inserted again after its time is found at its new place."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    insert(table, [7], 1, 0)
    insert(table, [7], 2, HOUR_MS)
    assert table.lookup(7, 7, HOUR_MS + 1) == 2


@pytest.mark.parametrize("value", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_every_hash_is_possible(value: int) -> None:
    """No 64-bit hash or digest is special."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    assert table.lookup(value, value, 1) == NEW
    insert(table, [value], 3 << 40, 1)
    assert table.lookup(value, value, 1) == 3 << 40
    assert table.lookup(value, value ^ 1, 1) == ~(3 << 40)


def test_memory_is_given_back() -> None:
    """A quiet system keeps two generations at most, however long it runs."""
    table = IdempotencyTable(IDS_MAX, HOUR_MS)
    for hour in range(200):
        insert(
            table, [spread(hour * 10 + i) for i in range(10)], hour * 10 + 1, hour * HOUR_MS // 2
        )
    assert table.size <= 60
    assert table.dropped + table.size == 2000
