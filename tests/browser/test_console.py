"""The console in a real Chromium, over sample documents with hostile text in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_documents as sample
from playwright.sync_api import Browser, expect
from sample_console import Running, SampleReports, running_console
from watched_page import CHARTS, drawn, watched_page

EMPTY = {
    "live": sample.EMPTY_LIVE,
    "models": sample.EMPTY_MODELS,
    "performance": sample.EMPTY_PERFORMANCE,
    "data": sample.EMPTY_DATA,
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A console that signs this machine's browser in by itself."""
    with running_console(tmp_path_factory.mktemp("console"), auto_sign_in=True) as running:
        yield running


@pytest.fixture
def reports(console: Running) -> SampleReports:
    """What the console shows, fresh for each test."""
    console.reports.__init__()
    return console.reports


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("path", CHARTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_draws_its_charts(
    browser: Browser, console: Running, path: str, scheme: str
) -> None:
    """Every chart of every page holds data and shows it, in silence, in light and dark."""
    with watched_page(browser, color_scheme=scheme) as (page, troubles):
        page.goto(console.url + path)
        for chart in CHARTS[path]:
            page.wait_for_selector(f"#{chart} canvas")
            colours, points = drawn(page, chart)
            assert colours > 10, f"{chart} shows {colours} colours"
            assert points > 0, f"{chart} holds nothing"
        assert page.get_attribute("html", "data-bs-theme") == scheme
        assert troubles == []


@pytest.mark.parametrize("path", CHARTS)
@pytest.mark.parametrize("documents", [{}, EMPTY], ids=["full", "empty"])
def test_a_page_fits_a_phone(
    browser: Browser,
    console: Running,
    reports: SampleReports,
    path: str,
    documents: dict[str, object],
) -> None:
    """On a phone nothing but tables scrolls sideways, with data and without."""
    reports.documents = dict(documents)
    with watched_page(browser, viewport={"width": 390, "height": 844}) as (page, troubles):
        page.goto(console.url + path)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert troubles == []


@pytest.mark.usefixtures("reports")
def test_hostile_text_is_shown_as_text(browser: Browser, console: Running) -> None:
    """Merchants' names stand in the table letter by letter, and none of them runs."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        names = page.locator("#recent .merchant").all_inner_texts()
        assert sample.HOSTILE[0] in names
        assert sample.HOSTILE[1] in names
        assert any("\ufffdexe" in name for name in names)
        assert not any("\u202e" in name for name in names)
        assert page.locator("main img, main script:not([type='application/json'])").count() == 0
        assert troubles == []


def test_the_live_page_follows(browser: Browser, console: Running, reports: SampleReports) -> None:
    """New figures, a scorer that stops and a worker that lags are shown without a reload."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        expect(page.locator("#link-state")).to_have_text("live")
        row = page.locator("#recent tr").first.element_handle()
        down = {"up": False, "since_ms": sample.END_MS}
        behind = {"up": True, "behind_bytes": 5_000_000, "behind_since_ms": sample.END_MS}
        live = sample.live() | {"scorer": down, "worker": behind}
        live["totals"] = live["totals"] | {"payments": 7_654_321}
        reports.documents = {"live": live}
        expect(page.locator("#kpi-payments")).to_have_text("7,654,321")
        expect(page.locator("#banners")).to_contain_text(
            "Scorer down since 2026-06-01 00:00:00 UTC"
        )
        expect(page.locator("#banners")).to_contain_text(
            "Worker behind since 2026-06-01 00:00:00 UTC. "
            "The figures below trail the traffic by 5.0 MB."
        )
        expect(page.locator("#kpi-p99")).to_have_text("\u2013")
        expect(page.locator("#kpi-rate")).to_be_empty()
        assert row.is_visible()  # what did not change was not made anew
        reports.documents = {}
        expect(page.locator("#banners")).to_be_empty()
        assert troubles == []


def test_one_click_rolls_back(browser: Browser, console: Running, reports: SampleReports) -> None:
    """The button names its target; one click switches and tells how long it took."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/models")
        expect(page.locator("#rollback")).to_have_text("Roll back to boosting-0.1.0")
        page.click("#rollback")
        expect(page.locator("#outcome")).to_contain_text("boosting-0.1.0 went live 212 ms")
        assert reports.asked == [("rollback", "boosting-0.1.0", "admin (console)")]
        assert troubles == []


def test_a_promotion_is_confirmed(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """The dialog names the version; cancelling does nothing, confirming promotes."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/models")
        page.locator("[data-promote='boosting-0.3.0']").click()
        expect(page.locator("#promote-title")).to_have_text("Promote boosting-0.3.0?")
        page.keyboard.press("Escape")
        assert reports.asked == []
        page.locator("[data-promote='boosting-0.3.0']").click()
        page.locator("#promote-dialog .btn-primary").click()
        expect(page.locator("#outcome")).to_contain_text("Live")
        expect(page.locator("#promote-dialog")).to_be_hidden()
        assert reports.asked == [("promote", "boosting-0.3.0", "admin (console)")]
        assert troubles == []


def test_a_stale_click_is_refused(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """Of two pages that roll back, the second is told that it is too late."""
    with watched_page(browser) as (page, _):
        page.goto(f"{console.url}/models")
        reports.revision = 4  # somebody else was first
        page.click("#rollback")
        expect(page.locator("#outcome")).to_contain_text("nothing was switched")
        assert reports.asked == []


def test_a_switch_by_another_is_told(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """A page that somebody else's switch made stale says so, and shows the switch."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/models")
        models = sample.models()
        models["switches"].insert(0, sample.switch(4, "rollback", "boosting-0.1.0"))
        reports.documents, reports.revision = {"models": models}, 4
        expect(page.locator("#standing")).to_contain_text("Revision 4 was asked for")
        expect(page.locator("#history li")).to_have_count(5)
        assert troubles == []


@pytest.mark.usefixtures("reports")
def test_the_explorer_moves(browser: Browser, console: Running) -> None:
    """Moving the slider shows another threshold's figures, by keyboard too."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/performance")
        slider = page.locator("#threshold")
        slider.focus()
        page.keyboard.press("Home")
        expect(page.locator("#threshold-value")).to_have_text("0.0000")
        expect(page.locator("#explored")).to_contain_text("4,000 (2.00 %)")
        page.keyboard.press("End")
        expect(page.locator("#threshold-value")).to_have_text("0.9833")
        assert troubles == []


def test_a_scenario_is_switched_on(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """A click on a scenario of the demo is passed on, and the button shows it."""
    reports.documents = {"demo": sample.demo()}
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        page.click("text=Pandemic")
        expect(page.locator("#demo [aria-pressed=true]")).to_have_count(2)
        assert reports.asked == [("play", "pandemic", True)]
        assert troubles == []


@pytest.mark.parametrize("path", CHARTS)
def test_every_page_tells_who_is_down(
    browser: Browser, console: Running, reports: SampleReports, path: str
) -> None:
    """A worker that stops is told on the open page, without a reload, and so is its return."""
    with watched_page(browser) as (page, troubles):
        page.goto(console.url + path)
        down = {"up": False, "since_ms": sample.END_MS}
        reports.documents = {"live": sample.live() | {"worker": down}}
        expect(page.locator("#banners")).to_contain_text(
            "Worker down since 2026-06-01 00:00:00 UTC."
        )
        reports.documents = {}
        expect(page.locator("#banners")).to_be_empty()
        assert troubles == []


def test_a_live_page_that_cannot_be_read_keeps_its_figures(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """A document that could not be made is told above the figures, which stay."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        expect(page.locator("#link-state")).to_have_text("live")
        payments = page.locator("#kpi-payments").inner_text()
        unread = sample.EMPTY_LIVE | {"error": "the control database is damaged"}
        reports.documents = {"live": unread}
        expect(page.locator("#notices")).to_contain_text("the control database is damaged")
        assert page.locator("#kpi-payments").inner_text() == payments
        page.reload()
        expect(page.locator("#recent")).to_contain_text("Not known now")
        expect(page.locator("main")).not_to_contain_text("No data yet")
        assert troubles == []


def test_a_hidden_page_follows_nothing(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """A page that nobody sees closes its stream, and opens it again when it is seen."""
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        expect(page.locator("#link-state")).to_have_text("live")
        page.evaluate(hide, True)
        live = sample.live()
        live["totals"] = live["totals"] | {"payments": 7_654_321}
        reports.documents = {"live": live}
        page.wait_for_timeout(1_500)
        assert page.locator("#kpi-payments").inner_text() != "7,654,321"
        page.evaluate(hide, False)
        expect(page.locator("#kpi-payments")).to_have_text("7,654,321")
        assert troubles == []


def test_a_refused_click_leaves_the_page(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """A click that is refused shows why, and the versions stay where they are."""
    with watched_page(browser) as (page, _):
        page.goto(f"{console.url}/models")
        page.evaluate("document.body.setAttribute('hx-headers', '{\"x-csrf-token\": \"0\"}')")
        page.click("#rollback")
        expect(page.locator("#outcome")).to_contain_text("reload it and try again")
        expect(page.locator("#lifecycle [data-promote]")).to_have_count(2)
        assert reports.asked == []


def test_a_part_that_cannot_be_refreshed_stays(
    browser: Browser, console: Running, reports: SampleReports
) -> None:
    """While a part that refreshes itself fails it keeps what it has, and goes on asking."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/models")
        with page.expect_response("**/models/standing*", timeout=8_000) as failed:
            reports.failure = RuntimeError("for a while")
        assert failed.value.status == 500
        expect(page.locator("#standing")).to_contain_text("boosting-0.2.0")
        reports.failure = None
        with page.expect_response("**/models/standing*", timeout=8_000) as well:
            pass
        assert well.value.status == 200
        assert page.locator("#standing .alert").count() == 0
        assert all("500" in trouble for trouble in troubles)


def test_focus_is_kept(browser: Browser, console: Running, reports: SampleReports) -> None:
    """Who works with the keyboard stays at the button of the demo, and goes on at the outcome."""
    reports.documents = {"demo": sample.demo()}
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/live")
        page.locator("text=Pandemic").press("Enter")
        expect(page.locator("#demo [aria-pressed=true]")).to_have_count(2)
        assert page.evaluate("document.activeElement.id") == "scenario-2"
        page.goto(f"{console.url}/models")
        page.locator("[data-promote='boosting-0.3.0']").press("Enter")
        page.locator("#promote-dialog .btn-primary").press("Enter")
        expect(page.locator("#outcome")).to_contain_text("Live")
        expect(page.locator("#outcome")).to_be_focused()
        assert troubles == []


@pytest.mark.usefixtures("reports")
def test_a_gap_is_drawn_as_a_gap(browser: Browser, console: Running) -> None:
    """No line is drawn through a time that has no figure, and a lone figure is a dot."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{console.url}/performance")
        page.wait_for_selector("#chart-quality canvas")
        joined, lone, inner = page.evaluate("""() => {
          const made = assay.line("x", [1, null, 2, null, 3, 4], "#000");
          const size = (dataIndex) => made.symbolSize(0, { dataIndex });
          return [made.connectNulls, size(2), size(4)];
        }""")
        assert (joined, inner) == (False, 0)
        assert lone > 0
        assert troubles == []


@pytest.mark.usefixtures("reports")
def test_a_checksum_is_selected_whole(browser: Browser, console: Running) -> None:
    """A click on a shortened checksum selects all of it."""
    with watched_page(browser) as (page, _):
        page.goto(f"{console.url}/data")
        source = sample.data()["imports"][0]["source_sha256"]
        page.locator(f"code[title='{source}']").first.click()
        assert page.evaluate("getSelection().toString()") == source


def test_sign_in_and_out(browser: Browser, tmp_path: Path) -> None:
    """A link from the terminal opens the console in a browser that knows nothing, once."""
    with running_console(tmp_path) as running, watched_page(browser) as (page, troubles):
        page.goto(f"{running.url}/live")
        expect(page.locator("main")).to_contain_text("assay console --link")
        link = running.link()
        page.goto(link)
        page.wait_for_url(f"{running.url}/live")
        page.click("text=Sign out")
        page.wait_for_url(f"{running.url}/sign-in**")
        page.goto(link)
        expect(page.locator("main")).to_contain_text("was used before")
        assert troubles == []
