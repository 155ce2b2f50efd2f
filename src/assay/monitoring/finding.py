"""What a monitor measured: one value against its threshold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One measurement over a window.

    Attributes
    ----------
    monitor : str
        ``feature_drift``, ``score_drift`` or ``degraded``.
    subject : str
        A feature's name, ``score`` or ``payments``.
    value, threshold : float
        Above the threshold it is worth an alert.
    rows : int
        How many payments the window holds.
    """

    monitor: str
    subject: str
    value: float
    threshold: float
    rows: int

    @property
    def ratio(self) -> float:
        """The value in thresholds: above 1 it is worth an alert."""
        return self.value / self.threshold
