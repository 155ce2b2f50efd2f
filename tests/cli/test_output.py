"""What every verb prints: one line a value, whatever stands in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.cli.output import printable, show


@given(st.text(st.characters()))
def test_text_stays_on_its_line(text: str) -> None:
    """Nothing that moves, hides or turns text comes out; what is printable comes out as it is."""
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Café «Ω» 東京 🙂", "Café «Ω» 東京 🙂"),
        ("a\nb\tc\x7f\x9b", r"a\x0ab\x09c\x7f\x9b"),
        ("\u202eabc\u2066\ufeff\u2028", r"\u202eabc\u2066\ufeff\u2028"),
        ("\U000e0041\ud800", r"\U000e0041\ud800"),
    ],
)
def test_what_cannot_be_printed_is_written_out(text: str, shown: str) -> None:
    """Each such character is its number, with as many digits as its escape has."""
    assert printable(text) == shown


def test_names_and_nested_values_are_shown_safely(capsys: pytest.CaptureFixture[str]) -> None:
    """Names, text and what stands inside a mapping are held to it; JSON stays exact."""
    result = {"a\nb": "c\x1b[0m", "d": {"e\r": "f\x00"}, "g": ["h\n"]}
    show(result, as_json=False)
    told = capsys.readouterr().out
    assert told.split("\n")[:-1] == [
        r"a\x0ab  c\x1b[0m",
        r"d    e\x0d f\x00",
        r"g    ['h\n']",
    ]
    show(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result
