"""What every page says about the processes behind it: who is down, behind, or without a model."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from assay.console.formats import number, plain, utc
from assay.console.ports import Document


class Notice(NamedTuple):
    """One line above a page."""

    colour: str
    title: str
    message: str


def notices(state: Document) -> list[Notice]:
    """Return what people must know to read any page, from the states behind it."""
    scorer, worker = state.get("scorer") or {}, state.get("worker") or {}
    journal = state.get("journal") or {}
    return _scorer_notices(scorer) + _journal_notices(journal) + _worker_notices(worker)


def mark(found: list[Notice]) -> str:
    """Return a short name of notices, by which a page tells whether they changed."""
    return hashlib.sha256(repr(found).encode("utf-8", "replace")).hexdigest()[:12]


def _scorer_notices(scorer: Document) -> list[Notice]:
    found = []
    if scorer.get("up") is False:
        message = (
            "No payment is decided. The figures below are what was known until then. "
            "Start it with: assay up"
        )
        found.append(Notice("danger", f"Scorer down{_since(scorer.get('since_ms'))}.", message))
    elif scorer.get("rules_only"):
        message = (
            "Payments are not scored: no model is in force. "
            "Train one with assay train, promote it, and start the scorer again."
        )
        found.append(Notice("warning", "The scorer decides by rules alone.", message))
    if refused := scorer.get("refused"):
        why = refused.get("reason") or refused if isinstance(refused, dict) else refused
        found.append(Notice("warning", "The scorer refused a model.", plain(why)))
    return found


def _journal_notices(journal: Document) -> list[Notice]:
    if journal.get("state") != "mismatch":
        return []
    message = (
        "Models are given features that the journal does not give, and promotions are refused. "
        "Start the scorer again: it restores its state."
    )
    return [Notice("danger", "The scorer's feature state is wrong.", message)]


def _worker_notices(worker: Document) -> list[Notice]:
    if worker.get("up") is False:
        title = f"Worker down{_since(worker.get('since_ms'))}."
        message = (
            "Decisions are made and kept; these pages show them once it runs again. "
            "Start it with: assay up"
        )
        return [Notice("warning", title, message)]
    if worker.get("behind_since_ms") is None:
        return []
    title = f"Worker behind{_since(worker['behind_since_ms'])}."
    behind = worker.get("behind_bytes")
    rest = f" by {number(behind / 1e6, 1)} MB" if isinstance(behind, int | float) else ""
    return [Notice("warning", title, f"The figures below trail the traffic{rest}.")]


def _since(ms: Any) -> str:
    return "" if ms is None else f" since {utc(ms)} UTC"
