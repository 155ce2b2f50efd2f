"""The memory of a plan: reserved once, touched only as entities and events come.

Every array is an anonymous mapping without reserve: the operating system hands out zeroed pages
at first touch, so a large maximum costs nothing, and growth never copies or pauses.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import FeatureError
from assay.features.layout import Layout, used_pages
from assay.features.plan import SHARDS, Plan

_MAP_NORESERVE = 0x4000  # absent from the mmap module on some builds


def _reserve(size: int) -> NDArray[np.uint8]:
    """Return zeroed bytes whose pages are taken at first touch."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        return np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8)
    except OSError as error:
        raise FeatureError(
            f"cannot reserve {size >> 20} MB of addresses for feature state ({error.strerror}); "
            "lower entities_max or entity_events_max, or set vm.overcommit_memory to 0 or 1"
        ) from None


@dataclass(frozen=True)
class EntityState:
    """The arrays of one entity.

    Attributes
    ----------
    layout : Layout
    memory : ndarray of uint8
        The region that heads, entries and links lie in.
    index : ndarray of uint64, shape (SHARDS, k)
        Open addressing from key hashes to slots: 32 bits of tag, 32 bits of slot + 1.
    heads, entries : structured arrays
        See `plan`.
    links : ndarray of int32, shape (blocks, 2)
        Following and preceding block of each block; -1 is none.
    pool : ndarray of int64, shape (SHARDS, 3)
        Slots taken, blocks taken, head of the list of freed blocks (+1).
    """

    layout: Layout
    memory: NDArray[np.uint8]
    index: NDArray[np.uint64]
    heads: NDArray[np.void]
    entries: NDArray[np.void]
    links: NDArray[np.int32]
    pool: NDArray[np.int64]

    @classmethod
    def reserve(cls, layout: Layout, pool: NDArray[np.int64]) -> EntityState:
        """Return an empty state; the pool is zeros, and the state's own from here on."""
        heads, entries, links, end = layout.offsets
        memory = _reserve(end)
        index = _reserve(SHARDS * layout.index_words * 8).view(np.uint64)
        sizes = [SHARDS * stride for stride in layout.strides]
        return cls(
            layout=layout,
            memory=memory,
            index=index.reshape(SHARDS, layout.index_words),
            heads=memory[heads : heads + sizes[0]].view(layout.heads),
            entries=memory[entries : entries + sizes[1]].view(layout.entries),
            links=memory[links : links + sizes[2]].view(np.int32).reshape(-1, 2),
            pool=pool,
        )

    def ranges(self) -> list[tuple[int, int]]:
        """Return beginning and end of each range of the region's pages that is in use."""
        begins, ends = used_pages(self.layout.starts, self.layout.units, self.pool[None])
        pairs = zip(begins.tolist(), ends.tolist(), strict=True)
        return [(begin, end) for begin, end in pairs if begin < end]

    def arguments(self) -> tuple[Any, ...]:
        """Return the arrays in the order of the kernel's parameters."""
        return (
            self.index,
            self.heads,
            self.entries,
            self.links,
            self.pool,
            self.layout.slots_per_shard,
            self.layout.blocks_per_shard,
        )


class State:
    """The feature state of one stream: what the events so far have left behind.

    Parameters
    ----------
    plan : Plan
    lateness_ms : int
        How far behind shard time an event may be and still be folded.
    entities_max, events_max : int
        Bounds for each kind of entity. At a bound new entities or events are not kept and are
        counted (`refused`); those already there go on.
    """

    def __init__(self, plan: Plan, *, lateness_ms: int, entities_max: int, events_max: int) -> None:
        self.lateness_ms = lateness_ms
        self.entities_max, self.events_max = entities_max, events_max
        self.pools = np.zeros((len(plan.entities), SHARDS, 3), np.int64)
        self.entities: dict[str, EntityState] = {
            entity.name: EntityState.reserve(Layout.of(entity, entities_max, events_max), pool)
            for entity, pool in zip(plan.entities, self.pools, strict=True)
        }
        self.scalars = np.zeros(3, np.int64)

    @property
    def shard_time_ms(self) -> int:
        """Largest event time folded so far."""
        return int(self.scalars[0])

    @property
    def refused(self) -> tuple[int, int]:
        """Entities and events that were not kept because a bound was reached."""
        return int(self.scalars[1]), int(self.scalars[2])

    def arguments(self) -> tuple[Any, ...]:
        """Return what the kernel's ``run`` takes after events and out."""
        arrays: list[Any] = [self.scalars, self.lateness_ms]
        for entity in self.entities.values():
            arrays += entity.arguments()
        return tuple(arrays)
