"""What a training did against a limitation, as findings: how often rare classes came, how unlike the rows counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.training.weights import weight_column, worth

if TYPE_CHECKING:
    from weighbridge.training.batches import Batches
    from weighbridge.training.stage import Course


def remedy_findings(course: Course, batches: Batches, command: str) -> list[Finding]:
    """Return what each remedy did that the recipe asks for; nothing where it asks for none."""
    return [*balance_findings(course, batches, command), *weight_findings(course, command)]


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
