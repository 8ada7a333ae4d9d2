"""Which versions the package runs on, and which of them a given list of known vulnerabilities names. Nothing is fetched.

Read are: the JSON of pip-audit; records of the Open Source Vulnerability format (a JSON record or list, JSON lines, a folder or a .zip of
them, such as OSV's own export for PyPI). What no list says is not known: without one, nothing is said about vulnerabilities.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json

TITLE = Message("Known vulnerabilities of what it runs on")
EVIDENCE = "audit/dependencies.json"
SERVING = ("numpy", "onnxruntime")  # what a package needs to answer, beside what its columns need
BY_BLOCK = {"text": "tokenizers", "image": "pillow", "audio": "soundfile"}
LARGEST = 64 << 20
SHOWN = 5


def dependency_findings(subject: Subject) -> list[Finding]:
    """Return the finding about known vulnerabilities; audit/dependencies.json holds every version. Raises Unmeasured without a list."""
    versions = installed(["weighbridge"]) or everything()
    needed = installed([*SERVING, *(name for kind, name in BY_BLOCK.items() if subject.blocks(kind))])
    place = subject.recipe.audit.security.advisories
    write_json(subject.folder / EVIDENCE, {"versions": versions, "serving": sorted(needed), "advisories": place})
    if place is None:
        raise Unmeasured(
            Message(
                "no list of known vulnerabilities is given (audit.security.advisories); {n} versions are in {file}, {serving} serve",
                n=len(versions), serving=len(needed), file=EVIDENCE,
            )
        )  # fmt: skip
    known = list(records(Path(place)))
    if not known:
        raise Unmeasured(Message("{file} holds no record of a Python package", file=place))
    holes = {name: sorted(set(vulnerable(name, version, known))) for name, version in versions.items()}
    return [_finding(subject, versions, needed, {name: ids for name, ids in holes.items() if ids}, known, place)]


def _finding(
    subject: Subject, versions: Mapping[str, str], needed: Mapping[str, str], holes: Mapping[str, list[str]], known: list[Any], place: str
) -> Finding:
    shown = "; ".join(f"{name} {versions[name]}: {', '.join(ids[:SHOWN])}" for name, ids in list(holes.items())[:SHOWN])
    newest = max((str(record.get("modified", "")) for record in known), default="")[:10] or "-"
    write_json(
        subject.folder / EVIDENCE,
        {"versions": dict(versions), "serving": sorted(needed), "advisories": place, "vulnerable": dict(holes), "newest_record": newest},
    )
    bad = Message("{shown}; {serving} of them are needed to answer", shown=shown, serving=sum(name in needed for name in holes))
    calm = Message("none of these versions is in {records} records, the newest of {newest}", records=len(known), newest=newest)
    return Finding(
        key="audit.security.dependencies",
        title=TITLE,
        verdict="limitation" if holes else "neutral",
        value=len(holes),
        unit="versions",
        n=len(versions),
        n_of="versions",
        reason=bad if holes else calm,
        method=Message("installed versions compared with the records of {file}; what no record says is not known", file=place),
        source="Open Source Vulnerability format 1.7",
        evidence=(EVIDENCE,),
        command=f"{subject.command} --only security.dependencies",
    )


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of these distributions and of all that they require here, by normalised name; what is not there is left out."""
    from packaging.requirements import InvalidRequirement, Requirement

    found: dict[str, str] = {}
    waiting = [normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            about = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = about.version
        for text in about.requires or ():
            try:
                required = Requirement(text)
            except InvalidRequirement:
                continue
            if required.marker is None or required.marker.evaluate({"extra": ""}):
                waiting.append(normal(required.name))
    return dict(sorted(found.items()))


def everything() -> dict[str, str]:
    """Return every distribution that is installed."""
    return dict(sorted((normal(one.metadata["Name"]), one.version) for one in metadata.distributions() if one.metadata["Name"]))


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def records(place: Path) -> Iterator[dict[str, Any]]:
    """Yield OSV records of Python packages; pip-audit's answers are turned into such. Raises Unmeasured for what can not be read."""
    try:
        for text in _texts(place):
            yield from _of(json.loads(text))
    except (OSError, ValueError, RecursionError, zipfile.BadZipFile, KeyError, TypeError, AttributeError) as error:
        raise Unmeasured(Message("{file} can not be read ({why})", file=str(place), why=str(error)[:120])) from None


def _texts(place: Path) -> Iterator[str]:
    if place.is_dir():
        yield from (path.read_text(encoding="utf-8") for path in sorted(place.glob("**/*.json")))
    elif place.suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".json") and entry.file_size <= LARGEST:
                    yield archive.read(entry).decode("utf-8")
    elif place.suffix in (".jsonl", ".ndjson"):
        with place.open(encoding="utf-8") as lines:
            yield from (line for line in lines if line.strip())
    else:
        yield place.read_text(encoding="utf-8")


def _of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and "dependencies" in value:  # pip-audit
        for one in value["dependencies"]:
            for hole in one.get("vulns", ()):
                package = {"package": {"ecosystem": "PyPI", "name": one["name"]}, "versions": [one["version"]]}
                yield {"id": hole["id"], "affected": [package]}
        if not any(one.get("vulns") for one in value["dependencies"]):
            yield {"id": "pip-audit", "affected": []}  # it looked and found nothing
        return
    for record in value if isinstance(value, list) else [value]:
        if "vulns" in record or "id" not in record:
            yield from _of({"dependencies": [record]}) if "vulns" in record else ()
        elif not record.get("withdrawn") and any(_ecosystem(one) == "PyPI" for one in record.get("affected", ())):
            yield record


def _ecosystem(affected: Mapping[str, Any]) -> str:
    return str(affected.get("package", {}).get("ecosystem", ""))


def vulnerable(name: str, version: str, known: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the identifiers of records that name this version of this package."""
    for record in known:
        for affected in record.get("affected", ()):
            named = _ecosystem(affected) == "PyPI" and normal(str(affected["package"].get("name", ""))) == name
            if named and is_affected(version, affected):
                yield str(record["id"])


def is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """Whether a version is listed, or lies in a range: introduced (inclusive) to fixed (exclusive) or last affected (inclusive)."""
    from packaging.version import InvalidVersion, Version

    if version in affected.get("versions", ()):
        return True
    try:
        here = Version(version)
        for range_ in affected.get("ranges", ()):
            if range_.get("type") not in ("ECOSYSTEM", "SEMVER"):
                continue
            inside = False
            steps = [(Version(text), kind) for event in range_.get("events", ()) for kind, text in event.items() if kind != "limit"]
            for at, kind in sorted(steps, key=lambda step: (step[0], step[1] != "introduced")):
                if kind == "introduced":
                    inside = inside or here >= at
                elif kind == "fixed":
                    inside = inside and here < at
                elif kind == "last_affected":
                    inside = inside and here <= at
            if inside:
                return True
    except InvalidVersion:
        return False
    return False
