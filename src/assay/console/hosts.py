"""Which Host headers are served: a page that was rebound to this address has another."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_LOOPBACK_NAMES: Final = frozenset({"localhost"})


def is_loopback(name: str | None) -> bool:
    """Return whether a host name or address means this machine only.

    Examples
    --------
    >>> [is_loopback(name) for name in ("127.0.0.1", "::1", "localhost", "10.0.0.1", "evil.test")]
    [True, True, True, False, False]
    """
    if name in _LOOPBACK_NAMES:
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def host_name(header: str | None) -> str | None:
    """Return the host of a ``Host`` header without its port, or None if it is malformed.

    Examples
    --------
    >>> host_name("localhost:8687"), host_name("[::1]:8687"), host_name("a b"), host_name("x@y")
    ('localhost', '::1', None, None)
    """
    if not header or not set(header).isdisjoint(" /@?#\\\t"):
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def is_allowed(name: str | None, listening: str) -> bool:
    """Return whether a host may be asked for by this name.

    A rebinding attack needs a DNS name of the attacker's, so addresses are safe; of names, only
    ``localhost`` and the one that the console was told to listen on are.
    """
    return name is not None and (
        name == listening.lower() or name in _LOOPBACK_NAMES or _address(name) is not None
    )


def _address(name: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name or "")
    except ValueError:
        return None
