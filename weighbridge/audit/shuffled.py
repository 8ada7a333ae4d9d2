"""What a network learns from labels that mean nothing: how much it can learn by heart, and whether what it should not see tells the answer.

The recipe's network is trained on rows whose labels were shuffled (Zhang 2017), and judged on held-out rows whose labels were shuffled on
their own. Its training score is what it can memorise. Its held-out score is that of chance, exactly as an exchange of labels between rows
would give it; above that, something that was made of the labels reaches the training. n rows, C classes or labels, R shuffles.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.storage import read_json
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.preprocessing import Arrays
    from weighbridge.training import Course, Plan

ROWS, LEAST_ROWS, HELD_OUT = 1000, 50, 1000
WATCHED = 64  # rows judged after each epoch: nothing is chosen by them
SHUFFLES = 1999
LEAST_S, SHARE = 5.0, 0.1  # the training may take so many seconds, or this share of the run's own


@dataclass(frozen=True, kw_only=True)
class Chance:
    """What exchanging the held-out labels between rows makes of a score: its mean, and how often it is as good as the one seen."""

    expected: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """What the network said of rows with shuffled labels: those it learnt from, and held-out ones; epochs of the training."""

    train: Predictions
    held_out: Predictions
    epochs: float


def by_chance(predictions: Predictions, seed: int, shuffles: int = SHUFFLES) -> Chance:
    """Return the headline's permutation distribution, its labels exchanged between rows (Phipson and Smyth 2010: exact, one-sided)."""
    agreement, expected = _agreement(predictions)
    seen = agreement(np.arange(len(predictions)))
    random, least = rng(seed, "audit", "shuffled", "chance"), seen - 1e-9 * max(1.0, abs(seen))
    as_good = sum(agreement(random.permutation(len(predictions))) >= least for _ in range(shuffles))
    return Chance(expected=expected, p_value=(1 + as_good) / (1 + shuffles))


def _agreement(predictions: Predictions) -> tuple[Callable[[Array], float], float]:
    """Return what of the headline an exchange of labels changes (more is better), and the headline's mean over all exchanges (of the root
    mean square: the root of the mean square's).
    """
    said, truth, n = predictions.chosen, predictions.target, len(predictions)
    if predictions.kind == "category":
        shares = [np.bincount(codes, minlength=len(predictions.classes)) / n for codes in (said, truth)]
        return lambda order: float((said == truth[order]).sum()), float(shares[0] @ shares[1])
    if predictions.kind == "set":
        total = float(said.sum() + truth.sum())
        expected = 2 * n * float(said.mean(axis=0) @ truth.mean(axis=0)) / total if total else 0.0
        return lambda order: float((said & truth[order]).sum()), expected
    ours, theirs = said - said.mean(), truth - truth.mean()
    expected = math.sqrt(float(ours.var() + theirs.var()) + float(said.mean() - truth.mean()) ** 2)
    return lambda order: float(ours @ theirs[order]), expected


def seconds_of(subject: Subject) -> float:
    """Return about how long the training takes."""
    return min(_cap_s(subject), _whole_s(subject)) + 2.0


def train_shuffled(subject: Subject) -> Shuffled:
    """Return what the recipe's network says after learning from shuffled labels: augmentation and decay as the recipe has them, no early
    stopping. Raises TrainingError, Stopped.
    """
    from weighbridge import training
    from weighbridge.training import Plan

    folder = subject.place / "shuffled"
    own = Plan.from_json(read_json(subject.folder / "training" / "plan.json"))
    course = _course(subject)
    held_out = _some(course.validation, HELD_OUT, subject.seed, "held out")
    held_out = with_shuffled_labels(held_out, subject.seed, "held out")
    course = replace(course, validation=held_out.subset(slice(0, WATCHED)))
    plan = _shorter(own, subject)
    training.train_on_subset(
        course, np.arange(len(course.train)), label="learn shuffled labels", progress=subject.progress, stop=subject.stop, plan=plan
    )
    answer = training.network_answers(folder, course.encoder)
    shutil.rmtree(folder, ignore_errors=True)
    said = [_said(answer(rows), rows, course) for rows in (course.train, held_out)]
    return Shuffled(train=said[0], held_out=said[1], epochs=plan.updates / plan.updates_per_epoch)


def with_shuffled_labels(arrays: Arrays, seed: int, name: str) -> Arrays:
    """Return the rows with their labels exchanged at random."""
    assert arrays.target is not None
    order = rng(seed, "audit", "shuffled", name).permutation(len(arrays))
    return replace(arrays, target=np.asarray(arrays.target)[order])


def _course(subject: Subject) -> Course:
    """Return the recipe's training on some training rows with shuffled labels; what an encoder says of them is that of the run."""
    from weighbridge import training

    section, seed = subject.recipe.training, seed31(subject.seed, "audit", "shuffled")
    still = section.model_copy(update={"early_stopping": section.early_stopping.model_copy(update={"enabled": False})})
    course = training.Course.of_run(subject.folder, still, seed=seed, folder=subject.place / "shuffled")
    course = training.with_features(course, progress=subject.progress, stop=subject.stop, trained=subject.folder / "training")
    few = with_shuffled_labels(_some(course.train, ROWS, subject.seed, "train"), subject.seed, "train")
    return replace(course, train=few)


def _some(arrays: Arrays, most: int, seed: int, name: str) -> Arrays:
    rows = rng(seed, "audit", "shuffled", "rows", name).permutation(len(arrays))[:most]
    return arrays.subset(np.sort(rows))


def _said(output: np.ndarray, rows: Arrays, course: Course) -> Predictions:
    from weighbridge.evaluation import predictions_of

    return predictions_of(output, rows, course.encoder, split="validation")


def _whole_s(subject: Subject) -> float:
    """Return the seconds that all of the recipe's epochs over the rows would take."""
    history = read_json(subject.folder / "training" / "history.json")
    plan = read_json(subject.folder / "training" / "plan.json")
    ran, all_rows = len(history["epochs"]), int(read_json(subject.folder / "preprocessing" / "train" / "arrays.json")["rows"])
    epoch = float(history["seconds"]) / max(ran, 1) * min(ROWS, all_rows) / max(all_rows, 1)
    return epoch * float(plan["updates"]) / float(plan["updates_per_epoch"])


def _cap_s(subject: Subject) -> float:
    return max(LEAST_S, SHARE * subject.training_s)


def _shorter(plan: Plan, subject: Subject) -> Plan:
    """Return the plan with as many epochs as there is time for, at least one."""
    share = min(1.0, _cap_s(subject) / max(_whole_s(subject), 1e-9))
    return replace(plan, updates=max(plan.updates_per_epoch, math.ceil(plan.updates * share)))
