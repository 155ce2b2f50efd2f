"""The scorer, built from a workspace."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path

import llvmlite.binding
import msgspec

import assay
from assay.bootstrap.door import Door, internal_key, make_encoder
from assay.bootstrap.features import (
    continues,
    make_fold,
    restore_fold,
    state_bounds,
    state_snapshots,
)
from assay.bootstrap.journalled import Journalled
from assay.bootstrap.progress import Progress, quiet
from assay.bootstrap.rollout import Requests, first_scoring, release_loader
from assay.bootstrap.scoring import Scoring
from assay.bootstrap.versions import keep_versions
from assay.clock import Clock, SystemClock
from assay.datasets.table import History, TransactionTable
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.features.snapshots import Mark
from assay.ingest import zones
from assay.ingest.encode import Encoder
from assay.journal.boot_record import BootRecord
from assay.journal.follower import Follower
from assay.journal.ledger import Ledger
from assay.journal.log import Mirror
from assay.journal.reader import last_boot
from assay.serving.app import App
from assay.serving.engine import Engine
from assay.serving.keys import KeyRing
from assay.serving.ladder import Ladder
from assay.serving.rollout import Rollout
from assay.workspace import Workspace

log = logging.getLogger("assay.serving")

_DECIDING = (
    "reference_currency",
    "lateness_s",
    "entities_max",
    "entity_events_max",
    "attributes",
    "exempt",
)
"""Settings that can change a feature, a score or an action; the others say where and how fast."""

CHECK_EVERY_S = 0.25
"""How often a piece of the feature state is hashed for the worker to compare."""


def runtime_digest(workspace: Workspace) -> str:
    """Return the digest of all that can change a bit of an answer beside the named versions.

    Equal digests promise equal bits: code, libraries, the settings that decide, processor class.
    """
    settings = asdict(workspace.settings)
    code = hashlib.sha256()
    for path in sorted(Path(assay.__file__).parent.rglob("*.py")):
        code.update(path.read_bytes())
    facts = {
        "code": code.hexdigest(),
        "python": platform.python_version(),
        "libraries": sorted(f"{d.name} {d.version}" for d in distributions()),
        "machine": platform.machine(),
        "processor": llvmlite.binding.get_host_cpu_name(),  # type: ignore[no-untyped-call]
        "settings": {name: settings[name] for name in _DECIDING},
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()[:16]


@dataclass(frozen=True)
class RunningScorer:
    """A scorer that is ready to serve."""

    app: App
    engine: Engine
    ledger: Ledger
    scoring: Scoring
    fold: Fold
    """The feature state; the engine's, once that has started."""
    recovered: int
    snapshot: dict[str, int] | None
    """Position of the snapshot that recovery began with, and decisions ``replayed`` after it."""
    base: str
    """Snapshot of the history that the stream began with."""
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
    is the same as if nothing had happened. A snapshot of it shortens the way there.

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
    ledger = _open_ledger(workspace, scoring.features, clock)
    began = _restore(workspace, scoring.features, ledger, progress)
    recovered = ledger.recover(
        began.next_arrival,
        began.fold,
        lambda rows: progress("fold the journal", rows, rows),
        began.mark,
    )
    snapshot = began.told(recovered)
    log.info("%d decisions recovered, snapshot: %s", recovered, snapshot or "none")
    boot = _first_boot(workspace, scoring, revision, encoder, began.base)
    keep_versions(workspace, scoring)
    ledger.start(boot)
    engine = Engine(
        features=began.fold,
        ladder=Ladder(scoring.model, scoring.decide, clock),
        ledger=ledger,
        boots=ledger.boots,
        boot=ledger.boot,
        clock=clock,
        lateness_ms=settings.lateness_s * 1000,
        batch_rows_max=settings.batch_rows_max,
        queue_rows_max=settings.queue_rows_max,
        check_every_s=CHECK_EVERY_S if settings.keep_state == "on" else None,
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
        Journalled(workspace, ledger, scoring.features),
        body_bytes_max=settings.body_bytes_max,
        refused=lambda: rollout.refused,
        rules_only=rules_only,
        started_ms=clock.now_ms(),
    )
    # A model that was named on the command line stays, whatever is asked for.
    polling = None if model is not None else rollout
    return RunningScorer(
        app, engine, ledger, scoring, began.fold, recovered, snapshot, began.base, polling
    )


def _open_ledger(workspace: Workspace, features: FeatureSet, clock: Clock) -> Ledger:
    settings = workspace.settings
    return Ledger(
        workspace.journal,
        clock,
        segment_bytes=settings.segment_mb << 20,
        ids_max=settings.idempotency_ids_max,
        horizon_ms=settings.idempotency_h * 3_600_000,
        reserve_bytes=settings.disk_reserve_mb << 20,
        alarm_percent=settings.disk_alarm_percent,
        checked_position=_checked_position(workspace, features, clock),
        mirror=_mirror(workspace),
    )


def _checked_position(workspace: Workspace, features: FeatureSet, clock: Clock) -> int:
    """Return up to where the newest snapshot makes the journal's bytes dispensable.

    One that the journal does not continue is of no use to recovery, so it excuses no damage.
    """
    stream = Follower(workspace.journal).stream
    bounds = state_bounds(workspace)
    usable = state_snapshots(workspace, clock).usable(features, **bounds, stream=stream)
    marks = (snapshot.mark for snapshot in usable)
    return next((mark.position for mark in marks if continues(workspace, mark)), 0)


def _mirror(workspace: Workspace) -> Callable[[bytes, int], Mirror] | None:
    """Return what makes the connection to the standby that every answer waits for, if any."""
    settings = workspace.settings
    if not settings.sync_standby:
        return None
    from assay.journal.mirror import TcpMirror

    secret = internal_key(workspace).encode()
    tls_folder = workspace.path / settings.standby_tls if settings.standby_tls else None

    def connect(stream: bytes, epoch: int) -> Mirror:
        return TcpMirror(
            workspace.journal,
            settings.sync_standby,
            stream,
            epoch,
            secret,
            tls_folder=tls_folder,
        )

    return connect


@dataclass(frozen=True)
class _Beginning:
    """The state that recovery goes on with."""

    fold: Fold
    mark: Mark | None
    base: str
    next_arrival: int

    def told(self, recovered: int) -> dict[str, int] | None:
        """Return what is said of the snapshot when all is recovered."""
        if self.mark is None:
            return None
        return {"position": self.mark.position, "replayed": recovered - self.mark.rows}


def _restore(
    workspace: Workspace, features: FeatureSet, ledger: Ledger, progress: Progress
) -> _Beginning:
    """Return the newest snapshot's state, or without one that fits, that of the history."""
    progress("load the feature kernel", 0, 0)
    restored = restore_fold(workspace, features, ledger.name, ledger.position)
    if restored is not None:
        progress("load the feature kernel", 1, 1)
        fold, mark = restored
        return _Beginning(fold, mark, mark.base, mark.next_arrival)
    fold = make_fold(workspace, features)
    progress("load the feature kernel", 1, 1)
    history = read_history(workspace, ledger.base)
    fold.absorb(history.events, partial(progress, "fold the history"))
    return _Beginning(fold, None, history.snapshot, len(history.events) + 1)


def _first_boot(
    workspace: Workspace, scoring: Scoring, revision: int, encoder: Encoder, base: str
) -> BootRecord:
    return BootRecord(
        model=scoring.model_id,
        policy=scoring.policy.id,
        feature_set=scoring.features.digest[:16],
        runtime=runtime_digest(workspace),
        fx=encoder.rates.version,
        time_zones=zones.VERSION,
        dataset=base,
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


def left_out_rows(workspace: Workspace, base: str | None = None) -> int:
    """Return how many imported rows are not in the scorer's windows: its stream began before.

    Parameters
    ----------
    workspace : Workspace
    base : str, optional
        Snapshot that the stream began with; by default the journal is asked.
    """
    if base is None:
        boot = last_boot(workspace.journal)
        if boot is None:
            return 0
        base = boot.dataset
    table = TransactionTable(workspace.tables)
    return table.rows() - table.rows(base)
