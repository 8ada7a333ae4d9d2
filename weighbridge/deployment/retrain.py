"""A challenger from old and new rows: joined, screened, trained from the champion's weights and from new ones, judged.

STATE/retrain/NNN/asked.json      of which champion, up to which answer of the log: fixed when it begins
                  source.arrow    the rows; keys.json what each key's labels do; joined.json what was joined
                  scratch/ warm/  runs, each as `weigh run` makes it; start.json which of them goes on
                  verdict.json    what the gate said: the last file, the mark that all is done

Every step is kept when it ends and is not done again, runs go on where they were stopped: killed at any moment and asked again, the
retraining goes on. It is asked by its number, so that one decision is one retraining.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.erased import erased_version, inherit, read_receipts
from weighbridge.deployment.joining import NewRows, check_sides, ids_of_test_rows, join, joined_recipe, new_rows
from weighbridge.deployment.poison import harmful_keys
from weighbridge.errors import DataError, DependencyError, LeakError, RecipeError, RefusedArtefact, RunError, TrainingError
from weighbridge.feedback.gate import Gate, Pair, judge
from weighbridge.feedback.registry import Registry, moment
from weighbridge.findings import Finding, Message
from weighbridge.storage import FolderLock, make_folder, read_json, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.feedback.log import Log
    from weighbridge.recipe import FeedbackSection, Recipe
    from weighbridge.runtime import Model

RETRAIN, VERDICT = "retrain", "verdict.json"
FAILS = (RecipeError, DataError, LeakError, DependencyError, TrainingError, RefusedArtefact)
Run = Callable[..., list[Finding]]  # lifecycle.run


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a retraining. package: SHA-256 of what may challenge, None where the gate refused, or `why` nothing came of it."""

    number: int
    passed: bool
    findings: tuple[Finding, ...]
    package: str | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        told = [one.to_json() for one in self.findings]
        return {"number": self.number, "passed": self.passed, "package": self.package, "why": self.why, "findings": told, "time": moment()}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A retraining under way: its folder and what it needs."""

    registry: Registry
    folder: Path
    number: int
    log: Log
    section: FeedbackSection
    run: Run
    progress: Progress
    stop: StopRequest

    @cached_property
    def asked(self) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.folder / "asked.json")
        return found

    @cached_property
    def champion(self) -> Model:
        from weighbridge import runtime

        return runtime.Model.load(self.registry.path(self.asked["champion"]))

    @property
    def before(self) -> Path:
        """The champion's run."""
        return Path(self.asked["run"])

    @cached_property
    def recipe(self) -> Recipe:
        """The champion's recipe."""
        from weighbridge.recipe import load_recipe

        return load_recipe(self.before / "recipe.yaml")

    def recipe_of(self, start: str) -> Recipe:
        """Return the challenger's recipe from a start, `warm` or `scratch`."""
        before = str(self.before.absolute())
        changes = {"training.model.start": before, "preprocessing.like": before} if start == "warm" else {}
        return joined_recipe(self.recipe, self.folder / "source.arrow", self.before, name=start, changes=changes)

    def command(self) -> str:
        return f"weigh feedback trace {self.number:03d} --state {self.registry.state}"


def begin(registry: Registry, number: int, log: Log) -> None:
    """The retraining of this number is asked for; what it is about is fixed. Raises RunError: nothing is served, or its run is lost."""
    folder = folder_of(registry.state, number)
    if (folder / "asked.json").exists():
        return
    current = registry.current()
    if current is None:
        raise RunError(f"nothing is served as {registry.name}", do="release a package first")
    run = registry.about(current.champion).get("run")
    if run is None or not (Path(run) / "recipe.yaml").exists():
        raise RunError(f"the run of the champion of {registry.name} is not known, or not there", do="release it from its run folder")
    newest = log.window(newest=1).sequence
    told = {
        "name": registry.name,
        "champion": current.champion,
        "run": run,
        "before": int(newest[0]) if len(newest) else 0,
        "begun": moment(),
    }
    make_folder(folder)
    write_json(folder / "asked.json", told)


def retrain(
    registry: Registry,
    number: int,
    *,
    log: Log,
    section: FeedbackSection,
    run: Run,
    progress: Progress = silent,
    stop: StopRequest | None = None,
) -> Verdict:
    """`STATE/retrain/NNN` holds a judged challenger; one that passed is in the registry and answers nothing yet.

    Raises Stopped, StorageError, RunError: it goes on when it is asked again. What the rows or the recipe do not allow is a verdict.
    """
    begin(registry, number, log)
    folder = folder_of(registry.state, number)
    with FolderLock(folder):
        if (folder / VERDICT).exists():
            return read_verdict(folder)
        work = Work(
            registry=registry,
            folder=folder,
            number=number,
            log=log,
            section=section,
            run=run,
            progress=progress,
            stop=stop or StopRequest(),
        )
        try:
            verdict = _made(work)
        except FAILS as error:
            finding = Finding(
                key="feedback.gate", title=Message("Challenger at the gate"), verdict="unmeasured", reason=Message("{why}", why=str(error)),
                command=work.command(),
            )  # fmt: skip
            verdict = Verdict(number=number, passed=False, findings=(finding,), why=str(error))
        write_json(folder / VERDICT, verdict.to_json())
    return verdict


def folder_of(state: Path, number: int) -> Path:
    """Return the folder of a retraining."""
    return state / RETRAIN / f"{number:03d}"


def read_verdict(folder: Path) -> Verdict:
    """Return what came of a finished retraining. Raises RunError where it is not finished."""
    found = read_json(folder / VERDICT)
    told = tuple(Finding.from_json(one) for one in found["findings"])
    return Verdict(number=found["number"], passed=found["passed"], package=found["package"], why=found["why"], findings=told)


def _made(work: Work) -> Verdict:
    new = _screened(work)
    start = _better_start(work)
    challenger = work.folder / start
    _run(work, start)
    gate = _judged(work, challenger, new)
    package = None
    if gate.passed:
        about = {**origin(challenger), "retraining": work.number, "start": start, "before": work.asked["champion"]}
        package = work.registry.install(challenger / "deployment" / "package", **about)
    return Verdict(number=work.number, passed=gate.passed, findings=gate.findings, package=package)


def origin(run: Path) -> dict[str, Any]:
    """Return where the package of a run comes from, as the registry keeps it."""
    told = read_json(run / "run.json")
    return {"run": str(run.absolute()), **{name: told[name] for name in ("recipe_sha256", "data_sha256", "started")}, "installed": moment()}


def _screened(work: Work) -> NewRows:
    """The source is written, without the rows of keys that would harm: those are in quarantine from now on; return the new rows."""
    source, keys, joined = (work.folder / name for name in ("source.arrow", "keys.json", "joined.json"))
    new, erased = _new(work), erased_version(work.before / "data")
    if not keys.exists():
        join(work.before, new, work.recipe, source)
        _run(work, "scratch", until="preprocessing")
        found = harmful_keys(work.folder / "scratch", new, seed=work.recipe.seed)
        for one in found:
            if one.harms:
                work.log.shut_out(one.key, one.why)
        told = [{"key": one.key, "labels": one.n, "p_worse": one.p_worse, "suspected": one.suspected, "why": one.why} for one in found]
        write_json(keys, told)
        new = _new(work)
    if not joined.exists() or read_json(joined).get("erased") != erased:  # a row was erased since the rows were joined
        write_json(joined, {**join(work.before, new, work.recipe, source).to_json(), "erased": erased})
    return new


def _run(work: Work, start: str, *, until: str = "deployment") -> None:
    """The challenger from this start is a run up to a stage; what was erased from the champion's run stays out of it, too."""
    from weighbridge.stages.station import write_recipe

    recipe, folder = work.recipe_of(start), work.folder / start
    if erased_version(work.before / "data") is not None:
        write_recipe(recipe, folder)
        inherit(folder / "data", work.before / "data")
    work.run(recipe, folder, until=until, progress=work.progress, stop=work.stop)


def _new(work: Work) -> NewRows:
    return new_rows(work.log, work.champion, name=work.registry.name, before=work.asked["before"])


def _better_start(work: Work) -> str:
    """Return which start goes on: of two, the one that is better on the same validation rows, the warm one where they are equal."""
    kept = work.folder / "start.json"
    if kept.exists():
        return str(read_json(kept)["start"])
    starts = list(work.section.retrain.starts)
    if "warm" in starts and (not _has_network(work.before) or _saw_erased_rows(work.before)):
        starts = ["scratch"]
    for start in starts:
        _run(work, start, until="training")
        check_sides(work.before, work.folder / start)
    told: dict[str, Any] = {"start": starts[0]}
    if len(starts) == 2:
        told = _compared(*(work.folder / start for start in ("warm", "scratch")))
    write_json(kept, told)
    return str(told["start"])


def _has_network(run: Path) -> bool:
    """Whether training can go on from the run's network: one whose encoder is not a pretrained source of its own."""
    return (run / "training" / "model.safetensors").exists() and not read_json(run / "training" / "model.json")["spec"].get("pretrained")


def _saw_erased_rows(run: Path) -> bool:
    """Whether rows were erased from the run after its models were trained: what they learnt must not go on in another."""
    receipts = read_receipts(run / "data")
    return bool(receipts) and datetime.fromisoformat(receipts[-1]["time"]) >= datetime.fromisoformat(read_json(run / "run.json")["started"])


def _compared(warm: Path, scratch: Path) -> dict[str, Any]:
    from weighbridge import evaluation
    from weighbridge.evaluation.comparison import compare

    ours, theirs = _on_validation(warm), _on_validation(scratch)
    found = compare(ours, in_order_of(theirs, ours.classes), evaluation.resampling_of(2000, 0))
    told = {"difference": found.difference, "interval": list(found.interval), "p_value": found.p_value, "n": found.n}
    return {"start": "scratch" if found.difference < 0 else "warm", **told}


def _on_validation(run: Path) -> Predictions:
    from weighbridge import preprocessing, training
    from weighbridge.evaluation.answers import predictions_of

    encoder = preprocessing.Encoder.from_json(read_json(run / "preprocessing" / "encoder.json"))
    arrays = preprocessing.open_arrays(run / "preprocessing" / "validation")
    output = training.network_answers(run / "training", encoder)(arrays)
    return predictions_of(output, arrays, encoder, model=run.name, split="validation")


def in_order_of(rows: Predictions, classes: Sequence[str]) -> Predictions:
    """Return predictions with their classes in this order. Raises DataError where they are other classes."""
    if rows.classes == tuple(classes) or rows.kind == "number":
        return rows
    if set(rows.classes) != set(classes):
        raise DataError("champion and challenger do not know the same classes", do="run the recipe from its source: weigh run")
    order = np.array([rows.classes.index(name) for name in classes])
    target = rows.target[:, order] if rows.kind == "set" else np.argsort(order)[rows.target]
    return replace(rows, classes=tuple(classes), output=rows.output[:, order], target=target)


def _judged(work: Work, challenger: Path, new: NewRows) -> Gate:
    from weighbridge import evaluation

    ours, theirs = through_packages(work, challenger)
    given, before = dict(zip(new.row_id.tolist(), new.who.tolist(), strict=True)), ids_of_test_rows(work.before)
    old_rows = np.isin(ours.row_id, before)
    fresh = np.array([one in given for one in ours.row_id.tolist()], dtype=bool) & ~old_rows
    who = np.array([given[one] for one in ours.row_id[fresh].tolist()], dtype=object)
    recent = Pair(challenger=ours.rows(fresh), champion=theirs.rows(fresh), who=who) if fresh.any() else None
    old = Pair(challenger=ours.rows(old_rows), champion=theirs.rows(old_rows))
    return judge(recent, old, work.section.gate, evaluation.resampling_of(2000, work.recipe.seed), command=work.command())


def through_packages(work: Work, challenger: Path) -> tuple[Predictions, Predictions]:
    """Return what both packages say of the challenger's test rows, in one order of rows and classes; the read stands in its ledger."""
    from weighbridge import data, evaluation, runtime

    known = evaluation.read_predictions(challenger / "evaluation" / "test.parquet")
    table = data.open_data(challenger / "data").test(f"gate of retraining {work.number:03d}", work.command())
    model = runtime.Model.load(challenger / "deployment" / "package")
    ids = np.concatenate([batch.row_ids for batch in table.batches(1024)]).astype(str)
    answers = []
    for one, name in ((model, "challenger"), (work.champion, "champion")):
        output = np.concatenate([one.outputs(batch.columns, len(batch)) for batch in table.batches(1024)]).astype(np.float64)
        if one.classes:
            output = output[:, [one.classes.index(label) for label in known.classes]]
        answers.append(replace(known, output=output[np.argsort(ids, kind="stable")], model=name, hard=False))
    return answers[0], answers[1]
