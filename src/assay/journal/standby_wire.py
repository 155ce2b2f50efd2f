"""Messages between a writer and its standby: whole, in order, and from whom they claim to be.

A message is ``length u32 | CRC32C u32 | kind u8 | body | tag``, little-endian; the checksum covers
length, kind and body. The tag is there once both sides have proved that they know the secret: 16
bytes of HMAC-SHA-256 under a key of this connection and direction, over the message's number in
the connection, its kind and its body. So what comes then was sent by the other side, once, and
nothing before it is missing.
"""

from __future__ import annotations

import hmac
import select
import socket
import ssl
import time
from contextlib import suppress
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from google_crc32c import extend, value

VERSION: Final = 1
"""Of everything that the two sides say to each other."""

DATA_BYTES_MAX: Final = 256 << 10
"""Most bytes of a segment in one message."""

SMALL_BYTES_MAX: Final = 1024
"""Largest body of any other message."""

_HEAD: Final = Struct("<IIB")
_LENGTH_KIND: Final = Struct("<IB")
_NUMBER_KIND: Final = Struct("<QB")
_TAG_BYTES: Final = 16
_READ_BYTES: Final = 256 << 10
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Kind(IntEnum):
    """What a message says."""

    hello = 1
    challenge = 2
    proof = 3
    state = 4
    offer = 5
    resume = 6
    data = 7
    ack = 8
    refused = 9
    promote = 10
    promoted = 11


class Message(NamedTuple):
    """One message without its frame."""

    kind: Kind
    body: bytes


def refusal(body: bytes) -> str:
    """Return why the other side refuses, in characters that may stand in a log.

    Parameters
    ----------
    body : bytes
        Of a message ``refused``: a code and UTF-8.
    """
    text = body[1:].decode(errors="replace")
    return "".join(character if character.isprintable() else "?" for character in text)


class WireError(Exception):
    """The connection ended, nothing came in time, or not what the other side would send."""


class EndedError(WireError):
    """The connection ended."""


class Wire:
    """One end of a connection.

    Parameters
    ----------
    sock : socket
        Connected, TLS handshake done if there is one; `close` closes it.

    Attributes
    ----------
    bytes_max : int
        Largest body accepted from the other side.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._poll = select.poll()
        self._out, self._in = bytearray(), bytearray()
        self._keys = (b"", b"")
        self._numbers = [0, 0]
        self._ended = ""
        self.bytes_max = SMALL_BYTES_MAX

    def protect(self, outgoing: bytes, incoming: bytes) -> None:
        """Tag every message from here on, and demand tags, with a key for each direction."""
        self._keys = (outgoing, incoming)

    @property
    def unsent_bytes(self) -> int:
        """How much was put and is still here."""
        return len(self._out)

    def put(self, kind: Kind, body: bytes = b"") -> None:
        """Queue a message; `pump`, `receive` and `flush` send it."""
        crc = extend(value(_LENGTH_KIND.pack(len(body), kind)), body)
        self._out += _HEAD.pack(len(body), crc, kind)
        self._out += body
        if self._keys[0]:
            self._out += self._tag(0, kind, body)

    def take(self) -> Message | None:
        """Return the next message that came whole; None if there is none yet.

        Raises
        ------
        WireError
            If what came is too large, damaged or forged, or the connection ended.
        """
        if len(self._in) >= _HEAD.size:
            size, crc, kind = _HEAD.unpack_from(self._in)
            if size > self.bytes_max:
                raise WireError(f"a message of {size} bytes; accepted: up to {self.bytes_max}")
            body_end = _HEAD.size + size
            end = body_end + (_TAG_BYTES if self._keys[1] else 0)
            if len(self._in) >= end:
                body, tag = bytes(self._in[_HEAD.size : body_end]), bytes(self._in[body_end:end])
                del self._in[:end]
                return self._checked(crc, kind, body, tag)
        if self._ended:
            raise EndedError(self._ended)
        return None

    def pump(self) -> bool:
        """Move bytes both ways as far as that needs no waiting; tell whether any moved."""
        return self._read() | self._write()

    def receive(self, timeout_s: float) -> Message:
        """Send what is queued, then wait for the next message.

        Raises
        ------
        WireError
            As `take`, or if none came in time.
        """
        deadline = time.monotonic() + timeout_s
        while (message := self.take()) is None:
            if not self.pump() and not self.wait(deadline - time.monotonic()):
                raise WireError(f"nothing came within {timeout_s:g} s")
        return message

    def expect(self, kind: Kind, size: int, timeout_s: float) -> bytes:
        """Wait for a message of a kind and return its body.

        Raises
        ------
        WireError
            As `receive`, or if another comes, or one of another size.
        """
        found, body = self.receive(timeout_s)
        if found != kind or len(body) != size:
            raise WireError(f"{found.name} of {len(body)} bytes came; accepted: {kind.name}")
        return body

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is sent.

        Raises
        ------
        WireError
            If that takes too long or the connection ended.
        """
        deadline = time.monotonic() + timeout_s
        while self._out:
            if self._ended:
                raise EndedError(self._ended)
            if not self._write() and not self.wait(deadline - time.monotonic()):
                raise WireError(f"the other side took nothing for {timeout_s:g} s")

    def wait(self, timeout_s: float) -> bool:
        """Wait until bytes can move; False if they could not in time."""
        self._poll.register(self._sock, select.POLLIN | (select.POLLOUT if self._out else 0))
        return bool(self._ended) or bool(self._poll.poll(max(0.0, timeout_s * 1000)))

    def cut(self) -> None:
        """End the connection from another thread; the one that uses it learns of it."""
        cut(self._sock)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _checked(self, crc: int, kind: int, body: bytes, tag: bytes) -> Message:
        if extend(value(_LENGTH_KIND.pack(len(body), kind)), body) != crc:
            raise WireError("a message whose checksum is wrong")
        if self._keys[1] and not hmac.compare_digest(tag, self._tag(1, kind, body)):
            raise WireError("a message that the other side did not send like this")
        try:
            return Message(Kind(kind), body)
        except ValueError:
            raise WireError(f"a message of kind {kind}; accepted: 1 to {len(Kind)}") from None

    def _tag(self, direction: int, kind: int, body: bytes) -> bytes:
        number = self._numbers[direction]
        self._numbers[direction] = number + 1
        said = _NUMBER_KIND.pack(number, kind) + body
        return hmac.digest(self._keys[direction], said, "sha256")[:_TAG_BYTES]

    def _read(self) -> bool:
        before = len(self._in)
        try:
            while not self._ended and len(self._in) <= self.bytes_max + _HEAD.size + _TAG_BYTES:
                if data := self._sock.recv(_READ_BYTES):
                    self._in += data
                else:
                    self._ended = "the other side closed the connection"
        except _NOT_NOW:
            pass
        except (OSError, ValueError) as error:
            self._ended = _broke(error)
        return len(self._in) > before or bool(self._ended)

    def _write(self) -> bool:
        before = len(self._out)
        try:
            while self._out and not self._ended:
                del self._out[: self._sock.send(self._out[:_READ_BYTES])]
        except _NOT_NOW:
            pass
        except (OSError, ValueError) as error:
            self._read()  # it may have said why before it went
            self._ended = self._ended or _broke(error)
        return len(self._out) < before


def cut(sock: socket.socket) -> None:
    """End a connection that another thread uses."""
    # Not the method of a TLS socket, which would have the other thread go on without TLS.
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _broke(error: OSError | ValueError) -> str:
    return f"the connection broke ({getattr(error, 'strerror', None) or error})"
