"""A root from the steps of a Dockerfile, and a server started in it as a container would be: without Docker, by what Debian brings.

The base is Debian's Python of the same version; pip takes the libraries from files that were fetched before. All else are the steps of the
Dockerfile itself, run in the root one by one. The server is then alone in its network and its processes, its root is read-only, and it is
user 65532 without any capability.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import shlex
import signal
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.unit.dockerfiles import Step, steps_of

LO_UP = "import socket, fcntl, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # as the official image has it


def debian_root(archive: Path) -> Path:
    """`archive` is a tar of a Debian that has Python with venv, and nothing more than that needs."""
    packages = "python3-venv,python-is-python3"
    if not archive.exists():
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(archive)], check=True)
    return archive


def build(archive: Path, context: Path, wheels: Path, root: Path) -> None:
    """`root` is what the steps of the context's Dockerfile make of the base; both of its stages work in it."""
    root.mkdir()
    with tarfile.open(archive) as base:
        base.extractall(root, filter="fully_trusted")  # it has device nodes, and was made here
    environment = {"PATH": PATH, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "HOME": "/root"}
    _copy(wheels, root / "wheels")
    for step in steps_of((context / "Dockerfile").read_text(encoding="utf-8")):
        if step.name == "RUN":
            subprocess.run(_inside(root, step.words), env=environment, check=True, capture_output=True, text=True)
        elif step.name == "COPY":
            _copied(step, context, root)
    subprocess.run(["rm", "-rf", str(root / "wheels"), str(root / "build")], check=True)


def _copied(step: Step, context: Path, root: Path) -> None:
    *sources, target = step.words
    for source in sources:
        if "from" not in step.flags:
            place = root / target.lstrip("/")
            _copy(context / source, place / source if target.endswith("/") else place)
    if owner := step.flags.get("chown"):
        user, group = map(int, owner.split(":"))
        os.chown(root / target.lstrip("/"), user, group)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--recursive", "--no-target-directory", str(source), str(target)], check=True)


def _inside(root: Path, words: tuple[str, ...]) -> list[str]:
    (root / "proc").mkdir(exist_ok=True)
    return ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root / 'proc'}", "chroot", str(root), *words]


@dataclass(frozen=True, kw_only=True)
class Container:
    """A started server; `pid` of its first process, seen from here."""

    process: subprocess.Popen[str]
    pid: int
    root: Path
    environment: dict[str, str]

    def asked(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as its user, and return how it ended."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "chroot", str(self.root), *NOBODY, *words]
        return subprocess.run(enter, env=self.environment, capture_output=True, text=True, check=False, timeout=60)

    def fact(self, name: str) -> str:
        """Return a line of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))

    def until_ready(self, probe: tuple[str, ...], limit_s: float) -> float:
        """Return the seconds until the health check holds. Raises AssertionError when the server has ended or does not come."""
        start = time.monotonic()
        while self.asked(*probe).returncode:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - start < limit_s, "the server did not get ready"
            time.sleep(0.2)
        return time.monotonic() - start

    def stopped(self, limit_s: float) -> int:
        """Send SIGTERM to the first process and return the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(timeout=limit_s)

    def said(self) -> str:
        """Return what it printed, once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of it runs on; its mounts go with its namespace."""
        self.process.kill()
        self.process.communicate()


def make_pair(folder: Path) -> Path:
    """`folder` holds tls.crt and tls.key for 127.0.0.1, signed by itself, as a mounted secret would: readable by the container's user."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir()
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tls.key").write_bytes(private)
    for path in folder.iterdir():
        os.chown(path, 65532, 65532)
        path.chmod(0o400)
    return folder


NOBODY = ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def start(root: Path, context: Path, arguments: list[str], *, mounts: dict[str, Path]) -> Container:
    """Start the Dockerfile's entry point with arguments (its CMD when there are none), read-only but for /state and /tmp."""
    steps = steps_of((context / "Dockerfile").read_text(encoding="utf-8"))
    found = {step.name: step.words for step in steps}
    assert found["USER"] == ("65532:65532",)
    environment = {"PATH": PATH, **dict(word.split("=", 1) for word in found["ENV"])}
    command = [*found["ENTRYPOINT"], *(arguments or found["CMD"])]
    place = shlex.quote(str(root))
    lines = [f"mount --bind {place} {place}"]
    for name, source in mounts.items():
        (root / name.lstrip("/")).mkdir(exist_ok=True)
        lines += [f"mount --bind {shlex.quote(str(source))} {place}{name}", f"mount -o remount,bind,ro {place}{name}"]
    lines += [
        f"mount -t tmpfs -o mode=1777 tmpfs {place}/tmp", f"mount -t tmpfs -o uid=65532,gid=65532,mode=700 tmpfs {place}/state",
        f"mount -t proc proc {place}/proc", f"mount -o remount,bind,ro {place}", f"/usr/bin/python3 -c {shlex.quote(LO_UP)}",
        f"exec chroot {place} {shlex.join([*NOBODY, *command])}",
    ]  # fmt: skip
    script = "set -e\n" + "\n".join(lines)
    process = subprocess.Popen(
        ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "sh", "-c", script],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return Container(process=process, pid=_child(process), root=root, environment=environment)


def _child(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(200):
        if found := children.read_text(encoding="utf-8").split():
            return int(found[0])
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("no process was started")
