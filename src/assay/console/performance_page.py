"""Performance analytics: how good the decisions of any period were."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter

from assay.console.parts import Asked, TheReports, TheView
from assay.console.periods import QUICK_H, Period, read_period
from assay.console.ports import Document

From = Annotated[str, QueryParameter(name="from")]


def _report(reports: TheReports, period: Period, model: str) -> Document:
    return reports.performance(period.from_ms, period.to_ms, model or None)


@get("/performance.json", sync_to_thread=True)
def performance_json(
    reports: TheReports,
    from_: From = "",
    to: FromQuery[str] = "",
    last: FromQuery[str] = "",
    model: FromQuery[str] = "",
) -> Document:
    """Return the page's document."""
    return _report(reports, read_period(from_, to, last, reports.stream_ms()), model)


@get("/performance", sync_to_thread=True)
def performance_page(
    request: Asked,
    reports: TheReports,
    view: TheView,
    from_: From = "",
    to: FromQuery[str] = "",
    last: FromQuery[str] = "",
    model: FromQuery[str] = "",
) -> Response[str]:
    """Show precision, recall and money by release and over time."""
    period = read_period(from_, to, last, reports.stream_ms())
    chosen = last or ("all" if period == (None, None) else "")
    return view.render(
        request,
        "performance.html",
        document=_report(reports, period, model),
        quick=[*QUICK_H, "all"],
        chosen=chosen,
        model=model,
    )
