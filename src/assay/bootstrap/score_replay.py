"""Score replay: score, reasons and action once more, from the features that the journal holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from assay.bootstrap.audit_range import Records
from assay.bootstrap.bundles import find_folder
from assay.bootstrap.difference import Differences
from assay.bootstrap.versions import feature_set, kept_policy
from assay.decisions.decide import decide
from assay.decisions.policy import Policy
from assay.errors import BundleError, JournalError
from assay.features.definitions import FeatureSet
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import PUBLIC, PUBLIC_BYTES
from assay.journal.entries import EntryKind
from assay.journal.stretch import decode_stretches
from assay.records import SCORED_KINDS, Action, Batch, Mode
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.scoring.scorer import Scorer
from assay.workspace import Workspace

TOLERANCE: Final = 1e-6
"""How far a score may be off that another runtime computed."""

_NO_MODEL: Final = "none"
_COMMITMENT: Final = slice(PUBLIC_BYTES - 32, PUBLIC_BYTES)
_COMMITTED: Final = slice(PUBLIC_BYTES + 4, None)
assert PUBLIC.fields
assert PUBLIC.fields["commitment"][1] == _COMMITMENT.start


@dataclass(frozen=True)
class Versions:
    """What decided, loaded again.

    Attributes
    ----------
    features : FeatureSet
    policy : Policy
    model : Scorer or None
        None where rules decided alone.
    exact : bool
        Whether this installation promises equal bits.
    """

    features: FeatureSet
    policy: Policy
    model: Scorer | None
    exact: bool

    @classmethod
    def load(cls, workspace: Workspace, boot: BootRecord, runtime: str) -> Versions:
        """Load what a boot record names.

        Raises
        ------
        BundleError, FeatureError, PolicyError
            If one is missing or was changed; the message names it.
        """
        features = feature_set(workspace, boot.feature_set)
        policy = kept_policy(workspace, boot.policy, features)
        model = None if boot.model == _NO_MODEL else _load_model(workspace, boot, features)
        return cls(features, policy, model, boot.runtime == runtime)


def _load_model(workspace: Workspace, boot: BootRecord, features: FeatureSet) -> Scorer:
    folder = find_folder(workspace, boot.model)
    bundle = Bundle.load(folder, public_key(workspace.keys))
    manifest = bundle.manifest
    if manifest.model_id != boot.model or manifest.feature_set != features.digest:
        raise BundleError(
            f"{folder.name} holds {manifest.model_id} over feature set "
            f"{manifest.feature_set[:16]}; accepted: {boot.model} over {boot.feature_set}, as it "
            "decided, restore the bundle"
        )
    return Scorer(bundle)


class ScoreReplay:
    """Computes decisions again and compares them with the journal.

    The rung that answered is taken from the journal: where the model failed, its rules are asked
    again, not the model. The score is compared bit for bit if the boot record's runtime is this
    installation's, else to `TOLERANCE`; mode, action, reasons and the commitment to the private
    part are compared in any case.

    Parameters
    ----------
    workspace : Workspace
    stream : str
    runtime : str
        Digest of this installation.
    boot_of : callable
        From an arrival number to the boot record there.

    Attributes
    ----------
    skipped : dict of str to int
        Records that are no decisions.
    exact, tolerant : int
        Decisions compared bit for bit, and those compared to `TOLERANCE`.
    """

    def __init__(
        self,
        workspace: Workspace,
        stream: str,
        runtime: str,
        boot_of: Callable[[int], BootRecord],
    ) -> None:
        self._workspace, self._runtime, self._boot_of = workspace, runtime, boot_of
        self._boots: dict[int, Versions] = {}
        self._versions: dict[tuple[str, ...], Versions] = {}
        self.found = Differences(stream)
        self.skipped = {"boots": 0, "labels": 0, "checks": 0}
        self.exact = self.tolerant = 0

    @property
    def decisions(self) -> int:
        """Decisions compared so far."""
        return self.exact + self.tolerant

    def check(self, records: Records, position_after: int) -> None:
        """Compare the decisions among records.

        Raises
        ------
        AssayError
            If a version is missing or was changed, or a record cannot be read.
        """
        left = [payload for _, payload in records if payload[1] == EntryKind.decision]
        for stretch in decode_stretches(records, position_after):
            self.skipped["boots"] += len(stretch.switches)
            self.skipped["labels"] += len(stretch.reports) + len(stretch.labels)
            self.skipped["checks"] += len(stretch.checks)
            payloads, left = left[: len(stretch.batch)], left[len(stretch.batch) :]
            changes = np.flatnonzero(stretch.boots[1:] != stretch.boots[:-1]) + 1
            for begin, end in pairwise([0, *changes.tolist(), len(payloads)]):
                if begin < end:
                    part = slice(begin, end)
                    versions = self._load(int(stretch.boots[begin]))
                    self._compare(batch_part(stretch.batch, part), payloads[part], versions)

    def feature_sets(self) -> list[tuple[FeatureSet, list[int]]]:
        """Return the feature sets that decided, each with the arrivals of its boot records."""
        sets: dict[str, tuple[FeatureSet, list[int]]] = {}
        for boot, versions in self._boots.items():
            used = versions.features
            sets.setdefault(used.digest, (used, []))[1].append(boot)
        return list(sets.values())

    def document(self) -> dict[str, Any]:
        """Return what was found, as builtins."""
        return {
            "decisions": self.decisions,
            "skipped": self.skipped,
            "bit_for_bit": self.exact,
            "to_1e-6": self.tolerant,
            **self.found.document(),
        }

    def _load(self, boot: int) -> Versions:
        if boot not in self._boots:
            record = self._boot_of(boot)
            named = (record.model, record.policy, record.feature_set, record.runtime)
            if named not in self._versions:
                self._versions[named] = Versions.load(self._workspace, record, self._runtime)
            self._boots[boot] = self._versions[named]
        return self._boots[boot]

    def _compare(self, told: Batch, payloads: list[bytes], versions: Versions) -> None:
        width = len(versions.features.names)
        if told.features.shape[1] != width:
            raise JournalError(
                f"decision record {told.events['arrival'][0]} has {told.features.shape[1]} "
                f"features; accepted: {width}, as feature set {versions.features.digest[:16]} has"
            )
        again = recompute(told, versions)
        if versions.exact:
            self.exact += len(told)
            score = told.scores.view(np.uint32) != again.scores.view(np.uint32)
        else:
            self.tolerant += len(told)
            score = ~np.isclose(told.scores, again.scores, rtol=0, atol=TOLERANCE, equal_nan=True)
        wrong = {
            "score": score,
            "mode": told.modes != again.modes,
            "action": told.actions != again.actions,
            "reasons": (told.reasons != again.reasons).any(axis=1),
            "commitment": np.array([_commitment(p) != p[_COMMITMENT] for p in payloads]),
        }
        self.found.add(
            told.events["arrival"],
            wrong,
            lambda what, row: (
                (payloads[row][_COMMITMENT].hex(), _commitment(payloads[row]).hex())
                if what == "commitment"
                else (_show(told, what, row), _show(again, what, row))
            ),
        )


def _commitment(payload: bytes) -> bytes:
    """Return the hash of a private part, which its public part holds."""
    return hashlib.sha256(b"\x02" + payload[_COMMITTED]).digest()


def recompute(told: Batch, versions: Versions) -> Batch:
    """Return a batch decided again from its events, features and modes."""
    payment = np.isin(told.events["kind"], SCORED_KINDS)
    scored = payment & (told.modes < Mode.rules)
    again = Batch(told.events, told.features, modes=told.modes.copy())
    again.scores = np.full(len(told), np.nan, np.float32)
    if versions.model is not None and scored.any():
        rows = told.features if scored.all() else told.features[scored]
        again.scores[scored] = versions.model.score(rows)
    decide(again, versions.policy)
    return again


def batch_part(batch: Batch, part: slice) -> Batch:
    """Return some rows of a decided batch, without copying them."""
    return Batch(
        batch.events[part],
        batch.features[part],
        batch.scores[part],
        batch.actions[part],
        batch.reasons[part],
        batch.modes[part],
    )


def _show(batch: Batch, what: str, row: int) -> Any:
    """Return one thing of a decision for a reader; a score with all the digits that it has."""
    if what == "score":
        return str(batch.scores[row])
    if what == "mode":
        return _name(Mode, batch.modes[row])
    if what == "action":
        return _name(Action, batch.actions[row])
    return [f"R{code:03d}" for code in batch.reasons[row].tolist() if code]


def _name(kind: type[Action | Mode], code: int) -> str:
    return {int(member): member.name for member in kind}.get(int(code), f"code {code}")
