"""Dataset to candidate model: time splits, families, calibration, export, evaluation."""

from __future__ import annotations

import os

# Read when XGBoost loads, so set before any module here can load it. Waiting threads spin by
# default: on a machine whose cores are busy a fit then takes five to a hundred times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
