"""The scorer, built from a workspace."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path

import llvmlite.binding
import msgspec

import assay
from assay.bootstrap.door import Door, internal_key, make_encoder
from assay.bootstrap.features import make_fold
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.rollout import Requests, first_scoring, release_loader
from assay.bootstrap.scoring import Scoring
from assay.clock import Clock, SystemClock
from assay.datasets.table import History, TransactionTable
from assay.ingest import zones
from assay.ingest.encode import Encoder
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.serving.app import App
from assay.serving.engine import Engine
from assay.serving.keys import KeyRing
from assay.serving.ladder import Ladder
from assay.serving.rollout import Rollout
from assay.workspace import Workspace


def runtime_digest(workspace: Workspace) -> str:
    """Return the digest of all that can change a bit of an answer beside the named versions.

    Equal digests promise equal bits: code, libraries, settings, processor class.
    """
    code = hashlib.sha256()
    for path in sorted(Path(assay.__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    facts = {
        "code": code.hexdigest(),
        "python": platform.python_version(),
        "libraries": sorted(f"{d.name} {d.version}" for d in distributions()),
        "machine": platform.machine(),
        "processor": llvmlite.binding.get_host_cpu_name(),  # type: ignore[no-untyped-call]
        "settings": asdict(workspace.settings) | {"host": "", "port": 0},
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:16]


@dataclass(frozen=True)
class RunningScorer:
    """A scorer that is ready to serve."""

    app: App
    engine: Engine
    ledger: Ledger
    scoring: Scoring
    recovered: int
    rollout: Rollout | None
    """Takes up requests for another model, once started; None if the model is pinned."""


def build_scorer(
    workspace: Workspace,
    model: str | None = None,
    *,
    rules_only: bool = False,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> RunningScorer:
    """Load, recover and connect everything that a scorer is made of.

    The state is what the history before the stream and the journal fold to: after a crash it
    is the same as if nothing had happened.

    Raises
    ------
    AssayError
        If any part is missing, damaged or does not belong to the others.
    """
    clock = clock or SystemClock()
    settings = workspace.settings
    keys = _load_keys(workspace)
    requests = Requests(workspace.control)
    scoring, revision = first_scoring(workspace, requests, model, rules_only=rules_only)
    encoder = make_encoder(workspace)
    ledger = Ledger(
        workspace.journal,
        clock,
        segment_bytes=settings.segment_mb << 20,
        ids_max=settings.idempotency_ids_max,
        horizon_ms=settings.idempotency_h * 3_600_000,
    )
    progress("load the feature kernel", 0, 0)
    fold = make_fold(workspace, scoring.features)
    progress("load the feature kernel", 1, 1)
    history = read_history(workspace, ledger.base)
    fold.absorb(history.events, partial(progress, "fold the history"))
    recovered = ledger.recover(
        len(history.events) + 1, fold, lambda rows: progress("fold the journal", rows, rows)
    )
    boot = _first_boot(workspace, scoring, revision, encoder, history)
    ledger.start(boot)
    engine = Engine(
        features=fold,
        ladder=Ladder(scoring.model, scoring.decide, clock),
        ledger=ledger,
        boots=ledger.boots,
        boot=ledger.boot,
        clock=clock,
        lateness_ms=settings.lateness_s * 1000,
        batch_rows_max=settings.batch_rows_max,
        queue_rows_max=settings.queue_rows_max,
    )
    rollout = Rollout(
        requests.newest,
        release_loader(workspace, scoring, boot, rules_only=rules_only),
        engine.switch,
        (revision, scoring.model_id),
        clock,
    )
    app = App(
        engine,
        Door(encoder, clock),
        keys,
        body_bytes_max=settings.body_bytes_max,
        refused=lambda: rollout.refused,
        rules_only=rules_only,
        started_ms=clock.now_ms(),
    )
    # A model that was named on the command line stays, whatever is asked for.
    polling = None if model is not None else rollout
    return RunningScorer(app, engine, ledger, scoring, recovered, polling)


def _first_boot(
    workspace: Workspace, scoring: Scoring, revision: int, encoder: Encoder, history: History
) -> BootRecord:
    return BootRecord(
        model=scoring.model_id,
        policy=scoring.policy.id,
        feature_set=scoring.features.digest[:16],
        runtime=runtime_digest(workspace),
        fx=encoder.rates.version,
        time_zones=zones.VERSION,
        dataset=history.snapshot,
        arms=("champion",),
        reasons=scoring.policy.reasons,
        revision=revision,
    )


def _load_keys(workspace: Workspace) -> KeyRing:
    """Return the keys in force, the internal one among them."""
    KeyRing.load(workspace.api_keys)  # refuses a workspace that nobody could ask
    internal_key(workspace)
    return KeyRing.load(workspace.api_keys)


def read_history(workspace: Workspace, base: str | None) -> History:
    """Return the imported transactions that come before the scorer's stream.

    Parameters
    ----------
    workspace : Workspace
    base : str or None
        Snapshot that the stream began with; None before it has begun: everything imported.
    """
    return TransactionTable(workspace.tables).read(base)


def left_out_rows(workspace: Workspace) -> int:
    """Return how many imported rows are not in the scorer's windows: its stream began before."""
    first = next(read_journal(workspace.journal), None)
    if first is None:
        return 0
    table = TransactionTable(workspace.tables)
    return table.rows() - table.rows(BootRecord.decode(first[1]).dataset)
