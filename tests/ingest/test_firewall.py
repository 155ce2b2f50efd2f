import random
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.ingest.firewall import contains_card_number, is_card_number, masked, shape

_ISSUERS = [
    ("4", 13), ("4", 16), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16),
    ("34", 15), ("37", 15), ("6011", 16), ("644", 16), ("65", 19), ("3528", 16), ("3589", 16),
    ("300", 14), ("36", 14), ("38", 16), ("39", 14), ("62", 16), ("62", 19), ("50", 16),
    ("56", 13), ("67", 18),
]  # fmt: skip


def _luhn_digit(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefix, length = draw(st.sampled_from(_ISSUERS))
    rest = length - len(prefix) - 1
    body = prefix + draw(st.text("0123456789", min_size=rest, max_size=rest))
    return body + _luhn_digit(body)


_WORDS = st.text(string.ascii_letters + " :;#@()é", max_size=20)


@given(card_numbers(), _WORDS, _WORDS)
def test_plain_number_in_text_is_found(number: str, before: str, after: str) -> None:
    """A card number is found whatever words stand around it, touching or not."""
    assert contains_card_number(before + number + after)


@given(
    card_numbers(),
    st.text(" -._/:;|*+=~#@()[]{}<>\\\"'\0\t\n\u00a0\u2011\u200b\u2063", min_size=1, max_size=3),
    st.sampled_from([1, 2, 3, 4]),
)
def test_separated_number_is_found(number: str, separator: str, size: int) -> None:
    """One to three characters that are no letters or digits between groups hide nothing."""
    groups = [number[at : at + size] for at in range(0, len(number), size)]
    assert contains_card_number("ref " + separator.join(groups) + " x")


@given(card_numbers())
def test_other_scripts_digits_are_found(number: str) -> None:
    """Full-width and Arabic digits count as digits."""
    for zero in (0xFF10, 0x0660):
        assert contains_card_number("".join(chr(zero + int(digit)) for digit in number))


@given(card_numbers(), st.text("0123456789", min_size=1, max_size=6))
def test_number_beside_another_group_is_found(number: str, other: str) -> None:
    """Digits in a neighbouring group do not hide a card number."""
    assert contains_card_number(f"{other} {number}")
    assert contains_card_number(f"{number}-{other}")


@given(card_numbers())
def test_wrong_check_digit_is_no_card(number: str) -> None:
    """One wrong digit breaks the Luhn sum."""
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not contains_card_number(wrong)


@given(card_numbers(), st.text("0123456789", min_size=7, max_size=20))
def test_part_of_a_longer_run_is_no_card(number: str, tail: str) -> None:
    """A run of 20 digits and more is an order number, not a card."""
    assert not contains_card_number(number + tail)


@pytest.mark.parametrize("letters", ["abcdefabcdefabcd", "ABCDEFabcdef0123", "f" * 48])
def test_letters_appended_hide_nothing(letters: str) -> None:
    """A card number made to look like the start or end of a digest or UUID is found."""
    assert contains_card_number("4111111111111111" + letters)
    assert contains_card_number(letters[::-1] + "4111111111111111")
    assert contains_card_number("41111111-1111-1111-abcd-abcdefabcdef")
    assert contains_card_number("id 41111111-1111-1111-abcd-abcdefabcdef, 5")


def test_random_ids_are_hardly_ever_refused() -> None:
    """Of random UUIDs and digests fewer than 50 in 100,000 are taken for a card."""
    source = random.Random(11)
    uuids = [str(UUID(int=source.getrandbits(128), version=4)) for _ in range(10_000)]
    digests = [source.randbytes(32).hex() for _ in range(10_000)]
    for ids in (uuids, digests):
        assert sum(map(contains_card_number, ids)) < 5


@given(card_numbers())
def test_numbers_are_read_as_their_digits(number: str) -> None:
    """A number holds a card number where its text does; inexact ones by range alone."""
    assert is_card_number(float(number))
    assert not is_card_number(float("0." + number))
    assert not is_card_number(float("1" + number[1:]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tx-2026-01-31 12:00:00.000",
        "1546300857000",
        "550e8400-e29b-41d4-a716-446655440000",
        "deadbeef4111111111111111deadbeef",
        "411111111111111",
        "9111111111111111",
        "192.168.100.200",
        "2026-01-31T22:30:12.123456Z",
        "2026-01-30 22:21:12.123456",
        "00:1a:2b:3c:4d:5e",
        "4111 1111 x 1111 1111",
    ],
)
def test_honest_text_passes(text: str) -> None:
    """Times, addresses, UUIDs, digests and other issuers' numbers are no card numbers."""
    assert not contains_card_number(text)


def test_masks_are_coarse() -> None:
    """Twelve digits are masked in reports, and a shape shows no letter or digit."""
    assert masked("a 604400000012 b") == "[masked]"
    assert masked("4111:1111:1111:1111") == masked("4111  1111  1111  1111") == "[masked]"
    assert masked("2019-01-01 00:00:57") == "2019-01-01 00:00:57"
    assert shape('é1,"٣b') == 'x#,"#x'
