"""Which model shall decide: the requests in the control database, and how one is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from assay.bootstrap.scoring import Scoring, load_model, load_scoring
from assay.bootstrap.versions import keep_versions
from assay.errors import AssayError, BundleError, ReleaseError
from assay.journal.boot_record import BootRecord
from assay.journal.reader import last_boot
from assay.lifecycle.rollout import Rollout as Store
from assay.serving.rollout import Request
from assay.serving.work import Release
from assay.workspace import Workspace

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger("assay.serving")

_LOOK_BACK = 20
_NO_MODEL = "none"  # what a boot record says when rules decide alone


class Requests:
    """Reads the requests without ever making the database: who asks first makes it.

    Parameters
    ----------
    path : Path
        Of the control database, which may come, go and be replaced while this reads it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._engine: Engine | None = None

    def newest(self) -> Request | None:
        """Return the request that holds, or None."""
        return next(iter(self.last(_LOOK_BACK)), None)

    def last(self, count: int) -> Sequence[Request]:
        """Return those of the newest requests that were not refused, newest first."""
        from assay.control.database import open_control

        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._close()
            return []
        if not stat.st_size:  # its maker has not filled it yet
            return []
        if self._engine is None or stat.st_ino != self._inode:
            self._close()
            self._engine, self._inode = open_control(self._path), stat.st_ino
        return [request for request in Store(self._engine).last(count) if not request.refused]

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def first_scoring(
    workspace: Workspace, requests: Requests, model: str | None = None, *, rules_only: bool = False
) -> tuple[Scoring, int]:
    """Return what a scorer starts with, and the revision that asked for it, 0 without one.

    It is what was named, else the newest request whose model loads, else what decided before the
    start, as the journal says, else the newest version: a restart promotes nothing by itself.

    Raises
    ------
    BundleError, FeatureError, PolicyError
        If there is none of them; the message says what to do.
    """
    if rules_only or model is not None:
        return load_scoring(workspace, model, rules_only=rules_only), 0
    found: Sequence[Request] = ()
    try:
        found = requests.last(_LOOK_BACK)
    except Exception as error:  # noqa: BLE001 — whatever a database raises, decisions go on
        log.warning("requests for a release cannot be read, what decided before goes on: %s", error)
    for request in found:
        try:
            return load_scoring(workspace, request.model), request.revision
        except BundleError as error:
            log.warning("request %d is passed over: %s", request.revision, error)
    before = last_boot(workspace.journal)
    if before is not None and before.model != _NO_MODEL:
        return load_scoring(workspace, before.model), before.revision
    return load_scoring(workspace), 0


def release_loader(
    workspace: Workspace, running: Scoring, boot: BootRecord, *, rules_only: bool
) -> Callable[[Request], Release]:
    """Return what loads the release of a request, for the features that are running.

    Parameters
    ----------
    workspace : Workspace
    running : Scoring
        What the scorer started with: its features stay.
    boot : BootRecord
        The scorer's first, which every later one equals but for what changes.
    rules_only : bool
        A scorer that was started to decide without a model takes none up.
    """

    def load(request: Request) -> Release:
        if rules_only:
            raise ReleaseError(
                "the scorer was started with --rules-only; accepted: a start without it"
            )
        try:
            scoring = load_model(workspace, request.model, running.features)
            keep_versions(workspace, scoring)
        except AssayError as error:
            # Health tells the reason to everybody: not where the workspace lies.
            raise ReleaseError(str(error).replace(f"{workspace.path}/", "")) from None
        versions = replace(
            boot,
            model=scoring.model_id,
            policy=scoring.policy.id,
            reasons=scoring.policy.reasons,
            revision=request.revision,
            cause=request.cause,
        )
        return Release(versions, scoring.model, scoring.decide)

    return load
