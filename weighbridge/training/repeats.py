"""The recipe's training again: from other seeds, and on a part of the rows. Each repeat has its own folder and can be taken up again.

Every repeat follows the run's own plan (batch size, precision, threads), so nothing is measured twice and two of them differ by what they
are meant to differ by. A repeat whose mark is there is not run again; one under way goes on from its checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Curve, Progress, unwatched
from weighbridge.storage.seeds import rng, seed31
from weighbridge.training.features import with_features
from weighbridge.training.optimizers import choose_lr
from weighbridge.training.plan import BATCH_SIZES, LEAST_UPDATES, Plan, with_length, with_private_rate
from weighbridge.training.poisson import private_batch
from weighbridge.training.stage import Course, prepare

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import TrainingSection


def seed_folder(training: Path, number: int) -> Path:
    """Return where the network of seed `number` lies: the run's own for 1, `seeds/N` for the others."""
    return training if number == 1 else training / "seeds" / str(number)


def further_seeds(course: Course, *, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """`folder/seeds/N` holds a network for each seed from 2 to `training.seeds`; returns what they took.

    `course` has been trained. Its seed is number 1, so one seed gives what it always gave; the others are derived by name.
    Raises TrainingError, Stopped, StorageError; what is finished is kept.
    """
    count, seconds = course.section.seeds, 0.0
    if count > 1:
        course = with_features(course, progress=progress, stop=stop)
    for number in range(2, count + 1):
        folder = seed_folder(course.folder, number)
        if not (folder / "model.json").exists():  # written last
            _follow(folder, Plan.from_json(read_json(course.folder / "plan.json")))
            again = replace(course, folder=folder, seed=seed31(course.seed, "training seed", number))
            prepare(again, command=command, progress=_labelled(progress, f"training, seed {number} of {count}"), stop=stop)
        seconds += read_json(folder / "history.json")["seconds"]
    if count == 1:
        return []
    return [
        Finding(
            key="training.further_seeds",
            title=Message("Time to train the further seeds"),
            value=round(seconds, 3),
            unit="s",
            n=count - 1,
            n_of="runs",
            reason=Message("they show the spread; the first seed is the one that is packaged"),
            method=Message("wall clock, validation included; the plan of the first seed"),
            evidence=("training/seeds",),
            command=f"{command} --only further_seeds",
        )
    ]


def train_on_subset(course: Course, rows: np.ndarray, *, label: str, progress: Progress, stop: StopRequest, plan: Plan) -> None:
    """`course.folder` holds a network trained on `rows` (sorted row numbers) of the course's training rows, under the run's plan.

    Number of updates and batch size are what the recipe gives for so many rows. Raises TrainingError, Stopped, StorageError.
    """
    if not (course.folder / "model.json").exists():
        _follow(course.folder, _shortened(plan, course.section, len(rows)))
        prepare(replace(course, train=subset(course.train, rows)), command="", progress=_labelled(progress, label), stop=stop)


def train_like(course: Course, plan: Plan | None, *, label: str, progress: Progress, stop: StopRequest, curve: Curve = unwatched) -> None:
    """`course.folder` holds its network, trained on the device, threads, precision and form of `plan`; None measures a plan anew.

    A finished one is not trained again, one under way goes on. Raises TrainingError, RecipeError, Stopped, StorageError, and what `curve`
    raises.
    """
    if not (course.folder / "model.json").exists():
        if plan is not None:
            _follow(course.folder, plan_like(plan, course))
        prepare(course, command="", progress=_labelled(progress, label), stop=stop, curve=curve)


def plan_like(plan: Plan, course: Course) -> Plan:
    """Return the plan with the course's own rate and length, and its batch where the recipe names one."""
    rows, section = len(course.train), course.section
    batch = plan.batch_size if section.batch_size == "auto" else int(section.batch_size)
    return with_length(replace(plan, batch_size=min(batch, rows), lr=choose_lr(section, course.spec.type), trial={}), section, rows)


def subset_rows(rows: int, size: int, *, seed: int, repeat: int, group: np.ndarray | None) -> np.ndarray:
    """Return sorted row numbers of a repeat's subset: a smaller one lies within a larger one; whole groups where rows belong together."""
    random = rng(seed, "learning curve rows", repeat)
    if group is None:
        return np.sort(random.permutation(rows)[:size])
    codes = np.unique(group, return_inverse=True)[1]
    order = random.permutation(int(codes.max()) + 1)
    counts = np.cumsum(np.bincount(codes)[order])
    taken = order[: int(np.searchsorted(counts, size)) + 1]
    return np.flatnonzero(np.isin(codes, taken))


def subset(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """Return the rows of these numbers, copied to memory; all rows stay mapped as they are."""
    return arrays if len(rows) == len(arrays) else arrays.subset(rows)


def _follow(folder: Path, plan: Plan) -> None:
    """A training in `folder` will follow `plan` instead of measuring one."""
    if not (folder / "plan.json").exists():
        write_json(folder / "plan.json", plan.to_json())


def _shortened(plan: Plan, section: TrainingSection, rows: int) -> Plan:
    """Return the plan for fewer rows: as many epochs, and where the batch is automatic, updates enough an epoch."""
    batch = min(plan.batch_size, rows)
    if section.batch_size == "auto" and section.privacy.enabled:
        batch = min(plan.batch_size, private_batch(rows))
    elif section.batch_size == "auto":
        fitting = [size for size in BATCH_SIZES if size <= plan.batch_size and size * LEAST_UPDATES <= rows]
        batch = min(max(fitting, default=BATCH_SIZES[0]), plan.batch_size, rows)
    per_epoch = max(1, rows // batch // section.accumulate)
    epochs = plan.updates / plan.updates_per_epoch  # fewer than the recipe's where a budget of minutes cut them
    shorter = replace(plan, batch_size=batch, updates=max(1, round(per_epoch * epochs)), updates_per_epoch=per_epoch)
    return with_private_rate(shorter, section, rows)


def _labelled(progress: Progress, name: str) -> Progress:
    """Return a listener that is told everything under one name."""

    def tell(label: str, done: int, total: int | None, note: str = "") -> None:
        progress(name, done, total, note)

    return tell
