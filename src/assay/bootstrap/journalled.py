"""What is journalled of a decision, as one document: for callers who ask for it by its id."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from assay.bootstrap.versions import feature_set
from assay.errors import FeatureError
from assay.features.definitions import FeatureSet
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import DecisionRecord, decode_decision
from assay.journal.entries import EntryHead, EntryKind, leaf_of
from assay.journal.ledger import Ledger
from assay.records import Flag
from assay.serving.answers import Answers
from assay.workspace import Workspace

_ARRIVAL: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


def named_versions(boot: BootRecord) -> dict[str, Any]:
    """Return a boot record but for its catalogue of reasons, which decisions name from."""
    versions: dict[str, Any] = msgspec.to_builtins(boot)
    versions.pop("reasons", None)
    return versions


class Journalled:
    """Finds a decision in a scorer's journal and tells all that is known about it.

    Parameters
    ----------
    workspace : Workspace
        Has the feature sets that decided.
    ledger : Ledger
    features : FeatureSet
        Those of the scorer.
    """

    def __init__(self, workspace: Workspace, ledger: Ledger, features: FeatureSet) -> None:
        self._workspace, self._ledger = workspace, ledger
        self._own = features.digest[:16], features.names
        self._names = lru_cache(maxsize=16)(self._read_names)

    def __call__(self, decision_id: str) -> bytes | None:
        """Return the document as JSON; None if no decision of this journal has that id.

        Raises
        ------
        DamageError
            If the record cannot be read.
        """
        name, _, number = decision_id.rpartition("-")
        if name != self._ledger.name or not _ARRIVAL.fullmatch(number):
            return None
        payload = self._ledger.find_arrival(int(number))
        if payload is None or EntryHead.decode(payload).kind != EntryKind.decision:
            return None
        return msgspec.json.encode(self._document(decode_decision(payload), leaf_of(payload)))

    def _document(self, record: DecisionRecord, leaf: bytes) -> dict[str, Any]:
        versions = self._ledger.versions(record.boot)
        answers = Answers(versions, self._ledger.decision_id)
        return {
            "decision": msgspec.Raw(answers.again(record.transaction_id, record, leaf)),
            "arrival": record.arrival,
            "arrival_ms": record.arrival_ms,
            "flags": [flag.name for flag in Flag if record.event_flags & flag],
            "versions": named_versions(versions) | {"arrival": record.boot},
            "features": self._features(versions.feature_set, record.features.tolist()),
            "transaction": msgspec.Raw(record.canonical),
        }

    def _features(self, version: str, values: list[float]) -> Any:
        """Return the values by name; in their order, if the names were not kept."""
        given = [None if math.isnan(value) else value for value in values]
        names = self._names(version)
        return dict(zip(names, given, strict=True)) if len(names) == len(given) else given

    def _read_names(self, version: str) -> tuple[str, ...]:
        if version == self._own[0]:
            return self._own[1]
        try:
            return feature_set(self._workspace, version).names
        except FeatureError:  # it decided before versions were kept
            return ()
