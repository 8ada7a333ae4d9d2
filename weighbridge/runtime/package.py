"""A package folder is exactly what its manifest says, checked before anything of it is used.

    model.onnx  package.json  golden.json  card.md (optional)  manifest.json

A package for a device may hold its graph as model.pte, a program of ExecuTorch, instead of model.onnx.

manifest.json: {"files": {name: {"sha256", "size_bytes"}}, "format": 1, "sha256": hash of "files"}, in one canonical spelling, so
that a change of any byte of any file, its own included, is found. It shows that nothing was changed since it was written; who
wrote it is the business of a signature. The folder may also come as one .zip, which is read and never unpacked.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import PackageError
from weighbridge.runtime.archive import read_archive
from weighbridge.storage import canonical_json, sha256_bytes, sha256_file, sha256_json, write_text

FORMAT = 1
MANIFEST = "manifest.json"
GRAPH, PROGRAM = "model.onnx", "model.pte"
REQUIRED = ("package.json", "golden.json")  # and one of the two graphs
KNOWN = (GRAPH, PROGRAM, *REQUIRED, "card.md")
MOST_BYTES = {MANIFEST: 1 << 20, GRAPH: 2 << 30, PROGRAM: 2 << 30, "package.json": 256 << 20, "golden.json": 64 << 20, "card.md": 4 << 20}
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}(\.[A-Za-z0-9_-]{1,20}){0,3}", re.ASCII)
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII | re.IGNORECASE)
AGAIN = "build or download the package again"
KINDS = ("category", "number", "set")
GOLDEN_TOLERANCE, WIDEST_TOLERANCE = 1e-4, 0.05


@dataclass(frozen=True, kw_only=True)
class PackageInfo:
    """What a verified package says about itself.

    Attributes:
        kind: `category`, `number` or `set`; `classes` are in the order of the output's columns.
        inputs: name and type of each column that a row must have.
        output: `probabilities` or `value`.
        model_sha256: names the model; from package.json, else the hash of its graph.
        package_sha256: names everything in the folder.
        encoder: the state of the preprocessing, for Encoder.from_json.
        content: package.json as it is.
        golden_tolerance: how far a machine's answers to the golden rows may be from those kept.
    """

    folder: Path
    name: str
    kind: str
    classes: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    output: str
    model_sha256: str
    package_sha256: str
    encoder: dict[str, Any] = field(repr=False)
    content: dict[str, Any] = field(repr=False)
    golden_tolerance: float = GOLDEN_TOLERANCE


def write_manifest(folder: Path) -> str:
    """`folder` holds manifest.json over every other file; returns the hash that names the package.

    Raises PackageError for a file that no package may hold.
    """
    files = {}
    for name in sorted(_names_in(folder) - {MANIFEST}):
        path = resolve(folder, name)
        files[name] = {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}
    _refuse_wrong_set(folder, set(files), set(files))
    digest = sha256_json(files)
    write_text(folder / MANIFEST, canonical_json({"format": FORMAT, "files": files, "sha256": digest}) + "\n")
    return digest


def verify(folder: Path) -> PackageInfo:
    """Return what the package says about itself; every byte of it is what the manifest lists, and nothing else is there.

    Raises PackageError that names the file: extra, missing, changed, too large, a link, a name that leads elsewhere, a newer format.
    """
    return open_package(folder)[0]


def open_package(folder: Path) -> tuple[PackageInfo, dict[str, bytes]]:
    """Return the verified package (a folder or a .zip of one) and its files' contents: what was hashed is what is used."""
    if folder.is_file() and folder.suffix.lower() == ".zip":
        archive = read_archive(folder, MOST_BYTES)
        listed, digest = _manifest(folder, archive.pop(MANIFEST, b""))
        _refuse_wrong_set(folder, set(listed), set(archive))
        contents = {name: _listed(folder, name, archive[name], listed[name]) for name in sorted(listed)}
    else:
        if not folder.is_dir():
            do = "give the folder that holds package.json and manifest.json, or a .zip of it"
            raise PackageError(f"there is no package {folder}", do=do)
        listed, digest = _manifest(folder, _read(folder, MANIFEST))
        _refuse_wrong_set(folder, set(listed), _names_in(folder) - {MANIFEST})
        contents = {name: _listed(folder, name, _read(folder, name, listed[name]["size_bytes"]), listed[name]) for name in sorted(listed)}
    return _info(folder, parse_json(contents["package.json"], "package.json"), digest, listed), contents


def resolve(folder: Path, name: str) -> Path:
    """Return the regular file of this name directly in `folder`: the one way from a name in a package to a path.

    Raises PackageError for anything that is not a plain portable file name (separators, dots that climb, drives, control
    characters, device names), for links and for what is not a regular file.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or DEVICES.fullmatch(name):
        raise PackageError(f"{str(name)[:80]!r} is not a name that a file of a package may have", do=AGAIN)
    path = folder / name
    try:
        mode = path.lstat().st_mode
    except OSError:
        raise PackageError(f"{name} is missing from {folder}", do=AGAIN) from None
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise PackageError(f"{name} in {folder} is {what}", do="a package holds plain files only; copy it with its contents")
    return path


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises PackageError: no UTF-8, no JSON, NaN, nested too deep, not an object."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{name} is not valid JSON ({str(error)[:100]})", do=AGAIN) from None
    if not isinstance(value, dict):
        raise PackageError(f"{name} does not hold an object", do=AGAIN)
    return value


def _manifest(folder: Path, content: bytes) -> tuple[dict[str, dict[str, Any]], str]:
    manifest = parse_json(content, MANIFEST)
    refuse_newer(manifest, MANIFEST)
    files = manifest.get("files")
    if not isinstance(files, dict) or set(manifest) != {"files", "format", "sha256"} or not all(map(_is_entry, files.values())):
        raise PackageError(f"{MANIFEST} of {folder} does not have the form of a manifest", do=AGAIN)
    if manifest["sha256"] != sha256_json(files) or content != (canonical_json(manifest) + "\n").encode():
        raise PackageError(f"{MANIFEST} of {folder} was changed after it was written", do=AGAIN)
    return files, manifest["sha256"]


def refuse_newer(content: dict[str, Any], name: str) -> None:
    """Raise PackageError unless the file's format is one that this code reads."""
    found = content.get("format")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise PackageError(f"{name} names no format", do=AGAIN)
    if found > FORMAT:
        raise PackageError(f"{name} has format {found}, this Weighbridge reads up to {FORMAT}", do="install a newer weighbridge")


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and set(entry) == {"sha256", "size_bytes"} and type(entry["size_bytes"]) is int


def _refuse_wrong_set(folder: Path, listed: set[str], found: set[str]) -> None:
    """Raise PackageError that names the first file that is too many or too few."""
    for name in sorted(listed):
        if name not in KNOWN:
            resolve(folder, name)
            raise PackageError(f"{name} in {folder} is not a file that a package holds", do=f"a package holds {', '.join(KNOWN)}")
    for names, what in ((found - listed, "is not listed in its manifest"), (listed - found, "is listed in its manifest and missing")):
        if names:
            raise PackageError(f"{sorted(names)[0][:80]!r} in {folder} {what}", do=AGAIN)
    missing = [name for name in REQUIRED if name not in listed] or ([] if {GRAPH, PROGRAM} & listed else [GRAPH])
    if missing:
        raise PackageError(f"{missing[0]} is missing from {folder}", do=AGAIN)
    if {GRAPH, PROGRAM} <= listed:
        raise PackageError(f"{folder} holds both {GRAPH} and {PROGRAM}", do="a package holds one graph; " + AGAIN)


def _names_in(folder: Path) -> set[str]:
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}


def _listed(folder: Path, name: str, content: bytes, entry: dict[str, Any]) -> bytes:
    if sha256_bytes(content) != entry["sha256"]:
        raise PackageError(f"{name} in {folder} is not the file that the manifest lists: its content was changed", do=AGAIN)
    return content


def _read(folder: Path, name: str, size: int | None = None) -> bytes:
    """Return a file's content, its size checked before a byte is read."""
    path = resolve(folder, name)
    found = path.stat().st_size
    if found > MOST_BYTES[name]:
        raise PackageError(f"{name} in {folder} has {found:,} bytes, at most {MOST_BYTES[name]:,} are read", do=AGAIN)
    if size is not None and found != size:
        raise PackageError(f"{name} in {folder} has {found:,} bytes, the manifest lists {size:,}", do=AGAIN)
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        return file.read(found + 1)


def _info(folder: Path, content: dict[str, Any], digest: str, listed: dict[str, dict[str, Any]]) -> PackageInfo:
    refuse_newer(content, "package.json")
    try:
        info = PackageInfo(
            folder=folder, name=str(content.get("name", folder.name)), kind=content["kind"], classes=tuple(content["classes"] or ()),
            inputs=tuple((one["name"], one["type"]) for one in content["inputs"]), output=content["output"], package_sha256=digest,
            model_sha256=str(content.get("model_sha256") or listed[next(name for name in (GRAPH, PROGRAM) if name in listed)]["sha256"]),
            encoder=content["encoder"], content=content,
            golden_tolerance=content.get("golden_tolerance", GOLDEN_TOLERANCE),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"package.json lacks {error}", do=AGAIN) from None
    texts = [*info.classes, *(word for pair in info.inputs for word in pair)]
    expected = "value" if info.kind == "number" else "probabilities"
    if info.kind not in KINDS or info.output != expected or not all(isinstance(text, str) for text in texts):
        raise PackageError(f"package.json: kind {info.kind!r} with output {info.output!r} is not a model", do=AGAIN)
    if not isinstance(info.encoder, dict):
        raise PackageError("package.json holds no encoder", do=AGAIN)
    if not isinstance(info.golden_tolerance, float) or not 0 < info.golden_tolerance <= WIDEST_TOLERANCE:
        raise PackageError(f"package.json: golden_tolerance is not a number above 0 and at most {WIDEST_TOLERANCE}", do=AGAIN)
    return info


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
