"""Whether the answers give away which rows were learnt: membership inference by the loss, and by shadow models of the same recipe.

The loss alone (Yeom 2018) is what anybody can try. A stronger attacker, who has rows of the same kind and the recipe, trains models with
and without each row and asks under which of them the answer is likelier (Carlini 2022). Members are training rows, strangers test rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.membership_score import Attack, attack, confidence, halves, likelihood_ratio
from weighbridge.audit.subject import Unmeasured
from weighbridge.evaluation.predictions import Floats
from weighbridge.findings import Message
from weighbridge.preprocessing.ragged import Ragged
from weighbridge.storage import read_json
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.preprocessing import Arrays

MOST = 10_000  # rows of each side that the loss is looked at of
POOLS = (2000, 1000, 500, 250)  # members, and strangers, that shadow models learn from: the most of which enough models fit into the time
LEAST = 50  # rows of a side
WATCHED = 64  # validation rows that a copy judges after each epoch: nothing is chosen by them
MODELS, ENOUGH, LEAST_MODELS = 16, 6, 4
CAP_S = 20.0  # what the shadow models may take together, or as long as the run's own training


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """What the likelihood ratio of some shadow models gives away."""

    attack: Attack
    models: int
    rows: int


def by_loss(subject: Subject) -> Attack:
    """Return what the loss gives away. Raises Unmeasured."""
    member, stranger = (_scores(subject, split, MOST) for split in ("train", "test"))
    if min(len(member), len(stranger)) < LEAST:
        few = Message("{members} training and {strangers} test rows are too few: {least} of each are needed", members=len(member),
                      strangers=len(stranger), least=LEAST)  # fmt: skip
        raise Unmeasured(few)
    return attack(member, stranger)


def _scores(subject: Subject, split: str, most: int) -> Floats:
    said = subject.said[split]
    rows = _some(len(said), most, subject.seed, split)
    return confidence(said.kind, said.output[rows], said.target[rows], spread=subject.encoder.learnt.std)


def by_shadows(subject: Subject) -> Shadows:
    """Return what the likelihood ratio gives away.

    Raises Unmeasured where shadow models can not be trained, or not in time, TrainingError, Stopped.
    """
    if reason := no_copies(subject):
        raise Unmeasured(reason)
    models, most = models_in_time(subject)
    if models < LEAST_MODELS:
        raise Unmeasured(
            Message(
                "{least} shadow models, the fewest that tell anything, take about {seconds} s; {cap} s are given",
                least=LEAST_MODELS,
                seconds=round(LEAST_MODELS * _each_s(subject, most)),
                cap=round(_cap_s(subject)),
            )
        )
    members, strangers = _pool(subject, most)
    pool = joined(members, strangers)
    inside = halves(models, len(pool), rng(subject.seed, "audit", "membership", "halves"))

    def shadow(number: int) -> Floats:
        seed = seed31(subject.seed, "audit", "shadow", str(number))
        label = f"shadow model {number + 1} of {models}"
        return told(subject, answers_of_copy(subject, pool, np.flatnonzero(inside[number]), seed=seed, label=label)(pool), pool)

    shadows = np.stack([shadow(number) for number in range(models)])
    score = likelihood_ratio(told(subject, subject.answer(pool), pool), shadows, inside)
    return Shadows(attack=attack(score[: len(members)], score[len(members) :]), models=models, rows=len(pool))


def told(subject: Subject, output: Floats, rows: Arrays) -> Floats:
    """Return how well each row is answered, in the order of `rows`."""
    from weighbridge.evaluation.answers import truth_of

    target = subject.encoder.learnt
    return confidence(target.kind, output, truth_of(rows, subject.encoder), spread=target.std)


def no_copies(subject: Subject) -> Message | None:
    """Return why the recipe's network can not be trained anew on other rows here; None where it can."""
    if not subject.is_network:
        return Message("{name} is no network that could be trained anew", name=subject.kept.name)
    if subject.recipe.training.model.type == "pretrained":
        return Message("a pretrained network is not trained anew; what it saw before is not known here")
    return None


def models_in_time(subject: Subject) -> tuple[int, int]:
    """Return how many shadow models fit into their time, an even number of at most MODELS, and how many rows of a side they learn from.

    0 models where none can be trained.
    """
    if no_copies(subject):
        return 0, POOLS[-1]
    fit = {most: min(MODELS, int(_cap_s(subject) / max(_each_s(subject, most), 1e-6))) for most in POOLS}
    most = next((most for most, models in fit.items() if models >= ENOUGH), POOLS[-1])
    return fit[most] - fit[most] % 2, most


def seconds_of(subject: Subject) -> float:
    """Return about how long both attacks take."""
    models, most = models_in_time(subject)
    return 1.0 + (models * _each_s(subject, most) + subject.seconds_of(2 * most, "test") if models >= LEAST_MODELS else 0.0)


def _cap_s(subject: Subject) -> float:
    return max(CAP_S, subject.training_s)


def _each_s(subject: Subject, most: int) -> float:
    """Return about the seconds of one shadow model: as many epochs as the run's own ran, over half of the pool."""
    rows = int(read_json(subject.folder / "preprocessing" / "train" / "arrays.json")["rows"])
    half = (min(rows, most) + min(len(subject.arrays["test"]), most)) / 2
    return subject.training_s * half / max(rows, 1) + 0.5


def _pool(subject: Subject, most: int) -> tuple[Arrays, Arrays]:
    train, test = subject.arrays["train"], subject.arrays["test"]
    if min(len(train), len(test)) < LEAST:
        raise Unmeasured(Message("{rows} rows of a side are too few: {least} are needed", rows=min(len(train), len(test)), least=LEAST))
    return tuple(side.subset(_some(len(side), most, subject.seed, name)) for side, name in ((train, "members"), (test, "strangers")))  # type: ignore[return-value]  # two


def _some(rows: int, most: int, seed: int, name: str) -> np.ndarray:
    return np.sort(rng(seed, "audit", "membership", name).permutation(rows)[:most])


def answers_of_copy(subject: Subject, arrays: Arrays, rows: np.ndarray, *, seed: int, label: str) -> Callable[[Arrays], Floats]:
    """Return what a network of the recipe says that learnt these rows (sorted numbers) of the arrays: as many epochs as the run's ran,
    without early stopping and without weights of the rows. Its folder is gone. Raises TrainingError, Stopped.
    """
    from weighbridge import preprocessing, training

    section, folder = subject.recipe.training, subject.place / "shadow"
    plain = {"early_stopping": section.early_stopping.model_copy(update={"enabled": False}), "reweigh": []}
    validation = preprocessing.open_arrays(subject.folder / "preprocessing" / "validation")
    course = training.Course(
        section=section.model_copy(update=plain), seed=seed, folder=folder, encoder=subject.encoder, train=arrays,
        validation=validation.subset(slice(0, WATCHED)),
    )  # fmt: skip
    own = training.Plan.from_json(read_json(subject.folder / "training" / "plan.json"))
    ran = len(read_json(subject.folder / "training" / "history.json")["epochs"])
    plan = replace(own, updates=max(1, ran) * own.updates_per_epoch)
    shutil.rmtree(folder, ignore_errors=True)
    training.train_on_subset(course, rows, label=label, progress=subject.progress, stop=subject.stop, plan=plan)
    answer = training.network_answers(folder, subject.encoder)
    shutil.rmtree(folder, ignore_errors=True)
    return answer


def joined(first: Arrays, second: Arrays) -> Arrays:
    """Return the rows of both, in memory."""
    blocks = {name: _both(values, second.blocks[name]) for name, values in first.blocks.items()}
    assert first.target is not None
    assert second.target is not None
    target = np.concatenate([np.asarray(first.target), np.asarray(second.target)])
    return replace(first, blocks=blocks, target=target, stored_ids=np.concatenate([first.stored_ids, second.stored_ids]))


def _both(first: np.ndarray | Ragged, second: np.ndarray | Ragged) -> np.ndarray | Ragged:
    if isinstance(first, Ragged) and isinstance(second, Ragged):
        lengths = np.concatenate([first.lengths, second.lengths])
        tokens = np.concatenate([np.asarray(first.tokens), np.asarray(second.tokens)])
        return Ragged(tokens, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return np.concatenate([np.asarray(first), np.asarray(second)])
