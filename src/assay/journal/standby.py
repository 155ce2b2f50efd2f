"""A standby: it has every byte of a writer's journal on its disk before the writer answers."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from assay.errors import JournalError, SettingsError
from assay.journal.folder import Folder
from assay.journal.mirror import DATA, POSITION, STALE, SYNC
from assay.journal.standby_fence import Fence
from assay.journal.standby_files import OFFER_BYTES, DifferentError, FullError, Offer, StandbyFiles
from assay.journal.standby_handshake import Hello, Role, answer, server_tls
from assay.journal.standby_wire import DATA_BYTES_MAX, EndedError, Kind, Wire, WireError, cut
from assay.journal.take_over import (
    PROMOTE,
    PROMOTED,
    Promotion,
    check_not_promoted,
    listen_locally,
    listen_no_more,
    take_over,
)

Ending = Literal["stopped", "serve", "exit"]
"""Why a standby ended: asked to stop; promoted, to serve next; promoted, and no more."""

_STRANGERS_MAX: Final = 16
_LOOK_MS: Final = 100
_BACKLOG: Final = 128
_OTHER: Final = 0
_ANEW: Final = (
    "move the standby's journal away and start the standby with none: it fetches all of it"
)

log = logging.getLogger("assay.standby")


class _RefuseError(Exception):
    """The caller is who it says, and may not have what it asks for."""

    def __init__(self, text: str, code: int = _OTHER) -> None:
        super().__init__(text)
        self.code = code


class _Strangers:
    """The callers that have not proved themselves yet: each newcomer finds room among them.

    Who knows the secret needs a moment only, so it is the oldest that makes room.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # so that none is closed while it is cut
        self._peers: dict[socket.socket, str] = {}

    def add(self, sock: socket.socket, peer: str) -> None:
        oldest = ""
        with self._lock:
            if len(self._peers) >= _STRANGERS_MAX:
                first = next(iter(self._peers))
                oldest = self._peers.pop(first)
                cut(first)
            self._peers[sock] = peer
        if oldest:
            log.warning("%s: cut: %d others called after it", oldest, _STRANGERS_MAX)

    def remove(self, sock: socket.socket) -> None:
        with self._lock:
            self._peers.pop(sock, None)


class Receiver:
    """Listens for one writer at a time and keeps its journal.

    A writer that connects anew takes the place of its older connection, which may be dead without
    having said so. An operator of this machine is listened to over a socket in the folder, so that
    nobody who can reach the port is in the way.

    Parameters
    ----------
    directory : Path
        Of the standby's journal; made if missing.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    secret : bytes
        Known to writer and standby.
    tls_folder : Path, optional
        With ``ca.pem``, ``cert.pem`` and ``key.pem``: nothing but TLS is accepted.
    handshake_s : float
        How long a caller may take for each step of making itself known.
    idle_s : float
        How long a writer may say nothing.

    Attributes
    ----------
    port : int

    Raises
    ------
    JournalError
        If a scorer or another standby lives in the folder, or its journal cannot be continued.
    SettingsError
        If the address cannot be listened on, or the TLS files cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        host: str,
        port: int,
        secret: bytes,
        *,
        tls_folder: Path | None = None,
        handshake_s: float = 5.0,
        idle_s: float = 600.0,
    ) -> None:
        self._secret, self._handshake_s, self._idle_s = secret, handshake_s, idle_s
        self._tls = None if tls_folder is None else server_tls(tls_folder)
        self._folder = Folder(directory)
        self._fence = Fence(self._folder)
        with ExitStack() as stack:
            stack.callback(self._fence.release)
            check_not_promoted(self._folder)
            self._files = StandbyFiles(self._folder, self._fence)
            self._socket = stack.enter_context(_listen(host, port))
            self._local = listen_locally(self._folder)
            stack.pop_all()
        self.port: int = self._socket.getsockname()[1]
        self._strangers = _Strangers()
        self._lock = threading.Lock()  # over which connection is the writer's
        self._writer: Wire | None = None
        self._turn = threading.Lock()  # over the files, the fence and the promotion
        self._promoted: Ending | None = None
        self._ending: Ending | None = None
        self._failure = ""

    @property
    def position(self) -> int:
        """Where the journal ends so far."""
        return self._files.position

    @property
    def epoch(self) -> int:
        """The largest epoch seen."""
        return self._fence.epoch

    def run(self) -> Ending:
        """Receive until `stop`, until it is promoted, or until its disk fails.

        Raises
        ------
        JournalError
            If the disk fails.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._local, select.POLLIN)
        while self._ending is None:
            for fd, _ in poll.poll(_LOOK_MS):
                with suppress(OSError):
                    if fd == self._local.fileno():
                        self._start(self._local.accept()[0], Role.operator, "the operator")
                    else:
                        self._accept()
        self._close()
        if self._failure:
            raise JournalError(self._failure)
        return self._ending

    def stop(self) -> None:
        """End `run`; may be called from a signal handler or another thread."""
        self._ending = self._promoted or "stopped"

    def promote(self, *, serve: bool = False, force: bool = False) -> Promotion:
        """Receive nothing more, and refuse every writer so far: durably.

        Parameters
        ----------
        serve : bool
            What `run` shall say when it is stopped next.
        force : bool
            Although what was answered may be missing.

        Raises
        ------
        JournalError
            If nothing was received, or, unless forced, something that was answered is missing.
        """
        with self._take_turn(None):
            promotion = take_over(self._folder, self._fence, self._files, force=force)
            self._promoted = "serve" if serve else "exit"
        return promotion

    # --- callers ------------------------------------------------------------------------------

    def _accept(self) -> None:
        sock, address = self._socket.accept()
        peer = f"{address[0]}:{address[1]}"
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._strangers.add(sock, peer)
        self._start(sock, Role.writer, peer)

    def _start(self, sock: socket.socket, role: Role, peer: str) -> None:
        threading.Thread(target=self._serve, args=(sock, role, peer), daemon=True).start()

    def _serve(self, sock: socket.socket, role: Role, peer: str) -> None:
        with sock:
            try:
                self._talk(sock, role, peer)
            except _RefuseError as error:
                log.warning("%s: refused: %s", peer, error)
            except EndedError as error:
                log.info("%s: gone: %s", peer, error)
            except (WireError, DifferentError, OSError) as error:
                log.warning("%s: cut: %s", peer, error)
            except JournalError as error:
                log.critical("the standby cannot go on: %s", error)
                self._failure = str(error)
                self.stop()

    def _talk(self, sock: socket.socket, role: Role, peer: str) -> None:
        try:
            wire, hello = self._meet(sock, role)
        finally:
            self._strangers.remove(sock)
        if role == Role.operator:
            self._obey(wire, peer)
        else:
            self._receive(wire, hello, peer)

    def _meet(self, sock: socket.socket, role: Role) -> tuple[Wire, Hello]:
        sock.settimeout(self._handshake_s)
        if role == Role.writer:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if isinstance(sock, ssl.SSLSocket):
            sock.do_handshake()
        wire = Wire(sock)
        return wire, answer(wire, self._secret, role, self._handshake_s)

    @contextmanager
    def _refusing(self, wire: Wire) -> Iterator[None]:
        """Tell the caller why it is refused."""
        try:
            yield
        except _RefuseError as error:
            wire.put(Kind.refused, bytes([error.code]) + str(error).encode()[:900])
            with suppress(WireError):
                wire.flush(self._handshake_s)
            raise

    @contextmanager
    def _take_turn(self, wire: Wire | None) -> Iterator[None]:
        """Have the files to oneself; the writer that had them before is cut off."""
        with self._lock:
            before, self._writer = self._writer, wire
        if before is not None:
            before.cut()
        with self._turn:
            if self._promoted or self._writer is not wire:
                raise WireError("another took its place")
            yield

    def _obey(self, wire: Wire, peer: str) -> None:
        serve, force = PROMOTE.unpack(wire.expect(Kind.promote, PROMOTE.size, self._handshake_s))
        with self._refusing(wire):
            try:
                promotion = self.promote(serve=bool(serve), force=bool(force))
            except JournalError as error:
                raise _RefuseError(str(error)) from None
        log.warning("%s: promoted: epoch %d from position %d on", peer, *promotion)
        try:
            wire.put(Kind.promoted, PROMOTED.pack(*promotion))
            wire.flush(self._handshake_s)
        finally:
            self.stop()

    # --- the writer ---------------------------------------------------------------------------

    def _receive(self, wire: Wire, hello: Hello, peer: str) -> None:
        with self._refusing(wire):
            self._check(hello)
            with self._take_turn(wire):
                self._check(hello)  # it may have waited for another
                self._agree(wire, hello, peer)
                wire.bytes_max = DATA.size + DATA_BYTES_MAX
                while True:
                    self._take(wire)

    def _check(self, hello: Hello) -> None:
        if hello.epoch < self._fence.epoch:
            raise _RefuseError(
                f"the writer's epoch {hello.epoch} is over: {self._fence.epoch} is in force. If "
                f"that writer is to decide again, {_ANEW}",
                STALE,
            )
        if self._fence.stream not in (b"", hello.stream):
            raise _RefuseError(
                f"the writer's stream is {hello.stream.hex()}, this journal's is "
                f"{self._fence.stream.hex()}; to follow that one, {_ANEW}"
            )

    def _agree(self, wire: Wire, hello: Hello, peer: str) -> None:
        wire.put(Kind.state, POSITION.pack(self._files.position))
        offer = Offer.decode(wire.expect(Kind.offer, OFFER_BYTES, self._handshake_s))
        before = self._files.position
        try:
            position = self._files.agree(offer)
        except DifferentError as error:
            raise _RefuseError(f"{error}; {_ANEW}") from None
        self._fence.rise(hello.epoch, hello.stream)
        if position < before:
            log.warning("cut from position %d: the writer never answered for it", position)
        log.warning("%s: the writer of epoch %d, from position %d on", peer, hello.epoch, position)
        wire.put(Kind.resume, POSITION.pack(position))

    def _take(self, wire: Wire) -> None:
        kind, body = wire.receive(self._idle_s)
        if kind != Kind.data or len(body) <= DATA.size:
            raise WireError(f"{kind.name} of {len(body)} bytes came; accepted: data")
        position, ask = DATA.unpack_from(body)
        try:
            self._files.write(position, body[DATA.size :])
        except FullError as error:
            raise _RefuseError(str(error)) from None
        if ask & SYNC:
            wire.put(Kind.ack, POSITION.pack(self._files.sync()))

    def _close(self) -> None:
        """Cut the writer off, wait until its last bytes are written, and let a scorer in."""
        self._socket.close()
        self._local.close()
        with self._lock:
            writer = self._writer
        if writer is not None:
            writer.cut()
        with self._turn:
            self._files.close()
            listen_no_more(self._folder)
            self._fence.release()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}); stop what listens there, or set "
            "another with standby_host and standby_port"
        ) from None
