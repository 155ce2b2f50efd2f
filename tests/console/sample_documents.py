"""Documents in the shapes that the other stages give, with hostile text where text comes in."""

from __future__ import annotations

import math
from typing import Any

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "shop \u202eexe.gpj\u202c \u200f\u2066x",
    "M" * 128,
    "bell \x07 null \x00 escape \x1b[31m new\nline",
    "</script><script>alert(2)</script>",
    "{{7*7}} ${7*7} 'quoted' \\u003c",
]
END_MS = 1_780_272_000_000
BUCKET_MS = 12 * 60_000
BUCKETS = 120


def wave(i: int, height: float, turns: float = 1.0) -> float:
    return height * (1.1 + math.sin(2 * math.pi * turns * i / BUCKETS))


def recent() -> list[dict[str, Any]]:
    merchants = [*HOSTILE, "Padaria Central", "Rail tickets Lisboa", "Games shop", "Fuel 24"]
    actions = ["approve", "approve", "approve", "decline", "approve", "challenge", "review"]
    return [
        {
            "decision": f"d-{i}",
            "transaction_id": f"t-{i}",
            "event_ms": END_MS - 700 * i,
            "merchant": merchants[i % len(merchants)],
            "amount_minor": 1_250 * (i + 1),
            "currency": ["EUR", "JPY", "KWD", "USD"][i % 4],
            "kind": "authorisation",
            "action": actions[i % len(actions)],
            "score": [0.003, 0.021, 0.004, 0.93, 0.001, 0.31, 0.62][i % 7],
            "reasons": [["score above 0.82", "merchant new for this card"], [], ["<b>x</b>"]][
                i % 3
            ],
            "model": "boosting-0.2.0",
            "mode": "full" if i % 9 else "rules",
        }
        for i in range(50)
    ]


def live(hours: int = 24) -> dict[str, Any]:
    buckets = [END_MS - (BUCKETS - i) * BUCKET_MS for i in range(BUCKETS)]
    payments = [int(wave(i, 2_000)) for i in range(BUCKETS)]
    declined = [int(wave(i, 9, 3)) + (60 if 80 < i < 95 else 0) for i in range(BUCKETS)]
    reviewed = [int(wave(i, 14, 2)) for i in range(BUCKETS)]
    challenged = [int(wave(i, 22, 1)) for i in range(BUCKETS)]
    approved = [
        p - a - b - c for p, a, b, c in zip(payments, declined, reviewed, challenged, strict=True)
    ]
    return {
        "stream_ms": END_MS,
        "updated_ms": END_MS + 5_000,
        "currency": "EUR",
        "scorer": {"up": True, "since_ms": END_MS - 7_200_000, "model": "boosting-0.2.0"},
        "worker": {
            "up": True,
            "behind_bytes": 0,
            "behind_since_ms": None,
            "since_ms": END_MS - 7_200_000,
        },
        "journal": {
            "state": "ok",
            "reason": None,
            "mismatch": None,
            "checked_rows": 1_482_331,
            "checks": 592,
            "snapshot": {"position": 1 << 40, "at_ms": END_MS, "took_s": 0.3, "bytes": 1 << 20},
        },
        "window_ms": [END_MS - hours * 3_600_000, END_MS],
        "totals": {
            "payments": sum(payments),
            "approve": sum(approved),
            "challenge": sum(challenged),
            "review": sum(reviewed),
            "decline": sum(declined),
            "degraded": 12,
            "late": 40,
            "future": 1,
            "approved_ref": 1_034_567_890,
            "stopped_ref": 12_345_678,
            "reported_fraud": 1_204,
        },
        "series": {
            "bucket_ms": buckets,
            "payments": payments,
            "approve": approved,
            "challenge": challenged,
            "review": reviewed,
            "decline": declined,
            "mean_score": [0.004 + wave(i, 0.001, 3) for i in range(BUCKETS)],
            "approved_ref": [p * 4_512 for p in approved],
            "stopped_ref": [d * 21_512 for d in declined],
            "fraud_rate": [wave(i, 0.003, 2) if i < 100 else None for i in range(BUCKETS)],
        },
        "latency": {
            "at_ms": [END_MS + i * 1_000 for i in range(60)],
            "p50_ms": [2.0 + wave(i, 0.5, 9) for i in range(60)],
            "p99_ms": [9.0 + wave(i, 3.0, 7) for i in range(60)],
            "per_s": [310.0 + i for i in range(60)],
        },
        "recent": recent(),
        "alerts": [
            {
                "id": 2,
                "monitor": "feature_drift",
                "model": "boosting-0.2.0",
                "message": f"merchant_new_30d: PSI 0.41 over 24 h {HOSTILE[0]}",
                "value": 0.41,
                "threshold": 0.25,
                "stream_ms": END_MS - 3_600_000,
                "opened_ms": END_MS,
                "closed_ms": None,
            },
            {
                "id": 1,
                "monitor": "degraded",
                "model": "boosting-0.1.0",
                "message": "12 payments were decided without the model",
                "value": 12.0,
                "threshold": 1.0,
                "stream_ms": END_MS - 9_600_000,
                "opened_ms": END_MS,
                "closed_ms": END_MS + 60_000,
            },
        ],
        "findings": [
            {
                "monitor": "feature_drift",
                "subject": name,
                "model": "boosting-0.2.0",
                "value": value,
                "threshold": 0.25,
                "rows": 120_000,
            }
            for name, value in (
                ("merchant_new_30d", 0.41),
                ("card_amount_sum_24h", 0.12),
                ("score", 0.06),
            )
        ],
        "labels": {"matched": 1_204, "waiting": 3, "duplicate": 17, "conflict": 1},
    }


def model_row(name: str, status: str, precision: float, **more: Any) -> dict[str, Any]:
    return {
        "model": name,
        "created_ms": END_MS - 86_400_000,
        "feature_set": "5f2c9a7be1d04433",
        "dataset_snapshot": "9b1d00aa31ce44f2",
        "status": status,
        "error": None,
        "features": 67,
        "seed": 7,
        "metrics": {
            "average_precision": precision,
            "average_precision_95": [precision - 0.03, precision + 0.025],
            "roc_auc": 0.9876,
            "recall_at_1pct_fpr": 0.871,
            "rows": 24_000,
            "frauds": 187,
        },
        "split": {"test": {"start_ms": END_MS - 20 * 86_400_000, "end_ms": END_MS}},
    } | more


def switch(revision: int, cause: str, model: str) -> dict[str, Any]:
    return {
        "arrival": 100_000 * (revision + 1),
        "at_ms": END_MS + revision * 60_000,
        "cause": cause,
        "revision": revision,
        "model": model,
        "policy": "policy-3f1a",
    }


def models() -> dict[str, Any]:
    return {
        "revision": 3,
        "live": {
            "model": "boosting-0.2.0",
            "policy": "policy-3f1a",
            "feature_set": "5f2c9a7be1d04433",
            "since_ms": END_MS,
            "revision": 3,
        },
        "previous": "boosting-0.1.0",
        "scorer": {
            "up": True,
            "since_ms": END_MS,
            "url": "http://127.0.0.1:8686",
            "refused": None,
        },
        "models": [
            model_row("boosting-0.3.0", "candidate", 0.842),
            model_row("boosting-0.2.0", "live", 0.831),
            model_row("boosting-0.1.0", "previous", 0.779),
            model_row("boosting-0.0.9", "damaged", 0.5, error="a file was changed", metrics={}),
        ],
        "switches": [
            switch(3, "promote", "boosting-0.2.0"),
            switch(2, "rollback", "boosting-0.1.0"),
            switch(1, "promote", "boosting-0.2.0"),
            switch(0, "start", "boosting-0.1.0"),
        ],
    }


def curve(top: float) -> list[dict[str, Any]]:
    rows = []
    for share in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05):
        point = {
            "threshold": 1 - 12 * share,
            "flagged": share,
            "precision": top * math.exp(-30 * share),
            "recall": 1 - math.exp(-400 * share),
        }
        rows.append({"chosen_on": point, "test": point})
    return rows


def compare(a: str, b: str) -> dict[str, Any]:
    return {
        "a": model_row(a, "live", 0.831),
        "b": model_row(b, "candidate", 0.842),
        "metrics": [
            {"name": "average_precision", "a": 0.831, "b": 0.842, "difference": 0.011},
            {"name": "roc_auc", "a": 0.9876, "b": 0.9871, "difference": -0.0005},
            {"name": "rows", "a": 24_000, "b": 26_000, "difference": 2_000},
        ],
        "parameters": [{"name": "seed", "a": 7, "b": 8}],
        "features": {"only_a": [], "only_b": ["merchant_new_30d"], "both": 66},
        "thresholds": {"a": curve(0.95), "b": curve(0.98)},
        "same_test": True,
    }


def performance() -> dict[str, Any]:
    days = 30
    return {
        "from_ms": END_MS - days * 86_400_000,
        "to_ms": END_MS,
        "model": None,
        "models": ["boosting-0.2.0", "boosting-0.1.0"],
        "matured_ms": END_MS - 5 * 86_400_000,
        "currency": "EUR",
        "labels": {"matched": 1_204, "waiting": 3},
        "summary": [
            {
                "model": name,
                "payments": 210_000,
                "matured": 180_000,
                "labelled_early": 87,
                "frauds": 640,
                "flagged": 900,
                "precision": 0.61,
                "recall": 0.86,
                "average_precision": 0.83,
                "roc_auc": 0.987,
                "stopped_fraud_ref": 9_034_500,
                "missed_fraud_ref": 1_204_500,
                "approved_ref": 934_034_500,
                "false_positive_ratio": 0.64,
            }
            for name in ("boosting-0.2.0", "boosting-0.1.0")
        ],
        "series": {
            "bucket_ms": [END_MS - (days - i) * 86_400_000 for i in range(days)],
            "payments": [7_000] * days,
            "frauds": [20] * days,
            "precision": [0.5 + wave(i * 4, 0.1, 2) if i < 26 else None for i in range(days)],
            "recall": [0.7 + wave(i * 4, 0.08, 1) if i < 26 else None for i in range(days)],
            "stopped_fraud_ref": [int(wave(i * 4, 300_000, 3)) for i in range(days)],
            "missed_fraud_ref": [int(wave(i * 4, 40_000, 2)) for i in range(days)],
        },
        "thresholds": [
            {
                "threshold": i / 60,
                "flagged": int(4_000 * math.exp(-4 * i / 60)),
                "flagged_share": 0.02 * math.exp(-4 * i / 60),
                "precision": 1 - math.exp(-5 * i / 60),
                "recall": 1 - (i / 60) ** 3,
                "stopped_fraud_ref": int(9_000_000 * (1 - (i / 60) ** 3)),
                "false_positives": int(3_000 * math.exp(-7 * i / 60)),
                "per_day": 133 * math.exp(-4 * i / 60),
            }
            for i in range(60)
        ],
        "chosen": None,
    }


def data() -> dict[str, Any]:
    digests = ["9f86d081884c7d65", "60303ae22b998861", "fd61a03af4f77d87"]
    return {
        "imports": [
            {
                "file": f"part-{i}.parquet",
                "source": ["payments-2025.csv", HOSTILE[1], "april.parquet"][i],
                "sha256": digests[i] * 4,
                "source_sha256": digests[2 - i] * 4,
                "created_ms": END_MS - i * 3_600_000,
                "rows": 540_000 - i * 120_000,
                "first_ms": END_MS - (90 - 30 * i) * 86_400_000,
                "last_ms": END_MS - (60 - 30 * i) * 86_400_000,
                "fields": ["card_id", "amount_minor", "merchant_id"],
            }
            for i in range(3)
        ],
        "stream": {
            "stream": "s-4f1c",
            "position": 88_123_456,
            "rows": 212_340,
            "labels": 1_204,
            "first_ms": END_MS,
            "last_ms": END_MS + 6 * 86_400_000,
            "updated_ms": END_MS + 6 * 86_400_000,
            "parts": [
                {
                    "file": f"part-{i:08d}.parquet",
                    "sha256": digests[i] * 4,
                    "rows": 70_000,
                    "labels": 401,
                    "first_ms": END_MS + i * 86_400_000,
                    "last_ms": END_MS + (i + 2) * 86_400_000,
                    "created_ms": END_MS,
                }
                for i in range(3)
            ],
        },
        "snapshots": [
            {
                "snapshot": "9b1d00aa31ce44f2",
                "created_ms": END_MS,
                "imports": [digest * 4 for digest in digests],
                "stream_rows": 100_000,
                "rows": 1_360_000,
                "frauds": 5_400,
                "models": ["boosting-0.2.0", "boosting-0.3.0"],
            },
            {
                "snapshot": "71cc04be12aa90d1",
                "created_ms": END_MS - 86_400_000,
                "imports": [digest * 4 for digest in digests[:2]],
                "stream_rows": 0,
                "rows": 960_000,
                "frauds": 3_900,
                "models": ["boosting-0.1.0"],
            },
        ],
        "feature_sets": [
            {
                "digest": "5f2c9a7be1d04433",
                "features": 67,
                "models": ["boosting-0.1.0", "boosting-0.2.0"],
                "current": True,
            }
        ],
        "models": [
            {"model": name, "snapshot": snapshot, "feature_set": "5f2c9a7be1d04433"}
            for name, snapshot in (
                ("boosting-0.3.0", "9b1d00aa31ce44f2"),
                ("boosting-0.2.0", "9b1d00aa31ce44f2"),
                ("boosting-0.1.0", "71cc04be12aa90d1"),
            )
        ],
    }


def demo() -> dict[str, Any]:
    return {
        "speed": 2400.0,
        "world_ms": END_MS,
        "scenarios": [
            {"name": "black_friday", "title": "Black Friday", "on": True},
            {"name": "pandemic", "title": "Pandemic", "on": False},
            {"name": "new_pattern", "title": "New fraud pattern", "on": False},
        ],
    }


EMPTY_LIVE: dict[str, Any] = {
    "stream_ms": None,
    "updated_ms": None,
    "currency": "EUR",
    "scorer": None,
    "worker": None,
    "window_ms": [None, None],
    "totals": {},
    "series": {},
    "latency": {},
    "recent": [],
    "alerts": [],
    "findings": [],
    "labels": {},
}
EMPTY_MODELS: dict[str, Any] = {
    "revision": 0,
    "live": None,
    "previous": None,
    "scorer": {"up": False, "since_ms": None, "url": None, "refused": None},
    "models": [],
    "switches": [],
}
EMPTY_PERFORMANCE: dict[str, Any] = {
    "from_ms": None,
    "to_ms": None,
    "models": [],
    "matured_ms": None,
    "currency": "EUR",
    "labels": {},
    "summary": [],
    "series": {},
    "thresholds": [],
    "chosen": None,
}
EMPTY_DATA: dict[str, Any] = {
    "imports": [],
    "stream": None,
    "snapshots": [],
    "feature_sets": [],
    "models": [],
}
