"""Law: a server that is asked to stop under load answers everything that it accepted and exits 0; the next one goes on at the same address.

Clients ask one after the other, on a new connection each or on one that is kept, and ask again only what was not answered by a single byte.
What a server says that it answered is what clients got: an answer that was made and did not arrive would show.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Record
from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import Running, start

BODY = b'[{"age": 4, "city": "Oslo", "seen": null, "tags": ["a"]}]'
CLIENTS = 4
UNDER_LOAD_S = 0.3
ANSWERED = re.compile(r"^stopped  ([\d,]+) requests answered$", re.MULTILINE)


class Client(threading.Thread):
    """Asks until it is told to stop, and counts what came of it."""

    def __init__(self, port: int, key: str, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        self.port, self.key, self.keeps = port, key, keeps
        self.found: Counter[str] = Counter()
        self.models: set[str | None] = set()
        self.done = threading.Event()

    def run(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            while not self.done.is_set():
                self._ask(connection)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        """Ask once; a closed connection is opened anew."""
        try:
            connection.request("POST", "/predict", BODY, {"x-api-key": self.key, "content-type": "application/json"})
            response = connection.getresponse()
        except ConnectionRefusedError:
            self.found["refused"] += 1
            connection.close()
            time.sleep(0.02)
            return
        except (http.client.RemoteDisconnected, ConnectionError):
            self.found["no byte"] += 1
            connection.close()
            return
        self._read(response)
        if not self.keeps or response.getheader("connection") == "close":
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> None:
        try:
            whole = response.read()
        except (http.client.IncompleteRead, ConnectionError):
            self.found["cut"] += 1
            return
        self.found[str(response.status) if b"predictions" in whole or response.status != 200 else "strange"] += 1
        self.models.add(response.getheader("x-model"))


def restarts(tmp_path: Path, count: int) -> tuple[Counter[str], int, set[str | None]]:
    """Restart a server under load; return what clients counted, what the servers say that they answered, and the models named."""
    make_package(tmp_path / "tiny", photos=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = [f"tiny={tmp_path / 'tiny'}"]
    server = start(served, tmp_path / "state", port=port)
    clients = [Client(port, server.key, keeps=bool(place % 2)) for place in range(CLIENTS)]
    for client in clients:
        client.start()
    answered = 0
    for turn in range(count):
        time.sleep(UNDER_LOAD_S)
        answered += stopped(server)
        if turn < count - 1:
            server = start(served, tmp_path / "state", port=port)
    for client in clients:
        client.done.set()
    for client in clients:
        client.join(60)
    found = sum((client.found for client in clients), Counter[str]())
    return found, answered, set().union(*(client.models for client in clients))


def stopped(server: Running) -> int:
    """Ask a server to end; return how many requests it says that it answered. It exits 0 and leaves no worker."""
    server.process.terminate()
    assert server.process.wait(60) == 0, server.log.read_text()
    said = ANSWERED.search(server.log.read_text())
    assert said is not None, server.log.read_text()
    return int(said[1].replace(",", ""))


def check(tmp_path: Path, count: int) -> Counter[str]:
    found, answered, models = restarts(tmp_path, count)
    print(f"{count} restarts under load: {dict(found)}, {answered} answered by the servers")
    assert found["200"] > count, found
    assert found["cut"] == found["strange"] == 0, found
    assert found["200"] == answered, (found, answered)  # each answer that a server made arrived
    assert found.keys() <= {"200", "refused", "no byte"}, found
    assert len(models) == 1
    return found


@pytest.mark.slow
def test_restarts_under_load_lose_nothing_that_was_accepted(tmp_path: Path) -> None:
    check(tmp_path, 6)


@pytest.mark.slow
@pytest.mark.harness
@pytest.mark.timeout(3600)
def test_fifty_restarts_under_load_lose_nothing_that_was_accepted(tmp_path: Path, record: Record) -> None:
    found = check(tmp_path, 50)
    record("serving.restarts", 0, n=50, answered=found["200"])


@pytest.mark.slow
def test_a_second_signal_changes_nothing_and_an_idle_server_ends_at_once(tmp_path: Path) -> None:
    make_package(tmp_path / "tiny", photos=False)
    server = start([f"tiny={tmp_path / 'tiny'}"], tmp_path / "state")
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        begun_s = time.monotonic()
        server.process.terminate()
        time.sleep(0.05)
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert time.monotonic() - begun_s < 15
        assert idle.recv(1) == b""
