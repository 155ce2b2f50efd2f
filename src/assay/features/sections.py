"""The digest of what writes and lays out an entity's memory: its section of a snapshot."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import msgspec

from assay.features.definitions import FeatureSet
from assay.features.insert import insert_function
from assay.features.layout import PAGE_BYTES, Layout
from assay.features.plan import EntityPlan, make_plan
from assay.features.query import query_function
from assay.features.runtime_text import HEADER
from assay.features.source import TIME_LINES, slot_lines
from assay.features.steps import bits_function

STATE_FORMAT: Final = 1
"""Raised when the meaning of the memory changes in a way that the kernel's text does not show."""


def section_digests(
    feature_set: FeatureSet, *, lateness_ms: int, entities_max: int, events_max: int
) -> dict[str, str]:
    """Return, for each entity that a feature set keeps, the digest of its section, in hex.

    Equal digests mean that the same events leave the same bytes. Wording, derived features and
    those of the event itself do not count; the code that folds does, but not the code that only
    reads.
    """
    bounds = (lateness_ms, entities_max, events_max)
    return {entity.name: _digest(entity, *bounds) for entity in make_plan(feature_set).entities}


def _digest(entity: EntityPlan, lateness_ms: int, entities_max: int, events_max: int) -> str:
    layout = Layout.of(entity, entities_max, events_max)
    facts = {
        "format": STATE_FORMAT,
        "page_bytes": PAGE_BYTES,
        "lateness_ms": lateness_ms,
        "heads": repr(layout.heads),
        "entries": repr(layout.entries),
        "bounds": (layout.block_rows, layout.slots_per_shard, layout.blocks_per_shard),
        "source": _writers(entity),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:32]


def _writers(entity: EntityPlan) -> list[str]:
    """Return the source of what writes the entity's memory, without what features read of it."""
    lines = [HEADER, *TIME_LINES, *slot_lines(entity)]
    if entity.features:
        bare = replace(entity, features=[])
        lines += [*bits_function(bare), *query_function(bare, {}), *insert_function(bare)]
    return lines
