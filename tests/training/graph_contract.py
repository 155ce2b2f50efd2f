"""What every exported graph must keep, whatever family it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

TOLERANCE = 1e-6

_RUNTIME: Any = ort  # its types hide what it exports


class GraphContract:
    """A battery over one graph, its reference, and rows that reach its corners.

    Parameters
    ----------
    model : bytes
        The ONNX graph: float32 (n, f) → float32 (n,).
    reference : callable
        Features → calibrated probability in float64, by other means than ONNX.
    rows : ndarray of float32, shape (n, f)
        At least 256, with NaN, infinities and values exactly on thresholds.
    """

    def __init__(
        self, model: bytes, reference: Callable[[Matrix], NDArray[np.float64]], rows: Matrix
    ) -> None:
        options = _RUNTIME.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = _RUNTIME.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._reference, self._rows = reference, rows

    def score(self, rows: Matrix) -> Matrix:
        """Return what the graph says."""
        scores: Matrix = self._session.run(None, {self._session.get_inputs()[0].name: rows})[0]
        return scores

    def check(self) -> None:
        """Run the whole battery."""
        self.check_shape()
        self.check_equal_to_reference()
        self.check_bits_at_every_batch_size()

    def check_shape(self) -> None:
        """Give one output for one input: float32 (n,) of probabilities."""
        assert len(self._session.get_inputs()) == len(self._session.get_outputs()) == 1
        scores = self.score(self._rows)
        assert scores.dtype == np.float32
        assert scores.shape == (len(self._rows),)
        assert scores.min() >= 0
        assert scores.max() <= 1

    def check_equal_to_reference(self) -> None:
        """Stay within 1e-6 of the reference on every row."""
        difference = np.abs(self.score(self._rows) - self._reference(self._rows))
        assert difference.max() <= TOLERANCE, (difference.max(), int(difference.argmax()))

    def check_bits_at_every_batch_size(self) -> None:
        """Score a row to the same bits alone and in any batch of up to 256."""
        rows = self._rows[:512]
        alone = np.concatenate([self.score(rows[i : i + 1]) for i in range(len(rows))])
        for size in range(2, 257):
            # Two batches and a rest reach every place in a batch at little cost.
            part = rows[: 2 * size + 1]
            got = np.concatenate(
                [self.score(part[i : i + size]) for i in range(0, len(part), size)]
            )
            assert np.array_equal(got.view("u4"), alone[: len(part)].view("u4")), size
