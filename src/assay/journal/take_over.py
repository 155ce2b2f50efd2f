"""Taking over: a standby that answers to no writer any more, so that a scorer may start there."""

from __future__ import annotations

from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from assay import durable
from assay.errors import JournalError
from assay.journal.folder import Folder
from assay.journal.mirror import connect
from assay.journal.standby_fence import Fence
from assay.journal.standby_files import StandbyFiles
from assay.journal.standby_handshake import Hello, Role, client_tls
from assay.journal.standby_wire import Kind, WireError

PROMOTE: Final = Struct("<BB")
"""Body of a request to take over: whether to serve, and whether to lack something knowingly."""

PROMOTED: Final = Struct("<QQ")

_ASK_S: Final = 30.0


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
        return take_over(folder, fence, StandbyFiles(folder, fence), force=force)
    finally:
        fence.release()


def promote_running(
    host: str,
    port: int,
    secret: bytes,
    *,
    tls_folder: Path | None = None,
    serve: bool = True,
    force: bool = False,
) -> Promotion:
    """Have a standby of this machine take over.

    Parameters
    ----------
    host, port : str, int
        Where it listens.
    secret : bytes
    tls_folder : Path, optional
    serve : bool
        Whether it shall become a scorer.
    force : bool

    Raises
    ------
    JournalError
        If it refuses or cannot be asked.
    """
    tls = None if tls_folder is None else client_tls(tls_folder, local=True)
    try:
        wire = connect(host, port, tls, secret, Hello(Role.operator), _ASK_S)
        try:
            wire.put(Kind.promote, PROMOTE.pack(serve, force))
            kind, body = wire.receive(_ASK_S)
        finally:
            wire.close()
    except (OSError, WireError) as error:
        raise JournalError(f"the standby at {host}:{port} cannot be asked: {error}") from None
    if kind != Kind.promoted or len(body) != PROMOTED.size:
        raise JournalError(body[1:].decode(errors="replace"))
    return Promotion(*PROMOTED.unpack(body))
