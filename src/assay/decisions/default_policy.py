"""The first policy of a workspace: thresholds, and the rules that its features can carry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from assay.decisions.expression import names_in
from assay.decisions.fields import FIELDS
from assay.errors import PolicyError

_RULE: Final = "\n[[rules]]\n"


def default_policy(feature_names: Sequence[str], thresholds: Mapping[str, float]) -> str:
    """Return the text of a first ``policy.toml``.

    A rule over a feature that the set lacks is left out: a field that is not there is not
    a zero.

    Parameters
    ----------
    feature_names : sequence of str
        The features that rules may name.
    thresholds : mapping of str to float
        Scores in (0, 1] for challenge, review and decline; the file's own stand for those
        not given.

    Examples
    --------
    >>> text = default_policy(["card_speed_kmh"], {"review": 0.25})
    >>> "impossible_travel" in text, "card_testing" in text, "review = 0.25" in text
    (True, False, True)
    """
    template = (files("assay.decisions") / "default_policy.toml").read_text(encoding="utf-8")
    head, *rules = template.split(_RULE)
    for name, value in thresholds.items():
        head, found = re.subn(rf"(?m)^{re.escape(name)} = .*$", f"{name} = {float(value)}", head)
        if name not in ("challenge", "review", "decline") or found != 1:
            raise PolicyError(f"no threshold {name!r}; accepted: challenge, review, decline")
    known = FIELDS.keys() | set(feature_names)
    return head + "".join(_RULE + rule for rule in rules if _names(rule) <= known)


def _names(rule: str) -> frozenset[str]:
    when = re.search(r"(?m)^when = (['\"])(.*)\1$", rule)
    assert when is not None, "every rule of the template has its condition on one line"
    return names_in(when[2])
