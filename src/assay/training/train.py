"""From a feature matrix and late labels to a signed candidate on disk."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import onnx
import onnxruntime
import sklearn
import xgboost
from numpy.typing import NDArray

import assay
from assay.clock import Clock
from assay.errors import TrainingError
from assay.records import DAY_MS, SCORED_KINDS, Events
from assay.training.boosting import PARAMETERS, TREES, fit_boosting
from assay.training.calibration import Platt, fit_platt
from assay.training.evaluation import evaluate_parts, first_reports
from assay.training.export import export_onnx, graph_scores
from assay.training.part import Part
from assay.training.split import TimeSplit, time_split
from assay.training.version import next_version

NAME: Final = "boosting"
DIFFERENCE_MAX: Final = 1e-6
"""Largest distance between the graph's score and the library's own."""

Progress = Callable[[str, float], None]
"""Called with the step at hand and the share of the whole that is done."""

Matrix = NDArray[np.float32]


class BundleWriter(Protocol):
    """Writes a signed bundle, whole or not at all, and refuses a folder that exists."""

    def __call__(self, folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
        """Write ``files`` and a manifest with ``facts`` into ``folder``; return it."""
        ...


class GridMaker(Protocol):
    """Describes rows that the model was not fitted on, for monitors of drift: shares, no rows."""

    def __call__(
        self,
        features: Matrix,
        names: Sequence[str],
        scores: Matrix,
        event_time_ms: NDArray[np.int64],
    ) -> Mapping[str, Any]:
        """Return the document of ``quantiles.json``."""
        ...


@dataclass(frozen=True)
class TrainingResult:
    """What training made.

    Attributes
    ----------
    path : Path
        The bundle's folder.
    facts : dict
        What the manifest says, but for the digests of the files.
    split : TimeSplit
    """

    path: Path
    facts: dict[str, Any]
    split: TimeSplit

    @property
    def metrics(self) -> dict[str, Any]:
        """``train``, ``calibration``, ``test`` and ``thresholds``."""
        metrics: dict[str, Any] = self.facts["metrics"]
        return metrics


def train(
    events: Events,
    features: Matrix,
    fraud: NDArray[np.int8],
    reported_ms: NDArray[np.int64],
    *,
    names: Sequence[str],
    feature_set_digest: str,
    dataset_snapshot: str,
    out_dir: Path,
    write_bundle: BundleWriter,
    make_grids: GridMaker,
    clock: Clock,
    label_delay_days: int,
    open_end: bool = False,
    seed: int = 0,
    reasons: Mapping[str, Any] | None = None,
    progress: Progress = lambda _step, _share: None,
) -> TrainingResult:
    """Fit, calibrate, export, check and evaluate a model, and write it as the next version.

    Equal arguments give a byte-identical ``model.onnx``.

    Parameters
    ----------
    events : ndarray of `EVENT`, shape (n,)
        All kinds; only scored kinds teach and judge, and of them none that was late or future.
    features : ndarray of float32, shape (n, f)
        What the kernel computed for each event; NaN is unknown.
    fraud : ndarray of int8, shape (n,)
        -1 unknown, 0 genuine, 1 fraud.
    reported_ms : ndarray of int64, shape (n,)
        When the label arrived, UTC milliseconds.
    names : sequence of str
        Feature names, in column order.
    feature_set_digest, dataset_snapshot : str
        Go into the manifest.
    out_dir : Path
        Folder of bundles; the new one is ``<name>-<version>`` in it.
    write_bundle : BundleWriter
    make_grids : GridMaker
        Is given every row after the training part that may teach or judge, the newest included.
    clock : Clock
        Dates the manifest.
    label_delay_days : int
        See `time_split`.
    open_end : bool
        The rows go on to the present: those of the last `label_delay_days` do not judge, since
        most of their frauds are not reported yet.
    seed : int
    reasons : Mapping, optional
        Feature → reason, kept as ``reasons.json``.
    progress : callable, optional

    Raises
    ------
    TrainingError
        If the data cannot give a model, or the exported graph is not the model.
    BundleError
        If the bundle cannot be written.
    """
    _check(events, features, names, fraud, reported_ms)
    progress("split by time", 0.0)
    times = events["event_time"]
    usable = np.isin(events["kind"], SCORED_KINDS) & (events["flags"] == 0)
    delay_ms = label_delay_days * DAY_MS
    split = time_split(
        times, fraud, reported_ms, usable, label_delay_ms=delay_ms, open_end=open_end
    )
    after = np.flatnonzero(usable & (times >= split.train.end_ms))
    _check_finite(features, names, split.train.rows, "train")
    _check_finite(features, names, after, "later")
    model, platt, scores = _fit(features, split, after, seed, progress)
    progress("evaluate", 0.9)
    reports = first_reports(events["card"], fraud, reported_ms, split.test.rows)
    version = next_version(out_dir, NAME)
    facts = {
        "name": NAME,
        "version": version,
        "feature_set": feature_set_digest,
        "features": list(names),
        "dataset_snapshot": dataset_snapshot,
        "parameters": {**PARAMETERS, "trees": TREES, "calibration": asdict(platt)},
        "seed": seed,
        "split": split.facts(),
        "metrics": evaluate_parts(split, _by_part(split, scores), events, reports, seed=seed),
        "libraries": _libraries(),
        "code_version": assay.__version__,
        "created_ms": clock.now_ms(),
    }
    progress("write the bundle", 0.97)
    grids = make_grids(features[after], names, scores[after], times[after])
    files = {"model.onnx": model, "quantiles.json": msgspec.json.encode(grids)}
    if reasons is not None:
        files["reasons.json"] = msgspec.json.encode(reasons, order="sorted")
    path = write_bundle(out_dir / f"{NAME}-{version}", facts, files)
    progress("done", 1.0)
    return TrainingResult(path, facts, split)


def _fit(
    features: Matrix, split: TimeSplit, after: NDArray[np.int64], seed: int, progress: Progress
) -> tuple[bytes, Platt, Matrix]:
    """Return the graph, the calibration, and the scores, shape (n,), of all rows that are used.

    The graph is the model: it scores everything `after` the training part, and is held to the
    library's own scores on the parts that calibrate and judge.
    """
    booster = fit_boosting(
        features[split.train.rows],
        split.train.fraud,
        seed=seed,
        progress=lambda share: progress("grow trees", 0.05 + 0.65 * share),
    )
    progress("calibrate and export", 0.72)
    platt = fit_platt(_margin(booster, features, split.calibration), split.calibration.fraud)
    model = export_onnx(booster, platt)
    scores = np.full(len(features), np.nan, np.float32)
    scores[split.train.rows] = platt.apply(_margin(booster, features, split.train))
    progress("score what came after", 0.75)
    scores[after] = np.concatenate(list(graph_scores(model, features[after])))
    for part in (split.calibration, split.test):
        _check_equal(scores[part.rows], platt.apply(_margin(booster, features, part)))
    return model, platt, scores


def _by_part(split: TimeSplit, scores: Matrix) -> dict[str, Matrix]:
    return {part.name: scores[part.rows] for part in split.parts}


def _margin(booster: xgboost.Booster, features: Matrix, part: Part) -> Matrix:
    margin: Matrix = booster.inplace_predict(features[part.rows], predict_type="margin")
    return margin


def _check_equal(score: Matrix, reference: NDArray[np.float64]) -> None:
    worst = float(np.abs(score - reference).max())
    if not worst <= DIFFERENCE_MAX:
        raise TrainingError(
            f"the exported graph differs from the fitted model by {worst:.3g}; "
            f"accepted: {DIFFERENCE_MAX:g} at most, so do not use this build of the libraries"
        )


def _check(
    events: Events,
    features: Matrix,
    names: Sequence[str],
    fraud: NDArray[np.int8],
    reported_ms: NDArray[np.int64],
) -> None:
    assert features.dtype == np.float32, features.dtype
    assert features.shape == (len(events), len(names)), features.shape
    assert len(fraud) == len(reported_ms) == len(events), (len(fraud), len(reported_ms))
    if not len(events):
        raise TrainingError("the dataset is empty; accepted: an import of labelled transactions")


def _check_finite(
    features: Matrix, names: Sequence[str], rows: NDArray[np.int64], where: str
) -> None:
    infinite = np.isinf(features[rows]).any(axis=0)
    if infinite.any():
        raise TrainingError(
            f"feature {names[int(infinite.argmax())]} is infinite in the {where} part; "
            "accepted: numbers, and NaN for unknown"
        )


def _libraries() -> dict[str, str]:
    modules = (np, xgboost, sklearn, onnx, onnxruntime)
    versions = {module.__name__: str(module.__version__) for module in modules}
    return {"python": platform.python_version(), **versions}
