"""The Ed25519 key that signs bundles, and the public half that loaders pin."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from assay import durable
from assay.errors import BundleError

PRIVATE_NAME: Final = "bundle-signing.pem"
PUBLIC_NAME: Final = "bundle-signing.pub"


def signing_key(folder: Path) -> Ed25519PrivateKey:
    """Return the folder's signing key; a missing one is made, with its public half beside it.

    Raises
    ------
    BundleError
        If the key file is not an Ed25519 key, or others may read it.
    """
    path = folder / PRIVATE_NAME
    if not path.exists():
        _create(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise BundleError(f"{path} has mode {mode:04o}; accepted: 0600, readable by its owner only")
    key = _read(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} is not a private key; accepted: an Ed25519 key in PEM")
    if not (folder / PUBLIC_NAME).exists():
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        durable.write_once(folder / PUBLIC_NAME, public, 0o644)
    return key


def public_key(folder: Path) -> Ed25519PublicKey:
    """Return the public key that the folder's bundles must be signed with.

    Raises
    ------
    BundleError
        If there is none: no model was ever trained here.
    """
    path = folder / PUBLIC_NAME
    if not path.exists():
        raise BundleError(f"{path} is missing; accepted: a workspace where a model was trained")
    key = _read(path)
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{path} is not a public key; accepted: an Ed25519 key in PEM")
    return key


def _read(path: Path) -> object:
    document = path.read_bytes()
    try:
        if path.name == PUBLIC_NAME:
            return load_pem_public_key(document)
        return load_pem_private_key(document, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    durable.write_once(path, private, 0o600)
