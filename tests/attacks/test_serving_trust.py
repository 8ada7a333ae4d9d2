"""Law: a server that was given keys serves no package that none of them signed: not at its start, not by a swap, not on a share."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.faults.serving_ground import ask, fleet_of, write_numbers_package
from tests.unit.serving_servers import ROOT, Running, command, running
from weighbridge.deployment.signing import sign_package
from weighbridge.errors import PackageError
from weighbridge.runtime.signature import pem_of_key

pytestmark = pytest.mark.slow
MAKER, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
MAKERS, STRANGERS = (key.public_key().public_bytes_raw() for key in (MAKER, STRANGER))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages of nobody, of the maker and of a stranger, and the maker's public key."""
    folder = tmp_path_factory.mktemp("trust")
    write_numbers_package(folder / "unsigned")
    for name, key in (("signed", MAKER), ("foreign", STRANGER)):
        shutil.copytree(folder / "unsigned", folder / name)
        sign_package(folder / name, key)
    write_numbers_package(folder / "newer", 1)
    sign_package(folder / "newer", MAKER)
    (folder / "maker.pem").write_text(pem_of_key(MAKERS))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    options = ["--packages", str(folder), "--trust", str(folder / "maker.pem")]
    with running([f"m={folder / 'signed'}"], folder / "state", *options) as one:
        yield one


@pytest.mark.parametrize(("name", "why"), [("unsigned", "not signed"), ("foreign", "not trusted")])
def test_a_package_of_another_is_not_started(folder: Path, name: str, why: str) -> None:
    async def started() -> None:
        await fleet_of(trust=frozenset({MAKERS})).start({"m": folder / name})

    with pytest.raises(PackageError, match=why):
        asyncio.run(started())


def test_without_keys_any_package_is_started_and_with_an_empty_list_none(folder: Path) -> None:
    async def started() -> None:
        fleet = fleet_of()
        await fleet.start({"m": folder / "unsigned", "n": folder / "foreign"})
        await fleet.drain(10)
        with pytest.raises(PackageError, match="not trusted"):
            await fleet_of(trust=frozenset()).start({"m": folder / "signed"})

    asyncio.run(started())


def test_a_swap_and_a_challenge_obey_and_the_old_package_answers_on(folder: Path) -> None:
    async def swapped() -> None:
        fleet = fleet_of(trust=frozenset({MAKERS}))
        await fleet.start({"m": folder / "signed"})
        before = fleet.describe("m")
        for name in ("unsigned", "foreign"):
            with pytest.raises(PackageError, match="trusted"):
                await fleet.swap("m", folder / name)
            with pytest.raises(PackageError, match="trusted"):
                await fleet.challenge("m", folder / name, 0.5)
        assert fleet.describe("m") == before
        assert (await fleet.ask("m", ask())).model == before["model"]
        assert (await fleet.swap("m", folder / "newer"))["model"] != before["model"]
        assert (await fleet.rollback("m"))["package"] == before["package"]
        await fleet.drain(10)

    asyncio.run(swapped())


def test_a_worker_that_takes_the_place_of_a_dead_one_looks_again(folder: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(folder / "signed", tmp_path / "p"))

    async def replaced() -> list[str]:
        heard: list[str] = []
        fleet = fleet_of(trust=frozenset({MAKERS}), on_event=lambda kind, _: heard.append(kind))
        await fleet.start({"m": package})
        (package / "signature.json").unlink()
        (worker,) = fleet._posts["m"].champion._workers
        worker.kill("test")
        while "worker_not_started" not in heard:
            assert "worker_started" not in heard
            await asyncio.sleep(0.02)
        await fleet.drain(10)
        return heard

    assert "worker_started" not in asyncio.run(asyncio.wait_for(replaced(), 60))


def test_weigh_serve_says_in_one_line_whom_it_does_not_trust(folder: Path, tmp_path: Path) -> None:
    for name, file, why in (("foreign", "maker.pem", "not trusted"), ("signed", "none.pem", "can not be read")):
        given = command([f"m={folder / name}"], tmp_path / name, "--port", "0", "--trust", str(folder / file))
        done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 2
        assert why in done.stderr
        assert "Traceback" not in done.stderr


def test_an_administrator_can_not_swap_an_unsigned_package_in(server: Running) -> None:
    before = server.ask("/v2/models/m").json()
    refused = server.ask("/admin/models/m/swap", {"package": "unsigned"})
    assert refused.status >= 400
    assert "not signed" in refused.json()["error"]["message"]
    assert str(server.log.parent.parent) not in refused.body.decode()
    assert server.ask("/v2/models/m").json() == before
    assert server.ask("/predict", {"rows": [{"a": 1.0, "b": 2.0}]}).status == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v2/health/live", "localhost", 200),
        ("HTTP://LOCALHOST:{port}/v2/health/live", "localhost:{port}", 200),
        ("/v2/health/live", "localhost", 200),
        ("http://evil.example/v2/health/live", "localhost", 400),
        ("http://evil.example/v2/health/live", "evil.example", 421),
        ("http://localhost@evil.example/v2/health/live", "localhost", 400),
        ("http://localhost:1/v2/health/live", "localhost:{port}", 400),
    ],
)
def test_a_target_in_absolute_form_names_the_same_host_as_the_header(server: Running, target: str, host: str, status: int) -> None:
    line = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".replace("{port}", str(server.port))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(line.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


def test_each_request_of_a_connection_is_judged_by_its_own_target(server: Running) -> None:
    asked = b"".join(
        b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (target, b"Connection: close\r\n" if last else b"")
        for target, last in ((b"http://evil.example/v2/health/live", False), (b"/v2/health/live", True))
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(asked)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"400", b"200"]
