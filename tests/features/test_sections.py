from __future__ import annotations

from dataclasses import replace

import pytest

from assay.features.default_set import PAYMENT, default_features
from assay.features.definitions import Count, FeatureSet, Input, Mean, Ratio, Std, ZScore
from assay.features.sections import section_digests

SET = default_features()
BOUNDS = {"lateness_ms": 3_600_000, "entities_max": 2_000_000, "events_max": 64_000_000}


def digests(feature_set: FeatureSet, **other: int) -> dict[str, str]:
    return section_digests(feature_set, **(BOUNDS | other))


def test_wording_and_what_only_reads_do_not_count() -> None:
    """Other words, no derived and no row features, and another order of columns: the same."""
    worded = FeatureSet(tuple(replace(f, description="In other words.") for f in SET.features))
    plain = FeatureSet(tuple(f for f in SET.features if not isinstance(f, Ratio | ZScore)))
    bare = FeatureSet(tuple(f for f in plain.features if not isinstance(f, Input)))
    assert len({s.digest for s in (SET, plain, bare)}) == 3
    assert digests(SET) == digests(worded) == digests(plain) == digests(bare)


def test_a_feature_over_what_is_kept_already_changes_nothing() -> None:
    """A mean where a deviation is kept needs no other memory, so the section stays."""
    std = next(f for f in SET.features if isinstance(f, Std))
    mean = Mean(
        name="again", entity=std.entity, window_ms=std.window_ms, where=std.where, description="M."
    )
    assert digests(FeatureSet((*SET.features, mean))) == digests(SET)


def test_a_new_window_changes_its_entity_only() -> None:
    """A window that an entity did not have makes that entity's section another."""
    new = Count(name="new", entity="device", window_ms=90_000, where=PAYMENT, description="New.")
    before, after = digests(SET), digests(FeatureSet((*SET.features, new)))
    assert [name for name in before if before[name] != after[name]] == ["device"]


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_every_setting_counts(name: str) -> None:
    """Other bounds or another lateness make all sections others."""
    before, after = digests(SET), digests(SET, **{name: BOUNDS[name] * 2})
    assert before.keys() == after.keys()
    assert all(before[entity] != after[entity] for entity in before)
