from __future__ import annotations

import json
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from assay.features.default_set import default_features
from assay.features.fold import Fold
from assay.features.pieces import PIECE_BYTES

sys.path.insert(0, str(Path(__file__).parent))
from streams import stream

HOUR_MS = 3_600_000
SET = default_features()
EDGES = (0, 1, 40, 41, 300)


def folded(n: int = 300, *, lateness_ms: int = HOUR_MS) -> Fold:
    fold = Fold(SET, lateness_ms=lateness_ms, entities_max=4096, events_max=65_536)
    fold(stream(8, n, lateness_ms))
    return fold


def used_bytes(fold: Fold) -> list[tuple[str, int]]:
    """Every place of the state that an event may have left something in."""
    return [
        (name, at)
        for name, entity in fold.state.entities.items()
        for begin, end in entity.ranges()
        for at in range(begin, end, 509)
    ]


def test_a_round_of_checks_sees_every_byte() -> None:
    """Whichever byte of the state in use differs, one of a round of checks does too."""
    fold = folded()
    sound = [fold.check(i) for i in range(256)]
    assert len(set(sound)) > 20
    for name, at in used_bytes(fold)[::7]:
        memory = fold.state.entities[name].memory
        memory[at] ^= 1
        assert [fold.check(i) for i in range(256)] != sound, (name, at)
        memory[at] ^= 1
    assert [fold.check(i) for i in range(256)] == sound


@pytest.mark.parametrize("name", ["card", "customer", "merchant", "device"])
def test_a_state_that_grows_is_seen_whole(name: str) -> None:
    """Checks that count on while events come still come by a byte that differs."""
    events = stream(8, 2500, HOUR_MS)
    rng = np.random.default_rng(3)
    events["card"] = rng.integers(1, 2**63, 2500).astype(np.uint64) * 2  # many, in all shards
    pair = [Fold(SET, lateness_ms=HOUR_MS, entities_max=4096, events_max=65_536) for _ in "ab"]
    for fold in pair:
        fold(events[:500])
    entity = pair[1].state.entities[name]
    shard = int(entity.pool[:, 0].argmax())
    key = entity.heads[shard * entity.layout.slots_per_shard : :][:1]
    key["key"] ^= np.uint64(1 << 40)  # as a memory error would
    seen = []
    for number, start in enumerate(range(500, 2500, 5), 1_000_003):
        seen.append(pair[0].check(number) != pair[1].check(number))
        if seen[-1]:
            break
        for fold in pair:
            fold(events[start : start + 5])
    assert seen[-1]


def test_two_processes_have_the_same_checks_and_hash() -> None:
    """The same events in other batches, in another process, give the same hash and checks."""
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_pieces as t\n"
        "from streams import stream\n"
        "f = t.Fold(t.SET, lateness_ms=t.HOUR_MS, entities_max=4096, events_max=65_536)\n"
        "e = stream(8, 300, t.HOUR_MS)\n"
        "for a, b in zip(t.EDGES, t.EDGES[1:]): f(e[a:b])\n"
        "print(json.dumps([f.digest(), [f.check(i) for i in range(300)]]))"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, folder], capture_output=True, text=True, check=True
    )
    fold = folded()
    assert json.loads(done.stdout) == [fold.digest(), [fold.check(i) for i in range(300)]]


@pytest.mark.parametrize("n", [0, 1, 300])
def test_checks_of_small_states(n: int) -> None:
    """A state of any size has a check for every number, and time alone changes all of them."""
    fold = folded(n)
    before = [fold.check(i) for i in islice(count(), 40)]
    fold.state.scalars[0] += 1
    assert all(a != b for a, b in zip(before, (fold.check(i) for i in range(40)), strict=True))


def test_pieces_are_small_and_make_up_the_whole() -> None:
    """No piece is larger than it may be, and together they are the pages in use."""
    fold = folded()
    entity = fold.state.entities["card"]
    entity.pool[0] = (entity.layout.slots_per_shard, entity.layout.blocks_per_shard, 0)
    pieces, seen = fold._pieces, set()
    view = pieces._view
    pieces._view = lambda begin, end: (seen.add((begin, end)), view(begin, end))[1]  # type: ignore[method-assign,func-returns-value]
    for number in range(512):
        fold.check(number)
    sizes = [end - begin for begin, end in seen]
    assert max(sizes) == PIECE_BYTES
    ranges = [pair for each in fold.state.entities.values() for pair in each.ranges()]
    assert sum(sizes) == sum(end - begin for begin, end in ranges)
