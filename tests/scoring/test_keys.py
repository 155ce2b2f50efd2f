from __future__ import annotations

import stat
from pathlib import Path

import pytest

from assay.errors import BundleError
from assay.scoring.keys import PRIVATE_NAME, PUBLIC_NAME, public_key, signing_key


def test_missing_key_is_made_once(tmp_path: Path) -> None:
    """The first call makes a key only its owner can read; later calls return the same."""
    folder = tmp_path / "workspace" / "keys"
    key = signing_key(folder)
    assert stat.S_IMODE((folder / PRIVATE_NAME).stat().st_mode) == 0o600
    again = signing_key(folder)
    assert again.private_bytes_raw() == key.private_bytes_raw()
    assert public_key(folder).public_bytes_raw() == key.public_key().public_bytes_raw()
    assert {path.name for path in folder.iterdir()} == {PRIVATE_NAME, PUBLIC_NAME}


def test_lost_public_half_is_made_again(tmp_path: Path) -> None:
    """The public half comes from the private one, so losing it costs nothing."""
    key = signing_key(tmp_path)
    (tmp_path / PUBLIC_NAME).unlink()
    signing_key(tmp_path)
    assert public_key(tmp_path).public_bytes_raw() == key.public_key().public_bytes_raw()


def test_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key file with wider permissions is named with its mode."""
    signing_key(tmp_path)
    (tmp_path / PRIVATE_NAME).chmod(0o644)
    with pytest.raises(BundleError, match="mode 0644; accepted: 0600"):
        signing_key(tmp_path)


def test_damaged_keys_are_refused_without_showing_them(tmp_path: Path) -> None:
    """A file that is no key is refused, and its content is not in the error."""
    signing_key(tmp_path)
    (tmp_path / PRIVATE_NAME).write_text("do-not-show")
    (tmp_path / PUBLIC_NAME).write_text("do-not-show")
    for read in (signing_key, public_key):
        with pytest.raises(BundleError, match="accepted: an Ed25519 key in PEM") as caught:
            read(tmp_path)
        assert "do-not-show" not in str(caught.value)


def test_no_public_key_says_what_is_missing(tmp_path: Path) -> None:
    """A workspace without a key says that no model was trained there."""
    with pytest.raises(BundleError, match="is missing; accepted: a workspace where"):
        public_key(tmp_path)
