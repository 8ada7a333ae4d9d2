"""Which models saw a row: every network, form, baseline, remedy, package and challenger of a run, and runs beside it that hold the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import WeighbridgeError
from weighbridge.runtime.package import MANIFEST
from weighbridge.storage import read_json

ROLES = {"train": "trained on it", "validation": "chosen with it", "test": "measured on it"}
SIDES = tuple(ROLES)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A model that saw a row: what it is, where it lies, the hash that names it, and what the row was to it."""

    what: str
    where: str
    sha256: str
    role: str

    def to_json(self) -> dict[str, str]:
        return dict(vars(self))


def models_of(run: Path, split: Mapping[str, int]) -> list[Seen]:
    """Return the models of a run of which these splits hold erased rows."""
    role = next((ROLES[side] for side in SIDES if split.get(side)), None)
    if role is None:
        return []
    found = [Seen(what=what, where=_name(run, path), sha256=sha, role=role) for what, path, sha in _models(run)]
    kept = sorted(run.glob("training/checkpoints/*"))
    return found + [Seen(what="checkpoint", where=_name(run, path), sha256="", role=role) for path in kept]


def served(state: Path, models: frozenset[str]) -> list[Seen]:
    """Return the packages of a state folder that hold one of these models."""
    found = []
    for path in sorted((state / "models").rglob("package.json")):
        known = str(_told(path).get("model_sha256", ""))
        if known in models:
            found.append(Seen(what="served package", where=_name(state, path.parent), sha256=known, role="of a model that saw it"))
    return found


def runs_beside(run: Path, ids: frozenset[str]) -> list[Seen]:
    """Return the runs in the same folder that hold rows of these ids: they are erased there by a command of their own."""
    found = []
    for other in sorted(run.resolve().parent.iterdir()):
        if other == run.resolve() or not (other / "recipe.yaml").exists():
            continue
        sides = [side for side in SIDES if holds_rows(other / "data" / f"{side}.arrow", ids)]
        if sides:
            sha = str(_told(other / "training" / "model.json").get("sha256", ""))
            found.append(Seen(what="another run", where=other.name, sha256=sha, role=ROLES[sides[0]]))
    return found


def _models(run: Path) -> list[tuple[str, Path, str]]:
    found = []
    for path in sorted(run.rglob("model.json")):
        what = "remedy" if "mitigation" in path.parts[len(run.parts) :] else "form" if "optimization" in path.parts else "network"
        found.append((what, path.parent, str(_told(path).get("sha256", ""))))
    found += [("form", path.parent, str(_told(path).get("sha256", ""))) for path in sorted(run.rglob("graph.json"))]
    found += [("baseline", path, "") for path in sorted(run.glob("evaluation/baseline-*.parquet"))]
    packages = [path.parent for path in sorted(run.rglob(MANIFEST))]
    return found + [("package", path, str(_told(path / "package.json").get("model_sha256", ""))) for path in packages]


def holds_rows(path: Path, ids: frozenset[str]) -> bool:
    """Whether a table of a run's data has a row with one of these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("__row_id__")
    except (OSError, pa.ArrowInvalid, KeyError):
        return False
    return bool(pc.any(pc.is_in(column, value_set=pa.array(sorted(ids), pa.string()))).as_py())


def _told(path: Path) -> dict[str, Any]:
    try:
        told = read_json(path)
    except WeighbridgeError:
        return {}
    return told if isinstance(told, dict) else {}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
