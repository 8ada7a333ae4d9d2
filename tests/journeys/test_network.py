"""Law: nothing asks for the network unless the recipe names an address: neither a package that answers nor the libraries under it."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.runtime_packages import make_package

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 15  # onnxruntime's reports of its use leave some seconds after it was imported
ANSWERS = f"""
import sys, time, weighbridge
weighbridge.load(sys.argv[1])
time.sleep({WAIT_S})
"""
CONTROL = """
import urllib.request
try: urllib.request.urlopen("https://example.org")
except OSError: pass
"""
HIDDEN = ("CI", "GITHUB_ACTIONS", "DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "NO_PROXY", "no_proxy", "PYTEST_CURRENT_TEST", "PYTEST_VERSION")


class Counting(http.server.BaseHTTPRequestHandler):
    """A proxy that lets nothing pass and counts who asked."""

    asked: tuple[str, ...] = ()

    def do_CONNECT(self) -> None:
        type(self).asked = (*type(self).asked, self.path)
        self.send_error(502)

    do_GET = do_POST = do_CONNECT

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def proxied() -> Iterator[dict[str, str]]:
    """An environment that leads all traffic of HTTP clients to the counting proxy, and hides what would keep a library quiet."""
    Counting.asked = ()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        environment = {key: value for key, value in os.environ.items() if key not in HIDDEN}
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        yield environment | dict.fromkeys(names, address) | {"PYTHONPATH": str(ROOT)}
        proxy.shutdown()


@pytest.mark.slow
def test_a_package_that_answers_asks_nobody_and_a_request_on_purpose_is_seen(tmp_path: Path, proxied: dict[str, str]) -> None:
    make_package(tmp_path / "package", photos=False)
    subprocess.run([sys.executable, "-c", ANSWERS, str(tmp_path / "package")], env=proxied, check=True, cwd=tmp_path)
    assert Counting.asked == ()
    subprocess.run([sys.executable, "-c", CONTROL], env=proxied, check=True)
    assert Counting.asked == ("example.org:443",)


@pytest.mark.slow
def test_the_users_own_wish_about_reports_wins(proxied: dict[str, str]) -> None:
    program = "import os, weighbridge; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for environment, said in ((proxied, "1"), ({**proxied, "ORT_DISABLE_TELEMETRY": "0"}, "0")):
        done = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, encoding="utf-8")
        assert done.stdout.strip() == said
