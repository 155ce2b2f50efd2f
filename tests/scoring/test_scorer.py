from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from sample_bundle import graph

from assay.errors import AssayError, BundleError
from assay.scoring.bundle import Bundle
from assay.scoring.scorer import Scorer


@pytest.fixture
def scorer(make: Callable[..., Path], key: Ed25519PrivateKey) -> Callable[..., Scorer]:
    """Return a function that loads a bundle with a given graph."""
    return lambda model=None: Scorer(Bundle.load(make(model), key.public_key()))


def test_scores_are_the_graphs(scorer: Callable[..., Scorer]) -> None:
    """Each row gets its own probability, float32 (n,), at every batch size."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 2)).astype(np.float32)
    scores = scorer().score(rows)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(1 / (1 + np.exp(-rows[:, 0])), abs=1e-6)


def test_no_rows_no_scores(scorer: Callable[..., Scorer]) -> None:
    """An empty batch is no error."""
    assert scorer().score(np.empty((0, 2), np.float32)).shape == (0,)


def test_strided_rows_score_alike(scorer: Callable[..., Scorer]) -> None:
    """A matrix that is a view with gaps scores as its copy."""
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    model = scorer()
    assert np.array_equal(model.score(rows[::2, ::2]), model.score(rows[::2, ::2].copy()))


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((3, 3), np.float32),
        np.zeros((3, 2), np.float64),
        np.zeros(2, np.float32),
        np.zeros((1, 2, 2), np.float32),
    ],
)
def test_wrong_matrix_is_refused(scorer: Callable[..., Scorer], rows: NDArray[Any]) -> None:
    """Another shape or type names itself and what is accepted."""
    with pytest.raises(AssayError, match=r"accepted: float32 of shape \(n, 2\)"):
        scorer().score(rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5, -0.01])
def test_a_number_that_is_no_probability_is_never_returned(
    scorer: Callable[..., Scorer], bad: float
) -> None:
    """One NaN or number outside [0, 1] in a batch stops the batch."""
    rows = np.full((64, 2), 0.5, np.float32)
    model = scorer(graph(last="Identity"))
    assert model.score(rows).tolist() == [0.5] * 64
    rows[40, 0] = bad
    with pytest.raises(AssayError, match="no probability") as caught:
        model.score(rows)
    assert type(caught.value) is AssayError


def test_graph_of_another_width_is_refused(scorer: Callable[..., Scorer]) -> None:
    """A graph that does not take the manifest's features does not start."""
    with pytest.raises(BundleError, match=r"takes rows of \[3\]; accepted: \[2\]"):
        scorer(graph(columns=3))


def test_bytes_that_are_no_graph_are_refused(scorer: Callable[..., Scorer]) -> None:
    """A signed file that is not ONNX does not start, with one line."""
    with pytest.raises(BundleError, match="does not load") as caught:
        scorer(b"not a graph")
    assert "\n" not in str(caught.value)
