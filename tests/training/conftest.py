"""What several test files share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import assay.training  # noqa: F401 # first: it sets how XGBoost's threads wait

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside: tests are not a package
from small_world import World


@pytest.fixture(scope="session")
def world() -> World:
    return World()
