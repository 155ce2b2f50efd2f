from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import SettingsError
from assay.settings import load_settings


def test_order_of_sources(tmp_path: Path) -> None:
    """An option wins over the environment, which wins over the file, which wins over defaults."""
    (tmp_path / "assay.toml").write_text('port = 1\nlateness_s = 2\nattributes = ["tier"]\n')
    read = load_settings(tmp_path, {"ASSAY_PORT": "3", "PATH": "x"})
    assert (read.port, read.lateness_s, read.attributes, read.host) == (
        3,
        2,
        ("tier",),
        "127.0.0.1",
    )
    assert load_settings(tmp_path, {"ASSAY_PORT": "3"}, port=4, host=None).port == 4
    assert load_settings(None, {"ASSAY_EXEMPT": "a, b"}).exempt == ("a", "b")


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("latenes_s = 1", {}, "did you mean lateness_s"),
        ("lateness_s = '1'", {}, "type int"),
        ("lateness_s = true", {}, "type int"),
        ("port = [", {}, "not TOML"),
        ("port = 70000", {}, "0 to 65535"),
        ("queue_rows_max = 10", {}, "batch_rows_max"),
        ("", {"ASSAY_LATENES_S": "1"}, "did you mean lateness_s"),
        ("", {"ASSAY_PORT": "many"}, "whole number"),
    ],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, text: str, environ: dict[str, str], said: str
) -> None:
    """A typo, a wrong type and a contradiction each stop the start and say what is accepted."""
    (tmp_path / "assay.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_settings(tmp_path, environ)


def test_other_variables_are_nobodys_setting() -> None:
    """The API key, cache folder and debug switch are read elsewhere."""
    load_settings(None, {"ASSAY_API_KEY": "x", "ASSAY_CACHE": "/tmp", "ASSAY_DEBUG": "1"})
