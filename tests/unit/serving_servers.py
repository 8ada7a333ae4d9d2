"""A real `weigh serve` in a process of its own, on a free port, for tests: started, asked, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.serving.keys import KeyFile

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 240.0  # a machine that does other work, too
URL = re.compile(r"^serving  (\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that answers at `url`; `key` opens everything."""

    url: str
    key: str
    process: subprocess.Popen[str]
    log: Path
    start_s: float

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, path: str, body: Any = None, *, key: str | None = None, method: str = "", **headers: str) -> Answer:
        """Return the answer; a body that is no bytes goes as JSON. Header names are written with _ for -."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=raw, method=method or ("GET" if body is None else "POST"))
        request.add_header("x-api-key", self.key if key is None else key)
        if raw is not None:
            request.add_header("content-type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as found:
                return Answer(status=found.status, headers=dict(found.headers.items()), body=found.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, headers=dict(error.headers.items()), body=error.read())


def command(packages: list[str], state: Path, *options: str, verb: str = "serve") -> list[str]:
    return [sys.executable, "-m", "weighbridge.cli", verb, *packages, "--state", str(state), "--workers", "1", *options]


def start(packages: list[str], state: Path, *options: str, port: int = 0, verb: str = "serve") -> Running:
    """Return a server that is ready. An admin key is made in its state folder, if there is none."""
    made = KeyFile(state).first()
    key_file = state / "key-of-tests"
    if made is not None:
        key_file.write_text(made[1], encoding="ascii")
    log = state / f"log-{time.monotonic_ns()}.txt"
    begun_s = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command(packages, state, "--port", str(port), *options, verb=verb),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
        )
    while not (found := URL.search(log.read_text())):
        if process.poll() is not None or time.monotonic() - begun_s > WAIT_S:
            process.kill()
            process.wait()
            raise RuntimeError(log.read_text() or f"no line within {WAIT_S} s")
        time.sleep(0.01)
    started_s = time.monotonic() - begun_s
    return Running(url=found[1], key=key_file.read_text(encoding="ascii"), process=process, log=log, start_s=started_s)


def stop(server: Running) -> int:
    """Ask it to end; return its exit code."""
    server.process.terminate()
    try:
        return server.process.wait(WAIT_S)
    finally:
        server.process.kill()


@contextlib.contextmanager
def running(packages: list[str], state: Path, *options: str, verb: str = "serve") -> Iterator[Running]:
    server = start(packages, state, *options, verb=verb)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            stop(server)
