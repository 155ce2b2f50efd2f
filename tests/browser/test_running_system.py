"""The console in a real Chromium, over the real scorer and worker with live traffic."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect
from watched_page import CHARTS, drawn, watched_page

from assay.bootstrap.lifecycle import promote
from assay.bootstrap.run import address_of
from assay.bootstrap.training import train_model
from assay.simulation.scenario import Scenario
from assay.simulation.stage import SETTINGS, Stage, raise_curtain
from assay.simulation.switching import measure_switch
from assay.workspace import Workspace

FIRST_ROWS = 6_000


@pytest.fixture(scope="module")
def stage(trained: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A system that has decided some days of traffic, with a second model live."""
    folder = tmp_path_factory.mktemp("running") / "workspace"
    shutil.copytree(trained.workspace.path, folder)
    with (folder / "assay.toml").open("a", encoding="utf-8") as file:
        file.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
    scenario = replace(trained, workspace=Workspace.open(folder))
    with raise_curtain(scenario, "boosting-0.1.0") as running:
        running.feed.play(FIRST_ROWS)
        second = train_model(scenario.workspace, seed=2).path.name
        promote(scenario.workspace, second, "test")
        running.feed.play(500)
        running.catch_up()
        yield running


@pytest.mark.parametrize("path", CHARTS)
def test_a_page_shows_the_running_system(browser: Browser, stage: Stage, path: str) -> None:
    """Every page draws its charts from what really happened, and the browser has no complaint."""
    with watched_page(browser) as (page, troubles):
        page.goto(stage.up.console + path)
        for chart in CHARTS[path]:
            page.wait_for_selector(f"#{chart} canvas")
            colours, points = drawn(page, chart)
            assert colours > 10, f"{chart} shows {colours} colours"
            assert points > 0, f"{chart} holds nothing"
        assert troubles == []


def test_one_click_rolls_back_under_load(browser: Browser, stage: Stage) -> None:
    """The click is felt by callers within a second, none of whom is refused or sent away."""
    with watched_page(browser) as (page, troubles):
        page.goto(f"{stage.up.console}/models")
        expect(page.locator("#rollback")).to_have_text("Roll back to boosting-0.1.0")
        stage.feed.start()
        felt = measure_switch(stage.feed, lambda: page.click("#rollback"), "boosting-0.1.0")
        expect(page.locator("#outcome")).to_contain_text("boosting-0.1.0 went live")
        stage.feed.stop()
        assert felt.took_ms < 1_000
        assert felt.failed_requests == 0
        assert stage.feed.counts.errors == stage.feed.counts.retries == 0
        assert troubles == []


def test_a_killed_scorer_is_told(browser: Browser, stage: Stage) -> None:
    """While the scorer is away the page says since when, and keeps what it has."""
    stage.catch_up()
    with watched_page(browser) as (page, troubles):
        page.goto(f"{stage.up.console}/live")
        payments = page.locator("#kpi-payments").inner_text()
        scorer = address_of(stage.workspace, "scorer")
        assert scorer is not None
        os.kill(scorer.pid, signal.SIGKILL)
        expect(page.locator("#banners")).to_contain_text("Scorer down since", timeout=20_000)
        assert page.locator("#kpi-payments").inner_text() == payments
        expect(page.locator("#banners")).to_be_empty(timeout=60_000)
        assert troubles == []
