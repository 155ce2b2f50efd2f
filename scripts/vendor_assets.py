"""Fetches the console's libraries from their npm packages and pins what they are.

``src/assay/console/assets/vendor.json`` names each package, its version and its npm integrity
hash. A package whose hash is another is refused; the files that are used are extracted, and their
SHA-256 is written beside them. Run it after a change of a version or of a list of files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[1] / "src" / "assay" / "console" / "assets"
PINS = ASSETS / "vendor.json"


def fetch(name: str, version: str, folder: Path) -> Path:
    """Return the tarball of one package, fetched by npm from wherever it is set up to look."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"npm could not fetch {name}@{version}: {done.stderr.strip()}")
    return folder / done.stdout.strip().splitlines()[-1]


def integrity(tarball: Path) -> str:
    """Return a file's hash as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()


def extract(tarball: Path, files: dict[str, dict[str, str]]) -> None:
    """Write the wanted members under their own names, and note what they hash to."""
    with tarfile.open(tarball) as archive:
        for name, entry in files.items():
            member = archive.extractfile(f"package/{entry['from']}")
            if member is None:
                sys.exit(f"{tarball.name} has no {entry['from']}")
            content = member.read()
            (ASSETS / "vendor" / name).write_bytes(content)
            entry["sha256"] = hashlib.sha256(content).hexdigest()


def main() -> None:
    """Fetch, check and extract every package."""
    pins: list[dict[str, Any]] = json.loads(PINS.read_text("utf-8"))
    (ASSETS / "vendor").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for pin in pins:
            tarball = fetch(pin["name"], pin["version"], Path(folder))
            found = integrity(tarball)
            if found != pin["integrity"]:
                sys.exit(f"{tarball.name} hashes to {found}; accepted: {pin['integrity']}")
            extract(tarball, pin["files"])
            print(f"{pin['name']} {pin['version']}: {', '.join(pin['files'])}")
    PINS.write_text(json.dumps(pins, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
