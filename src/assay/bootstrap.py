"""Builds the running system from a workspace: the only module that knows every stage."""

from __future__ import annotations

import hashlib
import platform
import runpy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite.binding
import msgspec
import numpy as np

import assay
from assay import durable
from assay.clock import Clock, SystemClock
from assay.datasets.table import History, TransactionTable
from assay.decisions.decide import decide
from assay.decisions.default_policy import default_policy
from assay.decisions.policy import Policy
from assay.errors import (
    BundleError,
    CardNumberError,
    FeatureError,
    PolicyError,
    SettingsError,
    TrainingError,
)
from assay.features.default_set import default_features
from assay.features.definitions import FeatureSet
from assay.features.fold import Fold
from assay.ingest import zones
from assay.ingest.decode import decode
from assay.ingest.encode import EXEMPTIBLE, Encoder
from assay.ingest.firewall import contains_card_number
from assay.ingest.importer import import_file, read_transactions
from assay.ingest.mapping import Mapping
from assay.ingest.money import CURRENCIES, Rates
from assay.ingest.quality import QualityReport
from assay.ingest.tokens import Tokeniser, load_or_create_key
from assay.journal.boot_record import BootRecord
from assay.journal.ledger import Ledger
from assay.journal.reader import read_journal
from assay.journal.recovery import scan_events
from assay.records import EVENT, Action, Batch, Imported, Mode
from assay.scoring.bundle import Bundle, write_bundle
from assay.scoring.keys import public_key, signing_key
from assay.scoring.scorer import Scorer
from assay.serving.app import App
from assay.serving.arrival import flag_arrivals
from assay.serving.engine import Engine
from assay.serving.keys import KeyRing, create_key
from assay.serving.ladder import Ladder
from assay.workspace import Workspace

if TYPE_CHECKING:
    from assay.training.train import TrainingResult

Progress = Callable[[str, int, int], None]
"""Called with the step at hand, how much of it is done, and how much there is (0: unknown)."""


IMPORT_MEMO = 1_000_000
"""Tokens that an import remembers: the same cards come again and again."""


def quiet(_step: str, _done: int, _total: int) -> None:
    """Report no progress."""


# --- the door -----------------------------------------------------------------------------------


def make_encoder(workspace: Workspace, memo: int = 0) -> Encoder:
    """Return the encoder of a workspace: its key, its rates, its attributes and exemptions."""
    settings = workspace.settings
    exempt = frozenset(settings.exempt)
    if not exempt <= set(EXEMPTIBLE):
        raise SettingsError(f"exempt is {sorted(exempt)}; accepted: any of {list(EXEMPTIBLE)}")
    return Encoder(
        make_tokeniser(workspace),
        Rates.load(workspace.fx, settings.reference_currency),
        settings.attributes,
        exempt,
        memo,
    )


def make_tokeniser(workspace: Workspace) -> Tokeniser:
    """Return the tokeniser with the workspace's key; the very first call makes the key.

    Raises
    ------
    SettingsError
        If the key is missing or another than the one that tokenised what is there: under another
        key no card would be recognised, and every one would look new.
    """
    path, check = workspace.keys / "token.key", workspace.data / "token.check"
    if check.exists() and not path.exists():
        raise SettingsError(f"{path} is missing; accepted: the workspace's own key, restore it")
    tokeniser = Tokeniser(load_or_create_key(path))
    fingerprint = tokeniser.digest("row", b"key check").hex()[:32]
    if not check.exists():
        durable.replace(check, fingerprint.encode())
    elif check.read_text("ascii") != fingerprint:
        raise SettingsError(
            f"{path} is not the key of this workspace; accepted: the key that tokenised its "
            "history, restore it"
        )
    return tokeniser


@dataclass(frozen=True)
class Door:
    """Decodes, checks and tokenises the body of a request."""

    encoder: Encoder

    def admit(self, body: bytes) -> tuple[Imported, int]:
        """Return the safe row and the keyed digest of its canonical form."""
        row = self.encoder.encode(decode(body))
        return row, self.encoder.body_hash(row)

    def check_path(self, path: str) -> None:
        """Refuse a path with a card number in it."""
        if contains_card_number(path):
            raise CardNumberError("path")


def create_api_key(workspace: Workspace, name: str, clock: Clock | None = None) -> str:
    """Make an API key and return its secret, which cannot be had again."""
    return create_key(workspace.api_keys, name, clock or SystemClock())


# --- features -----------------------------------------------------------------------------------


def workspace_features(workspace: Workspace) -> FeatureSet:
    """Return the feature set that the workspace's ``features.py`` defines.

    Raises
    ------
    FeatureError
        If the file is missing, does not run, or defines no `FeatureSet` named ``features``.
    """
    path = workspace.path / "features.py"
    if not path.is_file():
        raise FeatureError(f"{path} is missing; make it with: assay init {workspace.path}")
    try:
        features = runpy.run_path(str(path)).get("features")
    except FeatureError:
        raise
    except (Exception, SystemExit) as error:
        raise FeatureError(f"features.py does not run: {type(error).__name__}: {error}") from error
    if not isinstance(features, FeatureSet):
        raise FeatureError("features.py defines no FeatureSet named 'features'")
    return features


def make_fold(workspace: Workspace, features: FeatureSet) -> Fold:
    """Return an empty feature state with the workspace's bounds."""
    settings = workspace.settings
    return Fold(
        features,
        lateness_ms=settings.lateness_s * 1000,
        entities_max=settings.entities_max,
        events_max=settings.entity_events_max,
    )


# --- training -----------------------------------------------------------------------------------


def train_model(
    workspace: Workspace, *, seed: int = 0, progress: Progress = quiet, clock: Clock | None = None
) -> TrainingResult:
    """Train the next version on everything imported, and write a first policy if there is none."""
    from assay.training.train import train

    history = TransactionTable(workspace.tables).read()
    if not len(history.events):
        raise TrainingError("nothing is imported yet; accepted: after assay import")
    if not (history.fraud == 1).any():
        raise TrainingError(
            f"none of the {len(history.events):,} imported transactions is labelled as fraud; "
            "accepted: labels, mapped under [label] when they are imported (docs/ingest.md)"
        )
    kinds = frozenset(int(kind) for kind in set(history.events["kind"].tolist()))
    features = workspace_features(workspace).available(history.fields, kinds)
    progress("compile the feature kernel", 0, 0)
    fold = make_fold(workspace, features)
    progress("compile the feature kernel", 1, 1)
    matrix = fold.replay(history.events, partial(progress, "replay the history"))
    result = train(
        history.events,
        matrix,
        history.fraud,
        history.reported_ms,
        names=features.names,
        feature_set_digest=features.digest,
        dataset_snapshot=history.snapshot,
        out_dir=workspace.models,
        write_bundle=partial(write_bundle, key=signing_key(workspace.keys)),
        clock=clock or SystemClock(),
        label_delay_days=workspace.settings.label_delay_days,
        seed=seed,
        progress=lambda _step, share: progress("train the model", int(share * 100), 100),
    )
    if not workspace.policy.exists() or workspace.policy.read_text("utf-8") == first_policy():
        thresholds = suggested_thresholds(result.metrics)
        workspace.policy.write_text(default_policy(features.names, thresholds), encoding="utf-8")
    return result


def first_policy() -> str:
    """Return the policy of a new workspace: training replaces it while nobody has changed it."""
    return default_policy(default_features().names, {})


def create_workspace(folder: Path, reference_currency: str = "EUR") -> Workspace:
    """Make a workspace with a first policy; files that are there already stay as they are.

    Raises
    ------
    SettingsError
        If the currency is unknown.
    """
    if reference_currency not in CURRENCIES:
        raise SettingsError(f"currency {reference_currency!r}; accepted: an ISO 4217 code")
    workspace = Workspace.create(folder, reference_currency)
    if not workspace.policy.exists():
        workspace.policy.write_text(first_policy(), encoding="utf-8")
    return workspace


FLAGGED_SHARES = {"challenge": 0.01, "review": 0.005, "decline": 0.001}
"""Shares of payments that a first policy stops at each action; the user's own to change."""


def suggested_thresholds(metrics: dict[str, Any]) -> dict[str, float]:
    """Return thresholds for a first policy: those whose flagged share is nearest the wanted."""
    points = [row["chosen_on"] for row in metrics["thresholds"]]
    if not points:
        return {}
    return {
        name: max(1e-6, round(min(points, key=lambda p: abs(p["flagged"] - share))["threshold"], 6))
        for name, share in FLAGGED_SHARES.items()
    }


# --- the scorer ---------------------------------------------------------------------------------


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


# --- files --------------------------------------------------------------------------------------


def import_transactions(
    workspace: Workspace,
    file: Path,
    mapping_file: Path,
    dead_letters: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> QualityReport:
    """Bring a file's transactions into the workspace's table."""
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise SettingsError("--since is not before --until; accepted: a range that holds something")
    mapping = Mapping.load(mapping_file)
    return import_file(
        file,
        mapping,
        _import_encoder(workspace, mapping),
        TransactionTable(workspace.tables),
        dead_letters,
        now_ms=(clock or SystemClock()).now_ms(),
        since_ms=since_ms,
        until_ms=until_ms,
        progress=partial(progress, f"import {file.name}"),
    )


def client_bodies(
    workspace: Workspace,
    file: Path,
    mapping_file: Path,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Iterator[tuple[bytes, bool | None]]:
    """Yield a file's transactions as a client would POST them, with their label if known."""
    mapping = Mapping.load(mapping_file)
    encoder = _import_encoder(workspace, mapping)
    return read_transactions(file, mapping, encoder, since_ms=since_ms, until_ms=until_ms)


def imported_ids(workspace: Workspace) -> frozenset[str]:
    """Return the transaction ids that the workspace's table holds."""
    return frozenset(TransactionTable(workspace.tables).read().transaction_ids.to_list())


def _import_encoder(workspace: Workspace, mapping: Mapping) -> Encoder:
    missing = sorted(mapping.exempt - set(workspace.settings.exempt))
    if missing:
        raise SettingsError(
            f"the mapping exempts {missing} and assay.toml does not, so the scorer would refuse "
            f"what the import takes; add to assay.toml: exempt = {sorted(mapping.exempt)}"
        )
    return make_encoder(workspace, memo=IMPORT_MEMO)


# --- a look -------------------------------------------------------------------------------------


def look(
    workspace: Workspace,
    body: bytes,
    model: str | None = None,
    *,
    rules_only: bool = False,
    clock: Clock | None = None,
    progress: Progress = quiet,
) -> dict[str, Any]:
    """Decide one transaction on what is known now, without recording it.

    Returns
    -------
    dict
        ``action``, ``score``, ``mode``, ``reasons``, the versions, and ``features`` by name.
    """
    clock = clock or SystemClock()
    scoring = load_scoring(workspace, model, rules_only=rules_only)
    row, _ = Door(make_encoder(workspace)).admit(body)
    fold = make_fold(workspace, scoring.features)
    entries = read_journal(workspace.journal)
    first = next(entries, None)
    base = None if first is None else BootRecord.decode(first[1]).dataset
    fold.absorb(read_history(workspace, base).events, partial(progress, "fold the history"))
    for part in scan_events(entries):
        fold(part.events)
    events = np.frombuffer(row.event, EVENT).copy()
    events["arrival_ms"] = clock.now_ms()
    flag_arrivals(events, fold.shard_time_ms, workspace.settings.lateness_s * 1000)
    batch = Ladder(scoring.model, scoring.decide, clock)(Batch(events, fold(events)))
    score = float(batch.scores[0])
    codes = [code for code in batch.reasons[0].tolist() if code]
    return {
        "transaction_id": row.public_id,
        "action": Action(batch.actions[0]).name,
        "score": None if np.isnan(score) else round(score, 6),
        "mode": Mode(batch.modes[0]).name,
        "reasons": [" ".join(scoring.policy.reasons[code]) for code in codes],
        "model": scoring.model_id,
        "policy": scoring.policy.id,
        "feature_set": scoring.features.digest[:16],
        "features": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(scoring.features.names, batch.features[0], strict=True)
        },
    }
