import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import SettingsError
from assay.ingest.tokens import Tokeniser, load_or_create_key

_KEY = bytes(range(32))


@given(st.sampled_from(["card", "customer", "device", "ip"]), st.text(max_size=200))
def test_tokens_are_hmac_sha256(kind: str, value: str) -> None:
    """Token and hash are the standard's HMAC of kind, NUL and value."""
    digest = hmac.digest(_KEY, kind.encode() + b"\0" + value.encode(), "sha256")
    token, number = Tokeniser(_KEY, version=3).both(kind, value)
    assert token[1:] == "3_" + digest.hex()[:32]
    assert number == int.from_bytes(digest[:8], "little")
    assert token == Tokeniser(_KEY, version=3).token(kind, value)
    assert number == Tokeniser(_KEY).hash64(kind, value)


def test_kinds_and_keys_differ() -> None:
    """The same value under another kind or key gives another token."""
    mine, other = Tokeniser(_KEY), Tokeniser(bytes(32))
    tokens = {mine.token("card", "1"), mine.token("customer", "1"), other.token("card", "1")}
    assert len({token[3:] for token in tokens}) == 3


def test_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The key file has mode 0600, 32 bytes, and stays; nothing else is left behind."""
    path = tmp_path / "deep" / "token.key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["token.key"]


def test_bad_key_files_are_refused(tmp_path: Path) -> None:
    """A key of another size, or that others can read, is not used."""
    path = tmp_path / "token.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="5 bytes; accepted: 32"):
        load_or_create_key(path)
    path.write_bytes(_KEY)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="mode 0644; accepted: 0600"):
        load_or_create_key(path)
    with pytest.raises(SettingsError, match="accepted: 32"):
        Tokeniser(b"short")
