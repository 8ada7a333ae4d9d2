"""Places that fail for real: a small file system in memory, a PostgreSQL server of a test; without them the test is skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = next((path for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)
SECRET = "hunter2"


@contextlib.contextmanager
def small_file_system(place: Path, megabytes: int) -> Iterator[Path]:
    """Give a real file system of so many MB in memory at `place`, where this process may mount one."""
    place.mkdir()
    if not sys.platform.startswith("linux") or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs Linux and root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this machine does not let root mount a tmpfs: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class Server:
    """A PostgreSQL server of this test alone, run by a user who is not root."""

    def __init__(self, home: Path) -> None:
        assert SERVER is not None
        self.home, self.bin = home, SERVER.parent
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            self.prefix = ["runuser", "-u", "postgres", "--"]
            shutil.chown(home, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (home / "password").write_text(SECRET + "\n")
        self._run("initdb", "-D", f"{home}/db", "-U", "tester", "-A", "scram-sha-256", f"--pwfile={home}/password", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://tester:{SECRET}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = f"-p {self.port} -k {self.home} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-D", f"{self.home}/db", "-l", f"{self.home}/log", "-w", "-o", settings, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", f"{self.home}/db", "-w", "-m", "immediate", "stop")

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run([*self.prefix, str(self.bin / name), *arguments], cwd="/", check=True, stdout=subprocess.DEVNULL, timeout=60)


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """Give a running server, which is stopped at the end."""
    if SERVER is None:
        pytest.skip("no PostgreSQL server is installed here (/usr/lib/postgresql/*/bin/initdb)")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("initdb refuses root, and there is no runuser to be somebody else")
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed (pip install 'weighbridge[postgresql]')")
    with tempfile.TemporaryDirectory(prefix="weighbridge-pg-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        running = Server(home)
        yield running
        with contextlib.suppress(subprocess.CalledProcessError):
            running.stop()
