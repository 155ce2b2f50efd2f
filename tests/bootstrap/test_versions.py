"""Versions that decided: kept whole, found again by name, and never taken for another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.bootstrap.scoring import Scoring
from assay.bootstrap.versions import feature_set, keep_versions, kept_policy, policy_text
from assay.decisions.policy import Policy
from assay.errors import FeatureError, PolicyError
from assay.features.default_set import DECLINED, default_features
from assay.features.definitions import Count, FeatureSet, Input, Ratio, Share, window_ms
from assay.workspace import Workspace

POLICY = """
version = "first"
[thresholds]
review = 0.4
[[rules]]
name = "much"
when = "card_count_1h > 20"
reason = "Many payments."
action = "review"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with a policy."""
    made = Workspace.create(tmp_path / "w")
    made.policy.write_text(POLICY)
    return made


def scoring(workspace: Workspace, features: FeatureSet | None = None) -> Scoring:
    """What decides there now."""
    features = features or default_features()
    policy = Policy.load(workspace.policy.read_text(), features.names)
    return Scoring(features, None, "none", policy)


def test_what_decided_is_found_after_the_files_changed(workspace: Workspace) -> None:
    """Policy and features are given back as they were, after the workspace's own have changed."""
    before = scoring(workspace)
    keep_versions(workspace, before)
    workspace.policy.write_text(POLICY.replace("0.4", "0.5"))
    after = scoring(workspace)
    keep_versions(workspace, after)
    assert before.policy.id != after.policy.id
    for kept in (before, after):
        features = feature_set(workspace, kept.features.digest[:16])
        assert features == kept.features
        assert kept_policy(workspace, kept.policy.id, features).cuts == kept.policy.cuts
    assert policy_text(workspace, before.policy.id) == POLICY


def test_a_kept_version_is_left_alone(workspace: Workspace) -> None:
    """Keeping a version again writes nothing, whatever the policy file says meanwhile."""
    first = scoring(workspace)
    keep_versions(workspace, first)
    files = {p: p.stat().st_mtime_ns for p in workspace.versions.rglob("*.*")}
    workspace.policy.write_text("not TOML")
    keep_versions(workspace, first)
    assert {p: p.stat().st_mtime_ns for p in workspace.versions.rglob("*.*")} == files


def test_a_policy_that_changes_while_it_loads_is_not_kept_under_the_other_s_name(
    workspace: Workspace,
) -> None:
    """The text is kept only if it is the policy that was loaded."""
    loaded = scoring(workspace)
    workspace.policy.write_text(POLICY.replace("0.4", "0.5"))
    with pytest.raises(PolicyError, match="try again"):
        keep_versions(workspace, loaded)


def test_what_was_not_kept_is_named(workspace: Workspace) -> None:
    """A version that is missing is an error that says which."""
    with pytest.raises(FeatureError, match="feature set 0123456789abcdef decided and is not in"):
        feature_set(workspace, "0123456789abcdef")
    with pytest.raises(PolicyError, match=r"policy second-0 decided and is not in .*policies"):
        policy_text(workspace, "second-0")


@pytest.mark.parametrize("name", ["", "../../../etc/passwd", "a/b", ".hidden", "x" * 200])
def test_a_hostile_name_reaches_no_file(workspace: Workspace, name: str) -> None:
    """A version that a damaged journal names cannot lead out of the folder."""
    with pytest.raises(FeatureError, match="accepted: 16 digits"):
        feature_set(workspace, name)
    with pytest.raises(PolicyError, match="accepted: a version"):
        policy_text(workspace, name)


def test_a_changed_file_is_refused_and_mended(workspace: Workspace) -> None:
    """A version whose file was changed is not used; the next start that has it writes it again."""
    kept = scoring(workspace)
    keep_versions(workspace, kept)
    definitions, policy = sorted(p for p in workspace.versions.rglob("*.*") if p.is_file())
    definitions.write_text(definitions.read_text().replace("3600000", "3600001"))
    policy.write_text(POLICY.replace("0.4", "0.3"))
    with pytest.raises(FeatureError, match="restore"):
        feature_set(workspace, kept.features.digest[:16])
    with pytest.raises(PolicyError, match="restore"):
        kept_policy(workspace, kept.policy.id, kept.features)
    workspace.policy.write_text(POLICY)
    keep_versions(workspace, kept)
    assert feature_set(workspace, kept.features.digest[:16]) == kept.features
    assert kept_policy(workspace, kept.policy.id, kept.features).id == kept.policy.id


def test_definitions_survive_as_json() -> None:
    """Every kind of feature comes back equal, wording included, and so does the digest."""
    share = Share(
        name="declined_share",
        description="«Declined», 7 d — share.",
        entity="customer",
        window_ms=window_ms("7d"),
        where=DECLINED,
        of=replace(DECLINED, name="other"),
    )
    whole = Ratio(name="whole", description="", over="kind", under="kind", scale=30)
    features = FeatureSet((*default_features().features, share, whole))
    read = FeatureSet.decode(features.encode())
    assert read == features
    assert read.digest == features.digest
    assert type(read.features[-1]) is Ratio


def test_a_kind_of_feature_of_one_s_own_cannot_be_kept() -> None:
    """A feature whose code is elsewhere is refused: its name alone would not bring it back."""

    class Mine(Count):
        pass

    mine = Mine(**vars(next(f for f in default_features().features if type(f) is Count)))
    with pytest.raises(FeatureError, match=r"is a Mine; accepted: Input"):
        FeatureSet((mine,)).encode()


@given(st.data())
def test_what_is_no_definition_is_refused(data: st.DataObject) -> None:
    """Damaged definitions are an error of features, or they are seen by their digest."""
    whole = FeatureSet((Input(name="a", description="A.", field="kind"),))
    document = bytearray(whole.encode())
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] = data.draw(st.integers(0, 255))
    cut = bytes(document[: data.draw(st.integers(at, len(document)))])
    try:
        FeatureSet.decode(cut)
    except FeatureError as error:
        assert "definitions" in str(error)  # noqa: PT017 — most documents, not all, are refused
