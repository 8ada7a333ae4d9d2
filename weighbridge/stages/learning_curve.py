"""The learning curve's trainings: nested random subsets of the training rows, judged on validation rows. Test rows are never read.

Each finished training leaves a small file, so a killed run goes on with the next one; the one under way goes on from its checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Progress
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from weighbridge.evaluation.learning_curve import Run
    from weighbridge.recipe import Recipe
    from weighbridge.training import Course

LEAST_ROWS = 40  # of the smallest size
LEAST_STEP = 1.3  # from one size to the next: nearer ones show noise
VALIDATION_SHARE = 0.3  # cost of judging a row as a share of training on it: no backward pass


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training of the curve."""

    rows: int
    repeat: int

    @property
    def name(self) -> str:
        return f"{self.rows}-{self.repeat}"


def sizes_of(rows: int, count: int) -> list[int]:
    """Return `count` sizes up to `rows`, each half of the next, nearer where the smallest would be under 40; [] where that can not be."""
    smallest = max(LEAST_ROWS, rows / 2 ** (count - 1))
    if rows < smallest * LEAST_STEP ** (count - 1):
        return []
    return [round(size) for size in np.geomspace(smallest, rows, count)]


def share_of_training(rows: int, validation: int, sizes: list[int], repeats: int) -> float:
    """Return what the curve costs, in trainings on all rows."""
    judged = VALIDATION_SHARE * validation
    return sum((size + judged) / (rows + judged) for size in sizes) * repeats


def measure_curve(recipe: Recipe, folder: Path, *, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """Return the findings of the learning curve, and leave `learning_curve.json`; [] where the recipe does not ask for it.

    Raises TrainingError, Stopped, StorageError; finished trainings are kept.
    """
    from weighbridge import training

    options = recipe.evaluation.learning_curve
    if not options.enabled:
        return []
    course = _course(recipe, folder)
    sizes = sizes_of(len(course.train), options.sizes)
    if not sizes:
        least = round(LEAST_ROWS * LEAST_STEP ** (options.sizes - 1))
        reason = Message(
            "{rows} training rows are too few for {sizes} sizes: {least} are needed",
            rows=len(course.train),
            sizes=options.sizes,
            least=least,
        )
        return [_unmeasured(reason, command)]
    trainings = share_of_training(len(course.train), len(course.validation), sizes, options.repeats)
    minutes = trainings * float(read_json(folder / "training" / "history.json")["seconds"]) / 60
    if minutes > options.budget:
        reason = Message(
            "it would take about {minutes} min, and evaluation.learning_curve.budget is {budget}",
            minutes=round(minutes, 1),
            budget=options.budget,
        )
        return [_unmeasured(reason, command)]
    course = training.with_features(course, progress=progress, stop=stop, trained=folder / "training")
    points = [Point(rows=size, repeat=repeat) for size in sizes for repeat in range(1, options.repeats + 1)]
    group = _groups(recipe, folder)
    for number, point in enumerate(points, 1):
        _run_point(course, point, f"learning curve, training {number} of {len(points)}", group=group, progress=progress, stop=stop)
    return findings_of(recipe, folder, command)


def findings_of(recipe: Recipe, folder: Path, command: str) -> list[Finding]:
    """Return the findings of the stored trainings; `learning_curve.json` is written anew. [] where there are none."""
    from weighbridge.evaluation.learning_curve import curve_json, fit_curve
    from weighbridge.evaluation.learning_verdict import curve_findings

    place = folder / "evaluation"
    stored = [read_json(path) for path in sorted((place / "learning_curve").glob("*.json"))]
    if not stored:
        return []
    runs, times = sorted((_run(one) for one in stored), key=lambda run: (run.rows, run.repeat)), recipe.evaluation.learning_curve.times
    curve, rows, metric = fit_curve(runs, seed=recipe.seed), max(run.rows for run in runs), str(stored[0]["metric"])
    write_json(place / "learning_curve.json", curve_json(curve, runs, metric=metric, times=times, all_rows=rows))
    return curve_findings(curve, runs, metric=metric, rows=rows, n=int(stored[0]["n"]), times=times, seed=recipe.seed, command=command)


def _run(stored: dict[str, float]) -> Run:
    from weighbridge.evaluation.learning_curve import Run

    return Run(rows=int(stored["rows"]), repeat=int(stored["repeat"]), error=float(stored["error"]))


def _course(recipe: Recipe, folder: Path) -> Course:
    from weighbridge import training

    return training.Course.of_run(folder, recipe.training, seed=recipe.seed, folder=folder / "evaluation" / "learning_curve")


def _groups(recipe: Recipe, folder: Path) -> np.ndarray | None:
    from weighbridge import data

    if recipe.data.group is None:
        return None
    return np.asarray(data.open_data(folder / "data").train.column(recipe.data.group)).astype(str)


def _run_point(course: Course, point: Point, label: str, *, group: np.ndarray | None, progress: Progress, stop: StopRequest) -> None:
    """The point's file holds its error on validation rows; what its training left is removed then."""
    from weighbridge import training
    from weighbridge.evaluation import HEADLINES, predictions_of
    from weighbridge.training.plan import Plan

    kept, folder = course.folder / f"{point.name}.json", course.folder / point.name
    if not kept.exists():
        stop.check("finished trainings of the learning curve are kept")
        rows = training.subset_rows(len(course.train), point.rows, seed=course.seed, repeat=point.repeat, group=group)
        plan = Plan.from_json(read_json(course.folder.parent.parent / "training" / "plan.json"))
        own = replace(course, folder=folder, seed=seed31(course.seed, "learning curve", point.repeat))
        training.train_on_subset(own, rows, label=label, progress=progress, stop=stop, plan=plan)
        network = training.Deployable(training.load_network(folder), course.encoder.learnt)
        answers = predictions_of(training.forward_all(network, course.validation), course.validation, course.encoder, split="validation")
        headline = HEADLINES[answers.kind]
        value = headline.value(answers)
        error = value if headline.sign < 0 else 1 - value
        write_json(
            kept,
            {"rows": point.rows, "used": len(rows), "repeat": point.repeat, "metric": headline.name, "error": error, "n": len(answers)},
        )
    shutil.rmtree(folder, ignore_errors=True)


def _unmeasured(reason: Message, command: str) -> Finding:
    from weighbridge.evaluation.learning_verdict import KEY, UNKNOWN

    return Finding(key=KEY, title=UNKNOWN, verdict="unmeasured", reason=reason, command=f"{command} --only learning_curve")
