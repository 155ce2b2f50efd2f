"""What a bundle says about itself, and what its signature covers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from assay.errors import BundleError

FORMAT_VERSION: Final = 1

Digest = str
"""Hexadecimal digest."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one model; `files` bind every other file of the bundle to the signature.

    Attributes
    ----------
    name, version : str
        Family and semantic version, such as ``boosting`` and ``0.1.0``.
    rungs : dict
        Rung of the degradation ladder → its ONNX file; ``full`` is always there.
    files : dict
        File name → SHA-256, of every file but the manifest and the signature.
    feature_set : str
        Digest of the feature set that the model was trained on.
    features : list of str
        Names in the order of the matrix columns.
    dataset_snapshot : str
        Digest of the rows it was trained on.
    parameters, split, metrics, libraries : dict
        How it was trained, on what spans of time, how good it is, and with which versions.
    """

    format_version: int
    name: str
    version: str
    rungs: dict[str, str]
    files: dict[str, Digest]
    feature_set: Digest
    features: list[str]
    dataset_snapshot: Digest
    parameters: dict[str, Any]
    seed: int
    split: dict[str, Any]
    metrics: dict[str, Any]
    libraries: dict[str, str]
    code_version: str
    created_ms: int

    @property
    def model_id(self) -> str:
        """Name and version, as decisions quote them."""
        return f"{self.name}-{self.version}"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON that a person can read, with sorted keys."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1)


def decode_manifest(document: bytes) -> Manifest:
    """Return the manifest in a JSON document.

    Raises
    ------
    BundleError
        If it is of another format version, or not a manifest.
    """
    try:
        version = msgspec.json.decode(document, type=_Versioned).format_version
        if version != FORMAT_VERSION:
            raise BundleError(f"manifest has format {version}; accepted: format {FORMAT_VERSION}")
        manifest = msgspec.json.decode(document, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(f"manifest.json is not a manifest: {error}") from None
    if "full" not in manifest.rungs:
        raise BundleError(f"manifest.json has rungs {sorted(manifest.rungs)}; accepted: full")
    return manifest


class _Versioned(msgspec.Struct):
    format_version: int
