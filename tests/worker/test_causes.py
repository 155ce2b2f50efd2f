from __future__ import annotations

from typing import Any

import pytest

from assay.worker.causes import journal_causes, scorer_causes

ROW = {"arrival": 7, "feature": "f", "piece": None, "journalled": "1.0", "recomputed": "2.0"}
PIECE = ROW | {"feature": None, "piece": 3}
GAP = {"position": 1, "position_after": 2, "why": "it is gone", "at_ms": 1}
DAMAGE = {"number": 5, "offset": 99, "what": "a checksum does not fit", "found_ms": 1}


@pytest.mark.parametrize(
    ("journal", "kind", "says"),
    [
        ({"mismatch": ROW}, "state_mismatch", "feature f at arrival 7 is 1.0 and would be 2.0"),
        ({"mismatch": PIECE}, "state_mismatch", "piece 3 of the state at arrival 7"),
        ({"quarantined": [DAMAGE]}, "journal_damage", "Segment 5 of the journal is damaged at"),
        ({"quarantined": [DAMAGE, DAMAGE]}, "journal_damage", "and 1 more segments"),
        ({"newest_gaps": [GAP]}, "journal_gap", "it is gone"),
        ({"newest_gaps": [GAP, GAP]}, "journal_gap", "2 such parts"),
    ],
)
def test_what_the_worker_found_is_said(journal: dict[str, Any], kind: str, says: str) -> None:
    """Each finding has a sentence, and what was not found is in order."""
    found = journal_causes(journal)
    assert says in (found.pop(kind) or "")
    assert list(found.values()) == [None, None]


def test_what_the_scorer_says_is_said() -> None:
    """Its disk and what holds its journal up become causes; an older scorer says nothing of it."""
    up = {"up": True, "status": "ok"}
    assert scorer_causes(up) == {"disk": None, "stalled": None}
    found = scorer_causes(up | {"disk": {"used_percent": 91.4, "alarm": True, "full": False}})
    assert "filled to 91 %" in (found["disk"] or "")
    found = scorer_causes(up | {"disk": {"alarm": True, "full": True}, "stalled": "no room"})
    assert "is full: payments are refused" in (found["disk"] or "")
    assert "no room" in (found["stalled"] or "")


def test_a_scorer_that_is_down_leaves_alerts_as_they_are() -> None:
    """What it said last is not known to hold, so nothing opens or closes by it."""
    assert scorer_causes({"up": False, "stalled": "no room"}) == {}
    assert scorer_causes({}) == {}
