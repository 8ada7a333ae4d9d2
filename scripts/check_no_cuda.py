"""Exit 0 when no CUDA package is, or would be, installed on a machine without an NVIDIA device; else one line says what to do.

    python scripts/check_no_cuda.py                 looks at what is installed in this Python
    python scripts/check_no_cuda.py --before FILE   asks pip what the torch line of FILE would bring, before it is downloaded

Where several GB of CUDA libraries would serve nothing, the CPU build of PyTorch does the same work. Standard library only.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

CUDA = re.compile(r"^(nvidia-(?!ml-py)|cuda-|triton$)")  # nvidia-ml-py only reads the driver's counters
ADVICE = (
    "point pip at PyTorch's CPU build: take the index address that pytorch.org/get-started shows for Compute Platform CPU, "
    "`export PIP_EXTRA_INDEX_URL=<that address>`, then `make clean-venv` and the same command again "
    "(or `make ... ALLOW_CUDA=1` to keep the CUDA packages)"
)


def has_nvidia_device() -> bool:
    """Return whether this machine shows an NVIDIA device or its driver's tool."""
    signs = ("/dev/nvidia0", "/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")  # the last: Windows' subsystem for Linux
    return any(Path(name).exists() for name in signs) or shutil.which("nvidia-smi") is not None


def cuda_packages(names: Iterable[str]) -> list[str]:
    """Return the names that belong to CUDA, sorted."""
    return sorted({name for name in (re.sub(r"[-_.]+", "-", name).lower() for name in names) if CUDA.match(name)})


def planned(requirements: Path) -> list[str]:
    """Return the packages that pip would install for the torch line of `requirements`; empty when pip gives no plan."""
    lines = [line.strip() for line in requirements.read_text(encoding="utf-8").splitlines()]
    torch = next((line for line in lines if line.startswith("torch==")), None)
    if torch is None:
        return []
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", torch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # an offline index or an old pip: the check after the install still stands
        return []
    return [item["metadata"]["name"] for item in json.loads(done.stdout)["install"]]


def main(arguments: list[str]) -> int:
    """Return 0 when all is well, 1 when CUDA packages are there (or planned) and no device is."""
    if has_nvidia_device():
        print("check_no_cuda: an NVIDIA device is present, CUDA packages are welcome")
        return 0
    before = arguments[:1] == ["--before"]
    names = planned(Path(arguments[1])) if before else [dist.name for dist in metadata.distributions()]
    found = cuda_packages(names)
    if found:
        verb = "would install" if before else "installed"
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        what = f"pip {verb} {len(found)} CUDA packages ({shown}) but there is no NVIDIA device here"
        print(f"check_no_cuda: {what}: {ADVICE}", file=sys.stderr)
        return 1
    print(f"check_no_cuda: no CUDA packages {'planned' if before else 'installed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
