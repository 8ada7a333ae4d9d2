"""A package folder is exactly what its manifest says, checked before anything of it is used.

    model.onnx  package.json  golden.json  contract.json  sbom.cdx.json  card.md  manifest.json  signature.json

A package for a device may hold its graph as model.pte, a program of ExecuTorch, instead of model.onnx.

manifest.json: {"files": {name: {"sha256", "size_bytes"}}, "format": 1 or 2, "sha256": hash of "files"}, in one canonical spelling, so
that a change of any byte of any file, its own included, is found. It shows that nothing was changed since it was written; who wrote it
is said by signature.json, over the manifest and not in it, where there is one. The folder may also come as one .zip, which is read and
never unpacked. Format 2 is a package that holds more than the first version read: contract.json, sbom.cdx.json, model.pte.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from weighbridge.errors import PackageError
from weighbridge.runtime.archive import read_archive
from weighbridge.runtime.json_file import AGAIN, parse_json, refuse_newer
from weighbridge.runtime.signature import FILE as SIGNATURE
from weighbridge.runtime.signature import Signature, Trust, verify_signature
from weighbridge.storage import canonical_json, sha256_bytes, sha256_file, sha256_json, write_text

FORMAT, ABOUT_FORMAT = 2, 1  # of the manifest, of package.json
MANIFEST = "manifest.json"
BESIDE = {MANIFEST, SIGNATURE}  # what a manifest does not list
GRAPH, PROGRAM = "model.onnx", "model.pte"
REQUIRED = ("package.json", "golden.json")  # and one of the two graphs
FIRST = (GRAPH, *REQUIRED, "card.md")  # all that a package of format 1 may hold
KNOWN = (*FIRST, PROGRAM, "contract.json", "sbom.cdx.json")
MOST_BYTES = {
    MANIFEST: 1 << 20, SIGNATURE: 4 << 10, GRAPH: 2 << 30, PROGRAM: 2 << 30, "package.json": 256 << 20, "golden.json": 64 << 20,
    "card.md": 4 << 20, "contract.json": 64 << 20, "sbom.cdx.json": 16 << 20,
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}(\.[A-Za-z0-9_-]{1,20}){0,3}", re.ASCII)
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII | re.IGNORECASE)
KINDS = ("category", "number", "set")
GOLDEN_TOLERANCE, WIDEST_TOLERANCE = 1e-4, 0.05
Listed = dict[str, dict[str, Any]]  # name -> sha256, size_bytes
Read = Callable[[str, int | None], bytes]


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
        signature: who signed it; None for a package that bears no signature.
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
    signature: Signature | None = None


def write_manifest(folder: Path) -> str:
    """`folder` holds manifest.json over every other file; returns the hash that names the package.

    A signature of an earlier manifest no longer verifies: sign again. Raises PackageError for a file that no package may hold.
    """
    files = {}
    for name in sorted(_names_in(folder) - BESIDE):
        path = resolve(folder, name)
        files[name] = {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}
    _refuse_wrong_set(folder, set(files), set(files))
    digest = sha256_json(files)
    written = FORMAT if set(files) - set(FIRST) else 1
    write_text(folder / MANIFEST, canonical_json({"format": written, "files": files, "sha256": digest}) + "\n")
    return digest


def verify(folder: Path, *, trust: Trust | None = None) -> PackageInfo:
    """Return what the package says about itself; every byte of it is what the manifest lists, and nothing else is there.

    Raises PackageError that names the file: extra, missing, changed, too large, a link, a name that leads elsewhere, a newer format; a
    signature that does not verify, or with `trust` one of none of these keys, or none at all. See signature.verify_signature.
    """
    return open_package(folder, trust=trust)[0]


def open_package(folder: Path, *, trust: Trust | None = None) -> tuple[PackageInfo, dict[str, bytes]]:
    """Return the verified package (a folder or a .zip of one) and its files' contents: what was hashed is what is used."""
    found, read = _source(folder)
    manifest = read(MANIFEST, None)
    signature = verify_signature(folder, manifest, read(SIGNATURE, None) if SIGNATURE in found else None, trust)
    listed, digest, contents = _contents(folder, manifest, found, read)
    info = _info(folder, parse_json(contents["package.json"], "package.json"), digest, listed)
    return replace(info, signature=signature), contents


def is_program(folder: Path) -> bool:
    """Return whether a package, not verified here, holds its graph as a program of ExecuTorch. Raises PackageError where there is none."""
    return PROGRAM in _source(folder)[0]


def read_manifest(folder: Path) -> bytes:
    """Return manifest.json of a package that is what it lists, whatever its signature. Raises PackageError."""
    found, read = _source(folder)
    manifest = read(MANIFEST, None)
    _contents(folder, manifest, found, read)
    return manifest


def _source(folder: Path) -> tuple[set[str], Read]:
    """Return the names of the files that are there, and what reads one of them, of this size where it is known. Raises PackageError."""
    if folder.is_file() and folder.suffix.lower() == ".zip":
        archive = read_archive(folder, MOST_BYTES)
        return set(archive), lambda name, size: archive.get(name, b"")
    if not folder.is_dir():
        do = "give the folder that holds package.json and manifest.json, or a .zip of it"
        raise PackageError(f"there is no package {folder}", do=do)
    return _names_in(folder), partial(_read, folder)


def _contents(folder: Path, manifest: bytes, found: set[str], read: Read) -> tuple[Listed, str, dict[str, bytes]]:
    """Return what the manifest lists, the hash that names it, and each file's content, which is the listed one. Raises PackageError."""
    listed, digest = _manifest(folder, manifest)
    _refuse_wrong_set(folder, set(listed), found - BESIDE)
    return listed, digest, {name: _listed(folder, name, read(name, listed[name]["size_bytes"]), listed[name]) for name in sorted(listed)}


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


def _manifest(folder: Path, content: bytes) -> tuple[Listed, str]:
    manifest = parse_json(content, MANIFEST)
    refuse_newer(manifest, MANIFEST, newest=FORMAT)
    files = manifest.get("files")
    if not isinstance(files, dict) or set(manifest) != {"files", "format", "sha256"} or not all(map(_is_entry, files.values())):
        raise PackageError(f"{MANIFEST} of {folder} does not have the form of a manifest", do=AGAIN)
    if manifest["sha256"] != sha256_json(files) or content != (canonical_json(manifest) + "\n").encode():
        raise PackageError(f"{MANIFEST} of {folder} was changed after it was written", do=AGAIN)
    return files, manifest["sha256"]


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


def _info(folder: Path, content: dict[str, Any], digest: str, listed: Listed) -> PackageInfo:
    refuse_newer(content, "package.json", newest=ABOUT_FORMAT)
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
