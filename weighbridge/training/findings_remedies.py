"""What a training did against a limitation, as findings: how often rare classes came, how unlike rows counted, what attacks it withstands,
what its answers tell of a column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.intervals import rate_interval
from weighbridge.findings import Finding, Message, Reference
from weighbridge.training.loop import best_epoch
from weighbridge.training.weights import weight_column, worth

if TYPE_CHECKING:
    from weighbridge.training.batches import Batches
    from weighbridge.training.checkpoint import Progressed
    from weighbridge.training.stage import Course


def remedy_findings(course: Course, batches: Batches, progressed: Progressed, command: str) -> list[Finding]:
    """Return what each remedy did that the recipe asks for; nothing where it asks for none."""
    kept = progressed.epochs[best_epoch(progressed.epochs, course.section)]
    return [
        *balance_findings(course, batches, command), *weight_findings(course, command), *attack_findings(course, kept, command),
        *debias_findings(course, kept, command), *constraint_findings(course, kept, command),
    ]  # fmt: skip


def balance_findings(course: Course, batches: Batches, command: str) -> list[Finding]:
    """Return how often a row of the rarest class comes in an epoch, and what share of it the most frequent class has."""
    balance = batches.balance
    if balance is None:
        return []
    counts = np.array([len(members) for members in balance.members])
    quotas = balance.quotas(batches.per_epoch * batches.batch_size, seed=batches.seed, epoch=0)
    rarest, largest = int(counts.argmin()), int(counts.argmax())
    names = [course.encoder.learnt.classes[int(np.asarray(balance.target)[members[0]])] for members in balance.members]
    return [
        Finding(
            key="training.balance",
            title=Message("How often a row of the rarest class comes in an epoch"),
            value=round(float(quotas[rarest] / counts[rarest]), 4),
            n=int(counts[rarest]),
            reason=Message(
                "{rarest}: {share} of an epoch, {before} of the training rows; {largest}: {share_largest}, {before_largest}",
                rarest=names[rarest], share=_share(quotas, rarest), before=_share(counts, rarest),
                largest=names[largest], share_largest=_share(quotas, largest), before_largest=_share(counts, largest),
            ),
            method=Message("counted over the first epoch; rows of a class differ by one at most in how often they come"),
            source="Kang 2020",
            command=f"{command} --only balance",
        )
    ]  # fmt: skip


def _share(counts: np.ndarray, place: int) -> str:
    return f"{counts[place] / counts.sum():.2%}"


def weight_findings(course: Course, command: str) -> list[Finding]:
    """Return how many rows of equal weight the weighted training rows are worth."""
    weight = course.weights
    if weight is None:
        return []
    sources = [f"data.weight: {name}" for name in [weight_column(course.data)] if name is not None]
    sources += [f"training.reweigh: {', '.join(course.section.reweigh)}"] if course.section.reweigh else []
    return [
        Finding(
            key="training.weights",
            title=Message("Training rows that the weighted ones are worth"),
            value=round(worth(weight), 1),
            n=len(weight),
            reason=Message(
                "weights from {least} to {largest}, {mean} on average; by {sources}",
                least=f"{weight.min():.3g}", largest=f"{weight.max():.3g}", mean="1", sources="; ".join(sources),
            ),
            method=Message("the square of the sum of the weights over the sum of their squares"),
            source="Kish 1965",
            command=f"{command} --only weights",
        )
    ]  # fmt: skip


def attack_findings(course: Course, kept: dict[str, float], command: str) -> list[Finding]:
    """Return the share of validation rows that the kept weights answer rightly under the training's own attack; of classes only."""
    options = course.section.adversarial
    if not options.enabled or "attacked_accuracy" not in kept:
        return []
    rows = round(kept["attacked_rows"])
    moved = [f"{options.images:g}/255"] if options.images else []
    moved += [f"{options.numbers:g} SD"] if options.numbers else []
    return [
        Finding(
            key="training.adversarial",
            title=Message("Accuracy under the attack that it learnt from"),
            value=round(kept["attacked_accuracy"], 4),
            interval=rate_interval(round(kept["attacked_accuracy"] * rows), rows),
            unit="share",
            n=rows,
            reason=Message(
                "inputs moved by up to {bound} in {steps} steps; stronger attacks are the audit's",
                bound=", ".join(moved),
                steps=options.steps,
            ),
            method=Message("projected gradient descent from a random start on validation rows; mid-P interval, exact at the edges"),
            source="Madry 2018",
            evidence=("training/history.json",),
            command=f"{command} --only adversarial",
        )
    ]


def debias_findings(course: Course, kept: dict[str, float], command: str) -> list[Finding]:
    """Return what the kept answers tell of the groups of the columns that they are to be silent of."""
    options = course.section.debias
    if not options.columns:
        return []
    beyond = Message("beyond what the truth tells") if options.criterion == "odds" else Message("in all")
    return [
        Finding(
            key="training.debias",
            title=Message("What the answers tell of {columns}", columns=", ".join(options.columns)),
            value=round(kept["told_nats"], 5),
            unit="nats",
            n=len(course.validation),
            reason=beyond,
            method=Message(
                "mutual information of groups and answers on validation rows, less its bias (Miller 1955); the most of any column"
            ),
            source="Zhang 2018",
            evidence=("training/history.json",),
            command=f"{command} --only debias",
        )
    ]


def constraint_findings(course: Course, kept: dict[str, float], command: str) -> list[Finding]:
    """Return how far apart the rates are that were to be held alike."""
    options = course.section.constrain
    if not options.columns:
        return []
    return [
        Finding(
            key="training.constrain",
            title=Message("Farthest rate of a group from all rows, by {columns}", columns=", ".join(options.columns)),
            value=round(kept["apart"], 5),
            unit="share",
            n=len(course.validation),
            reference=Reference(name=Message("let pass"), value=options.allowed),
            reason=Message("rates of each class") if options.alike == "odds" else Message("rates of all rows"),
            method=Message("on validation rows, by which the weights were kept, so a little too good; test rows are judged by the audit"),
            source="Agarwal 2018; Cotter 2019",
            evidence=("training/history.json",),
            command=f"{command} --only constrain",
        )
    ]
