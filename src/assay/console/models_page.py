"""Model lifecycle: what decides, what could, and the way back."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from msgspec import Struct

from assay.console.failures import status_of
from assay.console.parts import Asked, TheReports, TheView
from assay.console.ports import Document
from assay.errors import AssayError, ReleaseError


class Promotion(Struct, frozen=True):
    """A click on *promote*, and which revision the page showed."""

    model: str
    expected_revision: int


class Rollback(Struct, frozen=True):
    """A click on *roll back*, and which revision and way back the page showed."""

    model: str
    expected_revision: int


@get("/models.json", sync_to_thread=True)
def models_json(reports: TheReports) -> Document:
    """Return the page's document."""
    return reports.models()


@get("/models/compare.json", sync_to_thread=True)
def compare_json(reports: TheReports, a: FromQuery[str], b: FromQuery[str]) -> Document:
    """Return two versions side by side."""
    return reports.compare(a, b)


@get("/models", sync_to_thread=True)
def models_page(request: Asked, reports: TheReports, view: TheView) -> Response[str]:
    """Show versions, what is live, and the history of switches."""
    document = reports.models()
    return view.render(request, "models.html", document=document, pair=_first_pair(document))


@get("/models/standing", sync_to_thread=True)
def standing(
    request: Asked,
    reports: TheReports,
    view: TheView,
    revision: FromQuery[int],
    arrival: FromQuery[int] = 0,
) -> Response[str]:
    """Return what is live now, for a page that knows a revision and the newest switch."""
    document = reports.models()
    newest = next((switch["arrival"] for switch in document.get("switches", [])), 0)
    return view.render(
        request,
        "models_standing.html",
        document=document,
        shown=revision,
        refresh=newest != arrival,
    )


@get("/models/compare", sync_to_thread=True)
def compare(
    request: Asked, reports: TheReports, view: TheView, a: FromQuery[str], b: FromQuery[str]
) -> Response[str]:
    """Return the comparison that the page shows below its table."""
    return view.render(request, "models_compare.html", document=reports.compare(a, b))


@post("/models/promote", status_code=200, sync_to_thread=True)
def promote(
    request: Asked,
    reports: TheReports,
    view: TheView,
    data: URLEncodedBody[Promotion],
) -> Response[str]:
    """Ask for a version to go live, and show what became of it."""
    try:
        outcome = reports.promote(data.model, _by(request), data.expected_revision)
    except AssayError as error:
        return _refused(request, view, reports, error)
    return _switched(request, view, reports, outcome)


@post("/models/rollback", status_code=200, sync_to_thread=True)
def rollback(
    request: Asked,
    reports: TheReports,
    view: TheView,
    data: URLEncodedBody[Rollback],
) -> Response[str]:
    """Ask for the version before, and show what became of it."""
    try:
        _check_shown(data.model, reports.models().get("previous"))
        outcome = reports.rollback(_by(request), data.expected_revision)
    except AssayError as error:
        return _refused(request, view, reports, error)
    return _switched(request, view, reports, outcome)


def _check_shown(shown: str, previous: str | None) -> None:
    if shown != previous:
        now = f"the way back now leads to {previous}" if previous else "there is no way back now"
        raise ReleaseError(f"the page showed {shown}, and {now}; accepted: a click on what it is")


def _by(request: Asked) -> str:
    return f"{request.user} (console)"


def _switched(request: Asked, view: TheView, reports: TheReports, outcome: Any) -> Response[str]:
    document = reports.models()
    return view.render(request, "models_main.html", document=document, outcome=outcome)


def _refused(
    request: Asked, view: TheView, reports: TheReports, error: AssayError
) -> Response[str]:
    page = view.render(
        request,
        "models_main.html",
        status_of(error),
        document=reports.models(),
        refused=str(error),
    )
    page.headers |= {"hx-retarget": "#lifecycle", "hx-reswap": "outerHTML"}
    return page


def _first_pair(document: Document) -> tuple[str, str] | None:
    """Return which two versions to compare at first: the live one and the newest other."""
    names = [str(row["model"]) for row in document.get("models", []) if not row.get("error")]
    if not names:
        return None
    live = str((document.get("live") or {}).get("model"))
    first = live if live in names else names[0]
    return first, next((name for name in names if name != first), first)
