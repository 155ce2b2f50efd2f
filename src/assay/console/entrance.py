"""Where browsers find the console: the names and origins it is served under, and its cookie."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from assay.console.hosts import host_name, is_allowed
from assay.console.sessions import ABSOLUTE_MS
from assay.errors import SettingsError

_PORTS: Final = {"http": 80, "https": 443}
_URL_ACCEPTED: Final = "accepted: https://NAME or https://NAME:PORT, without a path, or nothing"


class Entrance(NamedTuple):
    """What the console is reached under.

    Parameters
    ----------
    host : str
        What it listens on.
    port : int
    public : str
        The origin that browsers know it by behind a proxy, from `public_origin`; ``""`` without.
    """

    host: str
    port: int
    public: str = ""

    def serves(self, host_header: str | None) -> bool:
        """Return whether a request under this ``Host`` may be answered."""
        name = host_name(host_header)
        if self.public and name is not None and name == urlsplit(self.public).hostname:
            return True
        return is_allowed(name, self.host)

    def owns(self, origin: str, scheme: str, host_header: str) -> bool:
        """Return whether an ``Origin`` is the console's own, for a request under this ``Host``."""
        return origin == f"{scheme}://{host_header}" or origin == self.public != ""

    @property
    def cookie(self) -> str:
        """The name of the session's cookie.

        Cookies do not tell ports apart, so the name does. Behind TLS the prefix makes browsers
        keep the cookie to this host and to encrypted connections.
        """
        return "__Host-assay_session" if self._secure else f"assay_session_{self.port}"

    @property
    def _secure(self) -> bool:
        return self.public.startswith("https://")

    def set_cookie(self, token: str, max_age_s: int = ABSOLUTE_MS // 1000) -> str:
        """Return the ``Set-Cookie`` value of a session; a ``max_age_s`` of 0 takes it away."""
        tail = "; Secure" if self._secure else ""
        return (
            f"{self.cookie}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{tail}"
        )

    def read_cookie(self, header: str) -> str:
        """Return the session's token in a ``Cookie`` header, whatever else stands there."""
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                return value.strip().strip('"')
        return ""


def public_origin(url: str) -> str:
    """Return the setting ``console_url`` as browsers write an origin.

    Raises
    ------
    SettingsError
        If it is not the address of a host.

    Examples
    --------
    >>> public_origin(""), public_origin("https://Fraud.example:443/")
    ('', 'https://fraud.example')
    """
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(f"console_url is not an address; {_URL_ACCEPTED}") from None
    if "@" in url:  # its value may be a secret
        raise SettingsError(f"console_url holds a user name; {_URL_ACCEPTED}")
    rest = parts.path.strip("/") + parts.query + parts.fragment
    name = host_name(parts.netloc)
    if parts.scheme not in _PORTS or name is None or rest or not url.isprintable():
        raise SettingsError(f"console_url is {url!r}; {_URL_ACCEPTED}")
    shown = f"[{name}]" if ":" in name else name
    tail = "" if port in {None, _PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{shown}{tail}"
