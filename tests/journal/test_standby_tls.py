from __future__ import annotations

import socket
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside: tests are not a package
from standby_authority import Authority
from standby_pair import SECRET, open_log, payload, running, speak

from assay.clock import VirtualClock
from assay.errors import SettingsError, StalledError
from assay.journal.log import Log
from assay.journal.standby import Receiver
from assay.journal.standby_wire import Wire, WireError
from assay.journal.take_over import promote_running


def test_tls_both_ways(tmp_path: Path) -> None:
    """With one authority on both sides everything goes over TLS, and a take-over can be asked: a
    certificate for clients on the writer's side and one for servers on the other's are enough.
    """
    authority, purpose = Authority(), x509.ExtendedKeyUsageOID
    mine = authority.write(tmp_path / "mine", purpose=purpose.CLIENT_AUTH)
    theirs = authority.write(tmp_path / "theirs", purpose=purpose.SERVER_AUTH)
    with running(tmp_path / "b", tls_folder=theirs) as receiver:
        log = open_log(tmp_path / "a", receiver.port, tls_folder=mine)
        for i in range(30):
            log.append([payload(i, 5000)])
            log.sync()
        log.close()
        assert receiver.position == log.position
        promote_running(tmp_path / "b", SECRET)
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


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_of_tls_is_its_owners_alone(tmp_path: Path, mode: int) -> None:
    """A private key that others may read or write is refused on either side."""
    folder = Authority().write(tmp_path / "mine")
    (folder / "key.pem").chmod(mode)
    match = rf"key.pem has mode 0{mode:o}; accepted: 0600"
    with pytest.raises(SettingsError, match=match):
        Receiver(tmp_path / "b", "127.0.0.1", 0, SECRET, tls_folder=folder)
    with pytest.raises(SettingsError, match=match):
        open_log(tmp_path / "a", 1, tls_folder=folder)
