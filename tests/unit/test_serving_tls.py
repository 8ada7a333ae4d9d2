"""Law: a server that starts with TLS has a certificate of today and the key to it, and keeps it when a renewed one is not."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.unit.certificates import write_pair
from weighbridge.errors import UsageError
from weighbridge.serving.tls import Tls, check_pair


def peer(tls: Tls, trusted: Path, **versions: ssl.TLSVersion) -> tuple[str, int]:
    """Return version and serial number's hash that a client sees who trusts one certificate."""
    client = ssl.create_default_context(cafile=trusted)
    for name, version in versions.items():
        setattr(client, name, version)
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)

    def serve() -> None:
        try:
            with tls.context.wrap_socket(theirs, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname="localhost") as connection:
            certificate = connection.getpeercert() or {}
            found = connection.version() or "", int(str(certificate["serialNumber"]), 16)
            connection.send(b"x")
            return found
    finally:
        ours.close()
        thread.join()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_pair_serves_tls_1_2_and_1_3_and_nothing_older(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    tls = Tls(certificate, key)
    assert tls.pair.names == ("localhost", "127.0.0.1")
    assert tls.pair.notes == ()
    assert peer(tls, certificate)[0] == "TLSv1.3"
    assert peer(tls, certificate, maximum_version=ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r"(?i)ssl|tls|reset"):
        peer(tls, certificate, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize(
    "make", [ed25519.Ed25519PrivateKey.generate, lambda: rsa.generate_private_key(65537, 2048)], ids=["ed25519", "rsa"]
)
def test_keys_of_other_kinds_serve_too(tmp_path: Path, make: Callable[[], object]) -> None:
    assert peer(Tls(*write_pair(tmp_path, key=make())), tmp_path / "server.crt")[0] == "TLSv1.3"


def test_what_does_not_fit_is_said_in_one_line_without_a_part_of_the_key(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    other, _ = write_pair(tmp_path, "other")
    expired, old = write_pair(tmp_path, "expired", since=-30, days=-1)
    early, young = write_pair(tmp_path, "early", since=2, days=9)
    sealed, locked = write_pair(tmp_path, "sealed", password=b"canary")
    weak, short = write_pair(tmp_path, "weak", key=rsa.generate_private_key(65537, 1024))
    cut = tmp_path / "cut.key"
    cut.write_bytes(key.read_bytes()[:100])
    cases = [
        (other, key, "is not that of the certificate"),
        (expired, old, "expired on"),
        (early, young, "on only"),
        (sealed, locked, "needs a password"),
        (tmp_path / "no.crt", key, "No such file"),
        (certificate, tmp_path / "no.key", "No such file"),
        (key, key, "no certificate in PEM"),
        (certificate, certificate, "no private key in PEM"),
        (certificate, cut, "no private key in PEM"),
        (weak, short, "1024 bits only"),
        (tmp_path, key, "can not be read"),
    ]
    secret = key.read_text().splitlines()[1]
    for given, its, said in cases:
        with pytest.raises(UsageError, match=said) as caught:
            Tls(given, its)
        assert "\n" not in str(caught.value)
        assert secret[:10] not in str(caught.value)


def test_an_end_that_is_near_and_a_key_that_others_read_are_noted(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, days=3)
    os.chmod(key, 0o644)
    near, readable = check_pair(certificate, key, time.time()).notes
    assert "ends in 3.0 days" in near
    assert "chmod 600" in readable


def test_a_renewed_pair_is_taken_up_and_one_that_does_not_fit_is_not(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    tls = Tls(certificate, key)
    first = peer(tls, certificate)[1]
    assert tls.refresh() == ""
    good = certificate.read_bytes(), key.read_bytes()
    fresh = write_pair(tmp_path / "new")
    certificate.write_bytes(fresh[0].read_bytes())
    assert "is not that of" in tls.refresh(), "the key has not come yet"
    (tmp_path / "old.crt").write_bytes(good[0])
    assert peer(tls, tmp_path / "old.crt")[1] == first
    key.write_bytes(fresh[1].read_bytes())
    assert tls.refresh() == ""
    assert peer(tls, certificate)[1] != first
