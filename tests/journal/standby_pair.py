"""A writer and a standby in one process, with a line between them that can be cut at any byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.clock import VirtualClock
from assay.journal.entries import EntryHead
from assay.journal.log import Log
from assay.journal.mirror import DATA, POSITION, SYNC, TcpMirror
from assay.journal.segment import SegmentHead
from assay.journal.standby import Receiver
from assay.journal.standby_files import Offer
from assay.journal.standby_handshake import Hello, Role, call
from assay.journal.standby_wire import Kind, Wire
from assay.journal.take_over import promote_stopped

SECRET = b"the internal key of both"
STREAM = bytes(range(16))
WAIT_S = 3.0


def payload(number: int, size: int = 0) -> bytes:
    """Return a record whose bytes follow from its number."""
    return EntryHead(1, 200, 0, 24, number, 0).encode() + b"%d." % number * size


@contextmanager
def running(folder: Path, port: int = 0, **options: object) -> Iterator[Receiver]:
    """Run a standby."""
    receiver = Receiver(folder, "127.0.0.1", port, SECRET, **options)
    thread = threading.Thread(target=receiver.run)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join()


def mirror_to(
    folder: Path, port: int, timeout_s: float = 2.0, **options: object
) -> Callable[[bytes, int], TcpMirror]:
    """Return what `Log.open` makes its mirror with."""
    secret = options.pop("secret", SECRET)

    def make(stream: bytes, epoch: int) -> TcpMirror:
        address = f"127.0.0.1:{port}"
        return TcpMirror(folder, address, stream, epoch, secret, timeout_s=timeout_s, **options)

    return make


def open_log(folder: Path, port: int, timeout_s: float = 2.0, **options: object) -> Log:
    """Open a writer's log whose mirror is on a port; its segments are small."""
    mirror = mirror_to(folder, port, timeout_s, **options)
    return Log.open(folder, VirtualClock(), segment_bytes=20_000, mirror=mirror)


def promoted(folder: Path, *, force: bool = False) -> list[bytes]:
    """Take over with a standby that does not run, and return the records that are there then."""
    promote_stopped(folder, force=force)
    log = Log.open(folder, VirtualClock())
    try:
        return [record for _, record in log.scan()]
    finally:
        log.close()


def assert_prefix(standby: Path, writer: Path) -> None:
    """Each of the standby's segments begins as the writer's of the same name, or is equal."""
    found = sorted(standby.glob("*.journal"))
    for path in found:
        mine, theirs = path.read_bytes(), (writer / path.name).read_bytes()
        assert mine == theirs[: len(mine)]
        assert path is found[-1] or mine == theirs


class Line:
    """Forwards connections to a port, until a number of bytes has passed; then it is cut.

    Attributes
    ----------
    port : int
        Where to connect.
    target : int
        Where that leads; 0: nowhere.
    left : int or None
        Bytes that may still pass, either way; None for ever.
    """

    def __init__(self, target: int) -> None:
        self.target, self.left = target, None
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                try:
                    other = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    caller.close()
                    continue
                self._open |= {caller, other}
                for pair in ((caller, other), (other, caller)):
                    thread = threading.Thread(target=self._forward, args=pair)
                    thread.start()
                    self._threads.append(thread)

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.left is not None:
                    data, self.left = data[: self.left], max(0, self.left - len(data))
                sink.sendall(data)
                if self.left == 0:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut everything and listen no more."""
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._open):
            end.close()


def greet(wire: Wire, secret: bytes = SECRET, epoch: int = 1, stream: bytes = STREAM) -> None:
    call(wire, secret, Hello(Role.writer, stream, epoch), WAIT_S)


def head(number: int = 1, epoch: int = 1, previous: int = 0) -> bytes:
    return SegmentHead(STREAM, epoch, number, 0, previous).encode()


def speak(wire: Wire) -> int:
    """Say all that a writer says, once; return the position that was acknowledged."""
    greet(wire)
    wire.expect(Kind.state, 8, WAIT_S)
    wire.put(Kind.offer, Offer(1, 0, 0, bytes(16)).encode())
    wire.expect(Kind.resume, 8, WAIT_S)
    wire.put(Kind.data, DATA.pack(1 << 40, SYNC) + head())
    return POSITION.unpack(wire.expect(Kind.ack, 8, WAIT_S))[0]
