"""Live monitoring: what is decided right now."""

from __future__ import annotations

from functools import partial
from typing import Final

from litestar import Response, get, post
from litestar.params import FromQuery, URLEncodedBody
from litestar.response import Stream
from msgspec import Struct

from assay.console.parts import Asked, TheCheckKey, TheFeed, TheReports, TheSessions, TheView
from assay.console.ports import Document
from assay.errors import InputError

HOURS: Final = (24, 7 * 24, 30 * 24)
"""Stretches of stream time that the page can show."""


class Scene(Struct, frozen=True):
    """A click on a scenario of the demo."""

    name: str
    on: bool


def _checked(hours: int) -> int:
    if hours not in HOURS:
        raise InputError("hours", "another number", ", ".join(map(str, HOURS)))
    return hours


@get("/live.json", sync_to_thread=True)
def live_json(reports: TheReports, hours: FromQuery[int] = HOURS[0]) -> Document:
    """Return the page's document."""
    return reports.live(_checked(hours))


@get("/live", sync_to_thread=True)
def live_page(
    request: Asked, reports: TheReports, view: TheView, hours: FromQuery[int] = HOURS[0]
) -> Response[str]:
    """Show the traffic; the page then follows the events."""
    return view.render(
        request,
        "live.html",
        document=reports.live(_checked(hours)),
        hours=hours,
        ranges=HOURS,
        demo=reports.demo(),
    )


@get("/live/events")
async def live_events(
    request: Asked,
    feed: TheFeed,
    sessions: TheSessions,
    check_key: TheCheckKey,
    hours: FromQuery[int] = HOURS[0],
) -> Stream:
    """Send the document about once a second, as long as the session or the API key is good."""
    feed.check_room()
    token, key = request.auth, request.headers.get("authorization")

    def still_signed_in() -> bool:
        found = sessions.check(token, renew=False) if token else check_key(key)
        return found is not None

    return Stream(
        partial(feed.events, _checked(hours), still_signed_in), media_type="text/event-stream"
    )


@get("/live/demo", sync_to_thread=True)
def demo(request: Asked, reports: TheReports, view: TheView) -> Response[str]:
    """Return the demo's buttons as they stand."""
    return view.render(request, "live_demo.html", demo=reports.demo())


@post("/live/scenario", status_code=200, sync_to_thread=True)
def play(
    request: Asked,
    reports: TheReports,
    view: TheView,
    data: URLEncodedBody[Scene],
) -> Response[str]:
    """Ask the demo for a scenario, and show the buttons as they will stand."""
    reports.play(data.name, on=data.on)
    demo = reports.demo() or {"scenarios": []}
    asked = [
        scenario | ({"on": data.on} if scenario["name"] == data.name else {})
        for scenario in demo["scenarios"]
    ]
    return view.render(request, "live_demo.html", demo=demo | {"scenarios": asked})
