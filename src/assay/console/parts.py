"""What handlers are given: declared once, so that each handler names what it uses."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from assay.console.assets import Assets
from assay.console.entrance import Entrance
from assay.console.feed import Feed
from assay.console.metrics import Metrics
from assay.console.ports import CheckKey, Reports
from assay.console.sessions import Sessions
from assay.console.view import View

Asked = Request[Any, Any, Any]
TheAssets = NamedDependency[SkipValidation[Assets]]
TheCheckKey = NamedDependency[SkipValidation[CheckKey]]
TheEntrance = NamedDependency[SkipValidation[Entrance]]
TheFeed = NamedDependency[SkipValidation[Feed]]
TheMetrics = NamedDependency[SkipValidation[Metrics]]
TheReports = NamedDependency[SkipValidation[Reports]]
TheSessions = NamedDependency[SkipValidation[Sessions]]
TheView = NamedDependency[SkipValidation[View]]
