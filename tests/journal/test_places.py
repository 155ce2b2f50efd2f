import bisect

from hypothesis import given
from hypothesis import strategies as st

from assay.journal.places import EVERY, Places


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 200)), min_size=1, max_size=12))
def test_every_arrival_is_near_a_place(batches: list[tuple[int, int]]) -> None:
    """Whatever sizes they come in, the place before an arrival is at most 63 records away, and
    none lies beyond it.
    """
    places = Places()
    arrivals: list[int] = []
    arrival = 10
    for hole, n in batches:
        arrival += hole - 1
        new = list(range(arrival, arrival + n))
        places.add(new, [7 * a for a in new])
        arrivals += new
        arrival += n
    for wanted in range(arrivals[0], arrivals[-1] + 3):
        found = places.before(wanted)
        assert found is not None
        at = arrivals.index(found // 7)
        assert 0 <= bisect.bisect_right(arrivals, wanted) - 1 - at < 2 * EVERY
    assert places.before(arrivals[0] - 1) is None
