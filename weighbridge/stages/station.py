"""How a stage is run: by key, once, in its own folder, taken up again where it was stopped.

A stage's key is a hash of its section of the recipe, the keys of the stages that it reads, the data and the code.
What a stage leaves is listed in its stage.json; where that is gone or changed, the stage runs again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RunError
from weighbridge.findings import Finding, read_findings, write_findings
from weighbridge.stages.manifest import damaged, listed, well_formed
from weighbridge.storage import make_folder, read_json, remove, sha256_file, sha256_json, sha256_tree, write_json, write_text
from weighbridge.storage.control import StopRequest
from weighbridge.storage.files import PART, named_storage_errors
from weighbridge.storage.progress import Curve, Progress, unwatched

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

MARK, UNDER_WAY = "stage.json", "under_way.json"
OWN_FILES = (".lock", ".lock-holder.json")
NOT_WORK = ("cli", "report", "tracking", "__pycache__")  # rooms that only show results or tell others of them


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
    """One station: its name (also its section, folder and verb), what it reads, what it does.

    Attributes:
        work: does it; where files of an earlier, killed sitting are there, it goes on from them or writes them anew.
        keeps: what stays in the folder when the stage starts anew.
        spare: what no other stage reads: it may change or be removed later.
    """

    name: str
    verb: str
    reads: tuple[str, ...]
    work: Callable[[Context], list[Finding]]
    keeps: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


def stage_keys(stages: Sequence[Stage], recipe: Recipe) -> dict[str, str]:
    """Return each stage's key; equal keys mean that the stage would do the same again."""
    from weighbridge import data, models, preprocessing

    keys: dict[str, str] = {}
    source, code = data.fingerprint(recipe.data), code_version()
    plugin = models.plugin_version(recipe.training.model.type)
    for stage in stages:
        part = {"section": getattr(recipe, stage.name).model_dump(mode="json"), "seed": recipe.seed, "source": source, "code": code}
        if stage.name == "preprocessing" and recipe.preprocessing.pretrained:  # the stages after it read this key
            part["pretrained"] = preprocessing.open_source(recipe.preprocessing.pretrained).sha256
        if stage.name == "training" and recipe.training.model.vectors:
            part["vectors"] = preprocessing.vectors_sha256(Path(recipe.training.model.vectors))
        if stage.name == "training" and plugin is not None:
            part["plugin"] = plugin
        keys[stage.name] = sha256_json({**part, "reads": [keys[name] for name in stage.reads]})
    return keys


def code_version() -> str:
    """Return a hash of the package's own source, without what only shows results or tells others of them."""
    package = Path(__file__).parent.parent
    rooms = [path.name for path in sorted(package.iterdir()) if path.is_dir() and path.name not in NOT_WORK]
    modules = sorted(package.glob("*.py"))
    return sha256_json(
        [[name, sha256_tree(package / name, "**/*.py")] for name in rooms] + [[path.name, sha256_file(path)] for path in modules]
    )


def run_stage(stage: Stage, key: str, context: Context, *, again: bool = False) -> dict[str, Any]:
    """The stage's folder holds its work, its findings and stage.json; returns the latter with `fresh`: whether it ran now.

    A finished stage of which files are gone or changed runs again and says so, from what is whole of it.
    """
    folder = context.folder / stage.name
    mark, under_way = folder / MARK, folder / UNDER_WAY
    known = _known(mark)
    if not again and known is not None and known["key"] == key:
        wrong = damaged(folder, known["files"])
        if not wrong:
            return {**known, "fresh": False}
        context.progress(f"{stage.name} runs again: {_in_words(wrong)}", 0, None)
        write_json(under_way, {"key": key})
        for name in [MARK, *wrong]:
            remove(folder / name)
    elif again or _key(under_way) != key:
        _clear(folder, stage.keeps)
        write_json(under_way, {"key": key})
    started = time.monotonic()
    findings = stage.work(context)
    write_findings(folder / "findings.jsonl", findings)
    files = listed(folder, but=(MARK, UNDER_WAY, *stage.spare))
    done = {"key": key, "seconds": round(time.monotonic() - started, 3), "files": files}
    write_json(mark, done)
    remove(under_way)
    return {**done, "fresh": True}


def _known(mark: Path) -> dict[str, Any] | None:
    """Return what stage.json says, or None where it is not there, can not be read or is of another form."""
    if not mark.exists():
        return None
    try:
        known = read_json(mark)
    except RunError:
        return None
    if not isinstance(known, dict) or not {"key", "seconds", "files"} <= set(known):
        return None
    return known if well_formed(mark.parent, known["files"]) else None


def _key(under_way: Path) -> str | None:
    """Return the key of the stage that has begun, or None where none has or it is not known which."""
    try:
        begun = read_json(under_way)
    except RunError:
        return None
    return str(begun["key"]) if isinstance(begun, dict) and "key" in begun else None


def _in_words(wrong: dict[str, str]) -> str:
    name, why = next(iter(wrong.items()))
    return f"{name} {why}" + (f" ({len(wrong) - 1} more files are gone or changed)" if len(wrong) > 1 else "")


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
    if any(child.name not in OWN_FILES and not child.name.endswith(PART) for child in folder.iterdir()):
        raise RunError(
            f"{folder} holds files that are not a run", do="choose another name with --set name=OTHER, or another folder with --runs"
        )


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of all that the recipe says, defaults included."""
    return sha256_json(recipe.model_dump(mode="json"))


def _clear(folder: Path, kept: tuple[str, ...]) -> None:
    """Empty a stage's folder but for what it keeps; its marks go first, so that a half empty folder is never taken for a finished one.

    The ledger of test reads is kept: what was seen can not be made unseen.
    """
    make_folder(folder)
    with named_storage_errors(folder):
        names = {path.name for path in folder.iterdir()} - {*kept, MARK, UNDER_WAY}
    for name in [MARK, UNDER_WAY, *sorted(names)]:
        remove(folder / name)
