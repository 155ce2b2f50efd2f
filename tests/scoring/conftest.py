"""A small signed bundle on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.scoring.bundle import write_bundle

sys.path.insert(0, str(Path(__file__).parent))  # for sample_bundle.py: tests are not a package
from sample_bundle import facts, graph


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def make(tmp_path: Path, key: Ed25519PrivateKey) -> Callable[..., Path]:
    """Return a function that writes a bundle."""

    def write(
        model: bytes | None = None, extra: dict[str, bytes] | None = None, **changed: Any
    ) -> Path:
        files = {
            "model.onnx": graph() if model is None else model,
            "quantiles.json": json.dumps({"grid": [0.5], "features": {}, "score": {}}).encode(),
        }
        return write_bundle(
            tmp_path / "boosting-0.1.0", facts(**changed), files | (extra or {}), key
        )

    return write
