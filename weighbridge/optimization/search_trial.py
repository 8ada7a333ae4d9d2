"""What one trial does: the recipe's training with other values on each judging ground, and what its networks are worth there.

    optimization/search/trials/NUMBER/trial.json   which trial of which study it is
    optimization/search/trials/NUMBER/GROUND/      a training folder, taken up again where it was killed

Values that are the recipe's own are not trained again: their networks are the recipe's.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from weighbridge.errors import DataError, DependencyError, RecipeError, RunError, TrainingError, WeighbridgeError
from weighbridge.optimization.contest import RECIPE, Contest
from weighbridge.optimization.search_space import Direction
from weighbridge.recipe.vary import varied
from weighbridge.storage import fresh_folder, make_folder, move, read_json, remove, write_bytes, write_json

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.optimization.ground import Ground
    from weighbridge.recipe import Recipe, TrainingSection

MARK = "trial.json"
NETWORK = ("model.safetensors", "plan.json", "history.json", "model.json")  # what a network is read from; model.json last
FAILURES = (RecipeError, DataError, TrainingError, DependencyError, MemoryError, RuntimeError, ValueError)
Watch = Callable[[int, int, float], "str | None"]  # place of the ground, finished epochs, value of the best -> why the trial ends now


class Ended(Exception):  # noqa: N818 - to end a trial early is no error
    """A trial ends before its training does, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How a trial ended. A finished one has the value that is sought and the plain loss, as means over the judging grounds."""

    kind: Literal["finished", "pruned", "failed"]
    value: float = 0.0
    loss: float = 0.0
    reason: str = ""


def direction_of(contest: Contest) -> Direction:
    """Return whether the value that is sought is to be small or large."""
    from weighbridge import preprocessing
    from weighbridge.evaluation import HEADLINES

    encoder = preprocessing.Encoder.from_json(read_json(contest.folder / "preprocessing" / "encoder.json"))
    if contest.recipe.optimization.search.metric == "loss":
        return "minimize"
    return "maximize" if HEADLINES[encoder.learnt.kind].sign > 0 else "minimize"


def attempt(contest: Contest, changes: Mapping[str, Any], place: Path, mark: Mapping[str, Any], *, label: str, watch: Watch) -> Attempt:
    """Return how the trial with these changes of the recipe ended; what it left in `place` is taken up again where it is this trial's.

    Raises Stopped, RunError and StorageError, which end the search; the trial stays under way.
    """
    try:
        variant = varied(contest.recipe, changes)
        claim(place, mark)
        return _tried_out(contest, variant, place, label=label, watch=watch)
    except Ended as ended:
        cut_short = Attempt(kind="pruned", reason=ended.reason)
    except FAILURES as error:
        cut_short = Attempt(kind="failed", reason=reason_of(error))
    free_memory(whole=cut_short.kind == "failed")  # not before the error is gone, which holds the training
    return cut_short


def _tried_out(contest: Contest, variant: Recipe, place: Path, *, label: str, watch: Watch) -> Attempt:
    """`place/GROUND` holds a network for each judging ground; returns what they are worth there."""
    values, losses = [], []
    for position, ground in enumerate(contest.judging(contest.grounds(variant))):
        words = label if ground.name == "own" else f"{label}, {ground.name}"
        folder = _trained(contest, variant, ground, place / ground.name, label=words, watch=watch, position=position)
        answers = answers_of(folder, ground, "search")
        values.append(value_of(answers, contest.recipe.optimization.search.metric))
        losses.append(loss_of(answers))
    return Attempt(kind="finished", value=float(np.mean(values)), loss=float(np.mean(losses)))


def value_of(answers: Predictions, metric: str) -> float:
    """Return the value that is sought: the headline metric, or the plain loss."""
    from weighbridge.evaluation import HEADLINES

    return loss_of(answers) if metric == "loss" else HEADLINES[answers.kind].value(answers)


def loss_of(answers: Predictions) -> float:
    """Return the mean cross-entropy of classes or labels, or the mean squared error in the target's own units."""
    from weighbridge.evaluation.metrics import log_losses, set_loss

    if answers.kind == "number":
        return float(np.mean((answers.output - answers.target) ** 2))
    return float(np.mean(log_losses(answers) if answers.kind == "category" else set_loss(answers)))


def answers_of(folder: Path, ground: Ground, model: str) -> Predictions:
    """Return what the network of a training folder says of the ground's judging rows, on as many threads as it was trained on."""
    import torch

    from weighbridge import evaluation, training

    torch.set_num_threads(training.Plan.from_json(read_json(folder / "plan.json")).threads)
    output = training.network_answers(folder, ground.encoder)(ground.validation)
    return evaluation.predictions_of(output, ground.validation, ground.encoder, model=model, split="validation", groups=ground.group)


def standing(epochs: Sequence[Mapping[str, float]], section: TrainingSection, *, metric: str, kind: str) -> float:
    """Return what the trial would be worth if its training ended now, in the direction of what is sought.

    While training there is no F1 of sets: minus the loss stands for it, which is compared among trials of the same search only.
    """
    from weighbridge.training.loop import best_epoch

    best = epochs[best_epoch([dict(epoch) for epoch in epochs], section)]
    if metric == "loss":
        return float(best["validation_loss"])
    if kind == "set":
        return -float(best["validation_loss"])
    return float(best["validation_rmse" if kind == "number" else "validation_accuracy"])


def is_recipes(contest: Contest, variant: Recipe, ground: Ground) -> bool:
    """Whether the variant's training is the recipe's bit for bit: the same but for words that say what auto chose."""
    from weighbridge.training.repeats import plan_like

    ours, theirs = contest.recipe.training, variant.training
    worded = theirs.model_copy(
        update={
            "batch_size": ours.batch_size,
            "optimizer": theirs.optimizer.model_copy(update={"lr": ours.optimizer.lr}),
            "model": theirs.model.model_copy(update={"type": ours.model.type}),
        }
    )
    if variant.preprocessing != contest.recipe.preprocessing or worded != ours:
        return False
    here, there = (contest.course(RECIPE, recipe, ground) for recipe in (varied(contest.recipe, {}), variant))
    plans = [plan_like(contest.base_plan, course).identity for course in (here, there)]
    return here.spec == there.spec and plans[0] == plans[1]


def chosen_by_auto(contest: Contest) -> dict[str, Any]:
    """Return key -> value that the training stage took where the recipe says auto."""
    known = read_json(contest.folder / "training" / "model.json")["spec"]["type"]
    plan = contest.base_plan
    return {
        "training.optimizer.lr": plan.lr,
        "training.batch_size": plan.batch_size,
        "training.model.type": known,
        **({"training.model": known} if contest.recipe.training.model.type == "auto" else {}),
    }


def reason_of(error: BaseException) -> str:
    """Return why a trial failed, in one line."""
    if isinstance(error, WeighbridgeError):
        return error.what
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:300] if words else type(error).__name__


def free_memory(*, whole: bool) -> None:
    """What a training held on the accelerator is free; with `whole` all that it held (0.4 s a time, where many libraries are loaded)."""
    import torch

    if whole or torch.cuda.is_available():
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def claim(place: Path, mark: Mapping[str, Any]) -> None:
    """`place` holds what an earlier sitting made of this very trial, and nothing else; a folder of another one is emptied."""
    if _read(place / MARK) != mark:
        fresh_folder(place)
        write_json(place / MARK, mark)


def tidy(trials: Path, keep: Collection[int]) -> None:
    """Of the folders of trials only those of the numbers in `keep` are left."""
    for child in sorted(trials.iterdir()) if trials.is_dir() else ():
        if child.name not in map(str, keep):
            remove(child)


def place_best(contest: Contest, variant: Recipe, place: Path, mark: Mapping[str, Any], *, label: str) -> None:
    """The networks of the best trial lie at `contest.network_folder("search", ground)` for the run's own split and every fold.

    They are moved there from `place`, copied from the recipe's where they are these, or trained where they are not on this machine.
    Raises TrainingError, RecipeError, Stopped, StorageError.
    """
    for ground in contest.grounds(variant):
        target = contest.network_folder("search", ground)
        if _read(target / MARK) == mark and (target / "model.json").exists():
            continue
        source = place / ground.name
        if is_recipes(contest, variant, ground):
            source = contest.train(contest.course(RECIPE, varied(contest.recipe, {}), ground), ground, label)
            _copy(contest, source, target, mark, contest.asked(contest.course("search", variant, ground), ground))
        elif (source / "model.json").exists():
            write_json(source / MARK, mark)
            remove(target)
            make_folder(target.parent)
            move(source, target)
        else:
            claim(target, mark)
            contest.train(contest.course("search", variant, ground), ground, label)


def _trained(contest: Contest, variant: Recipe, ground: Ground, folder: Path, *, label: str, watch: Watch, position: int) -> Path:
    """Return the folder of the trial's network on a ground: its own, or the recipe's where it is the same."""
    options, kind = contest.recipe.optimization.search, ground.encoder.learnt.kind

    def curve(epochs: Sequence[Mapping[str, float]]) -> None:
        value = standing(epochs, variant.training, metric=options.metric, kind=kind)
        if (reason := watch(position, len(epochs), value)) is not None:
            raise Ended(reason)

    if is_recipes(contest, variant, ground):
        course = contest.course(RECIPE, varied(contest.recipe, {}), ground)
        known = (course.folder / "model.json").exists()
        contest.train(course, ground, label, curve=curve)
        for count in range(1, 1 + len(epochs := read_json(course.folder / "history.json")["epochs"]) if known else 1):
            curve(epochs[:count])
        return course.folder
    return contest.train(replace(contest.course("search", variant, ground), folder=folder), ground, label, curve=curve)


def _copy(contest: Contest, source: Path, target: Path, mark: Mapping[str, Any], asked: str) -> None:
    """`target` holds the network of `source` as that of the search, its model.json written last."""
    fresh_folder(target)
    contest.claim(target, asked)
    for name in NETWORK:
        if name == NETWORK[-1]:
            write_json(target / MARK, mark)
        write_bytes(target / name, (source / name).read_bytes())


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except RunError:
        return None
