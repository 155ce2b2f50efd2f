from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graph_contract import GraphContract
from small_world import World

from assay.clock import VirtualClock
from assay.errors import BundleError, TrainingError
from assay.records import DAY_MS, SCORED_KINDS, Flag, empty_events
from assay.scoring.bundle import Bundle, write_bundle
from assay.scoring.keys import public_key, signing_key
from assay.scoring.scorer import Scorer
from assay.training.train import TrainingResult, train

HANDBOOK = Path(__file__).parents[3] / "shared/data/handbook/transactions.parquet"
FEATURE_SET = "ab" * 32

Trained = tuple[Path, TrainingResult, list[tuple[str, float]]]


def grids(
    features: np.ndarray, names: Sequence[str], scores: np.ndarray, event_time_ms: np.ndarray
) -> dict[str, Any]:
    """Say what was given."""
    return {
        "rows": len(features),
        "names": list(names),
        "mean_score": float(scores.mean(dtype=np.float64)),
        "from_ms": int(event_time_ms.min()),
        "to_ms": int(event_time_ms.max()),
    }


def run(world: World, folder: Path, **changed: Any) -> TrainingResult:
    """Train on the small world."""
    arguments = {
        "events": world.events,
        "features": world.features,
        "fraud": world.fraud,
        "reported_ms": world.reported_ms,
        "names": ["a", "b", "c", "d", "e", "f"],
        "feature_set_digest": FEATURE_SET,
        "dataset_snapshot": "cd" * 32,
        "out_dir": folder / "models",
        "write_bundle": partial(write_bundle, key=signing_key(folder / "keys")),
        "make_grids": grids,
        "clock": VirtualClock(1_700_000_000_000),
        "label_delay_days": 7,
    }
    return train(**arguments | changed)


@pytest.fixture(scope="module")
def trained(world: World, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("workspace")
    steps = []
    result = run(
        world,
        folder,
        reasons={"a": {"code": "R1", "text": "unusual"}},
        progress=lambda step, share: steps.append((step, share)),
    )
    return folder, result, steps


def test_candidate_loads_and_scores_as_it_was_judged(world: World, trained: Trained) -> None:
    """The bundle passes its loader, and scores the test part with the metrics it states."""
    folder, result, _ = trained
    bundle = Bundle.load(result.path, public_key(folder / "keys"), FEATURE_SET)
    assert bundle.manifest.model_id == result.path.name == "boosting-0.1.0"
    assert bundle.reasons["a"]["code"] == "R1"
    assert bundle.manifest.metrics["test"] == result.metrics["test"]
    rows = result.split.test.rows
    score = Scorer(bundle).score(world.features[rows])
    contract = GraphContract(bundle.graphs["full"], lambda _: score, world.features[rows])
    contract.check()
    assert score.mean(dtype=np.float64) == result.metrics["test"]["mean_score"]


def test_model_is_good_and_calibrated(trained: Trained) -> None:
    """On this world the model ranks well, and its scores mean what they say."""
    _, result, _ = trained
    test = result.metrics["test"]
    low, high = test["average_precision_95"]
    assert 5 * test["fraud_share"] < low < test["average_precision"] < high
    assert test["roc_auc"] > 0.8
    assert test["calibration_error"] < 0.03
    assert len(result.metrics["thresholds"]) >= 4


def test_same_input_gives_the_same_bytes(world: World, trained: Trained, tmp_path: Path) -> None:
    """Equal arguments give an equal graph, grids and facts; another seed gives another graph."""
    _, result, _ = trained
    again, other = run(world, tmp_path), run(world, tmp_path, seed=1)
    for name in ("model.onnx", "quantiles.json"):
        assert (again.path / name).read_bytes() == (result.path / name).read_bytes()
    assert again.facts == result.facts
    assert (other.path / "model.onnx").read_bytes() != (again.path / "model.onnx").read_bytes()
    assert other.path.name == "boosting-0.2.0"


def test_progress_runs_from_nothing_to_done(trained: Trained) -> None:
    """Shares never fall, begin at 0 and end at 1; each step has a name."""
    _, _, steps = trained
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert (shares[0], steps[-1]) == (0.0, ("done", 1.0))
    assert all(step for step, _ in steps)


def test_unscored_kinds_do_not_teach(world: World, trained: Trained) -> None:
    """Every row used is of a kind that is scored."""
    _, result, _ = trained
    for part in result.split.parts:
        assert np.isin(world.events["kind"][part.rows], SCORED_KINDS).all()


def test_grids_are_of_what_the_model_has_not_seen(world: World, trained: Trained) -> None:
    """Every scored row after the training part is described, the newest too, and none before."""
    folder, result, _ = trained
    found = Bundle.load(result.path, public_key(folder / "keys")).quantiles
    times, split = world.events["event_time"], result.split
    scored = np.isin(world.events["kind"], SCORED_KINDS)
    assert found["rows"] == (scored & (times >= split.train.end_ms)).sum()
    assert found["from_ms"] >= split.train.end_ms
    assert found["to_ms"] == times[scored].max()
    assert 0 < found["mean_score"] < 0.2


def test_flagged_rows_do_not_teach(world: World, trained: Trained, tmp_path: Path) -> None:
    """A row of the year 2100 and one of 1990, flagged at arrival, change no bit of the model."""
    flagged = empty_events(2)
    flagged["event_time"] = [4_102_444_800_000, 631_152_000_000]
    flagged["kind"], flagged["flags"] = 1, [Flag.future, Flag.late]
    result = run(
        world,
        tmp_path,
        events=np.concatenate([world.events, flagged]),
        features=np.concatenate([world.features, np.full((2, 6), np.inf, np.float32)]),
        fraud=np.append(world.fraud, np.ones(2, np.int8)),
        reported_ms=np.append(world.reported_ms, [0, 0]),
    )
    _, plain, _ = trained
    assert result.facts == plain.facts
    assert (result.path / "model.onnx").read_bytes() == (plain.path / "model.onnx").read_bytes()


def test_an_open_end_judges_only_what_is_reported(world: World, tmp_path: Path) -> None:
    """Where rows go on to the present, the test part ends a label delay before the newest."""
    result = run(world, tmp_path, open_end=True)
    newest = world.events["event_time"][np.isin(world.events["kind"], SCORED_KINDS)].max()
    assert result.split.test.end_ms == newest + 1 - 7 * DAY_MS
    assert world.events["event_time"][result.split.test.rows].max() < result.split.test.end_ms


def test_infinite_feature_is_named(world: World, tmp_path: Path) -> None:
    """Infinity in a feature stops the training and names it."""
    features = world.features.copy()
    features[len(features) // 2 - 1 :, 3] = np.inf
    with pytest.raises(TrainingError, match="feature d is infinite"):
        run(world, tmp_path, features=features)


def test_noise_is_refused_or_stated(world: World, tmp_path: Path) -> None:
    """Features that know nothing give no model, or one whose interval says so."""
    features = np.random.default_rng(1).normal(size=world.features.shape).astype(np.float32)
    try:
        test = run(world, tmp_path, features=features).metrics["test"]
    except TrainingError as error:
        assert "slope" in str(error)  # noqa: PT017 # either outcome is right
    else:
        assert test["roc_auc_95"][0] < 0.5 < test["roc_auc_95"][1] + 0.05


def test_empty_dataset_is_refused(world: World, tmp_path: Path) -> None:
    """No rows, no model, one clear sentence."""
    none = np.empty(0, np.int64)
    with pytest.raises(TrainingError, match="dataset is empty"):
        run(
            world,
            tmp_path,
            events=empty_events(0),
            features=world.features[:0],
            fraud=none.astype(np.int8),
            reported_ms=none,
        )


def test_failed_write_leaves_no_version(world: World, tmp_path: Path) -> None:
    """When the bundle cannot be written, the error comes through and no folder is left."""

    def full_disk(*_: object, **__: object) -> Path:
        raise BundleError("cannot write: no space left")

    with pytest.raises(BundleError, match="no space"):
        run(world, tmp_path, write_bundle=full_disk)
    assert not (tmp_path / "models").exists()


@pytest.mark.skipif(not HANDBOOK.exists(), reason="the shared file is not here")
def test_handbook_file_gives_a_plausible_model(tmp_path: Path) -> None:
    """On 45 days of a public file a model on amount and two windows is far better than chance."""
    import polars as pl

    day = pl.col("TX_DATETIME").dt.truncate("1d")
    times = pl.col("TX_DATETIME").cast(pl.Datetime("ms"))
    table = (
        pl.scan_parquet(HANDBOOK)
        .with_columns(times)
        .filter(day < pl.datetime(2018, 5, 16))
        .sort("TX_DATETIME", maintain_order=True)
        .with_columns(
            pl.col("TX_AMOUNT").rolling_mean_by("TX_DATETIME", "7d").over("CUSTOMER_ID").alias("m"),
            pl.col("TX_FRAUD")
            .cast(pl.Int64)
            .rolling_sum_by("TX_DATETIME", "14d")
            .over("TERMINAL_ID")
            .alias("f14"),
            pl.col("TX_FRAUD")
            .cast(pl.Int64)
            .rolling_sum_by("TX_DATETIME", "7d")
            .over("TERMINAL_ID")
            .alias("f7"),
        )
        .collect()
    )
    late = (table["f14"] - table["f7"]).alias("late")
    features = pl.DataFrame([table["TX_AMOUNT"], table["m"], late]).cast(pl.Float32).to_numpy()
    events = empty_events(len(table))
    events["event_time"] = table["TX_DATETIME"].dt.epoch("ms").to_numpy()
    events["card"] = table["CUSTOMER_ID"].cast(pl.UInt64).to_numpy()
    events["kind"] = SCORED_KINDS[0]
    result = train(
        events,
        np.ascontiguousarray(features),
        table["TX_FRAUD"].cast(pl.Int8).to_numpy(),
        events["event_time"] + 7 * DAY_MS,
        names=["amount", "mean_7d", "terminal_frauds"],
        feature_set_digest=FEATURE_SET,
        dataset_snapshot="cd" * 32,
        out_dir=tmp_path / "models",
        write_bundle=partial(write_bundle, key=signing_key(tmp_path / "keys")),
        make_grids=grids,
        clock=VirtualClock(0),
        label_delay_days=7,
    )
    assert 0.35 < result.metrics["test"]["average_precision"] < 0.85
    assert result.metrics["test"]["calibration_error"] < 0.005
