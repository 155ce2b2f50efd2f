"""The banner that every page has: what it says is asked for again every few seconds."""

from __future__ import annotations

from litestar import Response, get
from litestar.params import FromQuery

from assay.console.notices import mark, notices
from assay.console.parts import Asked, TheReports, TheView


@get("/state", sync_to_thread=True)
def state(
    request: Asked, reports: TheReports, view: TheView, shown: FromQuery[str] = ""
) -> Response[str]:
    """Return the banner, or nothing where the page shows it already."""
    found = notices(reports.state())
    if mark(found) == shown:
        return Response("", status_code=204)
    return view.render(request, "state.html", notices=found, shown=mark(found))
