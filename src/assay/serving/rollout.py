"""Takes up requests for another release: loaded beside the traffic, live between two batches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from assay.clock import Clock
from assay.errors import AssayError
from assay.serving.work import Release

log = logging.getLogger("assay.serving")

POLL_S: Final = 0.1
_AFTER_TROUBLE_S: Final = 1.0
_TELL_EVERY_MS: Final = 60_000


class Request(Protocol):
    """A request that a model shall decide."""

    @property
    def revision(self) -> int:
        """Counts the requests; the largest holds."""
        ...

    @property
    def model(self) -> str:
        """Version of the model."""
        ...

    @property
    def cause(self) -> str:
        """Why: ``promote`` or ``rollback``."""
        ...


class Rollout:
    """Polls for a newer request from a thread of its own, and hands its release to the engine.

    A release that cannot be loaded leaves the one in force, and so does a source of requests that
    cannot be read: neither ever stops the traffic.

    Parameters
    ----------
    newest : callable
        Returns the request that holds, or None.
    load : callable
        Returns a request's release, checked and warm, or raises.
    switch : callable
        Takes a release that shall be live.
    in_force : (int, str)
        Revision and model in force at the start.
    clock : Clock
        Keeps a source in trouble from filling the log.

    Attributes
    ----------
    refused : dict or None
        ``revision``, ``model`` and ``reason`` of the newest request, if it could not be loaded.
    """

    def __init__(
        self,
        newest: Callable[[], Request | None],
        load: Callable[[Request], Release],
        switch: Callable[[Release], None],
        in_force: tuple[int, str],
        clock: Clock,
    ) -> None:
        self._newest, self._load, self._switch, self._clock = newest, load, switch, clock
        self._handled = self._in_force = in_force
        self._told_ms = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="assay-rollout", daemon=True)
        self.refused: dict[str, int | str] | None = None

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Poll no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def poll(self) -> bool:
        """Look for a request once; False if the source could not be read."""
        try:
            request = self._newest()
        except Exception as error:  # noqa: BLE001 — whatever a database raises, traffic goes on
            self._tell(error)
            return False
        # One that was refused may be withdrawn: then the one in force is the newest again.
        known = self._handled, self._in_force
        if request is not None and (request.revision, request.model) not in known:
            return self._take_up(request)
        return True

    def _take_up(self, request: Request) -> bool:
        """Go over to what was asked for; False if it failed and shall be tried again."""
        try:
            release = self._load(request)
        except (OSError, MemoryError) as error:  # which may pass
            self._tell(error)
            return False
        except Exception as error:  # a runtime's own exceptions have no common base but this
            told = isinstance(error, AssayError)
            reason = str(error) if told else f"it does not load: {type(error).__name__}"
            log.warning("request %d is refused: %s", request.revision, reason, exc_info=not told)
            self.refused = {
                "revision": request.revision,
                "model": request.model,
                "reason": reason,
            }
        else:
            self._switch(release)
            self._in_force, self.refused = (request.revision, request.model), None
            log.info("%s goes live, revision %d", request.model, request.revision)
        self._handled = request.revision, request.model
        return True

    def _run(self) -> None:
        wait_s = POLL_S
        while not self._stopping.wait(wait_s):
            wait_s = POLL_S if self.poll() else _AFTER_TROUBLE_S

    def _tell(self, error: Exception) -> None:
        now_ms = self._clock.now_ms()
        if now_ms - self._told_ms >= _TELL_EVERY_MS:
            self._told_ms = now_ms
            log.error("a release cannot be read, the one in force stays: %s", error)
