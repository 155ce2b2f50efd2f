"""What is wrong with the system itself, in sentences: what its alerts say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Causes = dict[str, str | None]
"""From each kind of alert to what is wrong, or None if it is in order; nothing: not known now."""

_WHY: Final = 300
"""Characters of a reason from elsewhere that an alert repeats."""


def journal_causes(journal: Mapping[str, Any]) -> Causes:
    """Return what the worker itself found: differences, damage, gaps."""
    return {
        "state_mismatch": _mismatch(journal.get("mismatch")),
        "journal_damage": _damage(journal.get("quarantined") or []),
        "journal_gap": _gap(journal.get("newest_gaps") or []),
    }


def scorer_causes(scorer: Mapping[str, Any]) -> Causes:
    """Return what the scorer says of its disk and its journal; while it is down, nothing."""
    if scorer.get("up") is not True:
        return {}
    disk, stalled = scorer.get("disk") or {}, scorer.get("stalled")
    return {
        "disk": _disk(disk) if disk.get("alarm") or disk.get("full") else None,
        "stalled": None
        if not stalled
        else f"The journal takes no records, so payments are refused: {str(stalled)[:_WHY]}. "
        "It goes on by itself once the cause is gone",
    }


def _mismatch(found: Mapping[str, Any] | None) -> str | None:
    if not found:
        return None
    what = (
        f"piece {found['piece']} of the state"
        if found.get("feature") is None
        else f"feature {found['feature']}"
    )
    return (
        f"The scorer's feature state is not what the journal gives: {what} at arrival "
        f"{found['arrival']} is {found['journalled']} and would be {found['recomputed']}. "
        "Promotions are refused until the scorer has been started anew"
    )


def _damage(found: list[Mapping[str, Any]]) -> str | None:
    if not found:
        return None
    first = found[0]
    more = f", and {len(found) - 1} more segments" if len(found) > 1 else ""
    return (
        f"Segment {first['number']} of the journal is damaged at offset {first['offset']}: "
        f"{str(first['what'])[:_WHY]}{more}. Restore it from a copy before the scorer "
        "is started again; nothing of it is deleted"
    )


def _gap(found: list[Mapping[str, Any]]) -> str | None:
    if not found:
        return None
    newest = found[-1]
    more = f" ({len(found)} such parts in 24 hours)" if len(found) > 1 else ""
    return (
        "A part of the journal could not be read, and what it holds is missing in tables and "
        f"figures: {str(newest['why'])[:_WHY]}{more}"
    )


def _disk(disk: Mapping[str, Any]) -> str:
    used = disk.get("used_percent")
    share = f" to {used:.0f} %" if isinstance(used, int | float) else ""
    if disk.get("full"):
        return (
            f"The journal's disk is full{share}: payments are refused. Make room, and they are "
            "decided again by themselves"
        )
    return f"The journal's disk is filled{share}. Make room before it is full: payments then stop"
