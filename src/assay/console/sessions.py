"""Sign-in of the one local admin: one-time links and the sessions that they become.

Both are random secrets of which only the SHA-256 is stored, so that the database opens no door.
A plain hash is enough for 256 random bits: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import Engine, delete, insert, select, update

from assay.clock import Clock
from assay.control.schema import SESSIONS

ADMIN: Final = "admin"
LINK_MS: Final = 10 * 60_000
IDLE_MS: Final = 60 * 60_000
ABSOLUTE_MS: Final = 12 * 3_600_000
_RENEW_MS: Final = 60_000  # a session is written at most once a minute


class Sessions:
    """Makes, checks and ends sessions.

    Parameters
    ----------
    engine : Engine
        Of the control database.
    clock : Clock
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def make_link(self) -> str:
        """Return the secret of a new link: valid once, for ten minutes."""
        secret = secrets.token_urlsafe(32)
        now_ms = self._clock.now_ms()
        self._insert(_row(secret, "link", now_ms + LINK_MS), now_ms)
        return secret

    def redeem(self, secret: str) -> str | None:
        """Turn a link into a session: return its token, or None if the link is used or too old."""
        used = delete(SESSIONS).where(
            SESSIONS.c.sha256 == _digest(secret),
            SESSIONS.c.kind == "link",
            SESSIONS.c.expires_ms > self._clock.now_ms(),
        )
        with self._engine.begin() as connection:
            if connection.execute(used).rowcount != 1:
                return None
        return self.open()

    def open(self) -> str:
        """Begin a session and return its token; clears what has expired.

        The token starts with the time of sign-in; the stored hash covers it, so nobody can
        make a session look younger.
        """
        now_ms = self._clock.now_ms()
        token = f"{now_ms}.{secrets.token_urlsafe(32)}"
        self._insert(_row(token, "session", now_ms + IDLE_MS), now_ms)
        return token

    def check(self, token: str, *, renew: bool = True) -> str | None:
        """Return who a token belongs to, or None if its session ended.

        Parameters
        ----------
        token : str
        renew : bool
            Whether this counts as use of it; what a page asks by itself does not.
        """
        now_ms = self._clock.now_ms()
        digest = _digest(token)
        found = select(SESSIONS.c.name, SESSIONS.c.expires_ms).where(
            SESSIONS.c.sha256 == digest, SESSIONS.c.kind == "session"
        )
        with self._engine.connect() as connection:
            row = connection.execute(found).first()
        if row is None or row.expires_ms <= now_ms:
            return None
        last_ms = int(token.partition(".")[0]) + ABSOLUTE_MS
        if last_ms <= now_ms:
            return None
        renewed_ms = min(now_ms + IDLE_MS, last_ms)
        if renew and renewed_ms - row.expires_ms > _RENEW_MS:
            longer = update(SESSIONS).where(SESSIONS.c.sha256 == digest)
            with self._engine.begin() as connection:
                connection.execute(longer.values(expires_ms=renewed_ms))
        return str(row.name)

    def _insert(self, row: dict[str, str | int], now_ms: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_ms <= now_ms))
            connection.execute(insert(SESSIONS).values(row))

    def close(self, token: str) -> None:
        """End a session; its token opens nothing from now on."""
        with self._engine.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == _digest(token)))


def csrf_token(token: str) -> str:
    """Return what a page of this session sends with every change, and no other site can know."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _row(secret: str, kind: str, expires_ms: int) -> dict[str, str | int]:
    return {
        "sha256": _digest(secret),
        "kind": kind,
        "name": ADMIN,
        "expires_ms": expires_ms,
    }
