"""Taking over: a standby that answers to no writer any more, so that a scorer may start there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from assay import durable
from assay.errors import JournalError
from assay.journal.folder import Folder
from assay.journal.standby_fence import Fence
from assay.journal.standby_files import StandbyFiles
from assay.journal.standby_handshake import Hello, Role, call
from assay.journal.standby_wire import Kind, Wire, WireError, refusal

PROMOTE: Final = Struct("<BB")
"""Body of a request to take over: whether to serve, and whether to lack something knowingly."""

PROMOTED: Final = Struct("<QQ")

_ASK_S: Final = 30.0
_SOCKET: Final = "standby.sock"


class Promotion(NamedTuple):
    """What came of it.

    Attributes
    ----------
    epoch : int
        Every writer up to here is refused from now on, except larger ones.
    position : int
        Where the journal ends.
    """

    epoch: int
    position: int


def take_over(folder: Folder, fence: Fence, files: StandbyFiles, *, force: bool) -> Promotion:
    """Refuse every writer so far, durably.

    Raises
    ------
    JournalError
        If nothing was received, or, unless forced, something that was answered is missing.
    """
    missing = files.missing
    if missing and not (force and files.position and not files.damage):
        raise JournalError(f"this standby cannot take over: {missing}")
    files.close()
    fence.rise(fence.epoch + 1, fence.stream)
    durable.replace(_mark(folder), b"%d" % fence.epoch)
    return Promotion(fence.epoch, files.position)


def check_not_promoted(folder: Folder) -> None:
    """Make sure that a folder may be a standby's.

    Raises
    ------
    JournalError
        If it took over: it is ahead of every writer that it could follow.
    """
    if _mark(folder).exists():
        raise JournalError(
            f"{folder.path} was promoted: its workspace decides now, start it with assay serve. To "
            f"make it the standby of another, move {folder.path} away and start assay standby "
            "with an empty one: it fetches the whole journal"
        )


def _mark(folder: Folder) -> Path:
    return folder.path / "promoted"


def promote_stopped(directory: Path, *, force: bool = False) -> Promotion:
    """Take over for a standby that does not run.

    Raises
    ------
    JournalError
        If it does run, or a scorer does; otherwise as `take_over`.
    """
    folder = Folder(directory)
    fence = Fence(folder)
    try:
        promotion = take_over(folder, fence, StandbyFiles(folder, fence), force=force)
        listen_no_more(folder)  # as one that was killed did not
        return promotion
    finally:
        fence.release()


@contextmanager
def _socket_path(folder: Path) -> Iterator[str]:
    """Give the path of a folder's socket, which may have 107 bytes only, wherever the folder is."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{_SOCKET}"
    finally:
        os.close(fd)


def listen_locally(folder: Folder) -> socket.socket:
    """Return a socket in a folder, for its owner alone, over which a standby can be asked.

    Parameters
    ----------
    folder : Folder
        Its lock is held.

    Raises
    ------
    JournalError
        If the folder cannot have one.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        listen_no_more(folder)
        with _socket_path(folder.path) as path:
            listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 — nobody can connect before it listens
        listener.listen()
    except OSError as error:
        listener.close()
        raise JournalError(
            f"no socket can be made in {folder.path} ({error.strerror}); accepted: a file system "
            "that can hold one"
        ) from None
    return listener


def listen_no_more(folder: Folder) -> None:
    """Take the socket out of a folder whose lock is held."""
    (folder.path / _SOCKET).unlink(missing_ok=True)


def promote_running(
    directory: Path, secret: bytes, *, serve: bool = True, force: bool = False
) -> Promotion:
    """Have a standby of this machine take over.

    Parameters
    ----------
    directory : Path
        Of its journal.
    secret : bytes
    serve : bool
        Whether it shall become a scorer.
    force : bool

    Raises
    ------
    JournalError
        If it refuses or cannot be asked.
    """
    try:
        with _socket_path(directory) as path, socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            wire = Wire(sock)
            call(wire, secret, Hello(Role.operator), _ASK_S)
            wire.put(Kind.promote, PROMOTE.pack(serve, force))
            kind, body = wire.receive(_ASK_S)
    except (OSError, WireError) as error:
        raise JournalError(f"the standby of {directory} cannot be asked: {error}") from None
    if kind != Kind.promoted or len(body) != PROMOTED.size:
        raise JournalError(refusal(body))
    return Promotion(*PROMOTED.unpack(body))
