"""Writes boosted trees and their calibration as one ONNX graph, exact to the last bit.

The graph computes ``margin → 1 / (1 + exp(-(slope · margin + intercept)))``.
The base score is a first tree of one leaf, since the library starts its sum with it: added in
another order the float32 sum, and so the margin, would differ in its last bits.
The logistic function is written out: ONNX Runtime's own ``Sigmoid`` is not monotone in its last
bits and cuts small probabilities to 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnxruntime
import xgboost
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from assay.errors import TrainingError
from assay.training.calibration import Platt

IR_VERSION: Final = 8
OPSET: Final = 17
OPSET_ML: Final = 3
"""Old enough for every ONNX Runtime that the project accepts."""

INPUT: Final = "features"
OUTPUT: Final = "score"

_RUNTIME: Any = onnxruntime  # its types hide what it exports


def export_onnx(booster: xgboost.Booster, platt: Platt) -> bytes:
    """Return the ONNX graph: ``features`` float32 (n, f) → ``score`` float32 (n,).

    Raises
    ------
    TrainingError
        If the booster is not a sum of trees over numbers for one logistic target.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    _check_kind(learner)
    tables = _Tables()
    tables.add_leaf(0, 0, _base_margin(learner))
    for number, tree in enumerate(learner["gradient_booster"]["model"]["trees"], start=1):
        tables.add_tree(number, tree)
    graph = _model(tables, int(booster.num_features()), platt)
    return bytes(graph.SerializeToString(deterministic=True))


def graph_scores(
    model: bytes, features: NDArray[np.float32], rows: int = 65_536
) -> Iterator[NDArray[np.float32]]:
    """Yield the graph's scores for slices of the features, one thread, as serving computes them."""
    options = _RUNTIME.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = _RUNTIME.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for start in range(0, len(features), rows):
        yield session.run([OUTPUT], {INPUT: features[start : start + rows]})[0]


def _check_kind(learner: dict[str, Any]) -> None:
    booster, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
    targets = int(learner["learner_model_param"]["num_target"])
    if (booster, objective, targets) != ("gbtree", "binary:logistic", 1):
        raise TrainingError(
            f"cannot export a {booster} booster with objective {objective} and {targets} targets; "
            "accepted: gbtree with binary:logistic and one target"
        )


def _base_margin(learner: dict[str, Any]) -> float:
    """Return the log-odds that the sum starts with, in the library's own float32 steps."""
    text = learner["learner_model_param"]["base_score"]
    share = np.float32(text.strip("[]"))
    return float(-np.log(np.float32(1) / share - np.float32(1), dtype=np.float32))


@dataclass
class _Tables:
    """The parallel lists that ``TreeEnsembleRegressor`` is made of."""

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    mode: list[str] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    missing_yes: list[int] = field(default_factory=list)
    leaf_tree: list[int] = field(default_factory=list)
    leaf_node: list[int] = field(default_factory=list)
    leaf_value: list[float] = field(default_factory=list)

    def add_tree(self, number: int, tree: dict[str, Any]) -> None:
        """Add one tree of the booster's JSON; its node 0 is the root."""
        if any(tree["split_type"]):
            raise TrainingError("cannot export a categorical split; accepted: numeric features")
        for node, left in enumerate(tree["left_children"]):
            if left == -1:
                self.add_leaf(number, node, tree["split_conditions"][node])
            else:
                self._add(number, node, "BRANCH_LT", tree["split_indices"][node])
                self.threshold[-1] = tree["split_conditions"][node]
                self.yes[-1], self.no[-1] = left, tree["right_children"][node]
                self.missing_yes[-1] = tree["default_left"][node]

    def add_leaf(self, tree: int, node: int, value: float) -> None:
        """Add a leaf worth ``value`` on the margin."""
        self._add(tree, node, "LEAF", 0)
        self.leaf_tree.append(tree)
        self.leaf_node.append(node)
        self.leaf_value.append(value)

    def _add(self, tree: int, node: int, mode: str, feature: int) -> None:
        self.tree.append(tree)
        self.node.append(node)
        self.mode.append(mode)
        self.feature.append(feature)
        self.threshold.append(0.0)
        self.yes.append(0)
        self.no.append(0)
        self.missing_yes.append(0)

    def as_node(self, source: str, target: str) -> NodeProto:
        """Return the trees as one ONNX node whose output is the margin, (n, 1)."""
        return helper.make_node(
            "TreeEnsembleRegressor",
            [source],
            [target],
            domain="ai.onnx.ml",
            n_targets=1,
            aggregate_function="SUM",
            post_transform="NONE",
            nodes_treeids=self.tree,
            nodes_nodeids=self.node,
            nodes_modes=self.mode,
            nodes_featureids=self.feature,
            nodes_values=self.threshold,
            nodes_truenodeids=self.yes,
            nodes_falsenodeids=self.no,
            nodes_missing_value_tracks_true=self.missing_yes,
            target_treeids=self.leaf_tree,
            target_nodeids=self.leaf_node,
            target_ids=[0] * len(self.leaf_node),
            target_weights=self.leaf_value,
        )


def _model(tables: _Tables, n_features: int, platt: Platt) -> ModelProto:
    nodes = [
        tables.as_node(INPUT, "margin_column"),
        helper.make_node("Squeeze", ["margin_column", "axis"], ["margin"]),
        helper.make_node("Mul", ["margin", "minus_slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "minus_intercept"], ["negative"]),
        helper.make_node("Exp", ["negative"], ["odds_against"]),
        helper.make_node("Add", ["odds_against", "one"], ["inverse"]),
        helper.make_node("Reciprocal", ["inverse"], [OUTPUT]),
    ]
    constants = {"minus_slope": -platt.slope, "minus_intercept": -platt.intercept, "one": 1.0}
    initial = [helper.make_tensor(k, TensorProto.FLOAT, [], [v]) for k, v in constants.items()]
    initial.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    graph = helper.make_graph(
        nodes,
        "boosting",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", n_features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n"])],
        initial,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", OPSET_ML)]
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)
