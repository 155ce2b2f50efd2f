"""Takes a picture of each page of the console, over a demo that runs, into docs/images."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from assay.bootstrap.lifecycle import promote
from assay.bootstrap.training import train_model
from assay.cli.output import progress_bars
from assay.clock import SystemClock
from assay.records import DAY_MS
from assay.simulation.stage import Stage, set_up
from assay.simulation.world_settings import WorldSettings

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PAGES = ("live", "performance", "models", "data")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
DAYS, ROWS_PER_DAY = 96, 5_700
QUIET_ROWS, SECOND_ROWS, DRIFT_ROWS = 23_000, 6_000, 9_000


def main() -> None:
    """Play a demo for some days, and look at every page."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("screenshots: no Chromium; install the package chromium")
    end_ms = SystemClock().now_ms()
    world = WorldSettings(
        start_ms=end_ms - DAYS * DAY_MS, end_ms=end_ms, transactions=DAYS * ROWS_PER_DAY
    )
    rows = QUIET_ROWS + SECOND_ROWS + DRIFT_ROWS + 2_000
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bars() as progress,
        set_up(Path(folder) / "bank", world, rows, progress=progress) as stage,
        sync_playwright() as playwright,
    ):
        _play(stage)
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        stage.feed.speed = 3_000.0
        stage.feed.start()
        stage.director.announce(stage.feed.speed)
        for name in PAGES:
            _take(browser, f"{stage.up.console}/{name}", IMAGES / f"{name}.png")
        stage.feed.stop()
        browser.close()


def _play(stage: Stage) -> None:
    """Let there be history, two models, labels and an alert."""
    stage.feed.play(QUIET_ROWS)
    second = train_model(stage.workspace).path.name
    promote(stage.workspace, second, "admin")
    stage.feed.play(SECOND_ROWS)
    stage.director.switch("pandemic", on=True)
    stage.director.announce(None)
    stage.feed.play(DRIFT_ROWS)
    stage.catch_up()


def _take(browser: Browser, url: str, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light")
    page.goto(url)
    page.wait_for_timeout(2_500)
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path)
    page.close()
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
