from pathlib import Path

import pytest

from assay.errors import SettingsError
from assay.ingest.mapping import Mapping

_HEAD = '[fields]\nevent_time = "at"\ncard_id = "card"\n'
_EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fields", "not TOML"),
        ("[fields]\n", "event_time is not mapped"),
        (_HEAD + 'merchantid = "m"', "unknown field 'merchantid'; did you mean merchant_id?"),
        (_HEAD + "kind = {}", "one of column and constant"),
        (_HEAD + 'kind = { colum = "x" }', "unknown field `colum`"),
        (_HEAD + 'amount_minor = "a"', "no unit"),
        (_HEAD + 'amount_minor = { column = "a", unit = "s" }', "unit is 's'"),
        (_HEAD + 'ip = { column = "a", zone = "UTC" }', "for times alone"),
        (_HEAD + 'ip = { constant = "a", values = { a = "b" } }', "there is none"),
        (_HEAD + '[label]\ncolumn = "f"', "one of delay_days and reported_at"),
        ('exempt = ["card_id"]\n' + _HEAD, "exempt holds 'card_id'"),
        (_HEAD.replace('"at"', '{ column = "at", zone = "Mars" }'), "IANA"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    """A mapping with a mistake is refused and the message says which."""
    with pytest.raises(SettingsError) as caught:
        Mapping.parse(text.encode())
    assert said in str(caught.value)


def test_missing_file_is_a_settings_error(tmp_path: Path) -> None:
    """A path to nothing, to a folder and to bytes that are no text are refused by name."""
    with pytest.raises(SettingsError, match=r"nothing\.toml cannot be read: No such"):
        Mapping.load(tmp_path / "nothing.toml")
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        Mapping.load(tmp_path)
    for content in (b"\xff\xfe[", b"\0\1", b"a=" + b"[" * 100_000):
        (tmp_path / "m.toml").write_bytes(content)
        with pytest.raises(SettingsError, match=r"m\.toml: not TOML") as caught:
            Mapping.load(tmp_path / "m.toml")
        assert "\n" not in str(caught.value)


def test_attribute_named_like_a_card_is_refused() -> None:
    """An attribute's name is told in dead letters, so it must not be a card number."""
    with pytest.raises(SettingsError, match="holds a card number") as caught:
        Mapping.parse((_HEAD + '[attributes]\n"4111 1111 1111 1111" = "x"').encode())
    assert "4111" not in str(caught.value)


def test_missing_columns_name_the_nearest() -> None:
    """A column that the file lacks is refused; a header that is a card number is not shown."""
    mapping = Mapping.parse(_HEAD.encode())
    with pytest.raises(SettingsError, match="'card' is mapped but missing; did you mean 'cart'"):
        mapping.unmapped(["at", "cart"])
    with pytest.raises(SettingsError) as caught:
        mapping.unmapped(["at", "604400000012"])
    assert "604400000012" not in str(caught.value)
    with pytest.raises(SettingsError) as caught:
        mapping.unmapped(["at", "line\nfeed\0"])
    assert str(caught.value).isprintable()
    assert mapping.unmapped(["card", "x", "at"]) == ["x"]


@pytest.mark.parametrize("name", ["handbook", "sparkov"])
def test_examples_load(name: str) -> None:
    """The examples of the documentation are mappings."""
    mapping = Mapping.load(_EXAMPLES / f"{name}.toml")
    assert mapping.makes_id == (name == "sparkov")
