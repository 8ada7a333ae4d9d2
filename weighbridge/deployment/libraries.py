"""Installed libraries as a bill of materials states them: name, exact version, licence, and what each needs in turn."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from weighbridge.errors import DependencyError

ANSWERS = ("weighbridge", "numpy", "onnxruntime")  # what every package is answered with
ANSWERS_PROGRAM = ("weighbridge", "numpy", "executorch", "torch")  # what a model.pte is answered with, in Python
BY_TYPE = {"image": ("pillow",), "text": ("tokenizers",)}
CLIPS = ("soundfile", "cffi", "typing-extensions")  # what reads clips other than WAV
SPDX = {  # the ways in which libraries spell a licence that has one identifier
    "MIT": "MIT", "MIT License": "MIT", "The MIT License": "MIT", "Apache-2.0": "Apache-2.0", "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0", "Apache Software License": "Apache-2.0", "BSD-3-Clause": "BSD-3-Clause",
    "BSD 3-Clause": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause", "BSD-2-Clause": "BSD-2-Clause",
    "MPL-2.0": "MPL-2.0", "ISC": "ISC", "PSF-2.0": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}  # fmt: skip
MOST_LICENCE = 100  # characters: some libraries have the licence's whole text where its name belongs


def by_types(types: Collection[str]) -> tuple[str, ...]:
    """Return what columns of these types are read with; of clips what reads more than WAV, where it is installed."""
    clips = CLIPS if "audio" in types and _is_installed(CLIPS[0]) else ()
    return tuple(name for kind in sorted(set(types) & BY_TYPE.keys()) for name in BY_TYPE[kind]) + clips


@dataclass(frozen=True, kw_only=True)
class Library:
    """An installed library. `licence` is an SPDX expression where `spdx`, else the words of its makers; "" where they state none."""

    name: str
    version: str
    licence: str = ""
    spdx: bool = False
    needs: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """The package URL (purl specification, type pypi)."""
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"


def answering(types: Collection[str], always: Sequence[str] = ANSWERS) -> list[Library]:
    """Return what a package with columns of these types is answered with, and all that those libraries need, sorted by name.

    Weighbridge itself needs more for training; of it, only what answers is followed. Raises DependencyError.
    """
    wanted = [*always, *by_types(types)]
    found = {name: library(name) for name in wanted if name != "weighbridge"}
    own = library("weighbridge")
    waiting = [name for one in found.values() for name in one.needs]
    while waiting:
        name = waiting.pop()
        if name not in found and _is_installed(name):
            found[name] = library(name)
            waiting += found[name].needs
    found["weighbridge"] = Library(
        name=own.name, version=own.version, licence=own.licence, spdx=own.spdx, needs=tuple(sorted(set(wanted) - {"weighbridge"}))
    )
    return [found[name] for name in sorted(found)]


def library(name: str) -> Library:
    """Return an installed library. Raises DependencyError where it is not installed."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        raise DependencyError(f"{name} is not installed, so its version can not be stated", do=f"pip install {name}") from None
    expressions, texts = about.get_all("License-Expression") or [""], about.get_all("License") or [""]
    licence, spdx = licence_of(expressions[0], texts[0], about.get_all("Classifier") or ())
    return Library(
        name=normal(name), version=metadata.version(name), licence=licence, spdx=spdx, needs=needs_of(metadata.requires(name) or ())
    )


def normal(name: str) -> str:
    """Return a library's name in the one spelling of the package index (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs_of(requirements: Iterable[str], place: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the names of what is needed without any extra, from lines such as `cffi>=2 ; python_version < "3.11"`.

    `place`: environment markers (PEP 508) of where it is needed that differ from those of this machine.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise DependencyError("reading what a library needs takes packaging", do="pip install packaging") from None
    found = map(Requirement, requirements)
    return tuple(sorted({normal(one.name) for one in found if one.marker is None or one.marker.evaluate({**(place or {}), "extra": ""})}))


def licence_of(expression: str, text: str, classifiers: Iterable[str]) -> tuple[str, bool]:
    """Return a licence and whether it is an SPDX expression, from the fields of a library's metadata (PEP 639 and before)."""
    if expression:
        return expression, True
    marks = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: OSI Approved :: ")]
    words = [text.strip()] if text.strip() and "\n" not in text.strip() and len(text) <= MOST_LICENCE else []
    for one in (*words, *marks):
        if one in SPDX:
            return SPDX[one], True
    return (words or marks or [""])[0], False


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
