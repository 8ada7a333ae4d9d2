"""The circle: every stage in order. A stage whose key matches is not run again; a killed run goes on where it stopped.

data -> preprocessing -> training -> optimization -> evaluation -> audit -> mitigation -> deployment -> in service -> go_round -> data
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge import tracking
from weighbridge.errors import RecipeError, RefusedArtefact, WeighbridgeError, did_you_mean
from weighbridge.findings import Finding, read_findings, write_findings
from weighbridge.stages.station import (
    Context,
    Key,
    Stage,
    collect,
    refuse_foreign,
    refuses,
    run_stage,
    stage_keys,
    stored_recipe,
    write_recipe,
)
from weighbridge.stages.unmeasured import unmeasured
from weighbridge.storage import FolderLock, read_json, sha256_json, sweep, write_json, write_text
from weighbridge.storage.control import StopRequest, heeding
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.deployment.promote import Circle
    from weighbridge.feedback.decisions import Noted, Trail
    from weighbridge.recipe import Recipe

LEDGER, STOPPED, ERASED = "test_ledger.jsonl", "leaks_stopped.json", ("erased.jsonl", "erased.key")


def _data(context: Context) -> list[Finding]:
    from weighbridge import data

    section = context.recipe.data
    return data.prepare(
        section,
        seed=context.recipe.seed,
        folder=context.folder / "data",
        command=context.command("data"),
        progress=heeding(context.progress, context.stop),
        separator=context.recipe.preprocessing.set.separator,
    )


def _preprocessing(context: Context) -> list[Finding]:
    from weighbridge import data, preprocessing

    return preprocessing.prepare(
        context.recipe.preprocessing, data=data.open_data(context.folder / "data"), folder=context.folder / "preprocessing",
        command=context.command("preprocess"), progress=heeding(context.progress, context.stop), seed=context.recipe.seed,
    )  # fmt: skip


def _training(context: Context) -> list[Finding]:
    from weighbridge import training

    folder = context.folder
    section = context.recipe.training
    course = training.Course.of_run(folder, section, seed=context.recipe.seed, folder=folder / "training")
    if section.model.start is not None:
        course = replace(course, start=training.start_of(section.model.start))
    command = context.command("train")
    found = training.prepare(course, command=command, progress=context.progress, stop=context.stop, curve=context.curve)
    return [*found, *training.further_seeds(course, command=command, progress=context.progress, stop=context.stop)]


def _optimization(context: Context) -> list[Finding]:
    from weighbridge import optimization

    return optimization.prepare(
        context.recipe, folder=context.folder, command=context.command("optimize"), progress=context.progress, stop=context.stop
    )


def _evaluation(context: Context) -> list[Finding]:
    from weighbridge.stages import evaluation

    return evaluation.prepare(
        context.recipe, folder=context.folder, command=context.command("evaluate"), progress=context.progress, stop=context.stop
    )


def _audit(context: Context) -> list[Finding]:
    from weighbridge import audit

    return audit.prepare(
        context.recipe, folder=context.folder, command=context.command("audit"), progress=context.progress, stop=context.stop
    )


def _mitigation(context: Context) -> list[Finding]:
    from weighbridge import mitigation

    return mitigation.prepare(
        context.recipe, folder=context.folder, command=context.command("mitigate"), run=run, progress=context.progress, stop=context.stop
    )


def _deployment(context: Context) -> list[Finding]:
    from weighbridge import deployment

    progress = heeding(context.progress, context.stop)
    return deployment.prepare(context.recipe, folder=context.folder, command=context.command("deploy"), progress=progress)


def _judged_what_is_chosen(folder: Path) -> bool:
    return _of_what_is_chosen(folder / "evaluation" / "judged.json", folder)


def _audited_what_is_chosen(folder: Path) -> bool:
    return _of_what_is_chosen(folder / "audit" / "audited.json", folder)


def _of_what_is_chosen(place: Path, folder: Path) -> bool:
    from weighbridge.optimization import read_chosen

    return place.exists() and read_json(place) == read_chosen(folder).hashes


def _packaged_what_is_chosen(folder: Path) -> bool:
    from weighbridge.optimization import read_chosen

    place = folder / "deployment" / "package" / "package.json"
    return not place.exists() or read_json(place).get("model_sha256") == read_chosen(folder).form.sha256


STAGES = (
    Stage(name="data", verb="data", reads=(), work=_data, keeps=(LEDGER, *ERASED), spare=(LEDGER, STOPPED, *ERASED), refusal=(STOPPED,)),
    Stage(name="preprocessing", verb="preprocess", reads=("data",), work=_preprocessing),
    Stage(
        name="training",
        verb="train",
        reads=("data", "preprocessing"),
        work=_training,
        spare=("checkpoints", "best.safetensors"),
        adds=("seeds",),
    ),
    Stage(
        name="optimization",
        verb="optimize",
        reads=("data", "preprocessing", "training"),
        work=_optimization,
        spare=("networks", "search", "scale", "judged"),
        adds=("scale",),
        unread=("scale",),
        keeps=("networks", "arrays", "search", "graphs", "judged", "costs.json", "scale"),
        measured=("graphs", "judged", "costs.json"),
    ),
    Stage(
        name="evaluation",
        verb="evaluate",
        reads=("data", "preprocessing", "training", "optimization"),
        work=_evaluation,
        fits=_judged_what_is_chosen,
    ),
    Stage(
        name="audit",
        verb="audit",
        reads=("data", "preprocessing", "training", "optimization", "evaluation"),
        work=_audit,
        fits=_audited_what_is_chosen,
    ),
    Stage(
        name="mitigation",
        verb="mitigate",
        reads=("data", "preprocessing", "training", "optimization", "evaluation", "audit"),
        work=_mitigation,
        spare=(),
        adds=("remedies",),
    ),
    Stage(
        name="deployment",
        verb="deploy",
        reads=("data", "preprocessing", "training", "optimization", "evaluation"),
        work=_deployment,
        spare=("package/signature.json",),
        keeps=("package",),
        fits=_packaged_what_is_chosen,
    ),
)


def run(
    recipe: Recipe,
    folder: Path,
    *,
    until: str = STAGES[-1].name,
    again: Sequence[str] = (),
    progress: Progress = silent,
    stop: StopRequest | None = None,
) -> list[Finding]:
    """Run what is not yet done, up to `until`; `folder` then holds findings.jsonl, run.json, report.html and card.md.

    Args:
        again: stages to run even though their key matches.
    Raises:
        WeighbridgeError: with one line; what earlier stages made is kept.
    """
    names = [stage.name for stage in STAGES]
    if until not in names:
        raise RecipeError(f"there is no stage '{until}'{did_you_mean(until, names)}", do=f"stages: {', '.join(names)}")
    if recipe.mitigation.remedies:
        from weighbridge.mitigation import chosen

        chosen(recipe.mitigation.remedies)  # a name that is not known is refused now, not after the training
    if recipe.deployment.sign.key is not None:
        from weighbridge.deployment import check_key

        check_key(recipe)
    from weighbridge import data

    stop = StopRequest() if stop is None else stop
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    refuse_foreign(folder)
    data.refuse_erasing(folder)
    trackers = tracking.follow(recipe, folder, progress=progress)
    with FolderLock(folder), trackers:
        sweep(folder)
        keys = stage_keys(STAGES, recipe, data.erased_version(folder / "data"))
        trackers.begin(sha256_json({name: key.whole for name, key in keys.items()}), again=bool(again))
        context = Context(recipe=recipe, folder=folder, progress=progress, stop=stop, curve=trackers.curve)
        done, refused = _stages(context, STAGES[: names.index(until) + 1], keys, again)
        findings = collect(folder, list(done)) + (_refused(folder) if refused else [])
        findings += unmeasured(recipe, findings, folder)
        _finish(context, findings, done, started)
        if lost := trackers.deliver(findings):
            findings += lost
            _finish(context, findings, done, started)
    if refused is not None:
        raise refused
    context.stop.check("every stage had just ended")
    return findings


def run_anew(recipe: Recipe, folder: Path, *, progress: Progress = silent, stop: StopRequest | None = None) -> list[Finding]:
    """As `run`, with nothing taken over from what stages made before: it is set aside until each has its new result.

    So a model that saw rows which were erased since is replaced by the one that a run would have made that never had them.
    """
    from weighbridge.stages.before import set_aside

    with FolderLock(folder):
        for stage in STAGES[1:]:
            if (folder / stage.name).is_dir():
                set_aside(folder / stage.name, ())
    return run(recipe, folder, progress=progress, stop=stop)


def _stages(
    context: Context, stages: Sequence[Stage], keys: dict[str, Key], again: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], RefusedArtefact | None]:
    """The stages have run and recipe.yaml is what the folder follows; returns what the mark of each says, and the package's refusal."""
    done: dict[str, dict[str, Any]] = {}
    refused: RefusedArtefact | None = None
    before = stored_recipe(context.folder)
    write_recipe(context.recipe, context.folder)
    for stage in stages:
        context.stop.check()
        try:
            done[stage.name] = run_stage(stage, keys[stage.name], context, again=stage.name in again)
        except RefusedArtefact as error:
            refused = error
        except WeighbridgeError as error:
            if before is not None and refuses(error) and not any(each["fresh"] for each in done.values()):
                write_text(context.folder / "recipe.yaml", before)  # nothing of the folder follows the new one
            raise
    return done, refused


def _refused(folder: Path) -> list[Finding]:
    from weighbridge.deployment import REFUSED

    return read_findings(folder / "deployment" / REFUSED)


def _finish(context: Context, findings: list[Finding], done: dict[str, dict[str, Any]], started: str) -> None:
    from weighbridge.report import write_report
    from weighbridge.stages.describe import describe_run

    write_findings(context.folder / "findings.jsonl", findings)
    write_json(context.folder / "run.json", describe_run(context.recipe, context.folder, done, started))
    write_report(context.folder, context.recipe.report.language)


def go_round(circle: Circle, findings: Sequence[Finding], *, trail: Trail | None = None) -> Noted:
    """The line bends into a circle: what was measured in service becomes a decision, and what may be done by itself is done.

    What an earlier round began and a kill cut off is finished first. Then: where does the loop stand, what do findings, challenger,
    gate and keys say, what follows, who decides. The decision stands in STATE/decisions.jsonl with its evidence before it is carried out,
    and what came of it after; one that waits for a person is carried out by a later round, once it was approved.
    """
    from weighbridge import deployment
    from weighbridge.feedback.decide import decide
    from weighbridge.feedback.decisions import carried_out, decisions, note

    state, name = circle.state, circle.registry.name
    for begun in [one for one in decisions(state, name) if one.may_begin]:
        carried_out(state, begun.number, deployment.carry_out(circle, begun), trail=trail)
    measured = [*findings, *deployment.service_findings(circle), *deployment.key_findings(circle, findings)]
    decision = decide(measured, circle.section, deployment.facts_of(circle))
    noted = note(state, name, decision, deployment.about_of(circle, decision), trail=trail)
    if noted.may_begin:
        carried_out(state, noted.number, deployment.carry_out(circle, noted), trail=trail)
    elif noted.decision.action == "labels":
        deployment.carry_out(circle, noted)  # the queue of now
    return noted
