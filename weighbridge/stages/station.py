"""How a stage is run: by key, once, in its own folder, taken up again where it was stopped.

A stage's key is a hash of its section of the recipe, the keys of the stages that it reads, the data and the code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RunError
from weighbridge.findings import Finding, read_findings, write_findings
from weighbridge.storage import fresh_folder, read_json, sha256_json, sha256_tree, write_json, write_text
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Curve, Progress, unwatched

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

LEDGER = "test_ledger.jsonl"
OWN_FILES = (".lock", ".lock-holder.json")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a stage is given."""

    recipe: Recipe
    folder: Path
    progress: Progress
    stop: StopRequest
    curve: Curve = unwatched

    def command(self, verb: str) -> str:
        """Return the command that measures a finding of this run again, without its `--only`."""
        return f"weigh {verb} {self.folder.as_posix()}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One station: its name (also its section, folder and verb), what it reads, what it does."""

    name: str
    verb: str
    reads: tuple[str, ...]
    work: Callable[[Context], list[Finding]]


def stage_keys(stages: Sequence[Stage], recipe: Recipe) -> dict[str, str]:
    """Return each stage's key; equal keys mean that the stage would do the same again."""
    from weighbridge import data

    keys: dict[str, str] = {}
    source, code = data.fingerprint(recipe.data), code_version()
    for stage in stages:
        part = {"section": getattr(recipe, stage.name).model_dump(mode="json"), "seed": recipe.seed, "source": source, "code": code}
        keys[stage.name] = sha256_json({**part, "reads": [keys[name] for name in stage.reads]})
    return keys


def code_version() -> str:
    """Return a hash of the package's own source, without what only shows results or tells others of them."""
    package = Path(__file__).parent.parent
    parts = [
        path.name for path in sorted(package.iterdir()) if path.is_dir() and path.name not in ("cli", "report", "tracking", "__pycache__")
    ]
    return sha256_json([[name, sha256_tree(package / name, "**/*.py")] for name in parts])


def run_stage(stage: Stage, key: str, context: Context, *, again: bool = False) -> dict[str, Any]:
    """The stage's folder holds its work, its findings and stage.json; returns the latter with `fresh`: whether it ran now."""
    folder = context.folder / stage.name
    mark = folder / "stage.json"
    if not again and mark.exists() and (known := _marked(mark)).get("key") == key:
        return {**known, "fresh": False}
    under_way = folder / "under_way.json"
    if again or not under_way.exists() or _marked(under_way).get("key") != key:
        _clear(folder)
        write_json(under_way, {"key": key})
    started = time.monotonic()
    findings = stage.work(context)
    write_findings(folder / "findings.jsonl", findings)
    done = {"key": key, "seconds": round(time.monotonic() - started, 3)}
    write_json(mark, done)
    under_way.unlink()
    return {**done, "fresh": True}


def _marked(path: Path) -> dict[str, Any]:
    """Return a stage's mark. Raises RunError when it is damaged."""
    known = read_json(path)
    if not isinstance(known, dict) or not isinstance(known.get("key"), str):
        raise RunError(f"{path} names no key of a stage", do="remove it: the stage is done again")
    return known


def collect(folder: Path, names: Sequence[str]) -> list[Finding]:
    """Return the findings of the named stages in order."""
    return [finding for name in names for finding in read_findings(folder / name / "findings.jsonl")]


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """`folder/recipe.yaml` is the resolved recipe with its hash."""
    from weighbridge.recipe import resolved_yaml

    write_text(folder / "recipe.yaml", f"# resolved recipe, sha256 {recipe_hash(recipe)}\n{resolved_yaml(recipe)}")


def refuse_foreign(folder: Path) -> None:
    """Raise RunError when `folder` exists and is not a run's: nothing of it is touched."""
    if folder.is_file():
        raise RunError(f"{folder} is a file", do="choose another name with --set name=OTHER, or another folder with --runs")
    if not folder.exists() or (folder / "recipe.yaml").exists():
        return
    if any(child.name not in OWN_FILES for child in folder.iterdir()):
        raise RunError(
            f"{folder} holds files that are not a run", do="choose another name with --set name=OTHER, or another folder with --runs"
        )


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of all that the recipe says, defaults included."""
    return sha256_json(recipe.model_dump(mode="json"))


def _clear(folder: Path) -> None:
    """Empty a stage's folder, but for the ledger of test reads: what was seen can not be made unseen."""
    ledger = folder / LEDGER
    kept = ledger.read_text(encoding="utf-8") if ledger.exists() else None
    fresh_folder(folder)
    if kept is not None:
        write_text(ledger, kept)
