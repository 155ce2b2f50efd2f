from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, rule
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.pool import StaticPool

from assay.clock import VirtualClock
from assay.console.sessions import ABSOLUTE_MS, IDLE_MS, LINK_MS, Sessions, csrf_token
from assay.control.database import open_control
from assay.control.schema import METADATA, SESSIONS


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_control(tmp_path / "control.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_780_000_000_000)


@pytest.fixture
def sessions(engine: Engine, clock: VirtualClock) -> Sessions:
    return Sessions(engine, clock)


def test_a_link_works_once(sessions: Sessions) -> None:
    """A link becomes one session, and nothing the second time."""
    link = sessions.make_link()
    token = sessions.redeem(link)
    assert token is not None
    assert sessions.check(token) == "admin"
    assert sessions.redeem(link) is None


def test_a_link_grows_old(sessions: Sessions, clock: VirtualClock) -> None:
    """A link opens nothing from ten minutes on."""
    early, late = sessions.make_link(), sessions.make_link()
    clock.advance(LINK_MS - 1)
    assert sessions.redeem(early) is not None
    clock.advance(1)
    assert sessions.redeem(late) is None


def test_a_link_is_no_session_and_a_session_no_link(sessions: Sessions) -> None:
    """Each secret is good for its own purpose only."""
    assert sessions.check(sessions.make_link()) is None
    assert sessions.redeem(sessions.open()) is None


def test_a_session_ends_when_idle(sessions: Sessions, clock: VirtualClock) -> None:
    """Use keeps a session, an hour without it ends it."""
    token = sessions.open()
    for _ in range(3):
        clock.advance(IDLE_MS - 60_000)
        assert sessions.check(token) == "admin"
    clock.advance(IDLE_MS)
    assert sessions.check(token) is None


def test_a_session_ends_after_twelve_hours(sessions: Sessions, clock: VirtualClock) -> None:
    """No use keeps a session beyond twelve hours."""
    token, began_ms = sessions.open(), clock.now_ms()
    while clock.now_ms() + 30 * 60_000 < began_ms + ABSOLUTE_MS:
        clock.advance(30 * 60_000)
        assert sessions.check(token) == "admin"
    clock.advance(30 * 60_000)
    assert sessions.check(token) is None


def test_a_token_cannot_be_made_younger(sessions: Sessions, clock: VirtualClock) -> None:
    """A token whose time of sign-in was changed is no token."""
    token = sessions.open()
    later = f"{clock.now_ms() + ABSOLUTE_MS}.{token.partition('.')[2]}"
    for wrong in (later, token[:-1], "", "x", "\ud800", token + "x"):
        assert sessions.check(wrong) is None


def test_sign_out_is_final(sessions: Sessions) -> None:
    """A closed session opens nothing, and others stay."""
    gone, stays = sessions.open(), sessions.open()
    sessions.close(gone)
    assert (sessions.check(gone), sessions.check(stays)) == (None, "admin")


def test_no_secret_is_stored(sessions: Sessions, engine: Engine, tmp_path: Path) -> None:
    """Neither links nor tokens stand in the database, only their digests."""
    secrets = [sessions.make_link(), sessions.open()]
    with engine.connect() as connection:
        rows = str(connection.execute(select(SESSIONS)).all())
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in secrets:
        assert secret not in rows
        assert secret.rpartition(".")[2].encode() not in stored


def test_old_rows_are_cleared(sessions: Sessions, engine: Engine, clock: VirtualClock) -> None:
    """A new link takes what has expired away."""
    sessions.make_link()
    sessions.open()
    clock.advance(IDLE_MS)
    sessions.make_link()
    with engine.connect() as connection:
        assert len(connection.execute(select(SESSIONS)).all()) == 1


def test_opening_clears_too(sessions: Sessions, engine: Engine, clock: VirtualClock) -> None:
    """Sessions that nobody comes back to do not pile up where no link is ever made."""
    for _ in range(5):
        sessions.open()
    clock.advance(IDLE_MS)
    sessions.open()
    with engine.connect() as connection:
        assert len(connection.execute(select(SESSIONS)).all()) == 1


def test_looking_is_not_use(sessions: Sessions, clock: VirtualClock) -> None:
    """A check that does not renew leaves the session's end where it was."""
    token = sessions.open()
    clock.advance(IDLE_MS - 1)
    assert sessions.check(token, renew=False) == "admin"
    clock.advance(1)
    assert sessions.check(token, renew=False) is None


def test_pages_of_sessions_differ(sessions: Sessions) -> None:
    """What one session's pages send is refused for another, and does not tell the token."""
    first, second = sessions.open(), sessions.open()
    assert csrf_token(first) != csrf_token(second)
    assert first not in csrf_token(first)


class SignIn(RuleBasedStateMachine):
    """Links, sessions and time in any order, against a few lines that say what must hold."""

    links, tokens = Bundle("links"), Bundle("tokens")

    @initialize()
    def begin(self) -> None:
        engine = create_engine("sqlite://", poolclass=StaticPool)
        METADATA.create_all(engine)
        self.engine, self.clock = engine, VirtualClock(1_780_000_000_000)
        self.sessions = Sessions(engine, self.clock)
        self.expires: dict[str, int] = {}
        self.began: dict[str, int] = {}
        self.used: dict[str, int] = {}

    @rule(target=links)
    def make_link(self) -> str:
        link = self.sessions.make_link()
        self.expires[link] = self.clock.now_ms() + LINK_MS
        return link

    @rule(target=tokens, link=links)
    def redeem(self, link: str) -> str:
        token = self.sessions.redeem(link)
        good = self.clock.now_ms() < self.expires.pop(link, 0)
        assert (token is not None) == good
        if token is None:
            return "nothing"
        self.began[token] = self.used[token] = self.clock.now_ms()
        return token

    @rule(token=tokens)
    def use(self, token: str) -> None:
        now_ms = self.clock.now_ms()
        began_ms, used_ms = self.began.get(token, 0), self.used.get(token, 0)
        found = self.sessions.check(token) is not None
        if now_ms >= min(began_ms + ABSOLUTE_MS, used_ms + IDLE_MS):
            assert not found
        elif now_ms < min(began_ms + ABSOLUTE_MS, used_ms + IDLE_MS - 60_000):
            assert found  # use is written once a minute, so the last minute may be lost
        if found:
            self.used[token] = now_ms

    @rule(token=consumes(tokens))
    def close(self, token: str) -> None:
        self.sessions.close(token)
        assert self.sessions.check(token) is None

    @rule(delta_ms=st.sampled_from([1, 30_000, LINK_MS, IDLE_MS - 60_001, IDLE_MS]))
    def wait(self, delta_ms: int) -> None:
        self.clock.advance(delta_ms)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()


class TestSignIn(SignIn.TestCase):
    """Nothing opens the console but a link once and in time, and a session that is in use."""

    settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
