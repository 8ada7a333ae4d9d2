"""What must be installed to answer with a package, to the exact version that is installed here: the list of a container and of a device.

The versions are those that built and proved the package on this machine. The list is closed: what its libraries need is in it, so it is
installed with `pip install --no-deps`, and nothing else can come along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from weighbridge.errors import DependencyError

if TYPE_CHECKING:
    from weighbridge.runtime import PackageInfo

ANSWER = ("numpy", "onnxruntime")
BY_TYPE = {"image": "pillow", "text": "tokenizers"}
SERVE = (
    "cryptography", "filelock", "httptools", "joserfc", "orjson", "prometheus-client", "psutil", "python-multipart", "pyyaml", "typer",
    "uvicorn", "uvloop",
)  # fmt: skip
# What a library declares and only a way of using it needs that a package never goes: tokenizers asks a hub for files by huggingface-hub.
NOT_NEEDED = {("tokenizers", "huggingface-hub")}
# The markers of a requirement are judged for where the list is installed, not for where it is written.
LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}


def runtime_requirements(package: PackageInfo, *, serve: bool = True, platform: Mapping[str, str] = LINUX) -> tuple[str, ...]:
    """Return `name==version` of each library that answering with the package needs, by name; weighbridge itself is not among them.

    Args:
        serve: also what `weigh serve` needs; False: what `weighbridge.load` needs, and no more.
        platform: environment markers (PEP 508) of the place where the list is installed that differ from those of this one.
    Raises: DependencyError when one of them is not installed here: its version would be a guess.
    """
    types = sorted({type_ for _, type_ in package.inputs})
    roots = [*ANSWER, *(BY_TYPE[type_] for type_ in types if type_ in BY_TYPE), *(SERVE if serve else ())]
    return pinned(roots, platform)


def pinned(roots: Iterable[str], platform: Mapping[str, str] = LINUX) -> tuple[str, ...]:
    """Return `name==version` of these libraries and of all that they need, by name. Raises DependencyError."""
    found: dict[str, str] = {}
    waiting = sorted(roots)
    while waiting:
        name = canonical_name(waiting.pop())
        if name not in found:
            found[name] = _version(name)
            waiting += _needed_by(name, platform)
    return tuple(f"{name}=={found[name]}" for name in sorted(found))


def canonical_name(name: str) -> str:
    """Return the one spelling of a library's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise DependencyError(
            f"the exact version of {name} is not known, since it is not installed here", do=f"pip install {name}"
        ) from None


def _needed_by(name: str, platform: Mapping[str, str]) -> list[str]:
    """Return the names of what a library needs on the platform, without its extras."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in metadata.requires(name) or ()]
    wanted = [one for one in needed if one.marker is None or one.marker.evaluate({**platform, "extra": ""})]
    names = [canonical_name(one.name) for one in wanted]
    return [other for other in names if (name, other) not in NOT_NEEDED]
