"""Law: what the Dockerfile says builds, starts as nobody on a read-only root, answers, and ends with 0; with no more than is pinned in it.

It needs root, mmdebstrap (Debian) and some minutes, so `make harness` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.containers import Container, build, debian_root, make_pair, start
from tests.unit.dockerfiles import steps_of
from tests.unit.runtime_packages import make_package
from weighbridge.deployment.container import write_container
from weighbridge.storage import write_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TOOLS = ("mmdebstrap", "unshare", "nsenter", "setpriv", "chroot")
ASK = """
import json, ssl, sys, urllib.request
key = open("/state/first-admin-key").read().strip()
context = ssl.create_default_context(); context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
request = urllib.request.Request(sys.argv[1] + "/predict", data=sys.argv[2].encode(),
    headers={"authorization": "Bearer " + key, "content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=30, context=context).read().decode())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid():
        pytest.skip(f"a root is built by root with {', '.join(TOOLS)}; missing: {', '.join(missing) or 'root'}")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the base is Debian 12, whose Python is 3.11")
    return tmp_path_factory.mktemp("container")


@pytest.fixture(scope="module")
def context(place: Path) -> Path:
    make_package(place / "tiny", photos=False)
    return write_container(place / "tiny", place / "context")


@pytest.fixture(scope="module")
def root(place: Path, context: Path) -> Path:
    wheels = place / "wheels"
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
    subprocess.run([*fetch, "--requirement", str(context / "requirements.txt")], check=True)
    archive = debian_root(Path(os.environ.get("WEIGHBRIDGE_DEBIAN_ROOT", place / "debian.tar")))
    build(archive, context, wheels, place / "root")
    return place / "root"


def probe(context: Path) -> tuple[str, ...]:
    return next(step.words for step in steps_of((context / "Dockerfile").read_text(encoding="utf-8")) if step.name == "HEALTHCHECK")


def row_of(package: Path) -> str:
    golden = json.loads((package / "golden.json").read_text(encoding="utf-8"))["columns"]
    return json.dumps({"rows": [{name: values[0] for name, values in golden.items()}]})


def answered(container: Container, url: str, row: str) -> dict[str, object]:
    done = container.asked("/opt/weighbridge/bin/python", "-c", ASK, url, row)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_root_holds_what_is_pinned_and_nothing_else(root: Path, context: Path) -> None:
    listed = (context / "requirements.txt").read_text(encoding="utf-8").split()
    folders = [path.name for path in (root / "opt/weighbridge/lib/python3.11/site-packages").glob("*.dist-info")]
    names = sorted(name.removesuffix(".dist-info").replace("_", "-").lower() for name in folders)
    assert names == sorted([line.replace("==", "-").replace("_", "-").lower() for line in listed] + ["weighbridge-0.1.0"])
    size = sum(path.stat().st_size for path in (root / "opt/weighbridge").rglob("*") if path.is_file() and not path.is_symlink())
    print(f"libraries and Weighbridge: {size / 1e6:.0f} MB, {len(names)} distributions")


def test_it_answers_with_tls_as_nobody_and_ends_with_0(root: Path, context: Path, place: Path) -> None:
    certificates = make_pair(place / "tls")
    with start(root, context, [], mounts={"/tls": certificates}) as container:
        ready_s = container.until_ready(probe(context), 120)
        assert container.fact("Uid").split() == ["65532"] * 4
        assert int(container.fact("CapEff"), 16) == 0
        assert int(container.fact("CapBnd"), 16) == 0
        assert container.fact("NoNewPrivs") == "1"
        for path in ("/x", "/srv/package/x", "/opt/weighbridge/x"):
            done = container.asked("/opt/weighbridge/bin/python", "-c", f"open({path!r}, 'w')")
            assert "Read-only file system" in done.stderr
        assert answered(container, "https://127.0.0.1:8000", row_of(place / "tiny"))["model"]
        assert container.stopped(60) == 0
    print(f"ready after {ready_s:.1f} s")


def test_without_a_certificate_it_says_so_and_ends(root: Path, context: Path) -> None:
    with start(root, context, [], mounts={}) as container:
        assert container.process.wait(timeout=60) == 2
        assert "tls.crt" in container.said()


def test_behind_a_loopback_port_it_answers_without_tls(root: Path, context: Path, place: Path) -> None:
    with start(root, context, ["--insecure-bind"], mounts={}) as container:
        container.until_ready(probe(context), 120)
        assert answered(container, "http://127.0.0.1:8000", row_of(place / "tiny"))["predictions"]
        assert container.stopped(60) == 0


def test_an_image_with_another_package_is_not_built(root: Path, context: Path, place: Path) -> None:
    """The step that checks the package is alive: with one byte changed, it ends the build."""
    damaged = place / "damaged"
    shutil.copytree(place / "tiny", damaged)
    write_json(damaged / "golden.json", {"columns": {}, "outputs": []})
    steps = steps_of((context / "Dockerfile").read_text(encoding="utf-8"))
    (check,) = [step.words for step in steps if step.name == "RUN" and "check_golden" in " ".join(step.words)]
    (root / "damaged").mkdir(exist_ok=True)
    subprocess.run(["cp", "-r", "--no-target-directory", str(damaged), str(root / "damaged")], check=True)
    words = [word if word != "/srv/package" else "/damaged" for word in check]
    done = subprocess.run(["chroot", str(root), *words], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "PackageError" in done.stderr
