from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assay.simulation.wheel import Wheel

MEMBERS = st.lists(st.tuples(st.integers(0, 5), st.floats(1e-6, 1e6)), min_size=1, max_size=60)


@given(MEMBERS, st.integers(0, 2**32))
def test_a_draw_stays_in_its_group(members: list[tuple[int, float]], seed: int) -> None:
    """Whatever the order and weights, a member drawn for a group belongs to it."""
    group = np.array([g for g, _ in members])
    wheel = Wheel(group, [w for _, w in members])
    wanted = np.repeat(group, 20)
    assert (group[wheel.draw(np.random.default_rng(seed), wanted)] == wanted).all()


def test_draws_follow_the_weights() -> None:
    """Within a group, members come up in proportion to their weights."""
    wheel = Wheel([1, 0, 1], [3.0, 5.0, 1.0])
    drawn = wheel.draw(np.random.default_rng(1), np.ones(40_000, np.int64))
    assert abs((drawn == 0).mean() - 0.75) < 0.01
    assert not (drawn == 1).any()
