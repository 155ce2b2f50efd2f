"""API keys: who may ask for decisions.

The secret is shown once and never stored: the file keeps its SHA-256.
A plain hash is enough, since a secret is 256 random bits: there is no dictionary to try, so a
slow password hash would only cost time on every request.
The check looks the presented secret's digest up in a dict. That takes no secret-dependent
steps an attacker could use: timing could only tell about digests, and nobody can choose a
secret whose digest starts as wished without already breaking SHA-256 at 256 bits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from assay import durable
from assay.clock import Clock
from assay.errors import SettingsError

PREFIX: Final = "ak_"
INTERNAL: Final = "internal"
"""Name of the key by which Assay's own processes know each other; people cannot take it."""

_SCHEME: Final = "Bearer "
_HEADER_LENGTH: Final = len(_SCHEME) + len(PREFIX) + 43  # 32 bytes in base64 without padding


class _Key(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    id: str
    sha256: str
    created_ms: int


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[_Key, ...] = ()


class KeyRing:
    """The keys in force, as they were when the file was read.

    Parameters
    ----------
    names : dict of bytes to str
        Name of each key by the SHA-256 of its secret.
    """

    __slots__ = ("_names",)

    def __init__(self, names: dict[bytes, str]) -> None:
        self._names = names

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read the keys that `create_key` wrote.

        Raises
        ------
        SettingsError
            If the file is missing, damaged, or holds no key: a scorer that nobody may ask
            is a mistake.
        """
        keys = _read(path).keys
        if not keys:
            raise SettingsError(f"no API key in {path.name}; accepted: at least one, create it")
        return cls({bytes.fromhex(key.sha256): key.name for key in keys})

    def check(self, authorization: str | None) -> str | None:
        """Return the name of the key in an ``Authorization`` header, or None if none is valid."""
        if (
            authorization is None
            or len(authorization) != _HEADER_LENGTH
            or not authorization.startswith(_SCHEME)
            or not authorization.isascii()
        ):
            return None
        secret = authorization[len(_SCHEME) :].encode()
        return self._names.get(hashlib.sha256(secret).digest())


def create_key(path: Path, name: str, clock: Clock) -> str:
    """Make a key and return its secret, which cannot be had again.

    Parameters
    ----------
    path : Path
        The key file; made, readable by its owner only, if it is not there.
    name : str
        Who will hold the key: 1 to 64 of a-z, 0-9, ``-`` and ``_``.
    clock : Clock
        Dates the key.

    Returns
    -------
    str
        ``ak_`` and 43 characters that hold 256 random bits.

    Raises
    ------
    SettingsError
        If the name is taken, reserved or malformed, or the file is damaged.
    """
    if not re.fullmatch("[a-z0-9_-]{1,64}", name):
        raise SettingsError(
            "the key's name is malformed; accepted: 1 to 64 of a-z, 0-9, '-' and '_'"
        )
    _check_free(name)
    secret = PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    with _locked(path):
        keys = _read(path).keys if path.exists() else ()
        if any(key.name == name for key in keys):
            raise SettingsError(
                f"a key named {name!r} exists; accepted: another name, or revoke it"
            )
        _write(path, (*keys, _Key(name, f"k_{digest[:8]}", digest, clock.now_ms())))
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Remove a key; a running scorer refuses it from its next start.

    Raises
    ------
    SettingsError
        If no key has this name, it is reserved, or the file is missing or damaged.
    """
    _check_free(name)
    with _locked(path):
        keys = _read(path).keys
        left = tuple(key for key in keys if key.name != name)
        if len(left) == len(keys):
            names = ", ".join(key.name for key in keys) or "none, there is no key"
            raise SettingsError(f"no key named {name!r}; accepted: {names}")
        _write(path, left)


def internal_secret(folder: Path, keys: Path, clock: Clock) -> str:
    """Return the secret of the internal key; the first call makes it and adds it to the keys.

    Parameters
    ----------
    folder : Path
        Where ``internal.key`` lies, readable by its owner only.
    keys : Path
        The key file.
    clock : Clock
        Dates the key.

    Raises
    ------
    SettingsError
        If either file is damaged, or others may read the secret.
    """
    path = folder / f"{INTERNAL}.key"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        durable.write_once(path, (PREFIX + secrets.token_urlsafe(32)).encode())
    secret = path.read_text("latin-1")
    if not re.fullmatch(PREFIX + "[A-Za-z0-9_-]{43}", secret) or path.stat().st_mode & 0o077:
        raise SettingsError(
            f"{path} is no key, or others may read it; accepted: the file that Assay made, mode "
            "0600; delete it for a new one, and restart what runs"
        )
    digest = hashlib.sha256(secret.encode()).hexdigest()
    with _locked(keys):
        present = _read(keys).keys if keys.exists() else ()
        if not any(key.name == INTERNAL and key.sha256 == digest for key in present):
            others = (key for key in present if key.name != INTERNAL)
            _write(keys, (*others, _Key(INTERNAL, f"k_{digest[:8]}", digest, clock.now_ms())))
    return secret


def _check_free(name: str) -> None:
    if name == INTERNAL:
        raise SettingsError(
            f"the key {name!r} is Assay's own and is made by itself; accepted: another name"
        )


def _read(path: Path) -> _File:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        if any(not re.fullmatch("[0-9a-f]{64}", key.sha256) for key in file.keys):
            raise msgspec.ValidationError
    except FileNotFoundError:
        raise SettingsError(f"no API keys: {path.name} is missing; create a key first") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise SettingsError(
            f"{path.name} is not a key file; restore it or create it anew"
        ) from None
    return file


def _write(path: Path, keys: tuple[_Key, ...]) -> None:
    durable.replace(path, msgspec.json.format(msgspec.json.encode(_File(keys))))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two that write at once lose nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
