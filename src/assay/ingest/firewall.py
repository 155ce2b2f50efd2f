"""Find card numbers in text, so that none is ever logged or stored.

A *group* is a longest run of digits; between two groups may stand one to three separators:
any characters but letters and digits, invisible ones included.
A card number is one group, or several neighbours together, of 13 to 19 digits whose first
digits and length belong to an issuer and whose Luhn sum is 0 modulo 10.
Every script's decimal digits count, full-width ones too.

What is deliberately not one: part of a group (a 20-digit order number holds a Luhn-valid
window half of the time, and refusing it would refuse honest traffic), and for the same
reason digits between the first and the last letter of a UUID or of a hexadecimal digest of
32 characters or more.
"""

from __future__ import annotations

import re
from typing import Final

_RUN: Final = re.compile(r"\d(?:[\W_]{0,3}\d){12,}")
_GROUP: Final = re.compile(r"\d+")
_DIGEST: Final = re.compile(
    r"(?<![0-9a-z])(?=[0-9-]*[a-f])"
    r"(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32,128})(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
_INSIDE: Final = re.compile("[a-f](?:.*[a-f])?", re.IGNORECASE)
# Colons are left out so that reports and dead letters may show times.
_MANY: Final = re.compile(r"\d(?:(?:[^\w:]|_)?\d){11,}")

# ASCII text without thirteen digits in a row, separators aside, is cleared by two scans.
_FLAT: Final = bytes(0x30 if 0x30 <= code <= 0x39 else 0x78 for code in range(256))
_DELETED: Final = bytes(code for code in range(128) if not chr(code).isalnum())
_THIRTEEN: Final = b"0" * 13

_NUMBER_MIN: Final = 10**12
_NUMBER_END: Final = 10**19
_EXACT_END: Final = 2**53  # from here on floats skip whole numbers

_ISSUERS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:30[0-59]|3[689]\d)\d{11,16}"  # Diners
    r"|62\d{14,17}"  # UnionPay
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:50|5[6-9]|6\d)\d{11,17}",  # Maestro and other schemes of its ranges
    re.ASCII,
)
_FIRST_DIGITS: Final = frozenset("23456")


def contains_card_number(text: str) -> bool:
    """Tell whether a card number stands anywhere in the text.

    Examples
    --------
    >>> contains_card_number("paid with 4111-1111-1111-1111, thanks")
    True
    >>> contains_card_number("order 4111111111111112")
    False
    """
    if text.isascii() and _THIRTEEN not in text.encode().translate(_FLAT, _DELETED):
        return False
    return _search(text)


def is_card_number(value: float) -> bool:
    """Tell whether the digits of a number hold a card number.

    From 2^53 on a float no longer tells the last digits, so an issuer's range is enough.

    Examples
    --------
    >>> is_card_number(4111111111111111.0)
    True
    >>> is_card_number(1767225600000.0)
    False
    """
    size = abs(value)
    if not _NUMBER_MIN <= size < _NUMBER_END:
        return False
    if size < _EXACT_END:
        return contains_card_number(repr(size))
    return _ISSUERS.fullmatch(str(int(size))) is not None


def masked(text: str) -> str:
    """Return the text, or ``[masked]`` if it holds a run of twelve digits or a card number.

    Coarser than `contains_card_number` on purpose: for reports and dead letters, where a
    number of no known issuer is better hidden than shown.
    """
    return "[masked]" if _MANY.search(text) or contains_card_number(text) else text


def shape(text: str) -> str:
    """Return the text with digits as ``#`` and other word characters as ``x``.

    Examples
    --------
    >>> shape('41x,"Ab')
    '##x,"xx'
    """
    return re.sub(r"[^\W\d]", "x", re.sub(r"\d", "#", text))


def _search(text: str) -> bool:
    # Digests are rare, so they are looked for only where something was found.
    return _runs_hold_card(text) and _runs_hold_card(_DIGEST.sub(_without_inside, text))


def _without_inside(digest: re.Match[str]) -> str:
    return _INSIDE.sub("x", digest.group())


def _runs_hold_card(text: str) -> bool:
    return any(_run_holds_card(run.group()) for run in _RUN.finditer(text))


def _run_holds_card(run: str) -> bool:
    groups = _GROUP.findall(run if run.isascii() else _ascii(run))
    return any(
        group[0] in _FIRST_DIGITS and _starts_with_card(groups[first:])
        for first, group in enumerate(groups)
    )


def _starts_with_card(groups: list[str]) -> bool:
    digits = ""
    for group in groups:
        digits += group
        if len(digits) > 19:
            break
        if len(digits) >= 13 and _ISSUERS.fullmatch(digits) and _luhn(digits):
            return True
    return False


def _ascii(run: str) -> str:
    return "".join(str(int(char)) if char.isdecimal() else " " for char in run)


_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _luhn(digits: str) -> bool:
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(d)] for d in digits[-2::-2])
    return total % 10 == 0
