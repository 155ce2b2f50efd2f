"""The parts of a small bundle: its score is an operator applied to the first feature."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

FEATURE_SET = "ab" * 32


def graph(*, columns: int = 2, last: str = "Sigmoid") -> bytes:
    """Return a graph that picks column 0 and applies one operator."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["picked"], axis=1),
        helper.make_node(last, ["picked"], ["p"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", columns])],
            [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n"])],
            [helper.make_tensor("zero", TensorProto.INT64, [], [0])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return model.SerializeToString()


def facts(**changed: Any) -> dict[str, Any]:
    """Return the manifest's facts of a bundle with two features."""
    return {
        "name": "boosting",
        "version": "0.1.0",
        "feature_set": FEATURE_SET,
        "features": ["amount", "count"],
        "dataset_snapshot": "cd" * 32,
        "parameters": {"trees": 1},
        "seed": 0,
        "split": {},
        "metrics": {"test": {"roc_auc": 0.9}},
        "libraries": {"numpy": np.__version__},
        "code_version": "0.1.0",
        "created_ms": 1,
        **changed,
    }
