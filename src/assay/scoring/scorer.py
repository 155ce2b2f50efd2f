"""Runs a bundle's graph: one session, one thread, so that the same row gives the same bits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from assay.errors import AssayError, BundleError
from assay.scoring.bundle import Bundle

WARM_UP_ROWS: Final = (1, 16, 64, 256)
QUIET: Final = 3
"""ONNX Runtime's level for errors only; its warnings go to stderr otherwise."""

Scores = NDArray[np.float32]

_RUNTIME: Any = onnxruntime  # its types hide what it exports


class Scorer:
    """Scores feature rows with the ``full`` graph of a bundle. One thread may call it at a time.

    Attributes
    ----------
    bundle : Bundle
    n_features : int
        Columns that a matrix must have.

    Raises
    ------
    BundleError
        If the graph does not run or does not take the manifest's features.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.n_features = len(bundle.manifest.features)
        self._session = _session(bundle)
        (source,), (target,) = self._session.get_inputs(), self._session.get_outputs()
        if source.shape[1:] != [self.n_features]:
            raise BundleError(
                f"{bundle.manifest.model_id}: the graph takes rows of {source.shape[1:]}; "
                f"accepted: [{self.n_features}], as the manifest lists features"
            )
        self._source, self._targets = source.name, [target.name]
        for n in WARM_UP_ROWS:
            self.score(np.zeros((n, self.n_features), np.float32))

    def score(self, features: NDArray[np.float32]) -> Scores:
        """Return the calibrated probability of fraud of each row; higher is riskier.

        A row's score depends on nothing but the row: not on its batch, nor its place in it.

        Parameters
        ----------
        features : ndarray of float32, shape (n, n_features)
            NaN is unknown.

        Returns
        -------
        ndarray of float32, shape (n,)
            In [0, 1], never NaN.

        Raises
        ------
        AssayError
            If the matrix has another shape or type, the runtime fails, or a score is NaN or
            outside [0, 1]. No score may be used then: the caller answers from its rules.
        """
        if features.dtype != np.float32 or features.shape[1:] != (self.n_features,):
            raise AssayError(
                f"cannot score a {features.dtype} matrix of shape {features.shape}; "
                f"accepted: float32 of shape (n, {self.n_features})"
            )
        if not len(features):
            return np.empty(0, np.float32)
        try:
            scores: Scores = self._session.run(self._targets, {self._source: features})[0]
        except Exception as error:  # the runtime's exceptions have no common base but this
            raise AssayError(f"the model failed to run: {type(error).__name__}") from error
        # NaN passes through min and max, and every comparison with it is false.
        if scores.shape != features.shape[:1] or not (scores.min() >= 0 and scores.max() <= 1):
            raise AssayError("the model gave a score that is no probability; accepted: [0, 1]")
        return scores


def _session(bundle: Bundle) -> Any:
    options = _RUNTIME.SessionOptions()
    # Two threads would add the trees up in another order and change bits.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = _RUNTIME.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = QUIET
    _RUNTIME.disable_telemetry_events()
    try:
        return _RUNTIME.InferenceSession(
            bundle.graphs["full"], options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise BundleError(
            f"{bundle.manifest.model_id}: the graph does not load: {type(error).__name__}"
        ) from error
