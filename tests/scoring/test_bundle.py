from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sample_bundle import FEATURE_SET

from assay.errors import BundleError
from assay.scoring.bundle import Bundle


def refused(
    folder: Path, key: Ed25519PrivateKey, match: str, feature_set: str | None = None
) -> None:
    """Check that loading fails with one line that matches."""
    with pytest.raises(BundleError, match=match) as caught:
        Bundle.load(folder, key.public_key(), feature_set)
    assert "\n" not in str(caught.value)


def resign(folder: Path, key: Ed25519PrivateKey, **changed: Any) -> None:
    """Change the manifest and sign it again, as its rightful owner could."""
    manifest = json.loads((folder / "manifest.json").read_bytes()) | changed
    document = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(document)
    (folder / "signature").write_bytes(key.sign(document))


def test_written_bundle_loads(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """What was written is what is read."""
    folder = make(extra={"reasons.json": b'{"amount": {"code": "R1"}}'})
    bundle = Bundle.load(folder, key.public_key(), FEATURE_SET)
    assert bundle.manifest.features == ["amount", "count"]
    assert bundle.graphs == {"full": (folder / "model.onnx").read_bytes()}
    assert bundle.quantiles["grid"] == [0.5]
    assert bundle.reasons["amount"]["code"] == "R1"


def test_reasons_are_optional(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A bundle without a reason table has an empty one."""
    assert Bundle.load(make(), key.public_key()).reasons == {}


@pytest.mark.parametrize("name", ["model.onnx", "quantiles.json", "manifest.json", "signature"])
def test_missing_file_is_named(
    make: Callable[..., Path], key: Ed25519PrivateKey, name: str
) -> None:
    """Every file that a bundle must have is missed by its name."""
    folder = make()
    (folder / name).unlink()
    refused(folder, key, f"boosting-0.1.0/{name} is missing")


def test_missing_folder_is_named(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    """A path without a bundle says what makes one."""
    refused(tmp_path / "boosting-9.9.9", key, r"boosting-9\.9\.9 is missing; .*assay train")


@pytest.mark.parametrize("name", ["model.onnx", "quantiles.json", "reasons.json"])
def test_every_changed_byte_is_found(
    make: Callable[..., Path], key: Ed25519PrivateKey, name: str
) -> None:
    """One flipped bit in a listed file is refused with the file's name."""
    folder = make(extra={"reasons.json": b"{}"})
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, key, f"{name} was changed")


def test_changed_manifest_is_found(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A manifest edited by somebody without the key is refused."""
    folder = make()
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"0.9", b"1.0"))
    refused(folder, key, "signature does not fit")


def test_another_key_is_refused(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A bundle that somebody else signed does not fit the pinned key, whole as it is."""
    folder = make()
    refused(folder, Ed25519PrivateKey.generate(), "pinned key")
    resign(folder, Ed25519PrivateKey.generate())
    refused(folder, key, "pinned key")


@pytest.mark.parametrize("seal", [b"", b"x" * 64, b"x" * 65])
def test_broken_signature_is_refused(
    make: Callable[..., Path], key: Ed25519PrivateKey, seal: bytes
) -> None:
    """Any bytes that are not the signature are refused alike."""
    folder = make()
    (folder / "signature").write_bytes(seal)
    refused(folder, key, "signature does not fit")


def test_other_feature_set_names_both(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A model of another feature set is refused with both digests, shortened."""
    refused(make(), key, "feature set abababababab; accepted: cdcdcdcdcdcd", "cd" * 32)


def test_unknown_format_is_refused(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A signed bundle of a later format is refused as such."""
    folder = make()
    resign(folder, key, format_version=2)
    refused(folder, key, "format 2; accepted: format 1")


def test_unlisted_files_are_refused(make: Callable[..., Path], key: Ed25519PrivateKey) -> None:
    """A file that the manifest does not list stops the load, whatever its name."""
    folder = make()
    (folder / "reasons.json").write_bytes(b"{}")
    refused(folder, key, "reasons.json is not listed")
    (folder / "reasons.json").rename(folder / "model.pkl")
    refused(folder, key, "model.pkl does not belong to a bundle")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_only_plain_files_are_read(
    make: Callable[..., Path], key: Ed25519PrivateKey, kind: str, tmp_path: Path
) -> None:
    """A folder, link or pipe in the place of a file is refused, not followed or waited for."""
    folder = make()
    path = folder / "model.onnx"
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    refused(folder, key, "model.onnx is no plain file")


def test_manifest_cannot_reach_outside_its_folder(
    make: Callable[..., Path], key: Ed25519PrivateKey
) -> None:
    """A listed path with a slash is a missing file, not a file elsewhere."""
    folder = make()
    resign(folder, key, files={"../../etc/passwd": "00"})
    refused(folder, key, "is missing")
    resign(folder, key, files={}, rungs={"full": "/etc/passwd"})
    refused(folder, key, "is not listed")


def test_version_is_never_overwritten(make: Callable[..., Path], tmp_path: Path) -> None:
    """Writing a version again fails and leaves the first as it was, with no draft beside it."""
    folder = make()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BundleError, match="exists; accepted: a version not yet taken"):
        make(seed=99)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_interrupted_write_leaves_nothing(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure in the middle leaves neither a bundle nor a draft."""

    def fail(_: int) -> Never:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("assay.durable.os.fsync", fail)
    with pytest.raises(BundleError, match=r"cannot write .*: No space left"):
        make()
    assert list(tmp_path.iterdir()) == []
