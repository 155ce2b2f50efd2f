from __future__ import annotations

from pathlib import Path

from assay.training.version import next_version


def test_versions_count_up(tmp_path: Path) -> None:
    """The first is 0.1.0; then the minor part of the highest counts up, other names aside."""
    assert next_version(tmp_path / "none", "boosting") == "0.1.0"
    for name in ("boosting-0.9.0", "boosting-0.10.3", "forest-7.0.0", "boosting-0.99.0-draft"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path, "boosting") == "0.11.0"
    assert next_version(tmp_path, "forest") == "7.1.0"
