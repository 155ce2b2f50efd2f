"""The first policy of a workspace."""

from __future__ import annotations

from importlib.resources import files

import pytest

from assay.decisions.default_policy import default_policy
from assay.decisions.policy import Policy
from assay.errors import PolicyError

ALL = ["card_speed_kmh", "card_small_count_1h", "card_new_device_90d", "card_amount_ratio_30d"]


def test_all_rules_over_all_features() -> None:
    """With every feature there, the first policy is the packaged file and loads."""
    text = default_policy(ALL, {})
    packaged = files("assay.decisions") / "default_policy.toml"
    assert text == packaged.read_text(encoding="utf-8")
    assert [rule.name for rule in Policy.load(text, ALL).rules] == [
        "card_testing",
        "impossible_travel",
        "new_device_large_amount",
    ]


@pytest.mark.parametrize("missing", ALL)
def test_a_rule_needs_its_features(missing: str) -> None:
    """A rule over a feature that the set lacks is left out, and its code is not reused."""
    names = [name for name in ALL if name != missing]
    policy = Policy.load(default_policy(names, {}), names)
    assert all(missing not in rule.expression.names for rule in policy.rules)
    assert {rule.name: rule.code for rule in policy.rules}.items() <= {
        ("card_testing", 101),
        ("impossible_travel", 102),
        ("new_device_large_amount", 103),
    }


def test_thresholds_are_written() -> None:
    """Thresholds that training found stand in the file; an unknown one is refused."""
    policy = Policy.load(
        default_policy([], {"challenge": 0.01, "review": 0.02, "decline": 0.5}), []
    )
    assert policy.cuts == (0.01, 0.02, 0.5)
    with pytest.raises(PolicyError, match="accepted: challenge, review, decline"):
        default_policy([], {"rules": 0.5})
