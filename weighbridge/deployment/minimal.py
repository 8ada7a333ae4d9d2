"""The least that a device must install to answer with the package, as exact pins, and the proof that it is enough.

    deployment/requirements.txt   pip install --no-deps -r requirements.txt, and pip install --no-deps weighbridge

Proof: a fresh process that can import these distributions and Python's own modules, and nothing else, loads the package and answers its
golden rows; of a package with images it also reads one from a file's bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from weighbridge.deployment.libraries import ANSWERS, by_types
from weighbridge.errors import DependencyError, RefusedArtefact
from weighbridge.findings import Finding, Message, Verdict
from weighbridge.storage import read_json, remove, write_text

FILE = "requirements.txt"
IN_CHILD = """
import json, sys

asked = json.loads(sys.argv[1])

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in asked["modules"]:
            raise ModuleNotFoundError(f"No module named {name!r}, which is not of {sorted(asked['modules'])}", name=name)

sys.meta_path.insert(0, Only())
sys.path[:] = [path for path in sys.path if "-packages" not in path] + asked["places"]
import weighbridge
model = weighbridge.load(asked["package"], threads=1)
model.check_golden()
if "image" in model.signature.values():
    import io
    import PIL.Image
    png = io.BytesIO()
    PIL.Image.new("RGB", (9, 7)).save(png, "PNG")
    empty = {name: [None] for name in model.signature}
    model.predict(empty | {name: [png.getvalue()] for name, kind in model.signature.items() if kind == "image"})
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A distribution: its name and version as installed here, the top-level names that it brings, and the bytes of its files.

    Compiled bytecode is not counted: pip makes it, or not.
    """

    name: str
    version: str
    modules: frozenset[str]
    place: str
    size_bytes: int


def minimal_finding(package: Path, command: str) -> Finding:
    """`requirements.txt` beside the package names the least that answers it; returns the bytes of that and of weighbridge itself.

    A limitation, and no such file, where a fresh process with these and nothing else does not answer; unmeasured where it is not known
    what a library's files are.
    """
    remove(package.parent / FILE)
    title = Message("Smallest installation that answers the package")
    try:
        parts, own = [part_of(name) for name in needed(package)], own_part()
        prove(package, [*parts, own])
    except (DependencyError, RefusedArtefact) as error:
        known: Verdict = "limitation" if isinstance(error, RefusedArtefact) else "unmeasured"
        value = "not enough" if isinstance(error, RefusedArtefact) else None
        why = Message("{why}", why=str(error))
        return Finding(key="deployment.minimal", title=title, verdict=known, value=value, reason=why, command=f"{command} --only minimal")
    write_text(package.parent / FILE, requirements(parts))
    return Finding(
        key="deployment.minimal",
        title=title,
        value=sum(part.size_bytes for part in [*parts, own]),
        unit="bytes",
        n=len(parts) + 1,
        n_of="libraries",
        reason=Message(
            "{names}, and weighbridge with {own} MB, each without what else it asks for",
            names=", ".join(f"{part.name} {part.version} {part.size_bytes / 1e6:.1f} MB" for part in parts),
            own=round(own.size_bytes / 1e6, 1),
        ),
        method=Message(
            "sum of the files of these libraries, bytecode aside; a fresh process that can import nothing else has answered the golden rows"
        ),
        evidence=(f"deployment/{FILE}",),
        command=f"{command} --only minimal",
    )


def needed(package: Path) -> tuple[str, ...]:
    """Return the distributions that the package's columns need, beside weighbridge."""
    types = {one["type"] for one in read_json(package / "package.json")["inputs"]}
    return tuple(name for name in (*ANSWERS, *by_types(types)) if name != "weighbridge")


def part_of(name: str) -> Part:
    """Return an installed distribution. Raises DependencyError where it, or the list of its files, is missing."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise DependencyError(f"{name} is not installed under this name", do=f"pip install {name}") from None
    files = [file for file in found.files or () if "__pycache__" not in file.parts and ".." not in file.parts]
    if not files:
        raise DependencyError(f"{name} was installed without a list of its files", do="install it with pip or uv")
    place = Path(str(found.locate_file("")))
    modules = {file.parts[0].partition(".")[0] for file in files if not file.parts[0].endswith((".dist-info", ".libs"))}
    size = sum((place / file).stat().st_size for file in files if (place / file).is_file())
    return Part(name=name, version=found.version, modules=frozenset(modules), place=str(place), size_bytes=size)


def own_part() -> Part:
    """Return weighbridge as its wheel has it: what lies in the package, wherever it is imported from."""
    import weighbridge

    folder = Path(str(weighbridge.__file__)).parent
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    size = sum(path.stat().st_size for path in files)
    return Part(
        name="weighbridge", version=weighbridge.__version__, modules=frozenset({"weighbridge"}), place=str(folder.parent), size_bytes=size
    )


def requirements(parts: list[Part]) -> str:
    """Return requirements.txt: exact pins, and how they are installed."""
    lines = [
        "# What answers the package beside this file, and nothing else:",
        f"#   pip install --no-deps -r {FILE} && pip install --no-deps weighbridge=={own_part().version}",
        *(f"{part.name}=={part.version}" for part in parts),
    ]
    return "\n".join(lines) + "\n"


def prove(package: Path, parts: list[Part]) -> None:
    """Raise RefusedArtefact unless a fresh process that can import only these parts answers the package's golden rows."""
    asked = {
        "modules": sorted(set().union(*(part.modules for part in parts))),
        "places": list(dict.fromkeys(part.place for part in reversed(parts))),
        "package": str(package),
    }
    command = [sys.executable, "-I", "-S", "-c", IN_CHILD, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RefusedArtefact(f"the package does not answer with {', '.join(part.name for part in parts)} alone ({last[:200]})")
