"""How well a score tells rows that a model learnt from rows that it did not: the whole order, and the surest few.

A privacy audit that looks at the average alone misses what matters: that some rows are named almost without error (Carlini 2022). So beside
the area stands the share of members named where hardly a stranger is. m members, n strangers; more of a score: more like a member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import Interval, clopper_pearson, newcombe_area
from weighbridge.evaluation.metrics import rank_areas
from weighbridge.evaluation.predictions import Array, Floats, Predictions

RATES = (0.01, 0.001)  # false positive rates at which members are named
TINY = 1e-7
POINTS = 60  # of the curve
LEAST_ERROR = 1e-4  # deviations of the target: errors below it are alike


@dataclass(frozen=True, kw_only=True)
class Named:
    """Members named where at most `rate` of the strangers are.

    Attributes:
        hits, share, interval: members above the threshold; Clopper and Pearson's interval at this threshold.
        wrong: strangers above it, at most rate * n.
        p_value: chance of so many hits where members and strangers are alike; exact (negative hypergeometric), ties against the attack.
    """

    rate: float
    hits: int
    share: float
    interval: Interval
    wrong: int
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What one score gives away.

    Attributes:
        area, interval, p_value: under the ROC curve, with Newcombe's interval; one-sided (Mann and Whitney 1947).
        named: members named, by rate; rates that so few strangers can not resolve are left out.
        curve: (share of strangers, share of members) above a threshold, some points, the surest first.
    """

    area: float
    interval: Interval
    p_value: float
    named: tuple[Named, ...]
    curve: tuple[tuple[float, float], ...]
    members: int
    strangers: int


def attack(member: Floats, stranger: Floats) -> Attack:
    """Return what scores [m] and [n] give away."""
    from scipy.stats import mannwhitneyu

    score = np.concatenate([member, stranger])
    positive = np.arange(len(score)) < len(member)
    area = float(rank_areas(positive, score)(np.ones((1, len(score))))[0, 0])
    return Attack(
        area=area,
        interval=newcombe_area(area, len(member), len(stranger)),
        p_value=float(mannwhitneyu(member, stranger, alternative="greater").pvalue),
        named=tuple(name_members(member, stranger, rate) for rate in RATES if rate * len(stranger) >= 1),
        curve=_curve(member, stranger),
        members=len(member),
        strangers=len(stranger),
    )


def _curve(member: Floats, stranger: Floats) -> tuple[tuple[float, float], ...]:
    ordered = np.sort(stranger)[::-1]
    places = np.unique(np.geomspace(1, len(stranger), POINTS).astype(int)) - 1
    return tuple((float((stranger >= ordered[at]).mean()), float((member >= ordered[at]).mean())) for at in places)


def name_members(member: Floats, stranger: Floats, rate: float) -> Named:
    """Return how many members lie above all but floor(rate * n) strangers."""
    from scipy.stats import hypergeom

    allowed = int(np.floor(rate * len(stranger) + 1e-9))
    threshold = np.sort(stranger)[::-1][allowed]  # this stranger is not named, nor who scores alike
    hits, wrong = int((member > threshold).sum()), int((stranger > threshold).sum())
    # of the first hits + wrong rows of a random order, at most `wrong` strangers: so many members came before the next stranger
    p_value = float(hypergeom.cdf(wrong, len(member) + len(stranger), len(stranger), hits + wrong))
    return Named(
        rate=rate, hits=hits, share=hits / len(member), interval=clopper_pearson(hits, len(member)), wrong=wrong,
        p_value=min(1.0, p_value),
    )  # fmt: skip


def loss_scores(predictions: Predictions) -> Floats:
    """Return minus the loss of each row, float64 [n] (Yeom 2018): rows that a model learnt are answered better."""
    return confidence(predictions.kind, predictions.output, predictions.target, spread=1.0)


def confidence(kind: str, output: Floats, target: Array, *, spread: float) -> Floats:
    """Return how well each row is answered, on a scale on which the answers of many models are about normal (Carlini 2022, section IV C).

    Of classes the logit of the true class's probability, of sets its mean over the labels, of numbers minus the logarithm of the absolute
    error in deviations (`spread`). output [n], [n, C] or [n, L].
    """
    if kind == "number":
        return np.asarray(-np.log(np.abs(output - target) / spread + LEAST_ERROR))
    if kind == "set":
        true = np.where(target.astype(bool), output, 1 - output)
        return np.asarray(_logit(true).mean(axis=1))
    return _logit(output[np.arange(len(target)), target.astype(np.int64)])


def likelihood_ratio(seen: Floats, shadows: Floats, inside: Array) -> Floats:
    """Return the log likelihood ratio of each row's answer, learnt against not learnt, float64 [n] (Carlini 2022, online attack).

    seen [n]: the attacked model's; shadows [K, n]: those of K models of the same recipe; inside bool [K, n]: whether a model learnt the
    row, each row by half of them. With few models a row has means of its own, and the spreads are those of all rows together.
    """
    told, other = _means(shadows, inside), _means(shadows, ~inside)
    spread_in, spread_out = _spread(shadows, inside, told), _spread(shadows, ~inside, other)
    return np.asarray(_log_normal(seen, told, spread_in) - _log_normal(seen, other, spread_out))


def halves(models: int, rows: int, random: np.random.Generator) -> Array:
    """Return bool [K, n]: each row is learnt by half of the models (K even), drawn row by row."""
    return np.asarray(random.random((models, rows)).argsort(axis=0) < models // 2)


def _means(values: Floats, chosen: Array) -> Floats:
    return np.asarray((values * chosen).sum(axis=0) / chosen.sum(axis=0))


def _spread(values: Floats, chosen: Array, means: Floats) -> float:
    """Return the standard deviation around each row's own mean, over all rows."""
    squares = float((((values - means) * chosen) ** 2).sum())
    freedom = int((chosen.sum(axis=0) - 1).sum())
    return max(float(np.sqrt(squares / max(freedom, 1))), 1e-3)


def _log_normal(values: Floats, means: Floats, spread: float) -> Floats:
    return np.asarray(-0.5 * ((values - means) / spread) ** 2 - np.log(spread))


def _logit(share: Floats) -> Floats:
    share = np.clip(share, TINY, 1 - TINY)
    return np.asarray(np.log(share) - np.log1p(-share))


def exposure(canaries: Floats, others: Floats) -> Floats:
    """Return how far each canary stands out, in bits: log2 of the others less log2 of its rank among them (Carlini 2019).

    Scores, more: better known. Chance gives log2(e) = 1.44 on average, log2(n + 1) is the most.
    """
    ranks = 1 + (others[None, :] >= canaries[:, None]).sum(axis=1)
    return np.asarray(np.log2(len(others) + 1) - np.log2(ranks))


def corrected(p_values: Sequence[float]) -> list[float]:
    """Return Holm's corrected p values, in order."""
    from weighbridge.evaluation.comparison import holm

    return list(holm(list(p_values)))
