from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside: tests are not a package
from standby_pair import (
    SECRET,
    Line,
    assert_prefix,
    mirror_to,
    open_log,
    payload,
    promoted,
    running,
)

import assay.journal.mirror
from assay.clock import VirtualClock
from assay.errors import JournalError, SettingsError, StalledError
from assay.journal.folder import Folder
from assay.journal.log import OFFSET_BITS, Log
from assay.journal.mirror import DATA, POSITION, parse_address
from assay.journal.sealer import seal
from assay.journal.standby_files import OFFER_BYTES, Offer
from assay.journal.standby_handshake import Role, answer
from assay.journal.standby_wire import DATA_BYTES_MAX, Kind, Wire, WireError


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again at once."""
    monkeypatch.setattr(assay.journal.mirror, "_PAUSE_S", 0.0)


def abandon(log: Log) -> None:
    """Leave a log as a crash would: without its end mark."""
    if log._fd >= 0:
        os.close(log._fd)
    log._mirror.close()
    log._lock.release()


def test_what_is_synced_is_on_both_sides(tmp_path: Path) -> None:
    """After each sync the standby has the same bytes in segments of the same names."""
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        for i in range(60):
            log.append([payload(i, 400)])
            log.sync()
            assert receiver.position == log.position
        log.close()
    files = {path.name for path in (tmp_path / "a").glob("*.journal")}
    assert len(files) > 2
    for name in files | {"epoch"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_without_a_standby_nothing_is_acknowledged(tmp_path: Path) -> None:
    """Sync stalls while no standby is there, and goes on by itself when one comes."""
    with running(tmp_path / "b") as receiver:
        port = receiver.port
    log = open_log(tmp_path / "a", port)
    log.append([payload(1)])
    for _ in range(3):
        with pytest.raises(StalledError, match="the standby is away: Connection refused"):
            log.sync()
    with running(tmp_path / "b", port):
        log.sync()
        log.append([payload(2)])
        log.sync()
    log.append([payload(3)])
    with pytest.raises(StalledError):
        log.sync()
    with running(tmp_path / "b", port):
        log.sync()
        log.close()
    assert promoted(tmp_path / "b") == [payload(1), payload(2), payload(3)]


def test_a_standby_that_comes_late_gets_all(tmp_path: Path) -> None:
    """A journal that was written without a standby is sent whole before anything is acknowledged.

    Until it has all that was answered before, the standby does not take over.
    """
    log = Log.open(tmp_path / "a", VirtualClock(), segment_bytes=500_000)
    for i in range(40):
        log.append([payload(i, 10_000)])
        log.sync()
    log.close()
    line = Line(0)
    with ExitStack() as stack:
        stack.callback(line.close)
        with running(tmp_path / "b") as receiver:
            line.target, line.left = receiver.port, 700_000
            log = open_log(tmp_path / "a", line.port)
            log.append([payload(99)])
            with pytest.raises(StalledError):
                log.sync()
            with pytest.raises(JournalError, match="answers may have been given for what lies"):
                receiver.promote()
        with (
            running(tmp_path / "b") as receiver,
            pytest.raises(JournalError, match="answers may have been given for what lies"),
        ):
            receiver.promote()
        with running(tmp_path / "b") as receiver:
            line.target, line.left = receiver.port, None
            log.sync()
            log.close()
            assert receiver.position == log.position
            receiver.promote()


def test_a_take_over_can_be_forced(tmp_path: Path) -> None:
    """If the writer's disk is lost for good, what the standby has can be taken over knowingly."""
    log = Log.open(tmp_path / "a", VirtualClock())
    for i in range(40):
        log.append([payload(i, 20_000)])
        log.sync()
    log.close()
    with running(tmp_path / "b") as receiver:
        line = Line(receiver.port)
        line.left = 900_000
        log = open_log(tmp_path / "a", line.port)
        log.append([payload(99)])
        with pytest.raises(StalledError):
            log.sync()
        line.close()
        log.close()
    with running(tmp_path / "b") as receiver:
        with pytest.raises(JournalError, match="cannot take over"):
            receiver.promote()
        receiver.promote(force=True)
    log = Log.open(tmp_path / "b", VirtualClock())
    found = [record for _, record in log.scan()]
    assert 0 < len(found) < 40
    assert found == [payload(i, 20_000) for i in range(len(found))]
    log.close()


def test_a_copied_journal_is_continued(tmp_path: Path) -> None:
    """A standby may begin with a copy of the journal, sealed segments among it."""
    log = Log.open(tmp_path / "a", VirtualClock(), segment_bytes=20_000)
    for i in range(60):
        log.append([payload(i, 400)])
        log.sync()
    log.close()
    seal(Folder(tmp_path / "a"), 1, VirtualClock())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with running(tmp_path / "b") as receiver, running(tmp_path / "c") as empty:
        for i, port in enumerate((receiver.port, empty.port)):
            log = open_log(tmp_path / "a", port)
            log.append([payload(1000 + i)])
            log.sync()
            log.close()
    want = [payload(i, 400) for i in range(60)] + [payload(1000)]
    assert promoted(tmp_path / "b") == want
    assert promoted(tmp_path / "c") == [*want, payload(1001)]
    assert_prefix(tmp_path / "b", tmp_path / "a")


def test_a_stale_writer_stops(tmp_path: Path) -> None:
    """A writer whose epoch is over learns it and appends nothing more, ever."""
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        log.append([payload(1)])
        log.sync()
        receiver._fence.rise(9, log.stream)
        log._mirror.close()
        log.append([payload(2)])
        with pytest.raises(JournalError, match="epoch 1 is over: 9 is in force") as caught:
            log.sync()
        assert not isinstance(caught.value, StalledError)
        for act in (log.sync, lambda: log.append([payload(3)])):
            with pytest.raises(JournalError, match="takes no more records"):
                act()
        log.close()


def test_a_promoted_standby_takes_nothing_more(tmp_path: Path) -> None:
    """After a take-over the old writer gets nothing acknowledged, and no restart changes that."""
    with running(tmp_path / "b") as receiver:
        port = receiver.port
        log = open_log(tmp_path / "a", port)
        log.append([payload(1)])
        log.sync()
        receiver.promote()
        log.append([payload(2)])
        with pytest.raises(JournalError, match="epoch 1 is over: 2 is in force"):
            log.sync()
    log.close()
    log = open_log(tmp_path / "a", port)
    log.append([payload(3)])
    with pytest.raises(StalledError):
        log.sync()
    log.close()
    other = Log.open(tmp_path / "b", VirtualClock())
    assert (other.epoch, [p for _, p in other.scan()]) == (3, [payload(1)])
    other.close()
    with pytest.raises(JournalError, match=r"was promoted: .* move .*b away and start assay stand"):
        running(tmp_path / "b", port).__enter__()


def test_the_old_writer_can_become_the_standby(tmp_path: Path) -> None:
    """What the old writer wrote and never acknowledged is cut when it follows the new one."""
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        log.append([payload(1)])
        log.sync()
    log.append([payload(2)])
    with pytest.raises(StalledError):
        log.sync()
    log.close()
    assert promoted(tmp_path / "b") == [payload(1)]
    with running(tmp_path / "a") as receiver:
        log = open_log(tmp_path / "b", receiver.port)
        log.append([payload(3)])
        log.sync()
        log.close()
    assert_prefix(tmp_path / "a", tmp_path / "b")
    assert promoted(tmp_path / "a") == [payload(1), payload(3)]


def test_two_histories_are_not_mixed(tmp_path: Path) -> None:
    """A journal that went its own way is refused with what to do about it, and stays as it is."""
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        log.append([payload(1)])
        log.sync()
        log.close()
    assert promoted(tmp_path / "b") == [payload(1)]
    alone = Log.open(tmp_path / "a", VirtualClock(5))
    alone.append([payload(2)])
    alone.sync()
    alone.close()
    before = {path: path.read_bytes() for path in (tmp_path / "a").glob("*.journal")}
    with running(tmp_path / "a") as receiver:
        log = open_log(tmp_path / "b", receiver.port)
        log.append([payload(3)])
        with pytest.raises(
            StalledError, match="the two journals differ; move the standby's journal away"
        ):
            log.sync()
        log.close()
    assert before == {path: path.read_bytes() for path in (tmp_path / "a").glob("*.journal")}


def test_a_writer_that_lost_what_was_answered_is_refused(tmp_path: Path) -> None:
    """A journal from an old copy does not make the standby forget what was acknowledged."""
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        positions = []
        for i in range(4):
            positions += log.append([payload(i)])
            log.sync()
        abandon(log)
        last = tmp_path / "a" / "00000001.journal"
        os.truncate(last, positions[1] & ((1 << OFFSET_BITS) - 1) - 32)
        log = open_log(tmp_path / "a", receiver.port)
        log.append([payload(9)])
        with pytest.raises(StalledError, match="lacks what was synced here and there"):
            log.sync()
        log.close()
    assert promoted(tmp_path / "b") == [payload(i) for i in range(4)]


def test_a_standby_of_another_stream_is_refused(tmp_path: Path) -> None:
    """A journal of another stream is not overwritten."""
    with running(tmp_path / "b") as receiver:
        for folder in ("a", "c"):
            log = open_log(tmp_path / folder, receiver.port)
            log.append([payload(1)])
            if folder == "a":
                log.sync()
            else:
                with pytest.raises(StalledError, match="the writer's stream is"):
                    log.sync()
            log.close()


def test_a_standby_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """Behind a line that swallows everything, sync stalls in the time that was set."""
    with running(tmp_path / "b") as receiver:
        line = Line(receiver.port)
        line.left = 30
        log = open_log(tmp_path / "a", line.port, timeout_s=0.2)
        log.append([payload(1)])
        with pytest.raises(StalledError):
            log.sync()
        line.left = None
        log.sync()
        log.close()
        line.close()


@contextmanager
def speaking(talk: Callable[[Wire], None]) -> Iterator[int]:
    """Run a standby that knows the secret and says to each caller what a test has it say."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    wire = Wire(listener.accept()[0])
                    with suppress(WireError):
                        answer(wire, SECRET, Role.writer, 2.0)
                        wire.bytes_max = DATA.size + DATA_BYTES_MAX
                        talk(wire)
                        wire.receive(2.0)  # until the writer goes
                    wire.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("claimed", "beyond"),
    [
        *product([0, 1 << 40, 2 << 40, 7 << 40 | 99], [1, 1 << 40, 9 << 40, -1]),
        (7 << 40 | 99, 0),
    ],
)
def test_a_start_where_the_writer_is_not_is_refused(
    tmp_path: Path, claimed: int, beyond: int
) -> None:
    """What the standby says it goes on from has to be where both journals end, or nothing of it is
    believed: it would count as acknowledged.
    """

    def talk(wire: Wire) -> None:
        wire.put(Kind.state, POSITION.pack(claimed))
        offer = Offer.decode(wire.expect(Kind.offer, OFFER_BYTES, 2.0))
        honest = claimed >> 40 << 40 | min(offer.size, claimed & 0xFF) if claimed else 1 << 40
        wire.put(Kind.resume, POSITION.pack((honest + beyond) % (1 << 64)))

    with speaking(talk) as port:
        log = open_log(tmp_path / "a", port, timeout_s=0.5)
        log.append([payload(1)])
        with pytest.raises(StalledError, match="it goes on at position"):
            log.sync()
        log.close()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("wrong", [1, 1 << 40, -1])
def test_an_acknowledgement_of_what_was_not_sent_is_refused(
    tmp_path: Path, wrong: int, *, late: bool
) -> None:
    """An acknowledgement beyond what was sent, or before an earlier one, acknowledges nothing."""
    honest = [True]

    def talk(wire: Wire) -> None:
        wire.put(Kind.state, POSITION.pack(0))
        wire.expect(Kind.offer, OFFER_BYTES, 2.0)
        wire.put(Kind.resume, POSITION.pack(1 << 40))
        while True:
            (position, ask), size = DATA.unpack_from(body := wire.receive(2.0).body), len(body)
            if ask:
                end = position + size - DATA.size
                right = honest.pop() if late and honest else False
                lie = (1 << 40) - 1 if wrong < 0 else end + wrong
                wire.put(Kind.ack, POSITION.pack(end if right else lie))

    with speaking(talk) as port:
        log = open_log(tmp_path / "a", port, timeout_s=0.5)
        log.append([payload(1)])
        if late:
            log.sync()
            log.append([payload(2)])
        with pytest.raises(StalledError, match="acknowledged; accepted"):
            log.sync()
        log.close()


def test_a_refusal_in_any_bytes_is_a_refusal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Text that is no UTF-8, or would move a terminal's cursor, neither ends the writer's thread
    nor reaches a log as it is.
    """
    refused = [True, False]
    text = b"\x00no\xff\xfe\x1b[2J\r\nforged\xe2\x80\xae"

    def talk(wire: Wire) -> None:
        if refused.pop():
            wire.put(Kind.state, POSITION.pack(0))
            wire.expect(Kind.offer, OFFER_BYTES, 2.0)
            wire.put(Kind.resume, POSITION.pack(1 << 40))
            wire.receive(2.0)
        refused.append(False)
        wire.put(Kind.refused, text)

    with speaking(talk) as port:
        log = open_log(tmp_path / "a", port, timeout_s=0.5)
        log.append([payload(1)])
        for _ in range(3):
            with pytest.raises(StalledError, match="refuses: no") as caught:
                log.sync()
            assert str(caught.value).isprintable()
        assert all(record.getMessage().isprintable() for record in caplog.records)
        log.close()


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:x", "h:70000", "a@b:1", "h:0"])
def test_an_address_is_host_and_port(text: str) -> None:
    """Anything but host:port is refused with an example."""
    with pytest.raises(SettingsError, match="accepted: host:port, such as"):
        parse_address(text)


class World:
    """A writer and its standby, to which everything happens that may."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.writer, self.standby = folder / "a", folder / "b"
        self.rng = random.Random(seed)
        self.line = Line(0)
        self.answered: list[tuple[int, bytes]] = []
        self.next = 0
        self.pending: list[tuple[int, bytes]] = []
        self.stack = ExitStack()
        self.start_standby()
        self.start_writer()

    def start_standby(self) -> None:
        self.receiver = self.stack.enter_context(running(self.standby))
        self.line.target = self.receiver.port

    def start_writer(self) -> None:
        self.log = open_log(self.writer, self.line.port, timeout_s=0.3)

    def write(self) -> None:
        if not self.pending:
            sizes = [self.rng.randint(0, 300) for _ in range(self.rng.randint(1, 8))]
            records = [payload(self.next + i, size) for i, size in enumerate(sizes)]
            self.next += len(sizes)
            self.pending = list(zip(self.log.append(records), records, strict=True))
        try:
            self.log.sync()
        except StalledError:
            return
        self.answered += self.pending
        self.pending = []
        assert self.receiver.position == self.log.position
        assert_prefix(self.standby, self.writer)

    def cut_line(self) -> None:
        self.line.left = self.rng.choice([None, 0, self.rng.randint(0, 4000)])

    def mend_line(self) -> None:
        self.line.left = None

    def crash_standby(self) -> None:
        """Lose or tear what was not answered for."""
        self.stack.close()
        self.tear(self.standby)
        self.start_standby()

    def crash_writer(self) -> None:
        """Lose what is not synced, which the standby may have in part or whole."""
        if not self.pending and self.rng.random() < 0.7:
            records = [payload(self.next, self.rng.randint(0, 900))]
            self.next += 1
            self.log.append(records)
            self.log._mirror.send(self.log.position)
        abandon(self.log)
        self.tear(self.writer)
        self.pending = []
        self.start_writer()

    def tear(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.journal"))
        if not paths:
            return
        size = paths[-1].stat().st_size
        last, record = self.answered[-1] if self.answered else (0, b"")
        held = (last & ((1 << OFFSET_BITS) - 1)) + 8 + len(record)
        floor = held if last >> OFFSET_BITS == int(paths[-1].stem) else 64
        os.truncate(paths[-1], self.rng.randint(floor, size))

    def step(self) -> None:
        acts = [self.write] * 8 + [self.cut_line, self.mend_line] * 2
        self.rng.choice([*acts, self.crash_standby, self.crash_writer])()

    def end(self) -> None:
        """All that was answered is there, in order, once the standby has taken over."""
        abandon(self.log)
        self.stack.close()
        self.line.close()
        if self.answered:
            found = self.take_over()
            at = iter(found)
            assert all(record in at for _, record in self.answered)
            assert len(found) == len(set(found))

    def take_over(self) -> list[bytes]:
        """Return what is there; a new writer cannot tell what the one before had answered."""
        try:
            return promoted(self.standby)
        except JournalError as error:
            if "answers may have been given" not in str(error):
                raise
            return promoted(self.standby, force=True)


def live_through(seed: int, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), seed)
        try:
            for _ in range(steps):
                world.step()
        finally:
            world.end()


@pytest.mark.parametrize("seed", range(12))
def test_nothing_answered_is_lost(seed: int) -> None:
    """Through cuts at any byte and crashes of either side, the standby has what was answered."""
    live_through(seed, 40)


@pytest.mark.faults
def test_nothing_answered_is_lost_in_long_runs() -> None:
    """The same, many times."""
    first = random.SystemRandom().randrange(1 << 30)
    print("first seed", first)  # noqa: T201 — to run it again
    for seed in range(first, first + 60):
        live_through(seed, 60)


def test_the_mirror_is_closed_with_its_log(tmp_path: Path) -> None:
    """A log that closes leaves no connection behind."""
    with running(tmp_path / "b") as receiver:
        log = Log.open(
            tmp_path / "a", VirtualClock(), mirror=mirror_to(tmp_path / "a", receiver.port)
        )
        log.append([payload(1)])
        log.sync()
        log.close()
        assert log._mirror._wire is None
