from __future__ import annotations

import pytest
import sample_documents as sample

from assay.console.notices import mark, notices

UP = {"up": True, "since_ms": 0}
SINCE = "since 2026-06-01 00:00:00 UTC."


@pytest.mark.parametrize(
    ("scorer", "worker", "titles"),
    [
        (UP, UP, []),
        (None, None, []),
        ({"up": False, "since_ms": sample.END_MS}, UP, [f"Scorer down {SINCE}"]),
        ({"up": False, "since_ms": None}, UP, ["Scorer down."]),
        (UP, {"up": False, "since_ms": sample.END_MS}, [f"Worker down {SINCE}"]),
        (UP | {"rules_only": True}, UP, ["The scorer decides by rules alone."]),
        ({"up": False, "rules_only": True}, UP, ["Scorer down."]),
        (UP, UP | {"behind_bytes": 9e9, "behind_since_ms": None}, []),
        (UP, UP | {"behind_since_ms": sample.END_MS}, [f"Worker behind {SINCE}"]),
        (UP | {"refused": {"reason": "x"}}, UP, ["The scorer refused a model."]),
    ],
)
def test_a_state_is_told(scorer: object, worker: object, titles: list[str]) -> None:
    """Who is down, behind or without a model is named, with since when; else there is silence."""
    assert [notice.title for notice in notices({"scorer": scorer, "worker": worker})] == titles


def test_a_mark_tells_notices_apart() -> None:
    """The same notices have the same mark, and others another."""
    down = notices({"scorer": {"up": False, "since_ms": 1}})
    later = notices({"scorer": {"up": False, "since_ms": 5_000}})
    assert mark(down) == mark(notices({"scorer": {"up": False, "since_ms": 1}}))
    assert len({mark([]), mark(down), mark(later)}) == 3


def test_a_wrong_feature_state_is_told_on_every_page() -> None:
    """It stands above everything until the scorer has started again; an equal state is silent."""
    for word, titles in (("mismatch", ["The scorer's feature state is wrong."]), ("ok", [])):
        state = {"scorer": UP, "worker": UP, "journal": {"state": word}}
        assert [notice.title for notice in notices(state)] == titles
