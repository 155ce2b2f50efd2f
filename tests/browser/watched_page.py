"""A browser page that notes everything that went wrong on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

CHARTS = {
    "/live": ["chart-volume", "chart-flagged", "chart-rates", "chart-money", "chart-latency"],
    "/performance": ["chart-quality", "chart-fraud-money", "chart-explorer"],
    "/models": ["chart-versions", "chart-thresholds"],
    "/data": ["chart-coverage"],
}
"""The charts of each page."""

_PIXELS = """id => {
  const canvas = document.querySelector(`#${id} canvas`);
  if (!canvas) return 0;
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] > 200) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  return seen.size;
}"""
_POINTS = """id => {
  const chart = echarts.getInstanceByDom(document.getElementById(id));
  return chart ? chart.getOption().series.reduce((n, s) => n + (s.data || []).length, 0) : 0;
}"""


@contextmanager
def watched_page(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """Give a page, and the list of its console errors, failed requests and broken rules."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    page, troubles = context.new_page(), []
    page.on("console", lambda m: troubles.append(m.text) if m.type in {"error", "warning"} else 0)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "dialog", lambda dialog: troubles.append(f"dialog {dialog.message}") or dialog.dismiss()
    )
    page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else 0)
    page.on(
        "requestfailed",
        # a page that is left gives up what it was still loading, and its event stream
        lambda r: troubles.append(f"{r.failure} {r.url}") if "ABORTED" not in r.failure else 0,
    )
    try:
        yield page, troubles
    finally:
        context.close()


def drawn(page: Page, chart: str) -> tuple[int, int]:
    """Return how many colours a chart's canvas shows, and how many points its series hold."""
    return int(page.evaluate(_PIXELS, chart)), int(page.evaluate(_POINTS, chart))
