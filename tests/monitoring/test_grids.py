from __future__ import annotations

import copy
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay.errors import BundleError
from assay.monitoring.grids import ROWS_MAX, ROWS_MIN, Grids, make_grids
from assay.records import DAY_MS

NAMES = ["a", "b", "c"]


def sample(n: int = 20_000, days: int = 10, seed: int = 0) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    features = rng.gamma(2, 100, (n, 3)).astype(np.float32)
    features[:, 1] = rng.integers(0, 3, n)
    features[rng.random(n) < 0.25, 2] = np.nan
    times = rng.integers(0, days * DAY_MS, n)
    return features, NAMES, rng.beta(1, 30, n).astype(np.float32), times


def brute(grid: dict[str, Any], column: NDArray[np.float32]) -> list[int]:
    """Count a column by the definition of a bin, one value at a time."""
    edges = [-np.inf, *grid["edges"], np.inf]
    bins = [int(((column > a) & (column <= b)).sum()) for a, b in pairwise(edges)]
    return [*bins, int(np.isnan(column).sum())]


def test_counts_follow_the_definition() -> None:
    """Every row is in the one bin whose edges it lies between, or missing."""
    features, names, scores, times = sample()
    document = make_grids(features, names, scores, times)
    counts = Grids.load(document).count(features[:500], scores[:500])
    for i, name in enumerate(names):
        want = brute(document["features"][name], features[:500, i])
        assert [*counts[i, : len(want) - 1], counts[i, -1]] == want
    assert (counts.sum(axis=1) == 500).all()


def test_shares_are_those_of_the_rows() -> None:
    """The shares of a grid are what its own rows give, and with what is missing they are 1."""
    features, names, scores, times = sample()
    document = make_grids(features, names, scores, times)
    grids = Grids.load(json.loads(json.dumps(document)))
    counts = grids.count(features, scores)
    assert np.abs(grids.psi(counts)).max() < 1e-12
    assert document["rows"] == len(features)
    for i, name in enumerate(names):
        grid = document["features"][name]
        assert grid["missing"] == counts[i, -1] / len(features)
        assert sum(grid["shares"]) + grid["missing"] == pytest.approx(1)


def test_an_atom_has_a_bin_of_its_own() -> None:
    """A value that many rows hold is told apart from its nearest neighbours."""
    column = np.repeat(np.array([0, 1, 2], np.float32), 1000)
    near = np.nextafter(np.float32(1), np.float32([0, 2]))
    document = make_grids(column[:, None], ["x"], column, np.arange(3000))
    grids = Grids.load(document)
    rows = np.concatenate([[np.float32(1)], near])
    places = [int(grids.count(row.reshape(1, 1), row.reshape(1))[0].argmax()) for row in rows]
    assert len(set(places)) == 3
    assert sorted(document["features"]["x"]["shares"])[-3:] == [pytest.approx(1 / 3)] * 3


def test_no_persons_extreme_is_kept() -> None:
    """The largest and smallest value of a table are nowhere in its grids."""
    column = np.concatenate([[-7_654_321], np.arange(1000), [7_654_321]]).astype(np.float32)
    document = make_grids(column[:, None], ["amount"], column, np.arange(len(column)))
    assert "7654321" not in json.dumps(document)
    assert max(document["features"]["amount"]["edges"]) < 999
    few = make_grids(column[:5, None], ["amount"], column[:5], np.arange(5))
    assert few["features"]["amount"]["edges"] == []


def test_psi_by_hand() -> None:
    """The index is the sum over bins of (q - p) ln(q / p), half a row added to each count."""
    column = np.repeat(np.array([0, 1], np.float32), 5000)
    grids = Grids.load(make_grids(column[:, None], ["x"], column, np.arange(10_000)))
    live = np.repeat(np.array([0, 1], np.float32), [900, 100])
    # Bins: below 0, 0, between, 1, above, missing.
    p = np.array([0.5, 5000.5, 0.5, 5000.5, 0.5, 0.5]) / 10_003
    q = np.array([0.5, 900.5, 0.5, 100.5, 0.5, 0.5]) / 1_003
    want = float(((q - p) * np.log(q / p)).sum())
    assert grids.psi(grids.count(live[:, None], live)).tolist() == pytest.approx([want, want])


def test_psi_day_is_natural_variation() -> None:
    """What differs from day to day has a large daily index, what does not a small one."""
    features, names, scores, times = sample()
    features[:, 0] = (times // DAY_MS) % 7
    document = make_grids(features, names, scores, times)
    assert document["features"]["a"]["psi_day"] > 1
    assert document["features"]["b"]["psi_day"] < 0.05
    grids = Grids.load(document)
    assert grids.psi_day[0] == document["features"]["a"]["psi_day"]
    friday = times // DAY_MS == 4
    live = grids.psi(grids.count(features[friday], scores[friday]))
    assert (live <= grids.psi_day + 1e-9).all()


def test_sparse_days_are_taken_together() -> None:
    """Days with fewer rows than a comparison needs are compared as stretches that have enough."""
    features, names, scores, times = sample(n=ROWS_MIN * 4, days=40)
    assert 0 < make_grids(features, names, scores, times)["features"]["a"]["psi_day"] < 0.1
    features, names, scores, times = sample(n=ROWS_MIN // 2, days=10)
    assert make_grids(features, names, scores, times)["features"]["a"]["psi_day"] == 0


def test_what_is_missing_counts() -> None:
    """A column without values has no edges, and differs from one that has some."""
    empty = np.full((2000, 1), np.nan, np.float32)
    scores = np.full(2000, 0.5, np.float32)
    document = make_grids(empty, ["x"], scores, np.arange(2000))
    assert document["features"]["x"] == {
        "edges": [], "shares": [0.0], "missing": 1.0, "psi_day": 0.0
    }  # fmt: skip
    grids = Grids.load(document)
    assert grids.psi(grids.count(np.ones((2000, 1), np.float32), scores))[0] > 5
    assert "NaN" not in json.dumps(document)


def test_rows_without_a_score_are_not_counted_for_it() -> None:
    """What no model scored says nothing about how scores are spread."""
    features, names, scores, times = sample()
    grids = Grids.load(make_grids(features, names, scores, times))
    counts = grids.count(features[:9], np.full(9, np.nan, np.float32))
    assert counts[-1].sum() == 0
    assert grids.psi(counts)[-1] == 0
    assert grids.count(features[:0], scores[:0]).sum() == 0


def test_large_tables_are_sampled() -> None:
    """Beyond the limit every k-th row stands for the rest, with nearly the same shares."""
    n = 2 * ROWS_MAX + 1
    column = np.random.default_rng(0).random(n).astype(np.float32)
    document = make_grids(column[:, None], ["x"], column, np.arange(n))
    assert document["rows"] <= ROWS_MAX
    edges = document["features"]["x"]["edges"]
    assert np.allclose(edges, [0.01, 0.05, *np.arange(0.1, 0.91, 0.1), 0.95, 0.99], atol=0.01)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.floats(width=32, allow_infinity=False) | st.sampled_from([0.0, 1.0, -1.0, 1e-45]),
        min_size=1,
        max_size=200,
    )
)
def test_any_column_makes_sound_grids(values: list[float]) -> None:
    """Whatever a column holds, its grids load, and count every row exactly once."""
    column = np.array(values * 11, np.float32)
    document = make_grids(column[:, None], ["x"], column, np.arange(len(column)))
    grids = Grids.load(json.loads(json.dumps(document)))
    counts = grids.count(column[:, None], column)
    assert counts[0].sum() == len(column)
    assert [*counts[0, : len(document["features"]["x"]["shares"])], counts[0, -1]] == brute(
        document["features"]["x"], column
    )


def damage(document: dict[str, Any], how: str) -> dict[str, Any]:
    document = copy.deepcopy(document)
    a = document["features"]["a"]
    if how == "format":
        del document["format"]
    elif how == "edges":
        a["edges"][1] = a["edges"][0]
    elif how == "shares":
        a["shares"][0] += 0.1
    elif how == "short":
        a["shares"].pop()
    elif how == "negative":
        a["missing"] = -0.5
    elif how == "text":
        a["edges"][0] = "x"
    elif how == "rows":
        document["rows"] = 0
    else:
        del document["score"]
    return document


@pytest.mark.parametrize(
    "how", ["format", "edges", "shares", "short", "negative", "text", "rows", "score"]
)
def test_damaged_grids_are_refused(how: str) -> None:
    """A document of another format, or one that contradicts itself, is refused with the reason."""
    with pytest.raises(BundleError, match=r"quantiles\.json (is damaged|has).*accepted|train"):
        Grids.load(damage(make_grids(*sample(2000)), how))
