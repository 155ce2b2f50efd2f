"""The scorer, built from a workspace."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite.binding
import msgspec

import assay
from assay.bootstrap.door import Door, make_encoder
from assay.bootstrap.features import make_fold, workspace_features
from assay.bootstrap.progress import Progress, quiet
from assay.clock import Clock, SystemClock
from assay.datasets.table import History, TransactionTable
from assay.decisions.decide import decide
from assay.decisions.policy import Policy
from assay.errors import (
    BundleError,
    PolicyError,
)
from assay.features.definitions import FeatureSet
from assay.ingest import zones
from assay.ingest.money import CURRENCIES
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.records import Batch
from assay.scoring.bundle import Bundle
from assay.scoring.keys import public_key
from assay.scoring.scorer import Scorer
from assay.serving.app import App
from assay.serving.engine import Engine
from assay.serving.keys import KeyRing
from assay.serving.ladder import Ladder
from assay.workspace import Workspace

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Scoring:
    """A model, the features it was trained on, and the policy over both."""

    features: FeatureSet
    model: Scorer | None
    model_id: str
    policy: Policy

    def decide(self, batch: Batch) -> None:
        """Fill a batch's actions, reasons and modes."""
        decide(batch, self.policy)


def find_bundle(workspace: Workspace, name: str | None) -> Path:
    """Return the folder of a bundle: the named one, else the newest version.

    Raises
    ------
    BundleError
        If there is none.
    """
    if name is not None:
        if not (folder := workspace.models / name).is_dir():
            known = ", ".join(sorted(p.name for p in workspace.models.glob("*-*"))) or "none yet"
            raise BundleError(f"no model {name!r}; accepted: {known}")
        return folder
    folders = [p for p in workspace.models.glob("*-*.*.*") if p.is_dir()]
    if not folders:
        raise BundleError(
            f"no model in {workspace.models}; train one with: assay train, "
            "or decide by rules alone with: assay serve --rules-only"
        )
    return max(folders, key=lambda p: [int(n) for n in p.name.rsplit("-", 1)[1].split(".")])


def load_scoring(
    workspace: Workspace, model: str | None = None, *, rules_only: bool = False
) -> Scoring:
    """Load a model with its features and policy, checking that they belong together.

    Raises
    ------
    BundleError, FeatureError, PolicyError
        If one is missing or wrong; the message says what to do.
    """
    defined = workspace_features(workspace)
    if rules_only:
        return Scoring(defined, None, "none", _load_policy(workspace, defined))
    bundle = Bundle.load(find_bundle(workspace, model), public_key(workspace.keys))
    manifest = bundle.manifest
    wanted = set(manifest.features)
    features = FeatureSet(tuple(f for f in defined.features if f.name in wanted))
    if features.digest != manifest.feature_set or features.names != tuple(manifest.features):
        raise BundleError(
            f"{manifest.model_id} was trained on feature set {manifest.feature_set[:12]}, "
            f"features.py gives {features.digest[:12]}; restore features.py or train again"
        )
    return Scoring(features, Scorer(bundle), manifest.model_id, _load_policy(workspace, features))


def _load_policy(workspace: Workspace, features: FeatureSet) -> Policy:
    if not workspace.policy.is_file():
        raise PolicyError(
            f"{workspace.policy} is missing; accepted: a policy, assay train writes a first one"
        )
    text = workspace.policy.read_text(encoding="utf-8")
    return Policy.load(text, features.names, {code: c.number for code, c in CURRENCIES.items()})


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
    keys = KeyRing.load(workspace.api_keys)
    scoring = load_scoring(workspace, model, rules_only=rules_only)
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
    boot = BootRecord(
        model=scoring.model_id,
        policy=scoring.policy.id,
        feature_set=scoring.features.digest[:16],
        runtime=runtime_digest(workspace),
        fx=encoder.rates.version,
        time_zones=zones.VERSION,
        dataset=history.snapshot,
        arms=("champion",),
        reasons=scoring.policy.reasons,
    )
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
    versions = {"model": boot.model, "policy": boot.policy, "feature_set": boot.feature_set}
    app = App(
        engine, Door(encoder), keys, body_bytes_max=settings.body_bytes_max, versions=versions
    )
    return RunningScorer(app, engine, ledger, scoring, recovered)


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
