"""What a stage made before stays until its new result is there, and comes back when the new one is refused.

A stage that starts anew moves its finished result to `.before/STAGE` beside the stage folders, file by file, its mark last; it is removed
when the new result has its own mark. A result there without its mark was on its way when the process was killed: it is moved back.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from weighbridge.storage import make_folder, move, remove
from weighbridge.storage.files import PART, named_storage_errors

MARK = "stage.json"
PLACE = ".before"


def set_aside(folder: Path, kept: tuple[str, ...]) -> None:
    """The stage's folder is empty but for `kept`; its finished result is set aside, what was unfinished is gone. Raises StorageError."""
    make_folder(folder)
    aside = _aside(folder)
    if (folder / MARK).exists():
        drop(folder)
        make_folder(aside)
        for name in [*(name for name in _names(folder, kept) if name != MARK), MARK]:
            move(folder / name, aside / name)
    for name in _names(folder, kept):
        remove(folder / name)


def recover(folder: Path) -> None:
    """A finished result that was being set aside, or put back, when the process was killed is whole in its folder. Raises StorageError."""
    aside = _aside(folder)
    if not aside.is_dir() or (aside / MARK).exists():
        return
    for name in _names(aside, ()):
        remove(folder / name)
        move(aside / name, folder / name)
    remove(aside)
    if not _names(aside.parent, ()):
        remove(aside.parent)


def put_back(folder: Path, kept: tuple[str, ...]) -> bool:
    """The result that was set aside is the stage's again and what the folder held is gone, but for `kept`; False where none was set aside.

    Raises StorageError.
    """
    aside = _aside(folder)
    if not (aside / MARK).exists():
        return False
    make_folder(folder)
    for name in _names(folder, kept):
        remove(folder / name)
    move(aside / MARK, folder / MARK)  # from now on what is aside belongs to the folder: `recover` would end the work
    recover(folder)
    return True


def drop(folder: Path) -> None:
    """Nothing is set aside for the stage. Raises StorageError."""
    aside = _aside(folder)
    if aside.is_dir():
        gone = aside.with_name(f".{aside.name}.{secrets.token_hex(4)}{PART}")  # a half removed one would be taken for one on its way
        move(aside, gone)
        remove(gone)
        if not _names(aside.parent, ()):
            remove(aside.parent)


def mark_aside(folder: Path) -> Path:
    """Return where the mark of the result is that was set aside."""
    return _aside(folder) / MARK


def _aside(folder: Path) -> Path:
    return folder.parent / PLACE / folder.name


def _names(folder: Path, kept: tuple[str, ...]) -> list[str]:
    with named_storage_errors(folder):
        return sorted({path.name for path in folder.iterdir()} - {*kept})
