"""What auditors ask of the journal: all about one decision, and whether it comes out again."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from assay.bootstrap.audit_range import Reading, Span
from assay.bootstrap.door import make_tokeniser
from assay.bootstrap.feature_replay import FeatureReplay
from assay.bootstrap.journalled import named_versions
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.score_replay import ScoreReplay
from assay.bootstrap.scorer import runtime_digest
from assay.bootstrap.versions import feature_set
from assay.clock import Clock, SystemClock
from assay.errors import FeatureError, JournalError, SettingsError
from assay.ingest.firewall import masked
from assay.journal.boot_record import BootRecord
from assay.journal.decision_record import DecisionRecord, decision_id, decode_decision
from assay.journal.entries import EntryHead, EntryKind, leaf_of
from assay.journal.log import OFFSET_BITS
from assay.journal.lookup import Lookup
from assay.records import Flag
from assay.serving.answers import Answers
from assay.workspace import Workspace

_OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
_DIGITS_MAX: Final = 19
"""Of an arrival number; what is longer is none."""


def show(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return everything that the journal says of one decision.

    Parameters
    ----------
    workspace : Workspace
    name : str
        A decision id, or a transaction id: then its newest decision.

    Raises
    ------
    JournalError
        If there is none, or its record is damaged.
    """
    lookup = Lookup(workspace.journal)
    position, payload = find(workspace, lookup, name)
    record = decode_decision(payload)
    boot = lookup.boot(record.boot)
    answers = Answers(boot, partial(decision_id, lookup.stream))
    answer = answers.again(record.transaction_id, record, leaf_of(payload))
    return {
        **msgspec.json.decode(answer),
        "arrival": record.arrival,
        "arrival_ms": record.arrival_ms,
        "flags": [flag.name for flag in Flag if record.event_flags & flag],
        "boot": record.boot,
        "versions": named_versions(boot),
        "position": position,
        "segment": f"{position >> OFFSET_BITS:08d}",
        "offset": position & _OFFSET_MASK,
        "bytes": len(payload),
        "commitment": record.commitment.hex(),
        "transaction": msgspec.json.decode(record.canonical),
        "features": _features(workspace, boot, record),
    }


def replay(
    workspace: Workspace,
    name: str | None = None,
    span: str | None = None,
    *,
    features: bool = False,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Compute decisions again from what the journal holds, and compare.

    Parameters
    ----------
    workspace : Workspace
    name : str, optional
        A decision or transaction id; or else
    span : str, optional
        A range, as `Span.parse` reads it.
    features : bool
        Compute the feature vectors again, too, from the events before them.

    Returns
    -------
    dict
        ``same``, whether all of it came out again; what was compared and how; the number of
        differences and the first one; ``gaps`` of the journal within the range.

    Raises
    ------
    AssayError
        If a version that decided is missing or was changed, or the journal cannot be read.
    """
    started = time.perf_counter()
    lookup = Lookup(workspace.journal)
    if (name is None) == (span is None):
        raise SettingsError("accepted: either a decision's id, or a range with --range A..B")
    wanted = _one(workspace, lookup, name) if name is not None else Span.parse(span or "")
    begin = wanted.position(workspace.journal, lookup)
    reading = Reading(workspace.journal, begin)
    scores = ScoreReplay(workspace, lookup.stream, runtime_digest(workspace), lookup.boot)
    told = partial(progress, "replay scores")
    first = 0
    for records, position in reading.within(wanted, lambda n: told(n, wanted.arrivals)):
        first = first or records[0][0]
        scores.check(records, position)
    took_s = round(time.perf_counter() - started, 3)
    document = scores.document()
    refolded = [
        FeatureReplay(workspace, used, boots, lookup.stream, clock or SystemClock()).run(
            wanted, first, progress
        )
        for used, boots in (scores.feature_sets() if features else ())
    ]
    wrong = document["different"] + sum(part["different"] for part in refolded)
    return {
        "same": not wrong and not reading.gaps,
        **document,
        "gaps": [gap.why for gap in reading.gaps],
        "replay_s": took_s,
        **({"features": refolded} if features else {}),
    }


def find(workspace: Workspace, lookup: Lookup, name: str) -> tuple[int, bytes]:
    """Return position and payload of a decision, by its own id or its transaction's.

    Raises
    ------
    JournalError
        If there is none.
    """
    stream, _, digits = name.rpartition("-")
    if stream and stream == lookup.stream and digits.isascii() and digits.isdigit():
        found = lookup.by_arrival(int(digits)) if len(digits) < _DIGITS_MAX else None
        if found is not None and EntryHead.decode(found[1]).kind == EntryKind.decision:
            return found
    id_hash = make_tokeniser(workspace).hash64("transaction", name)
    for position, payload in lookup.by_transaction(id_hash):
        if decode_decision(payload).transaction_id == name:
            return position, payload
    raise JournalError(
        f"the journal holds no decision {masked(name)!r}; accepted: a decision id such as "
        f"{lookup.stream or 'aaaqeayeaudaocaj'}-42, or the transaction id that was sent"
    )


def _one(workspace: Workspace, lookup: Lookup, name: str) -> Span:
    arrival = EntryHead.decode(find(workspace, lookup, name)[1]).arrival
    return Span(arrival, arrival)


def _features(
    workspace: Workspace, boot: BootRecord, record: DecisionRecord
) -> dict[str, float | None]:
    """Return the features by name; by number where the definitions are lost."""
    try:
        names = feature_set(workspace, boot.feature_set).names
    except FeatureError:
        names = ()
    if len(names) != len(record.features):
        names = tuple(f"[{column}]" for column in range(len(record.features)))
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(names, record.features, strict=True)
    }
