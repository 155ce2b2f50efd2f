"""Scripts, styles and pictures, read once and served from memory under content-hashed addresses."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file, plain and compressed, with what it is."""

    content: bytes
    compressed: bytes
    media_type: str


class Assets:
    """The files of ``assets/vendor`` and ``assets/own`` that a browser may ask for.

    An address holds the first 16 hex digits of the content's SHA-256, so that a browser may keep
    a file for ever and still never uses an old one.
    """

    def __init__(self) -> None:
        self._assets: dict[tuple[str, str], Asset] = {}
        self._urls: dict[str, str] = {}
        for folder in ("vendor", "own"):
            for file in files("assay.console").joinpath("assets", folder).iterdir():
                self._add(file.name, file.read_bytes())

    def _add(self, name: str, content: bytes) -> None:
        media_type = _TYPES.get(name.rpartition(".")[2])
        if media_type is not None:
            digest = hashlib.sha256(content).hexdigest()[:16]
            self._assets[digest, name] = Asset(content, gzip.compress(content, 6), media_type)
            self._urls[name] = f"/assets/{digest}/{name}"

    def url(self, name: str) -> str:
        """Return the address of a file that is there; any other is a programmer's error."""
        return self._urls[name]

    def get(self, digest: str, name: str) -> Asset | None:
        """Return what an address names, or None."""
        return self._assets.get((digest, name))
