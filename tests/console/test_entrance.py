from __future__ import annotations

import pytest

from assay.console.entrance import Entrance, public_origin
from assay.errors import SettingsError

HERE = Entrance("127.0.0.1", 8687)
BEHIND = Entrance("127.0.0.1", 8687, "https://fraud.example")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("", ""),
        ("https://fraud.example", "https://fraud.example"),
        ("https://Fraud.example:443/", "https://fraud.example"),
        ("http://fraud.example:8080", "http://fraud.example:8080"),
        ("https://[::1]:9000", "https://[::1]:9000"),
    ],
)
def test_an_address_becomes_an_origin(url: str, origin: str) -> None:
    """The setting is read as browsers write an origin."""
    assert public_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "fraud.example",
        "ftp://fraud.example",
        "https://",
        "https://fraud.example/assay",
        "https://fraud.example?x",
        "https://fraud.example#x",
        "https://fraud.example:port",
        "https://[::1",
        "https://a b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """Anything but scheme, host and port is refused with what is accepted."""
    with pytest.raises(SettingsError, match="accepted: https://NAME"):
        public_origin(url)


def test_a_password_is_not_repeated() -> None:
    """An address with a password in it is refused without showing it."""
    with pytest.raises(SettingsError) as caught:
        public_origin("https://me:secret@fraud.example")
    assert "secret" not in str(caught.value)


def test_only_the_own_origins_are_owned() -> None:
    """A page is the console's own under the host that it asked, or under the public address."""
    assert HERE.owns("http://localhost:8687", "http", "localhost:8687")
    assert not HERE.owns("https://fraud.example", "http", "localhost:8687")
    assert not HERE.owns("", "http", "localhost:8687")
    assert BEHIND.owns("https://fraud.example", "http", "127.0.0.1:8687")
    assert not BEHIND.owns("https://evil.test", "http", "fraud.example")


def test_two_consoles_on_one_host_keep_apart() -> None:
    """Cookies do not tell ports apart, so their names do; behind TLS a prefix binds the host."""
    other = Entrance("127.0.0.1", 9000)
    both = f"{HERE.cookie}=1.here; {other.cookie}=2.other"
    assert (HERE.read_cookie(both), other.read_cookie(both)) == ("1.here", "2.other")
    assert BEHIND.cookie == "__Host-assay_session"
    assert "; Secure" in BEHIND.set_cookie("1.x")
    assert "; Secure" not in HERE.set_cookie("1.x")


@pytest.mark.parametrize(
    "header",
    [
        "{c}=1.x",
        " {c}=1.x ;",
        "other=a b; {c}=1.x",
        'bad[name]=1; {c}="1.x"',
        "\u00e9=\u00fc;;=;x;{c}=1.x;{c}=2.y",
    ],
)
def test_other_cookies_do_not_sign_out(header: str) -> None:
    """Whatever other programs on this host left in the header, the session is found."""
    assert HERE.read_cookie(header.format(c=HERE.cookie)) == "1.x"
    assert HERE.read_cookie(header.format(c="assay_session")) == ""
