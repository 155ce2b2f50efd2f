from __future__ import annotations

import gzip
import hashlib
import json
import re
from importlib.resources import files

import pytest
from console_client import Ask

from assay.console.assets import Assets

FOLDER = files("assay.console").joinpath("assets")
PINS = json.loads(FOLDER.joinpath("vendor.json").read_text("utf-8"))
PINNED = {name: entry["sha256"] for pin in PINS for name, entry in pin["files"].items()}


def test_vendored_files_are_what_was_pinned() -> None:
    """Every vendored file hashes to what vendor.json says, and no other file lies there."""
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in FOLDER.joinpath("vendor").iterdir()
    }
    assert found == PINNED
    assert all(pin["licence"] and pin["integrity"].startswith("sha512-") for pin in PINS)


def test_nothing_is_fetched_from_elsewhere() -> None:
    """No style imports another, and every picture in a style is part of it."""
    for name in ("vendor/tabler.min.css", "own/console.css"):
        text = FOLDER.joinpath(name).read_text("utf-8")
        assert "@import" not in text
        assert set(re.findall(r"url\([\"']?([a-z]*:?)", text)) <= {"data:"}


def test_pages_hold_no_script_and_no_style() -> None:
    """No template has an inline script, an event attribute or a style."""
    for file in files("assay.console").joinpath("templates").iterdir():
        text = file.read_text("utf-8")
        scripts = re.findall(r"<script([^>]*)>", text)
        assert all("src=" in s or "application/json" in s for s in scripts), file.name
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text), file.name


@pytest.mark.parametrize("name", ["console.css", "echarts.common.min.js", "icon.svg"])
def test_an_address_names_its_content(ask: Ask, name: str) -> None:
    """A file may be kept for ever, since its address changes with it; another digest is 404."""
    url = Assets().url(name)
    reply = ask(url, accept_encoding="gzip")
    content = gzip.decompress(reply.body)
    assert url.split("/")[2] == hashlib.sha256(content).hexdigest()[:16]
    assert ask(url).body == content
    assert "immutable" in reply.headers["cache-control"]
    assert ask(url.replace(url.split("/")[2], "0" * 16)).status == 404
    assert ask("/assets/x/..%2f..%2fapp.py").status == 404
