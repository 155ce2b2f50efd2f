from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import OwnerError
from assay.owner import Owner


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """A second holder is refused while the first lives, and let in with a higher epoch after it."""
    first = Owner(tmp_path / "worker", "worker")
    with pytest.raises(OwnerError, match="another worker is running"):
        Owner(tmp_path / "worker", "worker")
    first.release()
    with Owner(tmp_path / "worker", "worker") as second:
        assert second.epoch == first.epoch + 1


def test_a_stale_holder_is_refused(tmp_path: Path) -> None:
    """A holder whose lock was lost to another may not write any more."""
    first = Owner(tmp_path, "worker")
    (tmp_path / "lock").unlink()  # what moving the folder away and back would do
    with Owner(tmp_path, "worker"), pytest.raises(OwnerError, match="1 is stale, 2 is in force"):
        first.check()
    first.release()


def test_a_damaged_epoch_is_refused(tmp_path: Path) -> None:
    """An epoch file that is no number is named, not overwritten."""
    (tmp_path / "epoch").write_text("seven")
    with pytest.raises(OwnerError, match="damaged"):
        Owner(tmp_path, "worker")
    assert (tmp_path / "epoch").read_text() == "seven"
