"""Renders pages: every value is escaped, and a missing one is a dash."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from jinja2 import ChainableUndefined, Environment, PackageLoader
from litestar import Request, Response

from assay.console import formats
from assay.console.assets import Assets
from assay.console.sessions import csrf_token

TABS: Final = (
    ("/live", "Live monitoring", "activity"),
    ("/performance", "Performance", "chart"),
    ("/models", "Models", "box"),
    ("/data", "Data", "database"),
)


class View:
    """The templates of the console.

    Parameters
    ----------
    assets : Assets
    exponents : Mapping
        Decimals of the currencies that have another number of them than two.

    Attributes
    ----------
    assets : Assets
    """

    def __init__(self, assets: Assets, exponents: Mapping[str, int]) -> None:
        self.assets = assets
        self._environment = Environment(
            loader=PackageLoader("assay.console", "templates"),
            autoescape=True,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "plain": formats.plain,
            "release": formats.release,
            "number": formats.number,
            "percent": formats.percent,
            "utc": formats.utc,
            "money": partial(formats.money, exponents=exponents),
            "data_block": formats.data_block,
        }
        self._environment.globals |= {
            "asset": assets.url,
            "tabs": TABS,
            "exponents": dict(exponents),
        }

    def panel(self, status: int, message: str) -> str:
        """Return trouble as a part of a page."""
        template = self._environment.get_template("trouble.html")
        return template.render(status=status, message=message)

    def render(
        self, request: Request[Any, Any, Any], template: str, code: int = 200, /, **values: Any
    ) -> Response[str]:
        """Return a page or a part of one."""
        token = request.scope.get("auth") or ""
        text = self._environment.get_template(template).render(
            values
            | {
                "path": request.url.path,
                # of a path that begins with two slashes a link would lead to another host
                "again": "/" + quote(request.url.path.lstrip("/")),
                "user": request.scope.get("user") or "",
                "csrf": csrf_token(token) if token else "",
            }
        )
        return Response(text, status_code=code, media_type="text/html")
