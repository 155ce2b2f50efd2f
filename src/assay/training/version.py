"""Names the next model: nothing is ever overwritten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FIRST: Final = "0.1.0"


def next_version(folder: Path, name: str) -> str:
    """Return the version after the highest one in a folder of bundles: the minor part counts up.

    New data or parameters make a new minor version; the major one is for people to raise.
    """
    pattern = re.compile(rf"{re.escape(name)}-(\d+)\.(\d+)\.(\d+)")
    entries = folder.iterdir() if folder.is_dir() else ()
    taken = [tuple(map(int, m.groups())) for e in entries if (m := pattern.fullmatch(e.name))]
    if not taken:
        return FIRST
    major, minor, _ = max(taken)
    return f"{major}.{minor + 1}.0"
