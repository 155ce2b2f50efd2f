"""Audits: what decided is computed again, and whatever was changed since is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from decided import BATCH_ROWS, decide_all, rewrite

from assay.bootstrap.audit import replay, show
from assay.bootstrap.audit_range import Span
from assay.bootstrap.features import make_fold
from assay.bootstrap.scorer import read_history
from assay.bootstrap.versions import feature_set
from assay.clock import VirtualClock
from assay.errors import (
    AssayError,
    BundleError,
    FeatureError,
    JournalError,
    PolicyError,
    SettingsError,
)
from assay.features.snapshots import Mark, Snapshots
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import PUBLIC, decode_decision
from assay.journal.entries import EntryHead, EntryKind
from assay.journal.folder import Folder
from assay.journal.follower import Follower
from assay.journal.reader import read_journal
from assay.journal.recovery import scan_events
from assay.records import Action, Kind, Mode
from assay.simulation.scenario import Scenario
from assay.workspace import Workspace

NOW_MS = 1_780_272_001_000
ROWS = 400


@pytest.fixture(scope="module")
def decided(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with decisions by a model, then by rules alone: never changed."""
    folder = tmp_path_factory.mktemp("decided") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    workspace, clock = Workspace.open(folder), VirtualClock(NOW_MS)
    bodies = trained.bodies()
    decide_all(workspace, bodies[: ROWS // 2], clock)
    clock.advance(60_000)
    decide_all(workspace, bodies[ROWS // 2 : ROWS], clock, rules_only=True)
    return workspace


@pytest.fixture
def workspace(decided: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    folder = tmp_path / "workspace"
    shutil.copytree(decided.path, folder)
    return Workspace.open(folder)


def arrivals(workspace: Workspace, *, scored: bool = True) -> list[int]:
    """Return the arrival numbers of its decisions that a model scored, or those of the others."""
    out = []
    for _, payload in read_journal(workspace.journal):
        if EntryHead.decode(payload).kind == EntryKind.decision:
            record = decode_decision(payload)
            if scored != np.isnan(record.score):
                out.append(record.arrival)
    return out


def forge(workspace: Workspace, arrival: int, field: str, change: Callable[[Any], Any]) -> None:
    """Change one field in the public part of one decision."""

    def apply(at: int, payload: bytearray) -> None:
        if at == arrival:
            row = np.frombuffer(payload, PUBLIC, 1)
            row[field][0] = change(row[field][0])

    rewrite(workspace, apply)


def test_all_comes_out_again_bit_for_bit(decided: Workspace) -> None:
    """Decisions of two boots, by model and by rules, come out again with every bit, features too;
    records that are no decisions are skipped and counted.
    """
    found = replay(decided, span="1..", features=True)
    assert found["same"]
    assert found["bit_for_bit"] == found["decisions"] == ROWS
    assert found["skipped"]["boots"] == 2
    assert found["first_difference"] is None
    assert sum(part["compared"] for part in found["features"]) == ROWS
    assert len(found["features"]) in {1, 2}  # rules alone may have more features than the model


def test_one_decision_is_found_by_either_id(decided: Workspace) -> None:
    """A decision is shown and replayed by its own id and by its transaction's."""
    arrival = arrivals(decided)[7]
    position, payload = next(
        (p, r) for p, r in read_journal(decided.journal) if EntryHead.decode(r).arrival == arrival
    )
    record = decode_decision(payload)
    shown = show(decided, record.transaction_id)
    assert shown == show(decided, shown["decision_id"])
    assert shown["position"] == position
    assert shown["arrival"] == arrival
    assert shown["action"] == Action(record.action).name
    assert shown["transaction"] == msgspec.json.decode(record.canonical)
    assert shown["versions"]["model"] == shown["model"] == "boosting-0.1.0"
    values = [np.nan if value is None else value for value in shown["features"].values()]
    assert np.array_equal(np.array(values, np.float32), record.features, equal_nan=True)
    assert "card_count_1h" in shown["features"]
    for name in (record.transaction_id, shown["decision_id"]):
        assert replay(decided, name)["decisions"] == 1


@pytest.mark.parametrize("name", ["", "nobody", "aaaqeayeaudaocaj-1", "-", "x" * 500])
def test_what_is_not_there_is_said(decided: Workspace, name: str) -> None:
    """An id that the journal does not hold is an error that says which ids it would take."""
    with pytest.raises(
        JournalError, match=r"the journal holds no decision .* accepted: a decision"
    ):
        show(decided, name)


def test_the_id_of_another_record_is_no_decision(decided: Workspace) -> None:
    """A boot record has an arrival number, too, and is no decision."""
    stream = show(decided, f"{_stream(decided)}-{arrivals(decided)[0]}")["decision_id"]
    boot = next(EntryHead.decode(p).arrival for _, p in read_journal(decided.journal))
    for digits in (str(boot), "9" * 18, "9" * 40):
        with pytest.raises(JournalError, match="holds no decision"):
            show(decided, f"{stream.rpartition('-')[0]}-{digits}")


def test_a_range_holds_what_it_says(decided: Workspace) -> None:
    """Arrivals include both ends; times include the first and not the last."""
    scored = arrivals(decided)
    first, last = scored[10], scored[30]
    assert replay(decided, span=f"{first}..{last}")["decisions"] == last - first + 1
    assert replay(decided, span=f"{first}..{first}")["decisions"] == 1
    assert replay(decided, span="..2026-06-01T00:00:30Z")["decisions"] == ROWS // 2
    assert replay(decided, span="2026-06-01T00:00:30Z..")["decisions"] == ROWS // 2
    assert replay(decided, span="2027-01-01T00:00:00Z..")["decisions"] == 0
    for end, decisions in (("1.101Z", BATCH_ROWS), ("1.200Z", BATCH_ROWS), ("1.201Z", 100)):
        span = f"2026-06-01T00:00:01.100Z..2026-06-01T00:00:0{end}"
        assert replay(decided, span=span)["decisions"] == decisions


@pytest.mark.parametrize("text", ["", "..1..", "5", "a..b", "9..3", "-1..4", "2026-01-01..", "..0"])
def test_what_is_no_range_is_refused(text: str) -> None:
    """A range that cannot be read, or holds nothing, is an error that says what is accepted."""
    with pytest.raises(AssayError, match="accepted"):
        Span.parse(text)


@pytest.mark.parametrize("text", ["4111111111111111", "4111111111111111..1", "4111 1111 1111 1111"])
def test_a_card_number_given_as_a_range_is_not_repeated(text: str) -> None:
    """A card number that was typed in the place of a range does not come out in the error."""
    with pytest.raises(SettingsError, match=r"range '\[masked\]'.*accepted") as caught:
        Span.parse(text)
    assert "1111" not in str(caught.value)


def test_either_an_id_or_a_range(decided: Workspace) -> None:
    """Both or neither is an error."""
    for name, span in (("x", "1.."), (None, None)):
        with pytest.raises(SettingsError, match="either"):
            replay(decided, name, span)


@pytest.mark.parametrize(
    ("field", "change", "what"),
    [
        ("score", lambda score: np.nextafter(score, np.float32(1)), "score"),
        ("score", lambda _: np.float32(np.nan), "score"),
        ("action", lambda action: (action + 1) % 4, "action"),
        ("action", lambda _: 77, "action"),
        ("reasons", lambda _: [999, 0, 0, 0], "reasons"),
        ("mode", lambda _: Mode.rules, "score"),
        ("commitment", lambda told: told[::-1], "commitment"),
    ],
)
def test_a_forged_decision_is_found(
    workspace: Workspace, field: str, change: Callable[[Any], Any], what: str
) -> None:
    """One changed field of one decision is found, told with both values, and nothing else is."""
    scored = arrivals(workspace)
    forge(workspace, scored[23], field, change)
    found = replay(workspace, span="1..")
    assert not found["same"]
    assert found["different"] == 1
    first = found["first_difference"]
    assert (first["arrival"], first["what"]) == (scored[23], what)
    assert first["journalled"] != first["recomputed"]
    assert first["decision_id"].endswith(f"-{scored[23]}")
    assert replay(workspace, span=f"1..{scored[22]}")["same"]


def test_the_first_difference_is_the_first(workspace: Workspace) -> None:
    """Of many differences the one with the lowest arrival is shown, and all are counted."""
    scored = arrivals(workspace)
    chosen = {scored[90], scored[12], scored[55]}

    def apply(arrival: int, payload: bytearray) -> None:
        if arrival in chosen:
            np.frombuffer(payload, PUBLIC, 1)["action"][0] ^= 3

    rewrite(workspace, apply)
    found = replay(workspace, span="1..")
    assert found["first_difference"]["arrival"] == scored[12]
    assert found["different"] == found["differences"]["action"] == 3


def test_a_forged_feature_is_found(workspace: Workspace) -> None:
    """A changed feature no longer fits its commitment, and the fold gives another, named."""
    arrival = arrivals(workspace)[40]
    names = list(show(workspace, f"{_stream(workspace)}-{arrival}")["features"])
    column = names.index("card_count_24h")

    def apply(at: int, payload: bytearray) -> None:
        if at == arrival:
            features = decode_decision(bytes(payload)).features
            offset = bytes(payload).index(features.tobytes())
            payload[offset + 4 * column : offset + 4 * column + 4] = np.float32(77).tobytes()

    rewrite(workspace, apply)
    found = replay(workspace, span="1..", features=True)
    assert found["differences"]["commitment"] == 1
    (part,) = (part for part in found["features"] if part["different"])
    assert part["differences"] == {"card_count_24h": 1}
    assert part["first_difference"]["what"] == "card_count_24h"
    assert part["first_difference"]["journalled"] == "77.0"
    assert part["first_difference"]["arrival"] == arrival


def test_another_runtime_is_held_to_a_tolerance(workspace: Workspace) -> None:
    """Under another runtime a score may be off by a millionth, not by more."""
    scored = arrivals(workspace)
    with (workspace.path / "assay.toml").open("a") as file:
        file.write("lateness_s = 3601\n")
    changed = Workspace.open(workspace.path)
    forge(changed, scored[23], "score", lambda score: score + np.float32(5e-7))
    found = replay(changed, span="1..")
    assert found["same"]
    assert (found["bit_for_bit"], found["to_1e-6"]) == (0, ROWS)
    shutil.rmtree(changed.journal.with_name("before"))
    forge(changed, scored[24], "score", lambda score: score + np.float32(2e-5))
    assert replay(changed, span="1..")["first_difference"]["arrival"] == scored[24]


def test_features_are_folded_from_the_newest_snapshot_before(workspace: Workspace) -> None:
    """With a snapshot before the range only what follows it is folded, and the bits are equal."""
    records = list(read_journal(workspace.journal))
    boot = BootRecord.decode(records[0][1])
    fold = make_fold(workspace, feature_set(workspace, boot.feature_set))
    fold.absorb(read_history(workspace, boot.dataset).events)
    for part in scan_events(records[:101]):
        fold(part.events)
    position, payload = records[101]
    arrival = EntryHead.decode(payload).arrival
    mark = Mark(_stream(workspace), position, arrival, NOW_MS, 100, boot.dataset)
    Snapshots(workspace.state, VirtualClock(NOW_MS)).write(fold, mark)
    (part,) = replay(workspace, span=f"{arrival + 20}..{arrival + 49}", features=True)["features"]
    assert (part["from"], part["compared"], part["folded"]) == (arrival, 30, 50)
    assert part["different"] == 0
    (part,) = replay(workspace, span=f"{arrival - 20}..{arrival}", features=True)["features"]
    assert (part["from"], part["different"]) == (1, 0)


def test_a_hole_in_the_journal_is_not_passed_over(workspace: Workspace) -> None:
    """What cannot be read is told, the rest is compared, and the whole is not called the same."""
    segment = Folder(workspace.journal).segment(1)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    found = replay(workspace, span="1..")
    assert not found["same"]
    assert found["different"] == 0
    assert ROWS // 2 <= found["decisions"] < ROWS
    (gap,) = found["gaps"]
    assert segment.name in gap
    with pytest.raises(JournalError, match=r"the features after it .*00000001"):
        replay(workspace, span="1..", features=True)


def test_a_policy_that_was_changed_since_changes_nothing(workspace: Workspace) -> None:
    """Decisions are judged by the policy that made them, not by the file as it is now."""
    workspace.policy.write_text(workspace.policy.read_text().replace("review = ", "review = 0.0"))
    (workspace.path / "features.py").unlink()
    assert replay(workspace, span="1..", features=True)["same"]


def test_a_version_that_is_missing_is_named(workspace: Workspace) -> None:
    """Without a policy, feature set or bundle that decided, the error names it."""
    policies = workspace.versions / "policies"
    (policy,) = policies.iterdir()
    policy.rename(workspace.versions / "away")
    with pytest.raises(PolicyError, match=f"policy {policy.stem} decided and is not in"):
        replay(workspace, span="1..")
    (workspace.versions / "away").rename(policy)
    shutil.rmtree(workspace.versions / "feature_sets")
    with pytest.raises(FeatureError, match=r"feature set .* decided and is not in"):
        replay(workspace, span="1..")
    arrival = arrivals(workspace)[0]
    assert "[0]" in show(workspace, f"{_stream(workspace)}-{arrival}")["features"]


def test_a_bundle_that_is_missing_or_changed_is_named(workspace: Workspace) -> None:
    """A bundle that is gone, or whose graph is another, is not asked for scores."""
    bundle = workspace.models / "boosting-0.1.0"
    graph = bundle / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(BundleError, match=r"boosting-0.1.0/model.onnx was changed"):
        replay(workspace, span="1..")
    shutil.rmtree(bundle)
    with pytest.raises(BundleError, match=r"no model 'boosting-0.1.0'"):
        replay(workspace, span="1..")


def test_an_empty_journal_has_nothing_to_differ(scenario: Scenario) -> None:
    """Before the first decision an audit of everything compares nothing and is content."""
    found = replay(scenario.workspace, span="1..", features=True)
    assert found["same"]
    assert found["decisions"] == 0


def test_kinds_that_move_no_money_have_no_score_again(decided: Workspace) -> None:
    """Logins and captures are in the range, unscored, and equal."""
    others = arrivals(decided, scored=False)
    kinds = {
        int(decode_decision(payload).event["kind"][0])
        for _, payload in read_journal(decided.journal)
        if EntryHead.decode(payload).arrival in others
    }
    assert kinds - {Kind.authorisation, Kind.transfer}


def _stream(workspace: Workspace) -> str:
    return Follower(workspace.journal).stream
