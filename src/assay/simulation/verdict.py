"""What a replay shows: errors, latency, actions, and the ranking against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.records import Action
from assay.simulation.player import Reply


def verdict(replies: Sequence[Reply], truth: Sequence[bool | None]) -> dict[str, Any]:
    """Summarise replies.

    Parameters
    ----------
    replies : sequence of Reply
    truth : sequence of bool or None
        Whether each transaction was fraud; None is unknown.

    Returns
    -------
    dict
        ``decisions``, ``errors``, ``statuses``, ``average_precision`` and ``roc_auc`` (over
        decisions with a score and a known truth; None without both classes), ``p50_ms`` and
        ``p99_ms`` as the client saw them, and ``actions``.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    good = [
        (reply, fraud) for reply, fraud in zip(replies, truth, strict=True) if reply.status == 200
    ]
    decisions = [(reply.decision(), fraud) for reply, fraud in good]
    judged = [
        (d["score"], fraud)
        for d, fraud in decisions
        if d["score"] is not None and fraud is not None
    ]
    scores = np.array([score for score, _ in judged])
    frauds = np.array([fraud for _, fraud in judged], bool)
    both = bool(frauds.any() and not frauds.all())
    latencies = np.array([reply.latency_ms for reply, _ in good]) if good else np.zeros(1)
    actions = Counter(d["action"] for d, _ in decisions)
    return {
        "decisions": len(good),
        "errors": len(replies) - len(good),
        "statuses": {str(k): n for k, n in sorted(Counter(r.status for r in replies).items())},
        "scored": len(judged),
        "frauds": int(frauds.sum()),
        "average_precision": float(average_precision_score(frauds, scores)) if both else None,
        "roc_auc": float(roc_auc_score(frauds, scores)) if both else None,
        "p50_ms": float(np.percentile(latencies, 50)),
        "p99_ms": float(np.percentile(latencies, 99)),
        "actions": {action.name: actions[action.name] for action in Action},
    }
