from __future__ import annotations

import os
import subprocess
import sys


def test_waiting_threads_sleep() -> None:
    """Any module of the package sets how threads wait before XGBoost loads, unless it is set."""
    code = (
        "import os, sys, assay.training; "
        "assert 'xgboost' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    )
    plain = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    for given, said in ((plain, "PASSIVE"), ({**plain, "OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        out = subprocess.run(
            [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == said
