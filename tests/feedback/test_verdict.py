from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assay.feedback.verdict import Verdict

REPORTS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=12)


@given(REPORTS)
def test_a_restart_changes_no_judgement(reports: list[tuple[int, bool]]) -> None:
    """Judged at once, or with what was judged before learnt again, states are the same."""
    verdict = Verdict()
    learnt: list[tuple[int, bool]] = []
    for at, fraud in reports:
        again = Verdict()
        for known_at, known_fraud in learnt:
            again.learn(known_at, fraud=known_fraud)
        state = verdict.judge(at, fraud=fraud)
        assert again.judge(at, fraud=fraud) == state
        if state != "conflict":
            learnt.append((at, fraud))


@given(REPORTS)
def test_the_newest_report_is_in_force(reports: list[tuple[int, bool]]) -> None:
    """Whatever the order, the last that matched says what the newest report says."""
    verdict = Verdict()
    matched = {at: fraud for at, fraud in reports if verdict.judge(at, fraud=fraud) == "matched"}
    if reports:
        newest = max(at for at, _ in reports)
        said = {fraud for at, fraud in reports if at == newest}
        assert matched[max(matched)] in said
