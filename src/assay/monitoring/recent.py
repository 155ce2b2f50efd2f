"""The last decisions, for people to look at."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.records import SCORED_KINDS, Action, Kind, Mode, Stretch, Switch

RECENT_MAX: Final = 50

BOOTS_MAX: Final = 4
"""Of so many boot records the sentences are kept."""


class Recent:
    """Keeps the last 50 decisions about payments, newest first in its document.

    Text of a merchant is as it came: whoever shows it must escape it.

    Parameters
    ----------
    document : dict
        What `document` returned before; an empty one at first.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._rows = deque(reversed(document.get("decisions", [])), maxlen=RECENT_MAX)
        tables: dict[str, list[str]] = document.get("reasons", {})
        self._reasons = {int(boot): sentences for boot, sentences in tables.items()}

    def take(
        self, stretch: Stretch, fresh: NDArray[np.intp], models: list[str], model: NDArray[np.int64]
    ) -> None:
        """Take the decisions of a stretch at the given places; `model` says who made each."""
        payment = np.isin(stretch.batch.events["kind"][fresh], SCORED_KINDS)
        for place in np.flatnonzero(payment)[-RECENT_MAX:].tolist():
            self._rows.append(self._row(stretch, int(fresh[place]), models[int(model[place])]))

    def learn(self, switches: list[Switch]) -> None:
        """Keep the sentences of the reasons that decisions name by number."""
        for switch in switches:
            self._reasons[switch.arrival] = [text for _, text in switch.reasons]
        for boot in sorted(self._reasons)[:-BOOTS_MAX]:
            del self._reasons[boot]

    def document(self) -> dict[str, Any]:
        """Return ``decisions``, newest first, and ``reasons``: sentences by boot and number."""
        reasons = {str(boot): sentences for boot, sentences in self._reasons.items()}
        return {"decisions": list(reversed(self._rows)), "reasons": reasons}

    def _row(self, stretch: Stretch, i: int, model: str) -> dict[str, Any]:
        batch = stretch.batch
        event, score = batch.events[i], float(batch.scores[i])
        sent: dict[str, Any] = msgspec.json.decode(stretch.canonicals[i])
        table = self._reasons.get(int(stretch.boots[i]), [])
        reasons = [int(code) for code in batch.reasons[i] if 0 < code < len(table)]
        return {
            "arrival": int(event["arrival"]),
            "transaction_id": stretch.transaction_ids[i],
            "event_ms": int(event["event_time"]),
            "merchant": sent.get("merchant_name") or sent.get("merchant_id"),
            "amount_minor": sent.get("amount_minor"),
            "currency": sent.get("currency"),
            "kind": Kind(event["kind"]).name,
            "action": Action(batch.actions[i]).name,
            "score": None if np.isnan(score) else round(score, 6),
            "reasons": [table[code] for code in reasons],
            "model": model,
            "mode": Mode(batch.modes[i]).name,
        }
