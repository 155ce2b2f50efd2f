from __future__ import annotations

import json
from typing import Any

import pytest
from sample_bundle import facts

from assay.errors import BundleError
from assay.scoring.manifest import Manifest, decode_manifest, encode_manifest


def manifest(**changed: Any) -> Manifest:
    return Manifest(format_version=1, rungs={"full": "model.onnx"}, files={}, **facts(**changed))


def test_manifest_survives_the_way_there_and_back() -> None:
    """Decoding what was encoded gives the same facts, and equal facts the same bytes."""
    assert decode_manifest(encode_manifest(manifest())) == manifest()
    assert encode_manifest(manifest()) == encode_manifest(manifest())
    assert manifest(version="2.0.1").model_id == "boosting-2.0.1"


def test_unknown_format_is_refused_before_its_fields() -> None:
    """A manifest of a later format is named as such, whatever else it holds."""
    with pytest.raises(BundleError, match="format 9; accepted: format 1"):
        decode_manifest(b'{"format_version": 9, "name": []}')


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"format_version": 1}', b"\xff"])
def test_no_manifest_is_refused(document: bytes) -> None:
    """Bytes that are not a manifest give one sentence."""
    with pytest.raises(BundleError, match="is not a manifest"):
        decode_manifest(document)


def test_wrong_type_names_the_field() -> None:
    """A field of another type is named."""
    broken = json.loads(encode_manifest(manifest())) | {"seed": "one"}
    with pytest.raises(BundleError, match=r"\$\.seed"):
        decode_manifest(json.dumps(broken).encode())


def test_manifest_without_a_full_graph_is_refused() -> None:
    """Every model has the rung that a healthy scorer uses."""
    broken = json.loads(encode_manifest(manifest())) | {"rungs": {"light": "light.onnx"}}
    with pytest.raises(BundleError, match=r"rungs \['light'\]; accepted: full"):
        decode_manifest(json.dumps(broken).encode())
