from __future__ import annotations

import datetime as dt
import errno
import ipaddress
import os
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside: tests are not a package
from standby_pair import SECRET, open_log, payload, promoted, running

from assay.clock import VirtualClock
from assay.errors import JournalError, SettingsError, StalledError
from assay.journal.folder import Folder
from assay.journal.log import Log
from assay.journal.mirror import DATA, POSITION, SYNC
from assay.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead
from assay.journal.standby import Receiver
from assay.journal.standby_fence import Fence
from assay.journal.standby_files import FullError, Offer, StandbyFiles
from assay.journal.standby_handshake import Hello, Role, call
from assay.journal.standby_wire import Kind, Wire, WireError
from assay.journal.take_over import promote_running
from assay.journal.writer_lock import WriterLock

STREAM = bytes(range(16))
WAIT_S = 3.0


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


def greet(wire: Wire, secret: bytes = SECRET, epoch: int = 1, stream: bytes = STREAM) -> None:
    call(wire, secret, Hello(Role.writer, stream, epoch), WAIT_S)


def head(number: int = 1, epoch: int = 1, previous: int = 0) -> bytes:
    return SegmentHead(STREAM, epoch, number, 0, previous).encode()


def speak(wire: Wire) -> int:
    """Say all that a writer says, once; return the position that was acknowledged."""
    greet(wire)
    wire.expect(Kind.state, 8, WAIT_S)
    wire.put(Kind.offer, Offer(1, 0, 0, bytes(16)).encode())
    wire.expect(Kind.resume, 8, WAIT_S)
    wire.put(Kind.data, DATA.pack(1 << 40, SYNC) + head())
    return POSITION.unpack(wire.expect(Kind.ack, 8, WAIT_S))[0]


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
    """Beyond a number of callers each further one is cut at once; later a writer gets in."""
    with running(tmp_path / "b", handshake_s=0.3) as receiver:
        idle = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(40)]
        assert all(is_cut(sock) for sock in idle)
        for sock in idle:
            sock.close()
        wire, _ = caller(receiver.port)
        speak(wire)
        wire.close()


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
                promote_running("127.0.0.1", receiver.port, SECRET, force=force)
        with pytest.raises(JournalError, match=r"cannot be asked: .* another internal key"):
            promote_running("127.0.0.1", receiver.port, b"guessed")
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
            done = promote_running("127.0.0.1", receiver.port, SECRET, serve=serve)
            assert done == (2, log.position)
            until = time.monotonic() + WAIT_S
            while receiver._ending is None and time.monotonic() < until:
                time.sleep(0.01)
            assert receiver._ending == ending
            with pytest.raises(JournalError):
                log.close()


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


# --- TLS ------------------------------------------------------------------------------------------


class Authority:
    """Signs certificates for a test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        self.certificate = self._sign(self.name, self.key, days=9, authority=True)

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        authority: bool = False,
        host: str = "127.0.0.1",
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(address, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def write(self, folder: Path, *, days: int = 9, host: str = "127.0.0.1") -> Path:
        """Write the three files of one side."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "side")])
        certificate = self._sign(name, key, days=days, host=host)
        pem = serialization.Encoding.PEM
        folder.mkdir()
        (folder / "ca.pem").write_bytes(self.certificate.public_bytes(pem))
        (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
        plain = serialization.NoEncryption()
        pkcs8 = serialization.PrivateFormat.PKCS8
        (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
        return folder


def test_tls_both_ways(tmp_path: Path) -> None:
    """With one authority on both sides everything goes over TLS, and a take-over can be asked."""
    authority = Authority()
    mine, theirs = authority.write(tmp_path / "mine"), authority.write(tmp_path / "theirs")
    with running(tmp_path / "b", tls_folder=theirs) as receiver:
        log = open_log(tmp_path / "a", receiver.port, tls_folder=mine)
        for i in range(30):
            log.append([payload(i, 5000)])
            log.sync()
        log.close()
        assert receiver.position == log.position
        promote_running("127.0.0.1", receiver.port, SECRET, tls_folder=theirs)
    log = Log.open(tmp_path / "b", VirtualClock())
    assert [record for _, record in log.scan()] == [payload(i, 5000) for i in range(30)]
    log.close()


@pytest.mark.parametrize("fault", ["authority", "expired", "plain", "other host", "no certificate"])
@pytest.mark.parametrize("side", ["writer", "standby"])
def test_tls_refuses(tmp_path: Path, side: str, fault: str) -> None:
    """A side with a certificate of another authority, an expired one, for another host, or
    without any gets no connection, though it knows the secret.
    """
    authority = Authority()
    sound = authority.write(tmp_path / "sound")
    if fault == "authority":
        bad: Path | None = Authority().write(tmp_path / "bad")
        (tmp_path / "bad" / "ca.pem").write_bytes((sound / "ca.pem").read_bytes())
    elif fault == "expired":
        bad = authority.write(tmp_path / "bad", days=-1)
    elif fault == "other host":
        if side == "writer":
            pytest.skip("a writer is not known by its address")
        bad = authority.write(tmp_path / "bad", host="10.9.9.9")
    elif fault == "no certificate":
        if side == "standby":
            pytest.skip("there is no server without one")
        _stranger(tmp_path, sound)
        return
    else:
        bad = None
    mine, theirs = (bad, sound) if side == "writer" else (sound, bad)
    with running(tmp_path / "b", tls_folder=theirs, handshake_s=0.5) as receiver:
        log = open_log(tmp_path / "a", receiver.port, tls_folder=mine, timeout_s=0.5)
        log.append([payload(1)])
        with pytest.raises(StalledError):
            log.sync()
        assert receiver.epoch == 0
        log.close()


def _stranger(tmp_path: Path, theirs: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(theirs / "ca.pem")
    with (
        running(tmp_path / "b", tls_folder=theirs) as receiver,
        socket.create_connection(("127.0.0.1", receiver.port)) as sock,
        context.wrap_socket(sock) as tls,
        pytest.raises((WireError, ssl.SSLError)),
    ):
        speak(Wire(tls))


def test_tls_files_must_be_there(tmp_path: Path) -> None:
    """Missing or wrong files of TLS are named at the start, on either side."""
    folder = Authority().write(tmp_path / "mine")
    (folder / "key.pem").write_text("nothing")
    for bad in (tmp_path, folder):
        with pytest.raises(SettingsError, match=r"standby_tls: .* accepted: a folder with ca.pem"):
            Receiver(tmp_path / "b", "127.0.0.1", 0, SECRET, tls_folder=bad)
        with pytest.raises(SettingsError, match=r"standby_tls: .* accepted: a folder with ca.pem"):
            open_log(tmp_path / "a", 1, tls_folder=bad)


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    """A port that cannot be listened on is named with the settings to change."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsError, match="set another with standby_host and standby_port"),
    ):
        Receiver(tmp_path / "b", "127.0.0.1", taken.getsockname()[1], SECRET)
