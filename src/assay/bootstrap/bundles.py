"""The bundles of a workspace, and what their signed manifests say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature

from assay.errors import BundleError
from assay.ingest.firewall import masked
from assay.scoring.bundle import MANIFEST, SIGNATURE
from assay.scoring.keys import public_key
from assay.scoring.manifest import Manifest, decode_manifest
from assay.workspace import Workspace


def bundle_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of bundles, newest version first; drafts begin with a dot."""
    if not workspace.models.is_dir():
        return []
    found = [p for p in workspace.models.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(found, key=_version, reverse=True)


def _version(folder: Path) -> tuple[list[int], str]:
    numbers = folder.name.rpartition("-")[2].split(".")
    return [int(n) if n.isascii() and n.isdigit() else -1 for n in numbers], folder.name


def find_folder(workspace: Workspace, model: str) -> Path:
    """Return the folder of a bundle.

    Raises
    ------
    BundleError
        If there is none of that name.
    """
    folders = {folder.name: folder for folder in bundle_folders(workspace)}
    if model not in folders:
        known = ", ".join(folders) or "none yet, train one with: assay train"
        raise BundleError(f"no model {masked(model)!r}; accepted: {known}")
    return folders[model]


def read_manifest(workspace: Workspace, folder: Path) -> Manifest:
    """Return a bundle's manifest, its signature checked; the files it lists are only looked for.

    Raises
    ------
    BundleError
        If a file is missing, the signature does not fit, or the folder has another's name.
    """
    document, seal = _plain(folder / MANIFEST), _plain(folder / SIGNATURE)
    try:
        public_key(workspace.keys).verify(seal, document)
    except InvalidSignature:
        raise BundleError(
            f"{folder.name}/{SIGNATURE} does not fit {MANIFEST} and the pinned key; "
            "accepted: a bundle signed with this workspace's key and not changed since"
        ) from None
    manifest = decode_manifest(document)
    for name in sorted(manifest.files):
        if not (folder / name).is_file():
            raise BundleError(f"{folder.name}/{name} is missing; restore the bundle")
    if manifest.model_id != folder.name:
        raise BundleError(
            f"{folder.name} holds {manifest.model_id}; accepted: a folder with its model's name"
        )
    return manifest


def manifest_facts(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain values."""
    facts = msgspec.to_builtins(manifest)
    assert isinstance(facts, dict)
    return facts


def _plain(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path.parent.name}/{path.name} is missing; restore the bundle")
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"cannot read {path.parent.name}/{path.name}: {error.strerror}; restore the bundle"
        ) from None
