from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside: tests are not a package
from standby_authority import Authority
from standby_pair import (
    SECRET,
    STREAM,
    WAIT_S,
    greet,
    head,
    open_log,
    payload,
    promoted,
    running,
    speak,
)

from assay.clock import VirtualClock
from assay.errors import JournalError, SettingsError, StalledError
from assay.journal.folder import Folder
from assay.journal.log import Log
from assay.journal.mirror import DATA, POSITION, SYNC
from assay.journal.segment import SEGMENT_HEAD_BYTES
from assay.journal.standby import Receiver
from assay.journal.standby_fence import Fence
from assay.journal.standby_files import FullError, Offer, StandbyFiles
from assay.journal.standby_handshake import Hello, Role, call
from assay.journal.standby_wire import Kind, Wire, WireError
from assay.journal.take_over import promote_running
from assay.journal.writer_lock import WriterLock


class Recorder:
    """Stands between a socket and a wire, keeps what was sent, and may change one byte of it."""

    def __init__(self, port: int, flip: int = -1) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self.flip, self.sent = flip, b""

    def send(self, data: bytes) -> int:
        at, changed = self.flip - len(self.sent), bytearray(data)
        if 0 <= at < len(data):
            changed[at] ^= 0x10
        self.sent += data
        self._sock.sendall(changed)
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


def caller(port: int, flip: int = -1) -> tuple[Wire, Recorder]:
    sock = Recorder(port, flip)
    return Wire(sock), sock


def is_cut(sock: socket.socket) -> bool:
    """Tell whether the standby ends a connection on which nothing more is said."""
    sock.settimeout(WAIT_S)
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_conversation(tmp_path: Path) -> None:
    """What a writer sends is acknowledged up to where it is written."""
    with running(tmp_path / "b") as receiver:
        wire, _ = caller(receiver.port)
        assert speak(wire) == receiver.position == 1 << 40 | SEGMENT_HEAD_BYTES
        wire.close()


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Whichever byte of whichever message changes on its way, nothing of it is written."""
    with running(tmp_path / "whole") as receiver:
        wire, sock = caller(receiver.port)
        speak(wire)
        wire.close()
    said = len(sock.sent)
    assert said > 250
    with running(tmp_path / "b", handshake_s=0.02, idle_s=0.02) as receiver:
        for flip in range(said):
            wire, _ = caller(receiver.port, flip)
            with pytest.raises(WireError):
                speak(wire)
            wire.close()
            assert receiver.position == 0, flip


def test_every_cut_is_survived(tmp_path: Path) -> None:
    """A conversation that ends at any byte leaves nothing behind but the next one's right."""
    with running(tmp_path / "whole") as receiver:
        wire, sock = caller(receiver.port)
        speak(wire)
        wire.close()
    with running(tmp_path / "b") as receiver:
        for end in range(0, len(sock.sent), 3):
            with socket.create_connection(("127.0.0.1", receiver.port)) as cut:
                cut.sendall(sock.sent[:end])
        wire, _ = caller(receiver.port)
        assert speak(wire) == receiver.position
        wire.close()


def test_another_secret_is_cut(tmp_path: Path) -> None:
    """Who does not know the secret learns nothing about the journal; and neither does a writer
    talk to a standby that does not know it.
    """
    with running(tmp_path / "b") as receiver:
        wire, _ = caller(receiver.port)
        with pytest.raises(WireError, match="the standby has another internal key"):
            greet(wire, b"guessed")
        wire.close()
        log = open_log(tmp_path / "a", receiver.port, secret=b"guessed")
        log.append([payload(1)])
        with pytest.raises(StalledError, match="has another internal key; accepted: the same one"):
            log.sync()
        log.close()
        assert receiver.position == receiver.epoch == 0


def test_a_proof_without_the_secret_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that goes on with a made-up proof is cut, and the log says why."""
    with running(tmp_path / "b") as receiver:
        wire, sock = caller(receiver.port)
        with pytest.raises(WireError):
            greet(wire, b"guessed")
        wire.put(Kind.proof, bytes(32))
        wire.flush(WAIT_S)
        assert is_cut(sock._sock)
        wire.close()
    assert "cut: the caller has another internal key" in caplog.text


def test_a_replayed_greeting_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a writer once said opens no second connection."""
    with running(tmp_path / "b") as receiver:
        wire, sock = caller(receiver.port)
        speak(wire)
        wire.close()
        with socket.create_connection(("127.0.0.1", receiver.port)) as again:
            again.sendall(sock.sent)
            assert is_cut(again)
    assert "cut: the caller has another internal key" in caplog.text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a message of"),
        (bytes(64), "a message whose checksum is wrong"),
        (b"\xff" * 4096, "a message of 4294967295 bytes; accepted: up to 1024"),
        (b"\x01", "nothing came within"),
    ],
)
def test_hostile_input_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, said: bytes, why: str
) -> None:
    """Whatever a stranger says, the connection ends with a line in the log, in bounded memory."""
    with (
        running(tmp_path / "b", handshake_s=0.2) as receiver,
        socket.create_connection(("127.0.0.1", receiver.port)) as sock,
    ):
        sock.sendall(said)
        assert is_cut(sock)
    assert f"cut: {why}" in caplog.text


def test_strangers_cannot_use_it_up(tmp_path: Path) -> None:
    """Callers that say nothing keep nobody out: the oldest are cut for newcomers, the others later,
    and a writer that has proved itself is none of them.
    """
    with running(tmp_path / "b", handshake_s=0.5) as receiver:
        first = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(40)]
        assert all(is_cut(sock) for sock in first[:20])
        wire, _ = caller(receiver.port)
        speak(wire)
        second = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(40)]
        assert all(is_cut(sock) for sock in first + second)
        wire.put(Kind.data, DATA.pack(receiver.position, SYNC) + b"x")
        assert wire.expect(Kind.ack, 8, WAIT_S) == POSITION.pack(receiver.position)
        wire.close()
        for sock in first + second:
            sock.close()


@contextmanager
def flood(port: int, per_s: int = 100) -> Iterator[None]:
    """Have strangers connect to a port, of whom the first and the last stay as long as they may."""
    ended, open_ = threading.Event(), list[socket.socket]()

    def call_on() -> None:
        while not ended.wait(1 / per_s):
            with suppress(OSError):
                open_.append(socket.create_connection(("127.0.0.1", port)))
            if len(open_) > 200:
                open_.pop(20).close()

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        ended.set()
        thread.join()
        for sock in open_:
            sock.close()


@pytest.mark.parametrize("with_tls", [False, True])
def test_a_flood_of_strangers_keeps_nobody_out(tmp_path: Path, *, with_tls: bool) -> None:
    """While a hundred strangers a second connect, a writer gets in and stays, and a take-over can
    be asked for.
    """
    tls = Authority().write(tmp_path / "tls") if with_tls else None
    with (
        running(tmp_path / "b", handshake_s=60.0, tls_folder=tls) as receiver,
        flood(receiver.port),
    ):
        log = open_log(tmp_path / "a", receiver.port, tls_folder=tls)
        log.append([payload(0)])
        until = time.monotonic() + 5 * WAIT_S
        let_in = False
        while not let_in:
            assert time.monotonic() < until
            with suppress(StalledError):
                log.sync()
                let_in = True
        for i in range(1, 50):
            log.append([payload(i)])
            log.sync()
            time.sleep(0.01)
        assert promote_running(tmp_path / "b", SECRET) == (2, log.position)
        with suppress(JournalError):  # its epoch is over
            log.close()


def test_messages_out_of_place_are_cut(tmp_path: Path) -> None:
    """A writer that proves itself and then talks nonsense changes nothing."""
    start = 1 << 40
    nonsense = [
        (Kind.data, DATA.pack(start + 64, SYNC) + b"x"),
        (Kind.data, DATA.pack(start, SYNC) + b"x" * 100),
        (Kind.data, DATA.pack(start, SYNC) + head(epoch=2)),
        (Kind.data, DATA.pack(start, SYNC)),
        (Kind.data, b""),
        (Kind.ack, POSITION.pack(0)),
        (Kind.data, DATA.pack(start, SYNC) + bytes(300_000)),
    ]
    with running(tmp_path / "b") as receiver:
        for kind, body in nonsense:
            wire, _ = caller(receiver.port)
            greet(wire)
            wire.expect(Kind.state, 8, WAIT_S)
            wire.put(Kind.offer, Offer(1, 0, 0, bytes(16)).encode())
            wire.expect(Kind.resume, 8, WAIT_S)
            wire.put(kind, body)
            with pytest.raises(WireError):
                wire.receive(WAIT_S)
            wire.close()
            assert receiver.position == 0


def test_a_new_connection_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """A writer that comes again is not kept out by its own connection that is dead."""
    with running(tmp_path / "b") as receiver:
        old, sock = caller(receiver.port)
        speak(old)
        wire, _ = caller(receiver.port)
        greet(wire, epoch=2)
        assert wire.expect(Kind.state, 8, WAIT_S) == POSITION.pack(receiver.position)
        assert is_cut(sock._sock)
        wire.close()
        old.close()


def test_an_idle_writer_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A connection on which nothing comes for too long ends."""
    with running(tmp_path / "b", idle_s=0.1) as receiver:
        wire, sock = caller(receiver.port)
        speak(wire)
        assert is_cut(sock._sock)
        wire.close()
    assert "cut: nothing came within 0.1 s" in caplog.text


def test_one_lives_in_a_folder(tmp_path: Path) -> None:
    """Where a standby runs no scorer starts, nor another standby; and the other way round."""
    folder = tmp_path / "b"
    with running(folder):
        with pytest.raises(JournalError, match="in use by"):
            Log.open(folder, VirtualClock())
        with pytest.raises(JournalError, match="in use by a scorer or another standby"):
            Receiver(folder, "127.0.0.1", 0, SECRET)
    log = Log.open(folder, VirtualClock())
    with pytest.raises(JournalError, match="in use by a scorer or another standby"):
        Receiver(folder, "127.0.0.1", 0, SECRET)
    log.close()


def test_the_fence_is_the_writers_epoch(tmp_path: Path) -> None:
    """What a standby remembers as the largest epoch is what the next writer there goes beyond."""
    folder = Folder(tmp_path / "b")
    fence = Fence(folder)
    fence.rise(7, STREAM)
    fence.release()
    lock = WriterLock(folder)
    assert (lock.epoch, lock.stream) == (8, STREAM)
    lock.release()
    fence = Fence(folder)
    assert (fence.epoch, fence.stream) == (8, STREAM)
    fence.release()
    (folder.path / "epoch").write_bytes(bytes(28))
    with pytest.raises(JournalError, match="epoch is damaged"):
        Fence(folder)


def test_it_cannot_take_over_with_nothing(tmp_path: Path) -> None:
    """A standby that has received nothing refuses to be promoted, forced or not, and goes on."""
    with running(tmp_path / "b") as receiver:
        for force in (False, True):
            with pytest.raises(JournalError, match="nothing has been received yet"):
                promote_running(tmp_path / "b", SECRET, force=force)
        with pytest.raises(JournalError, match=r"cannot be asked: .* another internal key"):
            promote_running(tmp_path / "b", b"guessed")
        wire, _ = caller(receiver.port)
        assert speak(wire)
        wire.close()


def test_it_takes_over_when_asked_over_its_socket(tmp_path: Path) -> None:
    """Who knows the secret can have it take over; then `run` ends and says whether to serve."""
    for serve, ending in ((True, "serve"), (False, "exit")):
        folder = tmp_path / ending
        with running(folder) as receiver:
            log = open_log(tmp_path / f"a {ending}", receiver.port)
            log.append([payload(1)])
            log.sync()
            done = promote_running(folder, SECRET, serve=serve)
            assert done == (2, log.position)
            until = time.monotonic() + WAIT_S
            while receiver._ending is None and time.monotonic() < until:
                time.sleep(0.01)
            assert receiver._ending == ending
            with pytest.raises(JournalError):
                log.close()


def test_a_take_over_is_asked_on_its_machine_alone(tmp_path: Path) -> None:
    """Its socket is its owner's, in a folder with a name of any length; over the port nobody can
    ask, nor write over the socket, and it goes with the standby.
    """
    folder = tmp_path / ("b" * 120)
    folder.mkdir()
    door = folder / "standby.sock"
    killed = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)
    try:
        killed.bind("standby.sock")
    finally:
        os.chdir(here)
    killed.close()
    with running(folder) as receiver:
        assert stat.S_IMODE(door.stat().st_mode) == 0o600
        wire, sock = caller(receiver.port)
        with pytest.raises(WireError):
            call(wire, SECRET, Hello(Role.operator), WAIT_S)
        assert is_cut(sock._sock)
        wire.close()
        local = socket.socket(socket.AF_UNIX)
        fd = os.open(folder, os.O_PATH)
        local.connect(f"/proc/self/fd/{fd}/standby.sock")
        os.close(fd)
        wire = Wire(local)
        with pytest.raises(WireError):
            greet(wire)
        wire.close()
        with pytest.raises(JournalError, match="nothing has been received yet"):
            promote_running(folder, SECRET)
    assert not door.exists()
    with pytest.raises(JournalError, match=r"the standby of .* cannot be asked: .*No such file"):
        promote_running(folder, SECRET)


def test_its_own_torn_end_is_sent_anew(tmp_path: Path) -> None:
    """What a power cut tore on the standby while it was catching up is cut and fetched again.

    Until then it does not take over, because it might be damage.
    """
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        for i in range(9):
            log.append([payload(i, 100)])
            log.sync()
    path = tmp_path / "b" / "00000001.journal"
    for damage in (700, 100, -1):
        with path.open("r+b") as file:
            file.seek(damage, os.SEEK_SET if damage > 0 else os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        with running(tmp_path / "b") as receiver:
            with pytest.raises(JournalError, match=r"cannot take over: 00000001.journal: damaged"):
                receiver.promote()
            log._mirror._host, log._mirror._port = "127.0.0.1", receiver.port
            log._mirror.close()
            log.append([payload(100 + damage)])
            log.sync()
            assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    log.close()
    assert len(promoted(tmp_path / "b")) == 12


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails for want of room leaves the end where it was; then it goes on."""
    folder = Folder(tmp_path / "b")
    fence = Fence(folder)
    fence.rise(1, STREAM)
    files = StandbyFiles(folder, fence)
    files.write(1 << 40, head())
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:50])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FullError, match=r"00000001.journal: No space left"):
        files.write(files.position, b"x" * 99)
    monkeypatch.undo()
    assert folder.segment(1).stat().st_size == SEGMENT_HEAD_BYTES
    files.write(files.position, b"y" * 99)
    assert files.sync() == 1 << 40 | SEGMENT_HEAD_BYTES + 99
    files.close()
    fence.release()


def test_it_syncs_before_it_acknowledges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the standby's disk is still at it, the writer waits."""
    real, may_end = StandbyFiles.sync, threading.Event()

    def slow(files: StandbyFiles) -> int:
        may_end.wait(WAIT_S)
        return real(files)

    monkeypatch.setattr(StandbyFiles, "sync", slow)
    with running(tmp_path / "b") as receiver:
        log = open_log(tmp_path / "a", receiver.port)
        log.append([payload(1)])
        thread = threading.Thread(target=log.sync)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        may_end.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        log.close()


def test_a_failed_sync_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sync that failed nobody knows what the disk holds: it acknowledges nothing more."""

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "bad disk")

    receiver = Receiver(tmp_path / "b", "127.0.0.1", 0, SECRET)
    real = StandbyFiles.sync

    def sync(files: StandbyFiles) -> int:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            return real(files)

    monkeypatch.setattr(StandbyFiles, "sync", sync)
    said: list[str] = []

    def run() -> None:
        try:
            receiver.run()
        except JournalError as error:
            said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wire, _ = caller(receiver.port)
    with pytest.raises(WireError):
        speak(wire)
    thread.join()
    wire.close()
    assert said == ["00000001.journal: Input/output error"]


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """A port that cannot be listened on is named with the settings to change."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsError, match="set another with standby_host and standby_port"),
    ):
        Receiver(tmp_path / "b", "127.0.0.1", taken.getsockname()[1], SECRET)
