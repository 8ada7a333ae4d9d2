"""`weigh deploy container PACKAGE -o FOLDER`: a build context from which an image answers with the package, and nothing else is in it.

The image has Python, the exact libraries of requirements.txt, Weighbridge and the package. It runs as a numeric user without rights, with a
read-only root, needs no shell, and refuses to listen without TLS unless it is told to. Equal packages give equal files.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weighbridge
from weighbridge.deployment.names import check_image, label_of
from weighbridge.deployment.requirements import runtime_requirements
from weighbridge.deployment.wheel import build_wheel
from weighbridge.errors import UsageError
from weighbridge.runtime.signature import fingerprint, pem_of_key, read_keys
from weighbridge.storage import fresh_folder, make_folder, move, remove, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from weighbridge.runtime import PackageInfo
    from weighbridge.runtime.signature import Trust

USER = 65532  # the numeric nobody of distroless images: no entry in /etc/passwd is needed
PORT = 8000
HOME, PLACE, STATE, TLS, TRUST = "/opt/weighbridge", "/srv/package", "/state", "/tls", "/trust"
PYTHON = f"{HOME}/bin/python"
PROBE = [PYTHON, "-m", "weighbridge.serving.probe", str(PORT)]
MARK = ".weighbridge-container.json"
CHECK = (
    "import sys, weighbridge; model = weighbridge.load(sys.argv[1], trust=sys.argv[3:] or None); model.check_golden(); "
    "sys.exit(0 if model.info.package_sha256 == sys.argv[2] else 'the package is not the one of this Dockerfile')"
)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a build context is made of. `base`: the image with Python; its digest may be given at build time (--build-arg BASE=...).

    `trust`: public keys, of which one must have signed whatever the image serves; none: any package is.
    """

    package: PackageInfo
    base: str
    wheel: str
    requirements: tuple[str, ...]
    trust: frozenset[bytes] = frozenset()

    @property
    def label(self) -> str:
        """The package's name as an image and a model are called."""
        return label_of(self.package.name)


def default_base() -> str:
    """Return the slim official image with the Python that runs here."""
    return f"docker.io/library/python:{platform.python_version()}-slim-bookworm"


def write_container(package: Path, output: Path, *, base: str | None = None, wheel: Path | None = None, trust: Trust | None = None) -> Path:
    """`output` is a build context for the package; one that was written before is replaced whole. Returns it.

    `trust`: public keys that go into the image, of which one must have signed whatever it serves; None: any package.
    Raises PackageError for a package that is not whole or not signed as asked, UsageError for a folder that is something else,
    DependencyError, StorageError.
    """
    from weighbridge import runtime

    keys = None if trust is None else read_keys(trust)
    model = runtime.load(package, trust=keys)
    model.check_golden()
    check_output(output, MARK)
    name, content = build_wheel() if wheel is None else (_wheel_name(wheel), wheel.read_bytes())
    context = Context(
        package=model.info, base=check_image(base or default_base()), wheel=name, requirements=runtime_requirements(model.info),
        trust=keys or frozenset(),
    )  # fmt: skip
    building = fresh_folder(output.parent / f".{output.name}.building")
    write_bytes(building / name, content)
    _copy_package(package, building / "package")
    for name, text in key_files(context.trust).items():
        write_text(building / "trust" / name, text)
    write_text(building / "requirements.txt", "".join(line + "\n" for line in context.requirements))
    write_text(building / "Dockerfile", dockerfile(context))
    write_text(building / ".dockerignore", "*\n" + "".join(f"!{one}\n" for one in _parts(context)))
    write_text(building / "compose.yaml", compose(context))
    write_text(building / "README.md", readme(context))
    write_json(building / MARK, {"format": 1, "package_sha256": model.info.package_sha256})
    replace_folder(building, output)
    return output


def check_output(output: Path, mark: str) -> None:
    """Raise UsageError unless `output` is absent, empty, or was written by the same command."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise UsageError(f"{output} is not a folder", do="give a new folder with -o")
    if output.is_dir() and not (output / mark).is_file() and any(output.iterdir()):
        raise UsageError(f"{output} holds other files", do="give a new folder with -o; it is written whole")


def replace_folder(building: Path, output: Path) -> None:
    """`output` is what `building` was; what it held before is gone. Raises StorageError."""
    make_folder(output.parent)
    before = output.parent / f".{output.name}.before"
    remove(before)
    if output.exists():
        move(output, before)
    move(building, output)
    remove(before)


def dockerfile(context: Context) -> str:
    """Return the Dockerfile: every step that runs something is in exec form."""
    pip = [PYTHON, "-m", "pip", "install", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--only-binary", ":all:"]
    labels = {
        "org.opencontainers.image.title": context.package.name,
        "org.opencontainers.image.description": f"{context.package.kind} model over HTTP (Open Inference Protocol v2)",
        "org.opencontainers.image.version": context.package.package_sha256[:12],
        "org.opencontainers.image.revision": context.package.model_sha256,
        "org.opencontainers.image.base.name": context.base,
        "io.weighbridge.package.sha256": context.package.package_sha256,
        "io.weighbridge.version": weighbridge.__version__,
    }
    trusted = [TRUST] if context.trust else []
    return "\n".join([
        "# Written by `weigh deploy container`. Pin the base to the digest that you have checked: --build-arg BASE=NAME@sha256:...",
        f"ARG BASE={context.base}",
        "",
        "FROM ${BASE} AS build",
        f"RUN {_exec(['python', '-m', 'venv', HOME])}",
        f"COPY {_exec(['requirements.txt', context.wheel, '/build/'])}",
        f"RUN {_exec([*pip, '--requirement', '/build/requirements.txt', f'/build/{context.wheel}'])}",
        f"COPY {_exec(['package', PLACE])}",
        "# Every byte against the manifest, its own golden answers on these libraries, and that it is this very package.",
        *(f"COPY {_exec(['trust', place])}" for place in trusted),
        f"RUN {_exec([PYTHON, '-c', CHECK, PLACE, context.package.package_sha256, *trust_files(context.trust)])}",
        f"RUN {_exec([PYTHON, '-m', 'pip', 'uninstall', '--yes', '--disable-pip-version-check', 'pip', 'setuptools'])}",
        f"RUN {_exec(['python', '-c', f'import os; os.mkdir({STATE!r})'])}",
        "",
        "FROM ${BASE}",
        *(f"LABEL {name}={quoted(value)}" for name, value in labels.items()),
        f"COPY --from=build {HOME} {HOME}",
        *(f"COPY --from=build {place} {place}" for place in (PLACE, *trusted)),
        f"COPY --from=build --chown={USER}:{USER} {STATE} {STATE}",
        f"ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 HOME={STATE}",
        f"USER {USER}:{USER}",
        f"EXPOSE {PORT}",
        "STOPSIGNAL SIGTERM",
        f"HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD {_exec(PROBE)}",
        f"ENTRYPOINT {_exec(serve_command(context.label, context.trust))}",
        "# Without TLS it says so and ends; behind a proxy on the same machine: --insecure-bind instead.",
        f"CMD {_exec(tls_arguments())}",
        "",
    ])  # fmt: skip


def key_files(trust: Collection[bytes]) -> dict[str, str]:
    """Return the PEM text of each public key by the name of its file."""
    return {f"{fingerprint(key)}.pem": pem_of_key(key) for key in sorted(trust)}


def trust_files(trust: Collection[bytes]) -> list[str]:
    """Return where the keys lie in a container."""
    return [f"{TRUST}/{name}" for name in key_files(trust)]


def serve_command(label: str, trust: Collection[bytes] = ()) -> list[str]:
    """Return the command that an image starts with, in exec form."""
    command = [f"{HOME}/bin/weigh", "serve", f"{label}={PLACE}", "--host", "0.0.0.0", "--port", str(PORT)]
    keys = [word for path in trust_files(trust) for word in ("--trust", path)]
    return [*command, "--state", STATE, "--packages", "/srv", *keys]


def tls_arguments() -> list[str]:
    return ["--tls-cert", f"{TLS}/tls.crt", "--tls-key", f"{TLS}/tls.key"]


def compose(context: Context) -> str:
    """Return compose.yaml: one machine, reached from that machine alone."""
    import yaml

    service: dict[str, Any] = {
        "build": ".",
        "image": f"{context.label}:{context.package.package_sha256[:12]}",
        "command": ["--insecure-bind"],  # the port is published on this machine's loopback alone
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 512,
        "tmpfs": ["/tmp"],
        "volumes": [f"state:{STATE}"],
        "stop_grace_period": "45s",
        "restart": "unless-stopped",
    }
    return yaml.safe_dump({"services": {"model": service}, "volumes": {"state": {}}}, sort_keys=False, allow_unicode=True)


def readme(context: Context) -> str:
    """Return four lines that say how it is built, started, asked and stopped."""
    image = f"{context.label}:{context.package.package_sha256[:12]}"
    return (
        f"Build: `docker build -t {image} .` (pin the base: `--build-arg BASE=NAME@sha256:...`; any builder of OCI images does).\n"
        f"Start: `docker compose up -d`, or with TLS `docker run --read-only --tmpfs /tmp -v state:{STATE} -v CERTS:{TLS}:ro "
        f"-p {PORT}:{PORT} {image} {' '.join(tls_arguments())} --host-name NAME`.\n"
        f"Ask: the admin key is in the volume, {STATE}/first-admin-key; http://localhost:{PORT}/docs shows the routes.\n"
        "Stop: SIGTERM (`docker compose stop`): what was accepted is answered first.\n"
    )


def quoted(text: str) -> str:
    """Return a text as one word of a Dockerfile: no quote, variable, escape or line break of it is read as one."""
    shown = "".join(mark if mark.isprintable() else " " for mark in text)[:200]
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _parts(context: Context) -> list[str]:
    """Return what of the folder goes into the image."""
    return ["requirements.txt", context.wheel, "package", *(["trust"] if context.trust else [])]


def _exec(words: list[str]) -> str:
    return json.dumps(words, ensure_ascii=False)


def _copy_package(package: Path, folder: Path) -> None:
    """`folder` holds the package's files, unpacked where it was one .zip; every byte is verified again."""
    from weighbridge.runtime.archive import read_archive
    from weighbridge.runtime.package import MOST_BYTES, verify

    make_folder(folder)
    if package.is_dir():
        for path in sorted(package.iterdir()):
            shutil.copyfile(path, folder / path.name)
    else:
        for name, content in read_archive(package, MOST_BYTES).items():
            write_bytes(folder / name, content)
    if verify(folder).package_sha256 != verify(package).package_sha256:
        raise UsageError(f"{package} changed while it was copied", do="run the same command again")


def _wheel_name(wheel: Path) -> str:
    if not wheel.is_file() or not wheel.name.startswith("weighbridge-") or not wheel.name.endswith("-py3-none-any.whl"):
        raise UsageError(f"{wheel} is not a wheel of Weighbridge", do="give weighbridge-VERSION-py3-none-any.whl, or leave --wheel out")
    return wheel.name
