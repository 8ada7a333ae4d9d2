"""One look at a served name: what came into the log moves the watch on, and what it says stands in the state folder.

STATE/watch/NAME.json     how far the watch is: can be deleted, the log gives it again
STATE/watch/NAME.jsonl    what it found last, one finding a line
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.errors import RunError, StorageError
from weighbridge.feedback.board import findings_path
from weighbridge.feedback.expected import status_findings
from weighbridge.feedback.looking import Rows, Watch, kept_rows, look, row_bins
from weighbridge.findings import Finding, Message, write_findings
from weighbridge.runtime import Model
from weighbridge.runtime.contract import Contract, read_contract
from weighbridge.storage import make_folder

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Array
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.registry import Registry

WINDOW_ROWS = 1000  # newest answers of the champion that are held beside the contract
UNPROMISED = Message("the package carries no contract, so there is nothing to hold the model to")


def oversee(registry: Registry, log: Log, *, command: str = "") -> list[Finding]:
    """Return what is found of the champion now, see `hold_to_promise`; [] where nothing was released."""
    current = registry.current()
    return [] if current is None else hold_to_promise(log, registry.name, registry.path(current.champion), command=command)


def hold_to_promise(log: Log, name: str, package: Path, *, command: str = "") -> list[Finding]:
    """Return what a package promised beside what its answers under a name show; it stands in STATE/watch, too.

    Killed anywhere, the next look begins where the last whole one ended: nothing counts twice. Raises StorageError, RunError, PackageError.
    """
    contract, model = _loaded(package)
    found = [_unpromised(command)] if contract is None else _looked(log, name, contract, model, command)
    write_findings(findings_path(log.folder, name), found)
    return found


@lru_cache(maxsize=2)
def _loaded(package: Path) -> tuple[Contract | None, Model]:
    return read_contract(package), Model.load(package, threads=1)


def _unpromised(command: str) -> Finding:
    return Finding(key="feedback.promise", title=Message("What was promised"), verdict="unmeasured", reason=UNPROMISED, command=command)


def _looked(log: Log, name: str, contract: Contract, model: Model, command: str) -> list[Finding]:
    path = findings_path(log.folder, name).with_suffix(".json")
    make_folder(path.parent)
    watch = look(log, contract, model, _read(path, contract) or Watch.start(contract), keep=lambda so_far: so_far.save(path))
    watch.save(path)
    rows = log.window(package=name, model=contract.model_sha256, newest=WINDOW_ROWS)
    bins = row_bins(log, contract, model, rows) if len(rows) else np.full((0, len(watch.drift.streams)), -1)
    kept = kept_rows(log, model, rows) if len(rows) else Rows(places=np.zeros(0, dtype=np.int64))
    columns = _since_alarm(watch, len(rows), kept)
    return status_findings(contract, watch, rows, bins, columns or None, command=command)


def _read(path: Path, contract: Contract) -> Watch | None:
    try:
        return Watch.read(path, contract)
    except (RunError, StorageError):  # damaged, or of a contract of another form: the log gives it again
        return None


def _since_alarm(watch: Watch, rows: int, kept: Rows) -> dict[str, Array]:
    """Return the kept inputs from the first alarm on: what came before it would hide what it is about."""
    alarms = [one.since for one in watch.drift.columns() if one.since is not None]
    after = watch.drift.rows - min(alarms) if alarms else rows
    late = kept.places >= rows - after
    return {name: values[late] for name, values in kept.columns.items()} if late.any() else {}
