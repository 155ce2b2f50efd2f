from __future__ import annotations

import html
import re
from urllib.parse import urljoin

import pytest
import sample_documents as sample
from console_client import Ask
from sample_console import SampleReports

from assay.errors import ControlError, ReleaseError

PAGES = ["/live", "/performance", "/models", "/data"]
TWINS = {
    "/live.json": sample.live,
    "/performance.json": sample.performance,
    "/models.json": sample.models,
    "/data.json": sample.data,
}
EMPTY = {
    "live": sample.EMPTY_LIVE,
    "models": sample.EMPTY_MODELS,
    "performance": sample.EMPTY_PERFORMANCE,
    "data": sample.EMPTY_DATA,
}


@pytest.mark.parametrize("path", TWINS)
def test_a_twin_is_the_document(ask: Ask, key: dict[str, str], path: str) -> None:
    """The JSON twin is the report, unchanged, hostile text included, and typed as JSON."""
    reply = ask(path, **key)
    want = TWINS[path]()
    if path == "/models.json":
        want["revision"] = 3
    assert reply.document == want
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_is_inert(
    ask: Ask, reports: SampleReports, key: dict[str, str], path: str
) -> None:
    """Text from outside opens no tag in any page, wherever it stands."""
    hostile = "".join(sample.HOSTILE)
    reports.documents = {
        "models": sample.models()
        | {
            "models": [sample.model_row(hostile, hostile, 0.5, error=hostile)],
            "switches": [sample.switch(1, hostile, hostile)],
            "previous": hostile,
        },
        "performance": sample.performance() | {"currency": hostile, "models": [hostile]},
        "demo": {"scenarios": [{"name": hostile, "title": hostile, "on": False}]},
    }
    text = ask(path, **key).text
    assert not re.search(r"<script>|<img|onerror=alert\(1\)>", text)
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert all(not set("<>&") & set(block) for block in blocks)
    seen = re.sub(r'<script type="application/json".*?</script>|<[^>]+>', "", text, flags=re.DOTALL)
    assert not set("\u202e\u2066\x07\x1b\x00") & set(html.unescape(seen))


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_workspace_says_what_to_do(
    ask: Ask, reports: SampleReports, key: dict[str, str], path: str
) -> None:
    """Without data every page is shown, and names the next step."""
    reports.documents = dict(EMPTY)
    reply = ask(path, **key)
    assert reply.status == 200
    if path != "/live":  # whose words are made in the browser
        assert "assay " in re.sub("<[^>]+>", " ", reply.text.partition("<main")[2])


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (ControlError("the control database is damaged; restore it"), 503, "is damaged"),
        (RuntimeError("secret detail"), 500, "its log says why"),
    ],
)
def test_trouble_is_a_panel(
    ask: Ask,
    reports: SampleReports,
    key: dict[str, str],
    path: str,
    failure: Exception,
    status: int,
    words: str,
) -> None:
    """What cannot be made is told in words, in page and twin, without a trace of the code."""
    reports.failure = failure
    for where in (path, f"{path}.json"):
        reply = ask(where, **key)
        assert reply.status == status
        assert words in reply.text
        assert "secret detail" not in reply.text
        assert "Traceback" not in reply.text


@pytest.mark.usefixtures("reports")
def test_a_rollback_tells_what_happened(ask: Ask, signed_in: dict[str, str]) -> None:
    """The answer to one click names the model, the revision and how long it took."""
    reply = ask("/models/rollback", "POST", "model=boosting-0.1.0&expected_revision=3", **signed_in)
    words = re.sub("<[^>]+>", "", reply.text)
    assert "boosting-0.1.0 went live 212 ms after the request, as revision 4." in words
    assert 'name="expected_revision" value="4"' in reply.text


def test_a_stale_page_switches_nothing(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str]
) -> None:
    """Of two promotions from the same page the second is refused, and says why."""
    form = "model=boosting-0.3.0&expected_revision=3"
    first = ask("/models/promote", "POST", form, **signed_in)
    second = ask("/models/promote", "POST", form, **signed_in)
    assert (first.status, second.status) == (200, 409)
    assert "nothing was switched" in second.text
    assert "somebody else" in second.text
    assert len(reports.asked) == 1


def test_a_refused_release_is_told(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that may not go live is refused in the words of who refused it."""

    def refuse(*_: object) -> None:
        raise ReleaseError("boosting-9 was trained on feature set <x>")

    monkeypatch.setattr(reports, "_switch", refuse)
    reply = ask("/models/promote", "POST", "model=boosting-9&expected_revision=3", **signed_in)
    assert reply.status == 409
    assert "feature set &lt;x&gt;" in reply.text


@pytest.mark.parametrize("form", ["", "expected_revision=x", "model=a", "expected_revision="])
def test_a_malformed_click_is_refused(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str], form: str
) -> None:
    """A form without a whole number for the revision switches nothing."""
    reply = ask("/models/rollback", "POST", form, **signed_in)
    assert reply.status == 400
    assert reports.asked == []


def test_a_page_made_before_a_switch_says_so(ask: Ask, key: dict[str, str]) -> None:
    """The part that refreshes itself tells when the page around it is out of date."""
    newest = sample.models()["switches"][0]["arrival"]
    old = ask("/models/standing?revision=2&arrival=7", **key).text
    new = ask(f"/models/standing?revision=3&arrival={newest}", **key).text
    assert ("Reload" in old, "Reload" in new) == (True, False)
    assert ('id="history"' in old, 'id="history"' in new) == (True, False)


@pytest.mark.parametrize(
    ("query", "period"),
    [
        ("", (None, None)),
        ("?last=all", (None, None)),
        ("?last=24h", (sample.END_MS - 86_400_000, None)),
        ("?from=2026-05-01T00:00&to=2026-05-02T00:00", (1_777_593_600_000, 1_777_680_000_000)),
        ("?from=1777593600000", (1_777_593_600_000, None)),
    ],
)
def test_any_period_is_asked_for(
    ask: Ask,
    reports: SampleReports,
    key: dict[str, str],
    query: str,
    period: tuple[int | None, int | None],
) -> None:
    """Quick ranges end at the newest event; pickers are read as UTC."""
    assert ask(f"/performance{query}", **key).status == 200
    assert reports.asked == [("performance", *period, None)]


@pytest.mark.parametrize("query", ["from=x", "last=1y", "from=5&to=5", "to=1e400", "from=9" * 20])
def test_a_wrong_period_is_refused(ask: Ask, key: dict[str, str], query: str) -> None:
    """A time that is none, or a period that holds nothing, is refused with what is accepted."""
    reply = ask(f"/performance.json?{query}", **key)
    assert reply.status == 422
    assert "accepted" in reply.document["error"]["message"]


def test_a_scenario_is_played(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str], key: dict[str, str]
) -> None:
    """The demo's buttons are there while a demo runs, and a click is passed on."""
    assert "Black Friday" not in ask("/live", **key).text
    reports.documents = {"demo": sample.demo()}
    assert "Black Friday" in ask("/live", **key).text
    reply = ask("/live/scenario", "POST", "name=pandemic&on=true", **signed_in)
    assert reply.status == 200
    assert reply.text.count('aria-pressed="true"') == 2
    assert reports.asked == [("play", "pandemic", True)]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_asks_for_the_banner(ask: Ask, key: dict[str, str], path: str) -> None:
    """Each page has the place of the shared banner, and asks for it."""
    assert ask(path, **key).text.count('hx-get="/state?shown="') == 1


def test_the_banner_comes_when_it_changed(
    ask: Ask, reports: SampleReports, key: dict[str, str]
) -> None:
    """A page that shows the banner already is told so; one that does not gets it."""
    down = {"up": False, "since_ms": sample.END_MS}
    reports.documents = {"live": sample.live() | {"worker": down}}
    reply = ask("/state", **key)
    assert "Worker down since 2026-06-01 00:00:00 UTC." in reply.text
    shown = re.search(r"shown=(\w+)", reply.text)
    assert shown is not None
    assert ask(f"/state?shown={shown[1]}", **key).status == 204
    reports.documents = {}
    assert "alert" not in ask(f"/state?shown={shown[1]}", **key).text


def test_rules_alone_is_called_so(ask: Ask, reports: SampleReports, key: dict[str, str]) -> None:
    """A scorer without a model is shown as deciding by rules, also where the journal says none."""
    models = sample.models() | {"live": None, "switches": [sample.switch(0, "start", "none")]}
    models["scorer"] = models["scorer"] | {"rules_only": True}
    performance = sample.performance()
    performance["summary"] = [performance["summary"][0] | {"model": "none"}]
    reports.documents = {"models": models, "performance": performance | {"models": ["none"]}}
    text = ask("/models", **key).text
    assert "the scorer decides by rules alone" in text
    assert "<strong>rules only</strong>" in text
    assert "<strong>rules only</strong>" in ask("/performance", **key).text


def test_the_page_that_rolls_back_must_have_shown_the_target(
    ask: Ask, reports: SampleReports, signed_in: dict[str, str]
) -> None:
    """A click whose button named another version than the way back is refused with both names."""
    form = "model=boosting-0.0.9&expected_revision=3"
    reply = ask("/models/rollback", "POST", form, **signed_in)
    assert reply.status == 409
    assert "the page showed boosting-0.0.9" in reply.text
    assert "leads to boosting-0.1.0" in reply.text
    assert reports.asked == []


@pytest.mark.parametrize("path", ["/live", "/performance", "/data"])
def test_a_page_that_cannot_read_is_not_called_empty(
    ask: Ask, reports: SampleReports, key: dict[str, str], path: str
) -> None:
    """Where something is damaged the page says that, and not that there is nothing yet."""
    name = path.removeprefix("/")
    reports.documents = {name: EMPTY[name] | {"error": "the labels are damaged"}}
    text = ask(path, **key).text
    assert "the labels are damaged" in text
    assert not re.search("No data yet|No decisions in this period", text)


def test_young_payments_are_counted_and_not_judged(
    ask: Ask, reports: SampleReports, key: dict[str, str]
) -> None:
    """Labels that came early have their own column; figures that nothing supports are dashes."""
    assert re.search(r"Labelled<br>early.*>87<", ask("/performance", **key).text, re.DOTALL)
    performance = sample.performance()
    kept = ("model", "payments", "labelled_early")
    row = performance["summary"][0]
    young = {name: row[name] if name in kept else None for name in row} | {"matured": 0}
    reports.documents = {
        "performance": performance | {"summary": [young], "thresholds": [], "series": {}}
    }
    text = ask("/performance", **key).text
    cells = re.findall(r'<td class="text-end nums">(.*?)</td>', text)
    assert cells == ["210,000", "0", "87", *["\u2013"] * 9]
    assert "no figures" in text
    assert "No mature payment" in text


def test_show_works_after_an_empty_start(
    ask: Ask, reports: SampleReports, key: dict[str, str]
) -> None:
    """Without a stream the pickers are empty, and what they send asks for everything."""
    reports.documents = {"performance": sample.EMPTY_PERFORMANCE}
    text = ask("/performance", **key).text
    assert re.findall(r'name="(from|to)" value="(.*?)"', text) == [("from", ""), ("to", "")]
    assert ask("/performance?from=&to=&model=", **key).status == 200
    assert reports.asked[-1] == ("performance", None, None, None)


@pytest.mark.parametrize("same", [True, False])
def test_different_tests_are_told(
    ask: Ask, reports: SampleReports, key: dict[str, str], same: bool
) -> None:
    """Versions tested on different payments are compared with a warning and both periods."""
    reports.documents = {"compare": sample.compare("a", "b") | {"same_test": same}}
    text = ask("/models/compare?a=a&b=b", **key).text
    assert ("Not tested on the same payments" in text) is not same
    assert ("not comparable" in text) is not same
    assert (
        "a on 2026-05-12 00:00 to 2026-06-01 00:00 UTC of snapshot 9b1d00aa31ce" in text
    ) is not same


@pytest.mark.parametrize(
    "path", ["//evil.test/x", "/%5Cevil.test", "/%09/evil.test", "///evil.test"]
)
def test_trouble_leads_nowhere_else(ask: Ask, key: dict[str, str], path: str) -> None:
    """The link that tries again stays on this host, whatever was asked for."""
    found = re.search(r'href="([^"]*)">Try again', ask(path, **key).text)
    assert found is not None
    assert re.match(r"/[\w%]", found[1])
    assert urljoin("http://here.test/", found[1]).startswith("http://here.test/")


def test_an_import_shows_the_checksum_of_its_file(ask: Ask, key: dict[str, str]) -> None:
    """The digest that people can compare with their own file is there in full."""
    source = sample.data()["imports"][0]["source_sha256"]
    assert f">{source}</code>" in ask("/data", **key).text
