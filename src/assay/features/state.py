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
from assay.features.plan import SHARDS, EntityPlan, Plan

_MAP_NORESERVE = 0x4000  # absent from the mmap module on some builds
_POSITIONS_MAX = 2**31 - 1


def _reserve(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a zeroed array whose pages are taken at first touch."""
    size = int(np.prod(shape)) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        memory = mmap.mmap(-1, max(size, 1), flags=flags)
    except OSError as error:
        raise FeatureError(
            f"cannot reserve {size >> 20} MB of addresses for feature state ({error.strerror}); "
            "lower entities_max or entity_events_max, or set vm.overcommit_memory to 0 or 1"
        ) from None
    return np.frombuffer(memory, dtype, count=int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class EntityState:
    """The arrays of one entity.

    Attributes
    ----------
    index : ndarray of uint64, shape (SHARDS, k)
        Open addressing from key hashes to slots: 32 bits of tag, 32 bits of slot + 1.
    heads, entries : structured arrays
        See `plan`.
    links : ndarray of int32, shape (blocks, 2)
        Following and preceding block of each block; -1 is none.
    pool : ndarray of int64, shape (SHARDS, 3)
        Slots taken, blocks taken, head of the list of freed blocks (+1).
    """

    index: NDArray[np.uint64]
    heads: NDArray[np.void]
    entries: NDArray[np.void]
    links: NDArray[np.int32]
    pool: NDArray[np.int64]
    slots_per_shard: int
    blocks_per_shard: int

    def arguments(self) -> tuple[Any, ...]:
        """Return the arrays in the order of the kernel's parameters."""
        return (
            self.index,
            self.heads,
            self.entries,
            self.links,
            self.pool,
            self.slots_per_shard,
            self.blocks_per_shard,
        )


def _allocate(entity: EntityPlan, entities_max: int, events_max: int) -> EntityState:
    slots = -(-entities_max * 9 // (8 * SHARDS))  # keys spread evenly; an eighth more is ample
    # A shard may hold one busy merchant: it may take four times its share of the events.
    blocks = max(-(-4 * events_max // (SHARDS * entity.block_rows)), slots)
    blocks = min(blocks, _POSITIONS_MAX // (SHARDS * entity.block_rows))
    if slots * SHARDS > _POSITIONS_MAX or blocks < 1:
        raise FeatureError(f"entities_max is {entities_max}; accepted: at most 1,900,000,000")
    index = 1 << (2 * slots - 1).bit_length()
    return EntityState(
        index=_reserve((SHARDS, index), np.dtype(np.uint64)),
        heads=_reserve((SHARDS * slots,), entity.head_dtype()),
        entries=_reserve((SHARDS * blocks * entity.block_rows,), entity.entry_dtype()),
        links=_reserve((SHARDS * blocks, 2), np.dtype(np.int32)),
        pool=_reserve((SHARDS, 3), np.dtype(np.int64)),
        slots_per_shard=slots,
        blocks_per_shard=blocks,
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
        self.entities = {
            entity.name: _allocate(entity, entities_max, events_max) for entity in plan.entities
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
