"""How a writer and its standby come to know each other.

Both know the workspace's internal key. Each side gives a fresh nonce and proves that it knows the
key by an HMAC over its own role and everything both have said: who calls, for which stream, with
which epoch. A proof is of no use in another connection, nor to the other side. The tags of all
later messages have keys that come from the same words.
TLS, when it is used, is mutual: each side checks the other's certificate against one authority.
"""

from __future__ import annotations

import hmac
import os
import ssl
import stat
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from assay.errors import SettingsError
from assay.journal.standby_wire import VERSION, Kind, Wire, WireError

_MAGIC: Final = b"ASSAYSBY"
_HELLO: Final = Struct("<8sHB32s16sQ")
_CHALLENGE: Final = Struct("<H32s32s")
_NONCE_BYTES: Final = 32
_PROOF_BYTES: Final = 32


class Role(IntEnum):
    """Who calls a standby."""

    writer = 1
    operator = 2


class Hello(NamedTuple):
    """What a caller says about itself; a standby believes it once the caller has proved itself.

    Attributes
    ----------
    role : Role
    stream : bytes
        16 bytes; zeros from an operator.
    epoch : int
        Of the writer; 0 from an operator.
    """

    role: Role
    stream: bytes = bytes(16)
    epoch: int = 0


def call(wire: Wire, secret: bytes, hello: Hello, timeout_s: float) -> None:
    """Make a standby and this side known to each other; called by a writer or an operator.

    Raises
    ------
    WireError
        If the other side does not know the secret, or says something else.
    """
    said = _HELLO.pack(_MAGIC, VERSION, hello.role, os.urandom(_NONCE_BYTES), *hello[1:])
    wire.put(Kind.hello, said)
    challenge = wire.expect(Kind.challenge, _CHALLENGE.size, timeout_s)
    version, nonce, proof = _CHALLENGE.unpack(challenge)
    if version != VERSION:
        raise WireError(f"the standby speaks version {version}; accepted: {VERSION}")
    key = _key(secret)
    if not hmac.compare_digest(proof, _prove(key, b"standby", said + nonce)):
        raise WireError("the standby has another internal key; accepted: the same one")
    wire.put(Kind.proof, _prove(key, b"caller", said + challenge))
    wire.protect(
        _prove(key, b"to standby", said + challenge), _prove(key, b"to caller", said + challenge)
    )


def answer(wire: Wire, secret: bytes, expected: Role, timeout_s: float) -> Hello:
    """Make a caller and this side known to each other; called by a standby.

    Raises
    ------
    WireError
        If the caller does not know the secret, has another role, or says something else.
    """
    said = wire.expect(Kind.hello, _HELLO.size, timeout_s)
    magic, version, role, _nonce, stream, epoch = _HELLO.unpack(said)
    if magic != _MAGIC or role != expected:
        raise WireError(f"a greeting that no {expected.name} would send")
    if version != VERSION:
        raise WireError(f"the caller speaks version {version}; accepted: {VERSION}")
    key, nonce = _key(secret), os.urandom(_NONCE_BYTES)
    challenge = _CHALLENGE.pack(VERSION, nonce, _prove(key, b"standby", said + nonce))
    wire.put(Kind.challenge, challenge)
    proof = wire.expect(Kind.proof, _PROOF_BYTES, timeout_s)
    if not hmac.compare_digest(proof, _prove(key, b"caller", said + challenge)):
        raise WireError("the caller has another internal key; accepted: the same one")
    wire.protect(
        _prove(key, b"to caller", said + challenge), _prove(key, b"to standby", said + challenge)
    )
    return Hello(expected, stream, epoch)


def _key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"assay standby %d" % VERSION, "sha256")


def _prove(key: bytes, who: bytes, said: bytes) -> bytes:
    return hmac.digest(key, who + b"\x00" + said, "sha256")


def server_tls(folder: Path) -> ssl.SSLContext:
    """Return the standby's side of mutual TLS.

    Raises
    ------
    SettingsError
        If ``ca.pem``, ``cert.pem`` or ``key.pem`` is missing or wrong, or others may read the key.
    """
    return _tls(folder, ssl.PROTOCOL_TLS_SERVER)


def client_tls(folder: Path) -> ssl.SSLContext:
    """Return the writer's side of mutual TLS.

    Raises
    ------
    SettingsError
        If ``ca.pem``, ``cert.pem`` or ``key.pem`` is missing or wrong, or others may read the key.
    """
    return _tls(folder, ssl.PROTOCOL_TLS_CLIENT)


def _tls(folder: Path, side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        mode = stat.S_IMODE((folder / "key.pem").stat().st_mode)
        context.load_verify_locations(folder / "ca.pem")
        # Without a password given, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem", password=lambda: b"")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"standby_tls: {folder} cannot be used ({error}); accepted: a folder with ca.pem, "
            "cert.pem and key.pem, in PEM, the key without a password"
        ) from None
    if mode & 0o077:
        raise SettingsError(
            f"standby_tls: {folder / 'key.pem'} has mode {mode:04o}; "
            "accepted: 0600, readable by its owner alone (chmod 600)"
        )
    return context
