"""Where the running processes of a workspace are: ``.assay/run/<name>.json`` while one runs."""

from __future__ import annotations

import os
from typing import Final, Literal

import msgspec
from msgspec import Struct

from assay import durable
from assay.clock import SystemClock
from assay.workspace import Workspace

Name = Literal["scorer", "worker", "console", "standby"]

NAMES: Final[tuple[Name, ...]] = ("scorer", "worker", "console")


class Address(Struct, frozen=True):
    """Where a process listens, which it is, and since when (wall time)."""

    url: str
    pid: int
    started_ms: int


def announce(workspace: Workspace, name: Name, url: str) -> None:
    """Say that this process is ready at an address."""
    workspace.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = Address(url, os.getpid(), SystemClock().now_ms())
    durable.replace(workspace.run / f"{name}.json", msgspec.json.encode(address))


def withdraw(workspace: Workspace, name: Name) -> None:
    """Take the address back, unless another process has announced itself since."""
    found = address_of(workspace, name)
    if found is not None and found.pid == os.getpid():
        (workspace.run / f"{name}.json").unlink(missing_ok=True)


def address_of(workspace: Workspace, name: Name) -> Address | None:
    """Return where a process said it is; after a crash it may be there no longer."""
    try:
        return msgspec.json.decode((workspace.run / f"{name}.json").read_bytes(), type=Address)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
