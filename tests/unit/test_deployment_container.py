"""Law: an image holds exact libraries and the proved package, starts without shell or rights, and no name breaks its file."""

from __future__ import annotations

import ast
import socket
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.dockerfiles import Step, steps_of
from tests.unit.runtime_packages import make_package
from weighbridge import runtime
from weighbridge.deployment.container import PORT, Context, write_container
from weighbridge.deployment.requirements import runtime_requirements
from weighbridge.deployment.wheel import build_wheel
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

    steps = steps_of((folder / "Dockerfile").read_text(encoding="utf-8"))
    command = [*words(steps, "ENTRYPOINT"), *words(steps, "CMD")]
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    everything: Any = SimpleNamespace(inputs=(("a", "image"), ("b", "text")))
    known = {line.split("==")[0].replace("-", "_") for line in runtime_requirements(everything)}
    spelled = {"PIL": "pillow", "yaml": "pyyaml"}
    not_served = {"pyarrow", "tenseal", "safetensors"}  # rows of a Parquet file; encrypted rows
    assert {spelled.get(name, name).lower() for name in found} - known - not_served == set()
    assert {"uvicorn", "onnxruntime", "prometheus_client"} <= found, "the search itself finds imports"


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
