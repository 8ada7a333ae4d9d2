"""Law: an image holds exact libraries and the proved package, starts without shell or rights, and no name breaks its file."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import shutil
import socket
import sys
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import weighbridge
from tests.unit.dockerfiles import Step, steps_of
from tests.unit.runtime_packages import make_package
from weighbridge import runtime
from weighbridge.deployment.container import PORT, Context, compose, dockerfile, write_container
from weighbridge.deployment.requirements import pinned, runtime_requirements
from weighbridge.deployment.signing import sign_package
from weighbridge.deployment.wheel import build_wheel
from weighbridge.errors import DependencyError, PackageError, UsageError
from weighbridge.runtime.signature import key_of_pem
from weighbridge.serving.probe import is_ready

HOSTILE = ('x" && rm -rf /', "line\nRUN evil", "${HOME}", "\\", "模型", "a" * 500, "\u202etxt", "$(id)`id`", "--from=x")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "tiny"
    make_package(folder)
    return folder


@pytest.fixture(scope="module")
def folder(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_container(package, tmp_path_factory.mktemp("contexts") / "context")


def named(package: Path, name: str) -> Context:
    info = replace(runtime.verify(package), name=name)
    return Context(package=info, base="python:3.11.7-slim-bookworm", wheel="weighbridge-0.1.0-py3-none-any.whl", requirements=())


def words(steps: list[Step], name: str) -> tuple[str, ...]:
    (found,) = [step.words for step in steps if step.name == name]
    return found


def test_an_image_runs_as_nobody_without_a_shell_and_is_asked_by_python(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text(encoding="utf-8")
    steps = steps_of(text)
    assert words(steps, "USER") == ("65532:65532",)
    for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert not {word.rsplit("/", 1)[-1] for word in words(steps, name)} & {"sh", "bash", "curl", "wget"}
    assert all(f"{name} [" in line for name in ("ENTRYPOINT", "CMD", "RUN") for line in text.splitlines() if line.startswith(name))
    assert not [step for step in steps if "--insecure-bind" in step.words]
    assert words(steps, "EXPOSE") == (str(PORT),)
    assert [step.words for step in steps if step.name == "FROM"] == [("${BASE}", "AS", "build"), ("${BASE}",)]


def test_the_base_is_pinned_to_the_python_that_proved_the_package(folder: Path) -> None:
    (base,) = words(steps_of((folder / "Dockerfile").read_text(encoding="utf-8")), "ARG")
    assert base == f"BASE=docker.io/library/python:{sys.version.split()[0]}-slim-bookworm"


def test_every_copied_thing_is_there_and_let_through(folder: Path) -> None:
    steps = steps_of((folder / "Dockerfile").read_text(encoding="utf-8"))
    copied = {word for step in steps if step.name == "COPY" and "from" not in step.flags for word in step.words[:-1]}
    assert copied == {"requirements.txt", "package", build_wheel()[0]}
    assert set((folder / ".dockerignore").read_text(encoding="utf-8").split()) == {"*", *(f"!{one}" for one in copied)}
    assert all((folder / one).exists() for one in copied)
    assert runtime.verify(folder / "package").package_sha256 in (folder / "Dockerfile").read_text(encoding="utf-8")


def test_what_an_image_starts_is_what_weigh_serve_takes(folder: Path) -> None:
    import typer

    from weighbridge.cli.app import app
    from weighbridge.cli.serve import named as read_names

    steps = steps_of((folder / "Dockerfile").read_text(encoding="utf-8"))
    command = [*words(steps, "ENTRYPOINT"), *words(steps, "CMD")]
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    known = {option for parameter in serve.params for option in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= known
    assert read_names([command[2]]) == {"tiny": Path("/srv/package")}


def test_an_image_that_trusts_a_key_holds_it_and_starts_with_it(package: Path, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signed = Path(shutil.copytree(package, tmp_path / "signed"))
    sign_package(signed, key)
    public = key.public_key().public_bytes_raw()
    with pytest.raises(PackageError, match="not signed"):
        write_container(package, tmp_path / "no", trust=[public])
    assert not (tmp_path / "no").exists()
    context = write_container(signed, tmp_path / "image", trust=[public])
    steps = steps_of((context / "Dockerfile").read_text(encoding="utf-8"))
    entry = words(steps, "ENTRYPOINT")
    place = entry[entry.index("--trust") + 1]
    assert key_of_pem((context / place.lstrip("/")).read_text(encoding="ascii"), place) == public
    assert [step.words for step in steps if step.name == "COPY" and "trust" in step.words[0]] == [("trust", "/trust"), ("/trust", "/trust")]
    assert next(step.words[-1] for step in steps if step.name == "RUN" and "-c" in step.words) == place
    assert "!trust" in (context / ".dockerignore").read_text(encoding="utf-8").split()
    assert (context / "package" / "signature.json").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_a_dockerfile(package: Path, name: str) -> None:
    plain, hostile = (steps_of(dockerfile(named(package, one))) for one in ("tiny", name))
    assert [step.name for step in plain] == [step.name for step in hostile]
    assert [step.words for step in plain if step.name == "RUN"] == [step.words for step in hostile if step.name == "RUN"]
    title = dict(step.words for step in hostile if step.name == "LABEL")["org.opencontainers.image.title"]
    assert title == "".join(mark if mark.isprintable() else " " for mark in name)[:200]
    assert yaml.safe_load(compose(named(package, name))).keys() == {"services", "volumes"}


def test_compose_publishes_on_this_machine_alone(folder: Path) -> None:
    service = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]["model"]
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


def test_equal_packages_give_equal_folders_and_a_zip_the_same(package: Path, folder: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "tiny.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in package.iterdir():
            archive.write(path, path.name)
    again = write_container(zipped, tmp_path / "again")
    read = [{path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()} for one in (folder, again)]
    assert read[0] == read[1]
    assert write_container(package, again) == again  # what it wrote before it may write anew
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_changed_package_and_a_foreign_folder_are_refused(package: Path, tmp_path: Path) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(package, damaged)
    (damaged / "model.onnx").write_bytes((damaged / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(PackageError):
        write_container(damaged, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="other files"):
        write_container(package, tmp_path / "mine")
    with pytest.raises(UsageError, match="not a wheel"):
        write_container(package, tmp_path / "out", wheel=tmp_path / "mine" / "notes.txt")
    with pytest.raises(UsageError, match="reference of an image"):
        write_container(package, tmp_path / "out", base="python 3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "mine"]


def test_the_wheel_is_whole_and_equal_each_time() -> None:
    name, content = build_wheel()
    assert build_wheel() == (name, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        about = name.removesuffix("-py3-none-any.whl") + ".dist-info/"
        rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(archive.read(about + "RECORD").decode()))}
        assert set(rows) == set(archive.namelist())
        for place, (digest, size) in rows.items():
            body = archive.read(place)
            wanted = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
            assert place == about + "RECORD" or (digest, int(size)) == (f"sha256={wanted}", len(body))
        assert f"weighbridge/{Path(weighbridge.__file__).name}" in rows
        assert "weighbridge/py.typed" in rows
        assert not [place for place in rows if "__pycache__" in place]


def test_the_list_is_closed_exact_and_as_small_as_the_package_allows() -> None:
    kinds: dict[str, Any] = {kind: SimpleNamespace(inputs=(("a", kind),)) for kind in ("number", "image", "text")}
    names = {kind: {line.split("==")[0] for line in runtime_requirements(info, serve=False)} for kind, info in kinds.items()}
    assert {"numpy", "onnxruntime"} <= names["number"]
    assert names["image"] - names["number"] == {"pillow"}
    assert names["text"] - names["number"] == {"tokenizers"}
    assert not names["text"] & {"torch", "pandas", "scipy", "scikit-learn", "huggingface-hub", "pydantic"}
    lines = runtime_requirements(kinds["number"])
    for line in lines:
        name, version = line.split("==")
        assert metadata.version(name) == version
    assert pinned(line.split("==")[0] for line in lines) == lines, "what each of them needs is on the list"


def test_a_library_that_is_not_here_is_named() -> None:
    with pytest.raises(DependencyError, match="pip install no-such-library-here"):
        pinned(["no-such-library-here"])


def test_markers_are_judged_for_where_the_list_is_installed() -> None:
    assert not [line for line in pinned(["typer"]) if line.startswith("colorama")]


def test_what_the_server_imports_is_on_the_list() -> None:
    """A new import of the serving code must not be missing first in somebody's container."""
    root = Path(weighbridge.__file__).parent
    rooms = [path for room in ("serving", "runtime", "feedback", "storage") for path in (root / room).rglob("*.py")]
    files = [*rooms, root / "cli" / "serve.py", root / "cli" / "app.py"]
    found = {name for file in files for name in third_party(ast.parse(file.read_text(encoding="utf-8")))}
    everything: Any = SimpleNamespace(inputs=(("a", "image"), ("b", "text")))
    known = {line.split("==")[0].replace("-", "_") for line in runtime_requirements(everything)}
    spelled = {"PIL": "pillow", "yaml": "pyyaml"}
    # Parquet, encrypted rows, a training, the statistics of `weigh watch`, files behind a URL: no part of a server
    not_served = {"fsspec", "pyarrow", "tenseal", "safetensors", "torch", "pynvml", "scipy", "sklearn"}
    assert {spelled.get(name, name).lower() for name in found} - known - not_served == set()
    assert {"httptools", "onnxruntime", "prometheus_client"} <= found, "the search itself finds imports"


def third_party(tree: ast.AST) -> set[str]:
    """Return the top names of modules that are neither Python's nor ours, but for those imported for types alone."""
    typing = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
              for inner in ast.walk(node)}  # fmt: skip
    names = set()
    for node in (node for node in ast.walk(tree) if id(node) not in typing):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        names |= {module.split(".")[0] for module in modules}
    return {name for name in names if name not in sys.stdlib_module_names and name not in ("weighbridge", "rich", "matplotlib")}


class Answers(BaseHTTPRequestHandler):
    """Answers as a server whose models are, or are not, ready."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/v2/health/ready" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_the_probe_says_whether_the_server_is_ready(status: int, ready: bool) -> None:
    server = HTTPServer(("127.0.0.1", 0), type("One", (Answers,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        assert is_ready(server.server_port) is ready
    finally:
        server.shutdown()
        server.server_close()


def test_the_probe_says_no_where_nothing_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        assert is_ready(held.getsockname()[1]) is False
