"""The wheel of the Weighbridge that runs now, made of its own files: what a container installs is what was proved here.

It follows the binary distribution format 1.0 (PEP 427). Equal files give an equal wheel: entries are sorted and have one date.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib import metadata
from pathlib import Path

import weighbridge
from weighbridge.errors import DependencyError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip entry
MODE = 0o644 << 16
WHEEL = "Wheel-Version: 1.0\nGenerator: weighbridge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel() -> tuple[str, bytes]:
    """Return the wheel's file name and content. Raises DependencyError where Weighbridge is not installed (its metadata is not there)."""
    name = f"weighbridge-{weighbridge.__version__}"
    files = {f"weighbridge/{place}": content for place, content in _sources().items()}
    files |= {f"{name}.dist-info/{place}": content for place, content in _about().items()}
    record = f"{name}.dist-info/RECORD"
    lines = [f"{place},sha256={_digest(content)},{len(content)}" for place, content in sorted(files.items())]
    files[record] = "".join(line + "\n" for line in [*lines, f"{record},,"]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in sorted(files, key=lambda place: (".dist-info/" in place, place)):
            entry = zipfile.ZipInfo(place, EPOCH)
            entry.external_attr, entry.compress_type, entry.create_system = MODE, zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, files[place])
    return f"{name}-py3-none-any.whl", out.getvalue()


def _sources() -> dict[str, bytes]:
    folder = Path(weighbridge.__file__).parent
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _about() -> dict[str, bytes]:
    """Return METADATA, entry points and WHEEL. What it requires is left out: requirements.txt beside the wheel says it, exactly."""
    try:
        known = metadata.distribution("weighbridge")
    except metadata.PackageNotFoundError:
        raise DependencyError("Weighbridge is not installed here, so no wheel of it can be made", do="give one with --wheel FILE") from None
    head = f"Metadata-Version: 2.1\nName: weighbridge\nVersion: {weighbridge.__version__}\n"
    summary = f"Summary: {' '.join(str(known.metadata['Summary']).split())}\nRequires-Python: {known.metadata['Requires-Python']}\n"
    return {
        "METADATA": f"{head}{summary}License-Expression: Apache-2.0\n".encode(),
        "WHEEL": WHEEL.encode(),
        "entry_points.txt": b"[console_scripts]\nweigh = weighbridge.cli:main\n",
    }


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
