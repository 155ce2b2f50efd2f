"""Hashes of a feature state: of all of it, and of one small piece at a time.

Two folds that took the same events hold the same bytes: slots and blocks are given out in order
of arrival, and what no event touched is zero. So equal hashes mean equal futures. The key index
is left out, as it follows from the heads.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest, xxh3_128, xxh3_128_hexdigest

from assay.features.layout import used_pages
from assay.features.state import EntityState, State

PIECE_BYTES: Final = 1 << 19


def state_digest(state: State, sums: dict[str, list[str]]) -> str:
    """Return the hash of a state, from the sums of its entities' ranges, in hex."""
    out = xxh3_128()
    for name, entity in state.entities.items():
        out.update(name.encode())
        out.update(entity.pool.tobytes())
        out.update("".join(sums[name]).encode())
    out.update(state.scalars[:1].tobytes())
    return out.hexdigest()


def range_sums(entity: EntityState) -> list[str]:
    """Return the hash of each range of pages in use, in hex."""
    return [xxh3_128_hexdigest(entity.memory.data[begin:end]) for begin, end in entity.ranges()]


class Pieces:
    """The pieces of a state, at most `PIECE_BYTES` each.

    Numbers that count on go round them. How many there are is rounded up to a power of two, so
    that it seldom changes while the state grows, and growth moves pieces to higher places only:
    a round comes by all of them.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self._state = state
        layouts = [entity.layout for entity in state.entities.values()]
        sizes = [0, *(layout.offsets[-1] for layout in layouts)]
        self._bases = np.cumsum(sizes)
        moved = [layout.starts + base for layout, base in zip(layouts, self._bases, strict=False)]
        none = np.zeros(0, np.int64)
        self._starts = np.concatenate([none, *moved])
        self._units = np.concatenate([none, *(layout.units for layout in layouts)])
        self._memory = [entity.memory.data for entity in state.entities.values()]

    def digest(self, number: int) -> int:
        """Return the 64-bit hash of a piece, with the shard time and all counts of what is used."""
        pools = self._state.pools
        seed = xxh3_64_intdigest(pools.tobytes() + self._state.scalars[:1].tobytes())
        begins, ends = used_pages(self._starts, self._units, pools)
        totals = np.cumsum(-(-(ends - begins) // PIECE_BYTES))
        pieces = int(totals[-1]) if len(totals) else 0
        if pieces == 0:
            return seed
        bits = (pieces - 1).bit_length()
        number &= (1 << bits) - 1
        if number >= pieces:
            number -= 1 << (bits - 1)
        at = int(np.searchsorted(totals, number, side="right"))
        before = int(totals[at - 1]) if at else 0
        begin = int(begins[at]) + (number - before) * PIECE_BYTES
        data = self._view(begin, min(begin + PIECE_BYTES, int(ends[at])))
        return xxh3_64_intdigest(data, seed)

    def _view(self, begin: int, end: int) -> memoryview:
        entity = int(np.searchsorted(self._bases, begin, side="right")) - 1
        base = int(self._bases[entity])
        return self._memory[entity][begin - base : end - base]
