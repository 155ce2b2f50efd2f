"""policy.toml: what is loaded, named and refused."""

from __future__ import annotations

import pytest

from assay.decisions.policy import Policy
from assay.errors import PolicyError
from assay.records import Action, Mode

GOOD = """
version = "2024-11"
[thresholds]
challenge = 0.1
review = 0.3
decline = 0.8
[rungs]
rules = "challenge"
[[rules]]
name = "far"
when = "speed > 900"
action = "review"
reason = "Too far."
[[rules]]
name = "big"
when = '''
amount_ref > 50000
and merchant_country != "PT"
'''
action = "decline"
code = 101
reason = "Too much."
[[rules]]
name = "seen"
when = "speed < 1"
reason = "Seen at home."
"""


def load(text: str) -> Policy:
    return Policy.load(text, ["speed"])


def refusal(text: str) -> str:
    with pytest.raises(PolicyError) as caught:
        load(text)
    return str(caught.value)


def test_a_good_policy() -> None:
    """A policy holds what its file says, rules by strength, with a code for each reason."""
    policy = load(GOOD)
    assert policy.cuts == (0.1, 0.3, 0.8)
    assert policy.rungs == {Mode.rules: Action.challenge, Mode.default: Action.review}
    assert [(r.name, r.action, r.code) for r in policy.rules] == [
        ("big", Action.decline, 101),
        ("far", Action.review, 102),
        ("seen", None, 103),
    ]
    assert policy.reasons[100:104] == (
        ("", ""),
        ("R101", "Too much."),
        ("R102", "Too far."),
        ("R103", "Seen at home."),
    )
    assert policy.reasons[0] == ("", "")
    assert policy.id == f"2024-11-{policy.digest[:12]}"


@pytest.mark.parametrize(
    ("lines", "cuts"),
    [
        ("", (float("inf"),) * 3),
        ("decline = 0.8", (0.8, 0.8, 0.8)),
        ("review = 0.3", (0.3, 0.3, float("inf"))),
        ("challenge = 0.1\ndecline = 1", (0.1, 1.0, 1.0)),
    ],
)
def test_thresholds_are_optional(lines: str, cuts: tuple[float, ...]) -> None:
    """A threshold that is left out is that of the next stronger action."""
    assert load(f'version = "1"\n[thresholds]\n{lines}').cuts == cuts


def test_the_digest_names_the_meaning() -> None:
    """Layout and comments do not change a policy's identity; any value does."""
    same = load("# a note\n" + GOOD.replace("speed > 900", "speed  >  900"))
    assert same.digest == load(GOOD).digest
    for old, new in (("0.3", "0.31"), ("900", "901"), ("Too far", "Far"), ("2024-11", "2")):
        assert load(GOOD.replace(old, new)).digest != same.digest
    explicit = GOOD.replace("[rungs]", '[rungs]\ndefault = "review"')
    assert load(explicit).digest == same.digest


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("challenge = 0.1", "chalenge = 0.1", "thresholds.chalenge; did you mean challenge?"),
        ('name = "far"', 'nam = "far"', "rules.nam; did you mean name?"),
        ("[rungs]", "[zzz]", "unknown name zzz; accepted: version, thresholds"),
        ("review = 0.3", "review = 0.9", "challenge ≤ review ≤ decline"),
        ("decline = 0.8", "decline = 1.5", "thresholds.decline is 1.5"),
        ("challenge = 0.1", "challenge = nan", "thresholds.challenge is nan"),
        ("challenge = 0.1", "challenge = 0", "thresholds.challenge is 0"),
        ("challenge = 0.1", 'challenge = "low"', "Expected `float | null`"),
        ('action = "review"', 'action = "block"', "block"),
        ('name = "far"', 'name = "big"', "two rules have the name big"),
        ('action = "review"', 'action = "review"\ncode = 101', "two rules have the code 101"),
        ('action = "review"', 'action = "review"\ncode = 7', ">= 101"),
        ("speed > 900", "sped > 900", "rule 'far', line 1, column 1: unknown name 'sped'"),
        ('version = "2024-11"', "", "version"),
        ('"2024-11"', '"a b"', "version"),
        ("[rungs]", "[rungs", "not TOML"),
        ("[[rules]]", "[rules]", "TOML"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, says: str) -> None:
    """Each mistake is refused with where it is and what is accepted."""
    assert says in refusal(GOOD.replace(old, new, 1))


def test_size_is_bounded() -> None:
    """A file that is too large, or has too many rules, is refused."""
    assert "at most" in refusal("#" * 300_000)
    rule = '[[rules]]\nname = "r{}"\nwhen = "speed > 1"\nreason = "x"\n'
    assert "200" in refusal('version = "1"\n' + "".join(rule.format(i) for i in range(201)))
