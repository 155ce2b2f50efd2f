"""The writer's side of a standby: nothing is acknowledged before its disk has it as well.

It runs in the thread that writes the journal, and reads what it sends from the segments: live or
far behind is the same work.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from pathlib import Path
from ssl import SSLContext
from struct import Struct
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from assay.errors import JournalError, SettingsError, StalledError
from assay.journal.folder import Folder
from assay.journal.log import OFFSET_BITS
from assay.journal.segment_file import open_segment, segment_head
from assay.journal.standby_files import OFFSET_MASK, Offer, likeness
from assay.journal.standby_handshake import Hello, Role, call, client_tls
from assay.journal.standby_wire import DATA_BYTES_MAX, Kind, Wire, WireError, refusal

POSITION: Final = Struct("<Q")
DATA: Final = Struct("<QB")

SYNC: Final = 1
"""In a data message: sync, and say so."""

STALE: Final = 1
"""In a refusal: the writer's epoch is over. 0 is for anything else."""

_QUEUED_BYTES_MAX: Final = 1 << 20
_SYNC_BYTES: Final = 16 << 20
_PAUSE_S: Final = 0.25

log = logging.getLogger("assay.journal")


class StaleError(JournalError):
    """The standby has seen a later writer: this one's time is over."""


class _RefusedError(Exception):
    """The standby, known to be it, refuses this writer for now."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``host:port``.

    Raises
    ------
    SettingsError
        If it is something else.

    Examples
    --------
    >>> parse_address("[::1]:8689")
    ('::1', 8689)
    """
    with suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port and parts.netloc == text and "@" not in text:
            return parts.hostname, parts.port
    raise SettingsError(f"sync_standby is {text!r}; accepted: host:port, such as 10.0.0.2:8689")


def connect(
    host: str, port: int, tls: SSLContext | None, secret: bytes, hello: Hello, timeout_s: float
) -> Wire:
    """Return a connection to a standby, both sides known to each other.

    Raises
    ------
    OSError, WireError
        If there is no standby, or it is another's.
    """
    sock = socket.create_connection((host, port), timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=host)
        wire = Wire(sock)
        call(wire, secret, hello, timeout_s)
    except BaseException:
        sock.close()
        raise
    return wire


class TcpMirror:
    """Has every byte of a journal on a standby's disk before `wait` returns.

    Used by one thread. A connection that breaks is made anew, and what is missing is sent.

    Parameters
    ----------
    directory : Path
        The journal.
    address : str
        ``host:port`` of the standby.
    stream : bytes
        16 bytes.
    epoch : int
        Of this writer.
    secret : bytes
        Known to both.
    tls_folder : Path, optional
        With ``ca.pem``, ``cert.pem`` and ``key.pem``: TLS.
    timeout_s : float
        How long a standby that does not get further is waited for.

    Raises
    ------
    SettingsError
        If the address or the folder cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        address: str,
        stream: bytes,
        epoch: int,
        secret: bytes,
        *,
        tls_folder: Path | None = None,
        timeout_s: float = 2.0,
    ) -> None:
        self._folder, self._address = Folder(directory), address
        self._host, self._port = parse_address(address)
        self._secret, self._timeout_s = secret, timeout_s
        self._hello = Hello(Role.writer, stream, epoch)
        self._tls = None if tls_folder is None else client_tls(tls_folder)
        self._wire: Wire | None = None
        self._file: BinaryIO | None = None
        self._file_number = 0
        self._answered = self._sent = self._acked = self._asked = 0
        self._not_before_s = 0.0
        self._away = ""

    def send(self, position: int) -> None:
        """Begin to send what is written before a position; never raises, never waits."""
        if self._wire is not None:
            try:
                self._move(self._wire, position)
            except (WireError, _RefusedError, JournalError, OSError):
                self.close()  # `wait` connects anew, and says what is wrong

    def wait(self, position: int) -> None:
        """Return when the standby has synced all before a position.

        Raises
        ------
        StalledError
            If it does not now; it may be asked again.
        JournalError
            If another writer took over.
        """
        if not position:
            return
        connected = self._wire is not None
        try:
            self._deliver(position)
        except StalledError:
            if not connected or self._wire is not None:
                raise
            self._deliver(position)  # what was connected had ended meanwhile
        self._answered = position
        if self._away:
            log.warning("the standby at %s is back", self._address)
            self._away = ""

    def close(self) -> None:
        """End the connection."""
        if self._wire is not None:
            self._wire.close()
        if self._file is not None:
            self._file.close()
        self._wire = self._file = None
        self._file_number = 0

    def _deliver(self, position: int) -> None:
        try:
            wire = self._wire or self._connect(position)
            self._push(wire, position)
        except _RefusedError as error:
            self._not_before_s = time.monotonic() + _PAUSE_S
            raise self._stalled(f"refuses: {error}") from None
        except WireError as error:
            raise self._stalled(f"is away: {error}") from None
        except OSError as error:
            raise self._stalled(f"is away: {error.strerror or error}") from None
        except (StalledError, StaleError):
            raise
        except JournalError as error:
            raise self._stalled(f"cannot be sent the journal: {error}") from None

    def _stalled(self, what: str, *, cut: bool = True) -> StalledError:
        if cut:
            self.close()
        text = f"the standby {what}"
        if not self._away:
            log.warning("%s: %s; nothing is acknowledged until then", self._address, text)
            self._away = text
        return StalledError(text)

    # --- connecting ---------------------------------------------------------------------------

    def _connect(self, position: int) -> Wire:
        if time.monotonic() < self._not_before_s:
            raise StalledError(self._away)
        self._not_before_s = time.monotonic() + _PAUSE_S
        wire = connect(
            self._host, self._port, self._tls, self._secret, self._hello, self._timeout_s
        )
        try:
            self._agree(wire, position)
        except BaseException:
            wire.close()
            raise
        self._not_before_s = 0.0
        self._wire = wire
        return wire

    def _agree(self, wire: Wire, position: int) -> None:
        """Learn where the standby goes on; all before that it has synced."""
        (theirs,) = POSITION.unpack(self._expect(wire, Kind.state, POSITION.size))
        number, offset = theirs >> OFFSET_BITS, theirs & OFFSET_MASK
        numbers = self._folder.numbers()
        size = self._size(number, position) if number in numbers else 0
        digest = likeness(self._folder, number, min(size, offset)) if size else bytes(16)
        self._answered = self._answered or self._before(position)
        wire.put(Kind.offer, Offer(numbers[0], size, self._answered, digest).encode())
        (start,) = POSITION.unpack(self._expect(wire, Kind.resume, POSITION.size))
        # All before the start counts as synced there: only where both journals end is believed.
        end = number << OFFSET_BITS | min(size, offset) if theirs else numbers[0] << OFFSET_BITS
        if start != end or (theirs and not size):
            raise WireError(f"it goes on at position {start}; accepted: where both journals end")
        self._sent = self._acked = self._asked = start

    def _before(self, position: int) -> int:
        """Return where the journal of earlier writers ends: all of it may have been answered."""
        number = position >> OFFSET_BITS
        size = segment_head(self._folder, number).previous_bytes
        return size and (number - 1) << OFFSET_BITS | size

    def _expect(self, wire: Wire, kind: Kind, size: int) -> bytes:
        found, body = wire.receive(self._timeout_s)
        if found == Kind.refused and body:
            raise (StaleError if body[0] == STALE else _RefusedError)(refusal(body))
        if found != kind or len(body) != size:
            raise WireError(f"{found.name} of {len(body)} bytes came; accepted: {kind.name}")
        return body

    # --- sending ------------------------------------------------------------------------------

    def _push(self, wire: Wire, position: int) -> None:
        until = time.monotonic() + self._timeout_s
        moved = False
        while self._acked < position:
            if self._move(wire, position):
                moved = True
            else:
                wire.wait(until - time.monotonic())
            if self._acked < position and time.monotonic() >= until:
                if not moved:
                    raise WireError(f"nothing came from it for {self._timeout_s:g} s")
                where = f"is at position {self._acked} of {position}"
                raise self._stalled(where, cut=False)

    def _move(self, wire: Wire, position: int) -> bool:
        """Move bytes both ways without waiting; tell whether any moved."""
        while self._sent < position and wire.unsent_bytes < _QUEUED_BYTES_MAX:
            self._put_next(wire, position)
        moved = wire.pump()
        while (message := wire.take()) is not None:
            if message.kind == Kind.refused and message.body:
                raise _RefusedError(refusal(message.body))
            if message.kind != Kind.ack or len(message.body) != POSITION.size:
                raise WireError(f"{message.kind.name} came; accepted: ack")
            (acked,) = POSITION.unpack(message.body)
            if not self._acked <= acked <= self._sent:
                raise WireError(
                    f"position {acked} acknowledged; accepted: {self._acked} to {self._sent}"
                )
            self._acked = acked
        return moved

    def _put_next(self, wire: Wire, position: int) -> None:
        """Queue the next piece of the journal."""
        number, offset = self._sent >> OFFSET_BITS, self._sent & OFFSET_MASK
        end = self._size(number, position)
        if offset == end:
            number, offset = number + 1, 0
            end = self._size(number, position)
        data = self._read(number, offset, min(DATA_BYTES_MAX, end - offset))
        at, self._sent = number << OFFSET_BITS | offset, number << OFFSET_BITS | offset + len(data)
        ask = self._sent >= position or self._sent - self._asked >= _SYNC_BYTES
        if ask:
            self._asked = self._sent
        wire.put(Kind.data, DATA.pack(at, SYNC if ask else 0) + data)

    def _size(self, number: int, position: int) -> int:
        """Return how much of a segment there is to send."""
        if number == position >> OFFSET_BITS:
            return position & OFFSET_MASK
        # Not the file's own size: a writer that was taken over may have added to it since.
        return segment_head(self._folder, number + 1).previous_bytes

    def _read(self, number: int, offset: int, size: int) -> bytes:
        if self._file is None or self._file_number != number:
            if self._file is not None:
                self._file.close()
            self._file, self._file_number = open_segment(self._folder, number), number
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise WireError(f"segment {number} ends before offset {offset + size}")
        return data
