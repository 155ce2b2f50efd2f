"""API keys: shown once, stored as digests, checked fast."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.clock import VirtualClock
from assay.errors import SettingsError
from assay.serving.keys import KeyRing, create_key, internal_secret, revoke_key

CLOCK = VirtualClock(1_700_000_000_000)


def test_a_key_opens(tmp_path: Path) -> None:
    """A created key is known by its name, and only with its whole secret."""
    path = tmp_path / "keys.json"
    secret = create_key(path, "checkout", CLOCK)
    assert re.fullmatch("ak_[A-Za-z0-9_-]{43}", secret)
    ring = KeyRing.load(path)
    assert ring.check(f"Bearer {secret}") == "checkout"
    for header in (
        None,
        "",
        "Bearer ",
        secret,
        f"bearer {secret}",
        f"Basic {secret}",
        f"Bearer {secret} ",
        f"Bearer {secret[:-1]}",
        f"Bearer {secret[:-1]}é",
        f"Bearer {secret[:-1]}{'A' if secret[-1] != 'A' else 'E'}",
    ):
        assert ring.check(header) is None, header


@given(st.text(max_size=80) | st.text(min_size=43, max_size=43).map("Bearer ak_{}".format))
def test_no_other_text_opens(header: str) -> None:
    """Whatever a header holds, it is answered with None and never an error."""
    assert KeyRing({bytes(32): "somebody"}).check(header) is None


def test_the_secret_is_not_stored(tmp_path: Path) -> None:
    """The file holds no secret, is its owner's only, and leaves nothing beside it."""
    path = tmp_path / "keys.json"
    secret = create_key(path, "checkout", CLOCK)
    assert secret[3:].encode() not in path.read_bytes()
    assert b"1700000000000" in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_revoked_keys_are_refused(tmp_path: Path) -> None:
    """A revoked key no longer opens; the others still do; its name is free again."""
    path = tmp_path / "keys.json"
    first, second = create_key(path, "a", CLOCK), create_key(path, "b", CLOCK)
    revoke_key(path, "a")
    ring = KeyRing.load(path)
    assert (ring.check(f"Bearer {first}"), ring.check(f"Bearer {second}")) == (None, "b")
    create_key(path, "a", CLOCK)
    with pytest.raises(SettingsError, match="accepted: b, a"):
        revoke_key(path, "c")


@pytest.mark.parametrize("name", ["", "A", "a b", "a" * 65, "é", "a\n"])
def test_bad_names(tmp_path: Path, name: str) -> None:
    """A malformed name is refused before anything is written."""
    with pytest.raises(SettingsError, match="accepted"):
        create_key(tmp_path / "keys.json", name, CLOCK)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_used_once(tmp_path: Path) -> None:
    """Two keys cannot have one name, so a name always says who."""
    create_key(tmp_path / "keys.json", "a", CLOCK)
    with pytest.raises(SettingsError, match="exists"):
        create_key(tmp_path / "keys.json", "a", CLOCK)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b'{"keys":[]}',
        b'{"keys":[{"name":"a","id":"k","sha256":"zz","created_ms":1}]}',
    ],
)
def test_a_damaged_file_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or damaged file is refused with what to do."""
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="create"):
        KeyRing.load(path)


def _create(path: Path, name: str) -> None:
    create_key(path, name, CLOCK)


def test_writers_do_not_lose_each_others_keys(tmp_path: Path) -> None:
    """Keys created by several processes at once are all kept."""
    path, names = tmp_path / "keys.json", [f"k{i}" for i in range(4)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_create, args=(path, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert sorted(KeyRing.load(path)._names.values()) == names


def test_the_internal_key_is_made_once(tmp_path: Path) -> None:
    """Every process gets the same internal key, which opens, and nobody can take its name."""
    path = tmp_path / "api_keys.json"
    secret = internal_secret(tmp_path, path, CLOCK)
    assert internal_secret(tmp_path, path, CLOCK) == secret
    assert KeyRing.load(path).check(f"Bearer {secret}") == "internal"
    assert (tmp_path / "internal.key").stat().st_mode & 0o777 == 0o600
    for refused in (
        lambda: create_key(path, "internal", CLOCK),
        lambda: revoke_key(path, "internal"),
    ):
        with pytest.raises(SettingsError, match="Assay's own"):
            refused()
    create_key(path, "checkout", CLOCK)
    assert len(KeyRing.load(path)._names) == 2


def test_a_lost_internal_key_is_replaced(tmp_path: Path) -> None:
    """After its file is deleted a new one is made and the old secret opens nothing; one that
    others may read, or that is damaged, is refused.
    """
    path = tmp_path / "api_keys.json"
    old = internal_secret(tmp_path, path, CLOCK)
    (tmp_path / "internal.key").unlink()
    new = internal_secret(tmp_path, path, CLOCK)
    ring = KeyRing.load(path)
    assert (ring.check(f"Bearer {old}"), ring.check(f"Bearer {new}")) == (None, "internal")
    (tmp_path / "internal.key").chmod(0o644)
    with pytest.raises(SettingsError, match="others may read it"):
        internal_secret(tmp_path, path, CLOCK)
    (tmp_path / "internal.key").chmod(0o600)
    (tmp_path / "internal.key").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="is no key"):
        internal_secret(tmp_path, path, CLOCK)
