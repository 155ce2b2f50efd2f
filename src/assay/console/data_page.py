"""Data versions: what was imported and streamed, and which model came from it."""

from __future__ import annotations

from litestar import Response, get

from assay.console.lineage import draw
from assay.console.parts import Asked, TheReports, TheView
from assay.console.ports import Document


@get("/data.json", sync_to_thread=True)
def data_json(reports: TheReports) -> Document:
    """Return the page's document."""
    return reports.data()


@get("/data", sync_to_thread=True)
def data_page(request: Asked, reports: TheReports, view: TheView) -> Response[str]:
    """Show imports, the stream, snapshots, feature sets, and how models came of them."""
    document = reports.data()
    return view.render(request, "data.html", document=document, lineage=draw(document))
