"""A model as a directory: graphs, facts, quantiles and a signature; no pickle.

::

    boosting-0.1.0/
      manifest.json    facts, and the SHA-256 of every file below
      signature        Ed25519 over the bytes of manifest.json
      model.onnx       rung "full"
      quantiles.json   grids of numbers for drift, never rows
      reasons.json     optional: feature → reason code and sentence
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from assay import durable
from assay.errors import BundleError
from assay.scoring.manifest import FORMAT_VERSION, Manifest, decode_manifest, encode_manifest

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature"
MODEL: Final = "model.onnx"
LIGHT: Final = "light.onnx"
QUANTILES: Final = "quantiles.json"
REASONS: Final = "reasons.json"
ALLOWED: Final = frozenset({MODEL, LIGHT, QUANTILES, REASONS})
KNOWN: Final = ALLOWED | {MANIFEST, SIGNATURE}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose signature, digests and feature set were checked. Holds bytes, no session.

    Attributes
    ----------
    manifest : Manifest
    graphs : Mapping of str to bytes
        Rung → ONNX graph.
    quantiles : Mapping
        ``features`` and ``score``: grids for drift.
    reasons : Mapping
        Feature → reason, empty when the bundle has no table.
    """

    manifest: Manifest
    graphs: Mapping[str, bytes]
    quantiles: Mapping[str, Any]
    reasons: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path, key: Ed25519PublicKey, feature_set: str | None = None) -> Bundle:
        """Read a bundle and refuse it unless everything fits.

        Each file is read once: what was checked is what is used.

        Parameters
        ----------
        folder : Path
        key : Ed25519PublicKey
            The pinned public half of the key that must have signed it.
        feature_set : str, optional
            Digest of the feature set in use.

        Raises
        ------
        BundleError
            If the folder or a file is missing, damaged, unlisted or unsigned, the format is
            unknown, or the feature set is another.
        """
        files = _read_folder(folder)
        document = _take(files, MANIFEST, folder)
        _check_signature(folder, key, document, _take(files, SIGNATURE, folder))
        manifest = decode_manifest(document)
        _check_files(folder, manifest, files)
        if feature_set is not None and feature_set != manifest.feature_set:
            raise BundleError(
                f"{folder.name} was trained on feature set {manifest.feature_set[:12]}; accepted: "
                f"{feature_set[:12]}, the one in use, so train again or restore the definitions"
            )
        return cls(
            manifest,
            {rung: _take(files, name, folder) for rung, name in manifest.rungs.items()},
            _json(folder, QUANTILES, _take(files, QUANTILES, folder)),
            _json(folder, REASONS, files.get(REASONS, b"{}")),
        )


def write_bundle(
    folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes], key: Ed25519PrivateKey
) -> Path:
    """Write a bundle that is there whole or not at all.

    Parameters
    ----------
    folder : Path
        The bundle's own folder; it must not exist. Its parent is made.
    facts : Mapping
        The fields of `Manifest` but ``format_version``, ``rungs`` and ``files``.
    files : Mapping of str to bytes
        ``model.onnx``, ``quantiles.json`` and perhaps ``light.onnx``, ``reasons.json``.
    key : Ed25519PrivateKey
        Signs the manifest.

    Raises
    ------
    BundleError
        If the folder exists: a version is never overwritten.
    """
    assert {MODEL, QUANTILES} <= files.keys() <= ALLOWED, sorted(files)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    rungs = {rung: name for rung, name in (("full", MODEL), ("light", LIGHT)) if name in files}
    manifest = Manifest(format_version=FORMAT_VERSION, rungs=rungs, files=digests, **facts)
    document = encode_manifest(manifest)
    everything = {**files, MANIFEST: document, SIGNATURE: key.sign(document)}
    try:
        _write_folder(folder, everything)
    except FileExistsError:
        raise BundleError(f"{folder} exists; accepted: a version not yet taken") from None
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a draft beside, sync it, and rename it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            durable.write_new(draft / name, content)
        durable.sync_folder(draft)
        if folder.exists():  # the rename alone would take the place of an empty folder
            raise FileExistsError
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    durable.sync_folder(folder.parent)


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BundleError(f"{folder} is missing; accepted: a folder that `assay train` wrote")
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{folder.name}/{path.name} is no plain file; accepted: plain files")
        if path.name not in KNOWN:
            raise BundleError(
                f"{folder.name}/{path.name} does not belong to a bundle; accepted: "
                f"{', '.join(sorted(KNOWN))}"
            )
        try:
            files[path.name] = path.read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {folder.name}/{path.name}: {error.strerror}") from None
    return files


def _take(files: Mapping[str, bytes], name: str, folder: Path) -> bytes:
    if name not in files:
        raise BundleError(f"{folder.name}/{name} is missing; restore the bundle or train again")
    return files[name]


def _check_signature(folder: Path, key: Ed25519PublicKey, document: bytes, seal: bytes) -> None:
    try:
        key.verify(seal, document)
    except InvalidSignature:
        raise BundleError(
            f"{folder.name}/{SIGNATURE} does not fit {MANIFEST} and the pinned key; "
            "accepted: a bundle signed with this workspace's key and not changed since"
        ) from None


def _check_files(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, digest in sorted(manifest.files.items()):
        content = _take(files, name, folder)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BundleError(
                f"{folder.name}/{name} was changed: its SHA-256 is not the one in {MANIFEST}; "
                "restore the bundle or train again"
            )
    extra = files.keys() - manifest.files.keys() - {MANIFEST, SIGNATURE}
    if extra:
        raise BundleError(
            f"{folder.name}/{min(extra)} is not listed in {MANIFEST}; accepted: listed files only"
        )


def _json(folder: Path, name: str, document: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise BundleError(f"{folder.name}/{name} is not a JSON object: {error}") from None
