"""The console: documents of every stage, sign-in, and who may read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from assay import durable
from assay.bootstrap.run import announce, withdraw
from assay.clock import SystemClock
from assay.console.entrance import Entrance, public_origin
from assay.console.hosts import is_loopback
from assay.console.sessions import Sessions
from assay.control.database import open_control
from assay.control.schema import PROGRESS
from assay.errors import InputError, SettingsError, UnavailableError
from assay.ingest.money import CURRENCIES
from assay.serving.keys import KeyRing
from assay.workspace import Workspace

if TYPE_CHECKING:
    from assay.console.app import Console

Document = dict[str, Any]


class WorkspaceReports:
    """Everything that the console's pages show and do, of one workspace.

    Parameters
    ----------
    workspace : Workspace
    engine : Engine
        Of the control database.
    """

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self._workspace, self._engine = workspace, engine

    def models(self) -> Document:
        """Return versions, what is live, and the history of switches."""
        from assay.bootstrap import lifecycle

        return lifecycle.models(self._workspace)

    def compare(self, a: str, b: str) -> Document:
        """Return two versions side by side."""
        from assay.bootstrap import lifecycle

        return lifecycle.compare(self._workspace, a, b)

    def promote(self, model: str, by: str, expected_revision: int) -> Document:
        """Ask for a version to go live, unless somebody asked since ``expected_revision``."""
        from assay.bootstrap import lifecycle

        return lifecycle.promote(self._workspace, model, by, expected_revision)

    def rollback(self, by: str, expected_revision: int) -> Document:
        """Ask for the version before, unless somebody asked since ``expected_revision``."""
        from assay.bootstrap import lifecycle

        return lifecycle.rollback(self._workspace, by, expected_revision)

    def live(self, hours: int) -> Document:
        """Return the traffic of the last ``hours`` of stream time."""
        from assay.bootstrap.monitoring import live_report

        return live_report(self._workspace, hours)

    def performance(self, from_ms: int | None, to_ms: int | None, model: str | None) -> Document:
        """Return how good the decisions of a period were."""
        from assay.bootstrap.monitoring import performance_report

        return performance_report(self._workspace, from_ms, to_ms, model)

    def data(self) -> Document:
        """Return what was imported and streamed, and which model came from it."""
        from assay.bootstrap.data import data_report

        return data_report(self._workspace)

    def state(self) -> Document:
        """Return what scorer and worker are doing."""
        from assay.bootstrap.live import scorer_health
        from assay.monitoring.processes import processes, written_live

        try:
            with self._engine.connect() as connection:
                written = written_live(connection)
        except SQLAlchemyError:  # the page itself says what is wrong; the scorer may still be up
            written = {}
        return processes(
            written, SystemClock().now_ms(), functools.partial(scorer_health, self._workspace)
        )

    def stream_ms(self) -> int | None:
        """Return the newest event time seen; None while there is no traffic."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(PROGRESS.c.stream_ms))).scalar()

    def demo(self) -> Document | None:
        """Return what the running demo offers; None if no demo runs."""
        try:
            found = msgspec.json.decode((self._workspace.run / "demo.json").read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return found if isinstance(found, dict) and found.get("scenarios") else None

    def play(self, name: str, *, on: bool) -> None:
        """Ask the running demo to switch a scenario.

        Raises
        ------
        UnavailableError
            If no demo runs.
        InputError
            If it has no such scenario.
        """
        demo = self.demo()
        if demo is None:
            raise UnavailableError("no demo is running; start one with make demo")
        names = [scenario["name"] for scenario in demo["scenarios"]]
        if name not in names:
            raise InputError("name", "another name", ", ".join(names))
        wish = msgspec.json.encode({"name": name, "on": on})
        durable.replace(self._workspace.run / "scenario.json", wish)


def key_checker(workspace: Workspace) -> Callable[[str | None], str | None]:
    """Return a check of API keys that follows the file: a key works as soon as it is made."""

    @functools.lru_cache(maxsize=1)
    def ring(_changed_ns: int) -> KeyRing:
        try:
            return KeyRing.load(workspace.api_keys)
        except SettingsError:
            return KeyRing({})

    def check(authorization: str | None) -> str | None:
        try:
            changed_ns = workspace.api_keys.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        return ring(changed_ns).check(authorization)

    return check


def sign_in_link(workspace: Workspace, url: str) -> str:
    """Return the address of a new one-time link into the console at ``url``.

    It leads through the setting ``console_url`` where there is one.
    """
    url = public_origin(workspace.settings.console_url) or url
    engine = open_control(workspace.control)
    try:
        return f"{url}/sign-in?link={Sessions(engine, SystemClock()).make_link()}"
    finally:
        engine.dispose()


def run_console(
    workspace: Workspace, port: int, url: str, on_ready: Callable[[], None], *, auto_sign_in: bool
) -> None:
    """Serve the console until a signal stops it.

    Parameters
    ----------
    workspace : Workspace
        Its ``host`` is what is listened on.
    port : int
        From `assay.listener.free_port`.
    url : str
        Where browsers find it.
    on_ready : callable
        Called once the port answers.
    auto_sign_in : bool
        Whether a browser on this machine is signed in by itself.

    Raises
    ------
    SettingsError
        If browsers were to be signed in by themselves where others reach the console, or
        ``console_url`` is none.
    """
    from assay.console import server
    from assay.console.app import build

    host = workspace.settings.host
    if auto_sign_in and not is_loopback(host):
        raise SettingsError(
            f"--auto-sign-in with host {host}; accepted: only on 127.0.0.1, ::1 or localhost, "
            "since whoever reaches the console would be its administrator"
        )
    public = public_origin(workspace.settings.console_url)
    if auto_sign_in and public:
        raise SettingsError(
            f"--auto-sign-in with console_url {public}; accepted: one of them, since whoever "
            "reaches the proxy would be the console's administrator"
        )
    engine = open_control(workspace.control)

    def make() -> Console:
        return build(
            WorkspaceReports(workspace, engine),
            Sessions(engine, SystemClock()),
            key_checker(workspace),
            {code: c.exponent for code, c in CURRENCIES.items() if c.exponent != 2},
            Entrance(host, port, public),
            auto_sign_in=auto_sign_in,
        )

    def ready() -> None:
        announce(workspace, "console", url)
        on_ready()

    try:
        server.serve(make, host, port, ready)
    finally:
        withdraw(workspace, "console")
        engine.dispose()
