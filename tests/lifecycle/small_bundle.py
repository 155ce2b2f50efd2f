"""A signed bundle of a workspace's features whose score is the first feature, squeezed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from assay.features.default_set import default_features
from assay.scoring.bundle import write_bundle
from assay.scoring.keys import signing_key
from assay.workspace import Workspace

sys.path.insert(0, str(Path(__file__).parents[1] / "scoring"))  # for sample_bundle.py
from sample_bundle import facts, graph

FEATURES = default_features()


def write_small_bundle(workspace: Workspace, version: str = "0.1.0", **changed: Any) -> Path:
    """Write ``boosting-<version>`` and return its folder."""
    known = {
        "features": list(FEATURES.names),
        "feature_set": FEATURES.digest,
        "created_ms": int(version.split(".")[1]),
        **changed,
    }
    files = {
        "model.onnx": graph(columns=len(known["features"])),
        "quantiles.json": json.dumps({"features": {}, "score": {}}).encode(),
    }
    folder = workspace.models / f"boosting-{version}"
    key = signing_key(workspace.keys)
    return write_bundle(folder, facts(version=version, **known), files, key)
