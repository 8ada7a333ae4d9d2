"""What must be installed to answer with a package, to the exact version that is installed here: the list of a container and of a device.

The versions are those that built and proved the package on this machine. The list is closed: what its libraries need is in it, so it is
installed with `pip install --no-deps`, and nothing else can come along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING

from weighbridge.deployment.libraries import ANSWERS, by_types, needs_of, normal
from weighbridge.errors import DependencyError

if TYPE_CHECKING:
    from weighbridge.runtime import PackageInfo

SERVE = (
    "cryptography", "filelock", "httptools", "joserfc", "orjson", "prometheus-client", "psutil", "python-multipart", "pyyaml",
    "sqlalchemy", "typer", "uvloop",
)  # fmt: skip
# What a library declares and only a way of using it needs that a package never goes: tokenizers asks a hub for files by huggingface-hub.
NOT_NEEDED = {("tokenizers", "huggingface-hub")}
# The markers of a requirement are judged for where the list is installed, not for where it is written.
LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}


def runtime_requirements(package: PackageInfo, *, serve: bool = True, platform: Mapping[str, str] = LINUX) -> tuple[str, ...]:
    """Return `name==version` of each library that answering with the package needs, by name, but for weighbridge itself.

    Args:
        serve: also what `weigh serve` needs; False: what `weighbridge.load` needs, and no more.
        platform: environment markers (PEP 508) of the place where the list is installed that differ from those of this one.
    Raises: DependencyError when one of them is not installed here: its version would be a guess.
    """
    types = sorted({type_ for _, type_ in package.inputs})
    roots = [
        *(name for name in ANSWERS if name != "weighbridge"),
        *by_types(types),
        *(SERVE if serve else ()),
    ]
    return pinned(roots, platform)


def pinned(roots: Iterable[str], platform: Mapping[str, str] = LINUX) -> tuple[str, ...]:
    """Return `name==version` of these libraries and of all that they need, by name. Raises DependencyError."""
    found: dict[str, str] = {}
    waiting = sorted(roots)
    while waiting:
        name = normal(waiting.pop())
        if name not in found:
            found[name] = _version(name)
            needed = needs_of(metadata.requires(name) or (), platform)
            waiting += [other for other in needed if (name, other) not in NOT_NEEDED]
    return tuple(f"{name}=={found[name]}" for name in sorted(found))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise DependencyError(f"{name} is not installed here, so its exact version is not known", do=f"pip install {name}") from None
