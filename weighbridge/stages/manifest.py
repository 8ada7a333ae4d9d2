"""What a finished stage left: every file with its size, its time of change and its SHA-256, so that a lost or changed one is seen.

At each start the small files are hashed again; a large one is believed while size and time of change are as they were, and hashed
again when only the time differs, so that a copied or restored run is not done again. Times are compared for being equal, never for
being older: a clock that jumped changes nothing. Not found: a large file changed in place with its size and time put back.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from weighbridge.storage import sha256_file

SMALL_BYTES = 1 << 20  # hashed at every start: a thousandth of a second each


def listed(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """Return name under `folder` -> size_bytes, changed_ns, sha256 of every file, but for these files and folders."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not ({name, PurePosixPath(name).parts[0]} & set(but)):
            known = path.stat()
            files[name] = {"size_bytes": known.st_size, "changed_ns": known.st_mtime_ns, "sha256": sha256_file(path)}
    return files


def well_formed(folder: Path, files: Any) -> bool:
    """Whether `files` can be what `listed` wrote: a stage.json from elsewhere must not name a file outside its folder."""
    if not isinstance(files, dict):
        return False
    whole = all(isinstance(known, dict) and {"size_bytes", "changed_ns", "sha256"} <= set(known) for known in files.values())
    home = folder.resolve()
    return whole and all(".." not in PurePosixPath(name).parts and (folder / name).parent.resolve().is_relative_to(home) for name in files)


def damaged(folder: Path, files: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return name -> what is wrong with it, for each listed file that is not as it was; empty where all are."""
    found = {name: _wrong(folder / name, known) for name, known in files.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


def _wrong(path: Path, known: dict[str, Any]) -> str:
    try:
        now = path.stat()
        if now.st_size != known["size_bytes"]:
            return "has another size"
        same_time = now.st_mtime_ns == known["changed_ns"]
        if not (same_time and now.st_size > SMALL_BYTES) and sha256_file(path) != known["sha256"]:
            return "was changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can not be read ({error.strerror})"
    return ""
