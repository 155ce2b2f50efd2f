"""Where the memory of one entity lies, and which of its pages are in use.

All of an entity but its index lies in one region: heads, then entries, then links, each cut into
`SHARDS`. Within a shard slots and blocks are taken from the front and never given back, so the
pages in use follow from two counts a shard; all others are zeros.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from assay.errors import FeatureError
from assay.features.plan import SHARDS, EntityPlan

PAGE_BYTES: Final = mmap.PAGESIZE
LINK_BYTES: Final = 8

_COUNT_OF: Final = (0, 1, 1)  # heads come with slots, entries and links with blocks
_POSITIONS_MAX: Final = 2**31 - 1


@dataclass(frozen=True)
class Layout:
    """The region of one entity.

    Attributes
    ----------
    heads, entries : dtype
        See `plan`.
    block_rows : int
        Entries in one block.
    slots_per_shard, blocks_per_shard : int
        The bounds.
    """

    heads: np.dtype[Any]
    entries: np.dtype[Any]
    block_rows: int
    slots_per_shard: int
    blocks_per_shard: int

    @classmethod
    def of(cls, entity: EntityPlan, entities_max: int, events_max: int) -> Layout:
        """Lay out an entity for its bounds.

        Raises
        ------
        FeatureError
            If they are beyond what positions can tell apart.
        """
        # Keys spread evenly; an eighth more is ample.
        slots = -(-entities_max * 9 // (8 * SHARDS))
        # A shard may hold one busy merchant: it may take four times its share of the events.
        blocks = max(-(-4 * events_max // (SHARDS * entity.block_rows)), slots)
        blocks = min(blocks, _POSITIONS_MAX // (SHARDS * entity.block_rows))
        if slots * SHARDS > _POSITIONS_MAX or blocks < 1:
            raise FeatureError(f"entities_max is {entities_max}; accepted: at most 1,900,000,000")
        return cls(entity.head_dtype(), entity.entry_dtype(), entity.block_rows, slots, blocks)

    @property
    def index_words(self) -> int:
        """Words of the key index in each shard: a power of two, at most half of them taken."""
        return 1 << (2 * self.slots_per_shard - 1).bit_length()

    @cached_property
    def strides(self) -> tuple[int, int, int]:
        """Bytes of one shard's heads, entries and links."""
        return (
            self.slots_per_shard * self.heads.itemsize,
            self.blocks_per_shard * self.block_rows * self.entries.itemsize,
            self.blocks_per_shard * LINK_BYTES,
        )

    @cached_property
    def offsets(self) -> tuple[int, int, int, int]:
        """Where heads, entries and links begin, at page edges, and where the region ends."""
        out = [0]
        for stride in self.strides:
            out.append(_page_end(out[-1] + SHARDS * stride))
        return out[0], out[1], out[2], out[3]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where the heads of each shard begin, then the entries, then the links."""
        shards = np.arange(SHARDS)
        parts = zip(self.offsets[:3], self.strides, strict=True)
        return np.concatenate([offset + shards * stride for offset, stride in parts])

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """Bytes of a head, a block of entries and a link, for each of these beginnings."""
        block = self.block_rows * self.entries.itemsize
        return np.repeat(np.array([self.heads.itemsize, block, LINK_BYTES]), SHARDS)


def used_pages(
    starts: NDArray[np.int64], units: NDArray[np.int64], pools: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return beginnings and ends of the pages in use, ascending and without overlap.

    Parameters
    ----------
    starts, units : ndarray of int64, shape (n * 3 * SHARDS,)
        Of the layouts of n entities, whose regions follow one another.
    pools : ndarray of int64, shape (n, SHARDS, 3)
        Slots and blocks taken in each shard.

    Returns
    -------
    begins, ends : ndarray of int64, shape (n * 3 * SHARDS,)
        Equal where nothing is in use, or where a neighbour's last page holds all of it.
    """
    counts = pools[:, :, _COUNT_OF].transpose(0, 2, 1).reshape(-1)
    ends = np.where(counts > 0, _page_end(starts + counts * units), 0)
    before = np.maximum.accumulate(ends)  # a page that two shards share belongs to the first
    begins = starts // PAGE_BYTES * PAGE_BYTES
    np.maximum(begins[1:], before[:-1], out=begins[1:])
    return begins, np.maximum(begins, ends)


def _page_end(offset: Any) -> Any:
    return -(-offset // PAGE_BYTES) * PAGE_BYTES
