"""How a stage is run: by key, once, in its own folder, taken up again where it was stopped.

A stage's key is a hash of its section of the recipe, the keys of the stages that it reads, the data and the code.
What a stage leaves is listed in its stage.json; where that is gone or changed, the stage runs again.
What it left under another key stays until the new result is there (before.py), and comes back when the new one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RunError, StorageError, TrainingError, UsageError, WeighbridgeError
from weighbridge.findings import Finding, read_findings, write_findings
from weighbridge.stages.before import MARK, drop, mark_aside, put_back, recover, set_aside
from weighbridge.stages.manifest import damaged, listed, well_formed
from weighbridge.storage import read_json, remove, sha256_file, sha256_json, sha256_tree, write_json, write_text
from weighbridge.storage.control import StopRequest
from weighbridge.storage.files import PART
from weighbridge.storage.meter import Meter
from weighbridge.storage.progress import Curve, Progress, unwatched

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

UNDER_WAY = "under_way.json"
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
        refusal: the file that says why the stage refused: it stays when the result before comes back.
        adds: keys of its section that only add to what is there: what a run with another value of them made is kept and gone on from.
        unread: keys of its section that no other stage reads: those after it stay as they are when only these change.
        measured: of what it keeps, what goes when the stage is asked to run again: it is to be measured anew.
        fits: whether what the stage made of a run folder belongs to what the stages before it hold; a choice by measured cost can change.
    """

    name: str
    verb: str
    reads: tuple[str, ...]
    work: Callable[[Context], list[Finding]]
    keeps: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    refusal: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    fits: Callable[[Path], bool] = bool


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a stage's work follows from, as SHA-256: equal ones mean that it would do the same again.

    `core` leaves out what only adds, `read` what no other stage reads.
    """

    whole: str
    core: str
    read: str = ""


def stage_keys(stages: Sequence[Stage], recipe: Recipe, erased: str | None = None) -> dict[str, Key]:
    """Return each stage's key; `erased` says which rows of the source are left out."""
    from weighbridge import data, models, preprocessing

    keys: dict[str, Key] = {}
    source, code = data.fingerprint(recipe.data), code_version()
    plugin = models.plugin_version(recipe.training.model.type)
    for stage in stages:
        section = getattr(recipe, stage.name).model_dump(mode="json")
        part: dict[str, Any] = {"seed": recipe.seed, "source": source, "code": code, "reads": [keys[name].read for name in stage.reads]}
        if erased is not None:
            part["erased"] = erased
        if stage.name == "preprocessing" and recipe.preprocessing.pretrained:  # the stages after it read this key
            part["pretrained"] = preprocessing.open_source(recipe.preprocessing.pretrained).sha256
        if stage.name == "preprocessing" and recipe.preprocessing.like:
            part["like"] = sha256_file(Path(recipe.preprocessing.like) / "preprocessing" / "encoder.json")
        if stage.name == "training" and recipe.training.model.start:
            part["start"] = read_json(Path(recipe.training.model.start) / "training" / "model.json")["sha256"]
        if stage.name == "training" and recipe.training.model.vectors:
            part["vectors"] = preprocessing.vectors_sha256(Path(recipe.training.model.vectors))
        if stage.name == "training" and plugin is not None:
            part["plugin"] = plugin
        if stage.name == "optimization":
            part["beside"] = {"baselines": recipe.evaluation.baselines, "seeds": recipe.training.seeds}
        keys[stage.name] = Key(
            whole=sha256_json({**part, "section": section}),
            core=sha256_json({**part, "section": _without(section, stage.adds)}),
            read=sha256_json({**part, "section": _without(section, stage.unread)}),
        )
    return keys


def _without(section: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if name not in names}


def code_version() -> str:
    """Return a hash of the package's own source, without what only shows results or tells others of them."""
    package = Path(__file__).parent.parent
    rooms = [path.name for path in sorted(package.iterdir()) if path.is_dir() and path.name not in NOT_WORK]
    modules = sorted(package.glob("*.py"))
    return sha256_json(
        [[name, sha256_tree(package / name, "**/*.py")] for name in rooms] + [[path.name, sha256_file(path)] for path in modules]
    )


def run_stage(stage: Stage, key: Key, context: Context, *, again: bool = False) -> dict[str, Any]:
    """The stage's folder holds its work, its findings and stage.json; returns the latter with `fresh`: whether it ran now.

    A finished stage of which files are gone or changed runs again and says so, from what is whole of it. A stage that refuses leaves what
    it had made before as it was.
    """
    folder = context.folder / stage.name
    mark, under_way = folder / MARK, folder / UNDER_WAY
    asked, known = again, _before(folder, key, stage, again)
    if known is not None and not stage.fits(context.folder):
        again = True
    if not again and known is not None and known["core"] == key.core:
        wrong = damaged(folder, known["files"])
        if not wrong and known["key"] == key.whole:
            if under_way.exists():  # killed just after it had ended
                remove(under_way)
            drop(folder)
            _say_versions(known, context, f"{stage.name} was made with", f"is kept; weigh {stage.verb} {context.folder} makes it again")
            return {**known, "fresh": False}
        if wrong:
            context.progress(f"{stage.name} runs again: {_in_words(wrong)}", 0, None)
        write_json(under_way, _begun(key))
        for name in [MARK, *wrong]:
            remove(folder / name)
    elif again or (begun := _read(under_way)) is None or begun.get("core") != key.core:
        set_aside(folder, tuple(name for name in stage.keeps if not (asked and name in stage.measured)))
        write_json(under_way, _begun(key))
    else:
        _say_versions(begun, context, f"{stage.name} was begun with", "goes on; its bits can differ from those of a run in one sitting")
    meter = Meter()
    try:
        findings = stage.work(context)
    except WeighbridgeError as error:
        if refuses(error):
            put_back(folder, (*stage.keeps, *stage.refusal))
        raise
    write_findings(folder / "findings.jsonl", findings)
    files = listed(folder, but=(MARK, UNDER_WAY, *stage.spare))
    spent = meter.spent()
    done = {**_begun(key), "seconds": round(spent.seconds, 3), "cpu_seconds": round(spent.cpu_seconds, 3), "files": files}
    if spent.joules is not None:
        done["joules"] = round(spent.joules, 3)
    write_json(mark, done)
    remove(under_way)
    drop(folder)
    return {**done, "fresh": True}


def refuses(error: WeighbridgeError) -> bool:
    """Whether the error says that the recipe or the data can not be followed: the same command again would end the same way."""
    return isinstance(error, UsageError | TrainingError) and not isinstance(error, RunError | StorageError)


def _before(folder: Path, key: Key, stage: Stage, again: bool) -> dict[str, Any] | None:
    """Return what stage.json says of a finished result, of that which was set aside where it is the wanted one; None for none."""
    recover(folder)
    known = _known(folder / MARK)
    if known is None and not again and (aside := _known(mark_aside(folder))) is not None and aside["key"] == key.whole:
        put_back(folder, stage.keeps)
        return _known(folder / MARK)
    return known


def _begun(key: Key) -> dict[str, Any]:
    from weighbridge.stages.describe import versions

    return {"key": key.whole, "core": key.core, "made_with": versions()}


def _say_versions(known: dict[str, Any], context: Context, what: str, then: str) -> None:
    """Remark on libraries whose version is another one than that which the work was done or begun with. Our own code is in the key."""
    from weighbridge.stages.describe import versions

    before, now = known.get("made_with"), versions()
    if not isinstance(before, dict):
        return
    other = [f"{name} {before[name]} (here {now[name]})" for name in now if name in before and before[name] != now[name]]
    if other:
        context.progress(f"{what} {', '.join(other)} and {then}", 0, None)


def _known(mark: Path) -> dict[str, Any] | None:
    """Return what stage.json says, or None where it is not there, can not be read or is of another form."""
    known = _read(mark)
    if known is None or not {"key", "core", "seconds", "files"} <= set(known):
        return None
    return known if well_formed(mark.parent, known["files"]) else None


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a mark says, or None where there is none or it is not known what it says."""
    try:
        found = read_json(path)
    except RunError:
        return None
    return found if isinstance(found, dict) else None


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


def stored_recipe(folder: Path) -> str | None:
    """Return the text of the recipe that the folder follows, None where there is none."""
    try:
        return (folder / "recipe.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


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
