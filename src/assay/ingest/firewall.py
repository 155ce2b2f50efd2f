"""Find card numbers in text, so that none is ever logged or stored.

A *group* is a longest run of digits; groups may be joined by single separators (spaces,
dashes, dots and the like, invisible ones included).
A card number is one group, or several neighbours together, of 13 to 19 digits whose first
digits and length belong to an issuer and whose Luhn sum is 0 modulo 10.
Every script's decimal digits count, full-width ones too.

What is deliberately not one: part of a group (a 20-digit order number holds a Luhn-valid
window half of the time, and refusing it would refuse honest traffic), and digits inside a
UUID or a hexadecimal digest of 32 characters or more, for the same reason.
"""

from __future__ import annotations

import re
from typing import Final

_ASCII_SEPARATORS: Final = " \t.-_/,"
_SEPARATORS: Final = (
    _ASCII_SEPARATORS
    + "\u00a0\u00ad\u00b7\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    + "\u200b\u200c\u200d\u2010\u2011\u2012\u2013\u2014\u2015\u2022\u202f\u205f\u2060\u2212"
    + "\u3000\ufeff\uff0d\uff0e"
)
_FLAT: Final = bytes(0x30 if 0x30 <= code <= 0x39 else 0x78 for code in range(256))
_DELETED: Final = _ASCII_SEPARATORS.encode()
_THIRTEEN: Final = b"0" * 13
_RUN: Final = re.compile(rf"\d(?:[{re.escape(_SEPARATORS)}]?\d){{12,}}")
_GROUP: Final = re.compile(r"\d+")
_DIGEST: Final = re.compile(
    r"(?<![0-9a-z])(?=[0-9-]*[a-f])"
    r"(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32,128})(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
_MANY: Final = re.compile(rf"\d(?:[{re.escape(_SEPARATORS)}]?\d){{11,}}")

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


def masked(text: str) -> str:
    """Return the text, or ``[masked]`` if it holds a run of twelve digits or more.

    Coarser than `contains_card_number` on purpose: for reports and dead letters, where a
    number of no known issuer is better hidden than shown.
    """
    return "[masked]" if _MANY.search(text) else text


def shape(text: str) -> str:
    """Return the text with digits as ``#`` and other word characters as ``x``.

    Examples
    --------
    >>> shape('41x,"Ab')
    '##x,"xx'
    """
    return re.sub(r"[^\W\d]", "x", re.sub(r"\d", "#", text))


def _search(text: str) -> bool:
    return any(_run_holds_card(run.group()) for run in _RUN.finditer(_DIGEST.sub("x", text)))


def _run_holds_card(run: str) -> bool:
    groups = [_ascii(group) for group in _GROUP.findall(run)]
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > 19:
                break
            if _ISSUERS.fullmatch(digits) and _luhn(digits):
                return True
    return False


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _luhn(digits: str) -> bool:
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(d)] for d in digits[-2::-2])
    return total % 10 == 0
