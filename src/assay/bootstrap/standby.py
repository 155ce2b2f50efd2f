"""The standby of a scorer on another machine, and how it takes over."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from assay.bootstrap.door import internal_key
from assay.bootstrap.run import Address, address_of, announce, withdraw
from assay.errors import JournalError, SettingsError
from assay.journal.standby import Receiver
from assay.journal.take_over import Promotion, promote_running, promote_stopped
from assay.workspace import Workspace

_NAME: Final = "standby"
_READY_S: Final = 600.0
_LOOK_S: Final = 0.05


def build_standby(workspace: Workspace) -> Receiver:
    """Return what receives the journal of another machine's scorer.

    Raises
    ------
    AssayError
        If a scorer or another standby runs here, the workspace was promoted, or a setting is
        wrong.
    """
    settings = workspace.settings
    if settings.sync_standby:
        raise SettingsError(
            f"sync_standby is {settings.sync_standby!r} on a standby: after a take-over nothing "
            "would be answered until a standby of its own is there; accepted: none, set it then"
        )
    return Receiver(
        workspace.journal,
        settings.standby_host,
        settings.standby_port,
        internal_key(workspace).encode(),
        tls_folder=_tls_folder(workspace),
    )


def _tls_folder(workspace: Workspace) -> Path | None:
    folder = workspace.settings.standby_tls
    return workspace.path / folder if folder else None


def announce_standby(workspace: Workspace, receiver: Receiver) -> str:
    """Say where the standby listens, and return it."""
    host = workspace.settings.standby_host
    url = f"tcp://[{host}]:{receiver.port}" if ":" in host else f"tcp://{host}:{receiver.port}"
    announce(workspace, _NAME, url)
    return url


def withdraw_standby(workspace: Workspace) -> None:
    """Take that back."""
    withdraw(workspace, _NAME)


def promote(
    workspace: Workspace, *, serve: bool = True, force: bool = False
) -> tuple[Promotion, Address | None]:
    """Take over with this workspace; its old writer is refused from then on.

    Parameters
    ----------
    workspace : Workspace
    serve : bool
        Whether a standby that runs shall become the scorer.
    force : bool
        Although answers may have been given for what is missing here.

    Returns
    -------
    promotion : Promotion
    address : Address or None
        Of the standby that ran; None if none did: then the caller starts the scorer.

    Raises
    ------
    JournalError
        If it cannot take over; the message says why.
    """
    address = address_of(workspace, _NAME)
    try:
        return promote_stopped(workspace.journal, force=force), None
    except JournalError:
        if address is None or not _lives(address.pid):
            raise
    secret = internal_key(workspace).encode()
    return promote_running(workspace.journal, secret, serve=serve, force=force), address


def wait_for(workspace: Workspace, standby: Address, *, serve: bool) -> str | None:
    """Wait until what was the standby has ended, or serves: then return where.

    Raises
    ------
    JournalError
        If no scorer came of it, or nothing happens for ten minutes.
    """
    until = time.monotonic() + _READY_S
    while time.monotonic() < until and _lives(standby.pid):
        scorer = address_of(workspace, "scorer")
        if serve and scorer is not None and scorer.pid == standby.pid:
            return scorer.url
        if not serve and address_of(workspace, _NAME) != standby:
            return None
        time.sleep(_LOOK_S)
    if not serve and not _lives(standby.pid):
        return None
    raise JournalError(
        "the standby took over, but no scorer came of it; its errors are where the standby's were; "
        "start it with assay serve"
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
