"""Plays a tape through a scorer's HTTP front at a chosen speed, labels with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final, Self

import msgspec

from assay.records import Label
from assay.simulation.player import Reply
from assay.simulation.tape import Cue, Tape

_PATIENCE_S: Final = 120.0
"""How long a scorer may be away before a transaction counts as lost."""

_BACKOFF_S: Final = (0.02, 1.0)
_LOOK_S: Final = 0.05
_ANSWER_S: Final = 5.0
_AGAIN: Final = (0, 429, 502, 503, 504)
"""Statuses that say: not now. 0 is no answer at all."""

OnReply = Callable[[Cue, Reply], None]


@dataclass
class Counts:
    """What a feed has done so far.

    Attributes
    ----------
    decisions, errors : int
        Transactions with and without a decision, for good.
    retries : int
        Times that a transaction or a batch of labels was sent again.
    labels, label_errors : int
        Reports that were taken, and those refused.
    latency_ms : float
        Running mean of the last hundred or so answers, as the client saw them.
    """

    decisions: int = 0
    errors: int = 0
    retries: int = 0
    labels: int = 0
    label_errors: int = 0
    latency_ms: float = 0.0


class Feed:
    """Sends what a tape holds, in order of event time, over a number of connections.

    A transaction is never sent before its time, and is repeated under the same id while the
    scorer is away, so that a restart loses nothing.
    It works in a thread of its own.

    Parameters
    ----------
    url : str
        Of the scorer, such as ``http://127.0.0.1:8686``.
    api_key : str
    tape : Tape
    speed : float, optional
        World seconds in a second; as fast as the scorer answers by default.
    connections : int
        How many transactions are in flight at once.
    on_reply : callable, optional
        Told each transaction with its last reply, in the feed's thread.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        tape: Tape,
        *,
        speed: float | None = None,
        connections: int = 16,
        on_reply: OnReply = lambda _cue, _reply: None,
    ) -> None:
        self._url, self._tape, self._connections = url, tape, connections
        self.speed = speed
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self.on_reply, self.counts = on_reply, Counts()
        self._stop, self._left, self._anchor = Event(), 0, (0.0, 0)
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    def play(self, rows: int) -> None:
        """Play so many transactions, or what is left, and the labels that come meanwhile."""
        self.start(rows)
        self.wait()

    def start(self, rows: int | None = None) -> None:
        """Begin to play so many transactions, all by default, and return at once."""
        assert self._thread is None, "a feed plays once at a time"
        self._stop.clear()
        self._left = 1 << 62 if rows is None else rows
        self._thread = Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    @property
    def playing(self) -> bool:
        """Whether there is more to send, and nobody has stopped it."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Send nothing more, await what is in flight, and return."""
        self._stop.set()
        self.wait()

    def wait(self) -> None:
        """Return when all is played.

        Raises
        ------
        Exception
            What ended the feed, if something went wrong.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._play())
        except BaseException as error:  # noqa: BLE001 — it is raised again by wait()
            self._failure = error

    async def _play(self) -> None:
        import aiohttp

        self._set_anchor()
        connector = aiohttp.TCPConnector(limit=self._connections + 1)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(
            self._url, headers=self._headers, connector=connector, timeout=timeout
        ) as session:
            turn, done = asyncio.Lock(), asyncio.Event()
            teller = asyncio.create_task(self._tell(session, done))
            senders = (self._send_all(session, turn) for _ in range(self._connections))
            await asyncio.gather(*senders)
            done.set()
            await teller

    def _set_anchor(self) -> None:
        """Let the world's clock go on from here, whatever held it up."""
        cue = self._tape.peek()
        self._anchor = (time.monotonic(), self._tape.world_ms if cue is None else cue.event_ms)

    def _wait_s(self, cue: Cue) -> float:
        if self.speed is None:
            return 0.0
        started_s, world_ms = self._anchor
        return started_s + (cue.event_ms - world_ms) / 1000 / self.speed - time.monotonic()

    async def _send_all(self, session: Any, turn: asyncio.Lock) -> None:
        while (cue := await self._next(turn)) is not None:
            started = time.perf_counter()
            status, body = await self._post(session, "/v1/decisions", cue.body)
            reply = Reply(status, (time.perf_counter() - started) * 1000, body)
            self._count(reply)
            self.on_reply(cue, reply)

    async def _next(self, turn: asyncio.Lock) -> Cue | None:
        """Return the next transaction when its time has come; None when there is no more."""
        async with turn:
            held = False
            while not self._stop.is_set() and self._left and not self._tape.ended:
                cue = self._tape.peek()
                if cue is None:
                    held = True
                    await asyncio.sleep(_LOOK_S)
                    continue
                if held:
                    self._set_anchor()
                    held = False
                if (wait_s := self._wait_s(cue)) > 0:
                    await asyncio.sleep(min(wait_s, _LOOK_S))
                    continue
                self._left -= 1
                return self._tape.take()
        return None

    async def _tell(self, session: Any, done: asyncio.Event) -> None:
        """Send labels as the world's time passes their reports."""
        last = False
        while not last:
            last = done.is_set()
            while labels := self._tape.labels():
                await self._tell_batch(session, labels)
            if not last:
                await asyncio.sleep(_LOOK_S)

    async def _tell_batch(self, session: Any, labels: list[Label]) -> None:
        status, _ = await self._post(session, "/v1/labels", msgspec.json.encode(labels))
        if status == 202:
            self.counts.labels += len(labels)
        else:
            self.counts.label_errors += len(labels)

    async def _post(self, session: Any, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body; while the scorer is away, try again, for minutes."""
        import aiohttp

        until, pause_s = time.monotonic() + _PATIENCE_S, _BACKOFF_S[0]
        while True:
            status, content = 0, b""
            try:
                async with session.post(path, data=body) as response:
                    status, content = response.status, await response.read()
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            if status not in _AGAIN or time.monotonic() > until or self._stop.is_set():
                return status, content
            self.counts.retries += 1
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _BACKOFF_S[1])

    def _count(self, reply: Reply) -> None:
        if reply.status == 200:
            self.counts.decisions += 1
            self.counts.latency_ms += 0.01 * (reply.latency_ms - self.counts.latency_ms)
        else:
            self.counts.errors += 1
