"""Take rows out of the retrainings of a state folder: the sources that were joined, the runs of challengers, and what may be read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weighbridge.data.erased import add_receipt, erasing, inherit, read_receipts
from weighbridge.deployment.erase_files import cleaned, erase_files, mend_marks, search
from weighbridge.deployment.erase_marks import Marks
from weighbridge.deployment.erase_models import holds_rows
from weighbridge.storage import FolderLock, read_json, sha256_file, write_json

NOTES = ("source.arrow", "keys.json", "start.json", "verdict.json")


def erase_challengers(state: Path, run: Path, marks: Marks, receipt: dict[str, Any]) -> list[str]:
    """No retraining under the state folder holds the rows, and none reads them again; return the folders of runs that held some.

    Each run that held one has the receipt in a list of its own, or in the one that it has from `run`, before a file is changed: killed, the
    same call goes on. Args: receipt, what is written there beside the hashes of the rows. Raises StorageError, RunError.
    """
    changed = list[str]()
    for recipe in sorted(state.glob("retrain/*/**/recipe.yaml")):
        folder = recipe.parent
        with FolderLock(folder):
            if any(holds_rows(path, marks.ids) for path in sorted(folder.glob("data/*.arrow"))):
                _keep_out(folder / "data", run / "data", marks, receipt)
            done = erase_files(folder, marks)
            done += search(folder, marks)
            mend_marks(folder)
        if done.rewritten or done.removed:
            changed.append(folder.name)
    for place in sorted(state.glob("retrain/*/")):
        if any([cleaned(place / name, marks) for name in NOTES if (place / name).exists()]) and (place / "joined.json").exists():
            write_json(place / "joined.json", {**read_json(place / "joined.json"), "sha256": sha256_file(place / "source.arrow")})
    return changed


def _keep_out(folder: Path, origin: Path, marks: Marks, receipt: dict[str, Any]) -> None:
    if folder.resolve() == origin.resolve():
        return  # the champion of now is a challenger of then: its own erasure writes there
    inherit(folder, origin)
    known = erasing(folder)
    if not any(one.get("erasure") == receipt["erasure"] for one in read_receipts(folder)):
        add_receipt(folder, {**receipt, "rows": [known.name(one) for one in sorted(marks.ids)]})
