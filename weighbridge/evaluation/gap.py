"""Does the model do better on the rows it learned from? Training score minus held-out score, each class weighted as held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.intervals import Interval, bca
from weighbridge.evaluation.metrics import HEADLINES, Headline
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, acceleration, unit_sums


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Positive: better on training rows. `train` and `held_out` are the two scores, the first weighted to the classes of the second."""

    value: float
    interval: Interval
    train: float
    held_out: float
    n_train: int
    n_held_out: int


def gap(train: Predictions, held_out: Predictions, how: Resampling) -> Gap:
    """Return the gap with a BCa interval from two independent bootstraps."""
    headline = HEADLINES[held_out.kind]
    sides = [_sides(headline, predictions) for predictions in (train, held_out)]
    plain = [side.sum(axis=0, keepdims=True) for side in sides]
    drawn, left = zip(*(_resampled(side, how, f"gap.{name}") for side, name in zip(sides, ("train", "held_out"), strict=True)), strict=True)
    influences = [
        (len(left_out) - 1) / len(left_out) * (_score_gap(headline, *pair) - _score_gap(headline, *plain))
        for left_out, pair in ((left[0], (left[0], plain[1])), (left[1], (plain[0], left[1])))
    ]
    value = float(_score_gap(headline, *plain)[0])
    replicates = Replicates(
        value=value, draws=_score_gap(headline, *drawn), acceleration=acceleration(-np.concatenate(influences)), units=min(map(len, sides))
    )
    scores = [float(score[0]) for score in _scores(headline, *plain)]
    return Gap(
        value=value, interval=bca(replicates, how.level), train=scores[0], held_out=scores[1], n_train=len(train), n_held_out=len(held_out)
    )


def _sides(headline: Headline, predictions: Predictions) -> Floats:
    """Return sums [U, 2 * C] of the headline's features in each class (one class for numbers and sets)."""
    features = headline.features(predictions)
    if predictions.kind == "category":
        classes = np.eye(len(predictions.classes))[predictions.target]
        features = np.concatenate([features[:, :1] * classes, features[:, 1:] * classes], axis=1)
    return unit_sums(features, predictions.group)


def _resampled(side: Floats, how: Resampling, name: str) -> tuple[Floats, Floats]:
    sampler = Sampler(n=len(side), resamples=how.resamples, seed=how.seed, name=name)
    return np.concatenate([w @ side for w in sampler.draws()]), np.concatenate([w @ side for w in sampler.left_out()])


def _scores(headline: Headline, train: Floats, held_out: Floats) -> tuple[Floats, Floats]:
    """Return both scores [R] from sums [R, 2 * C]; training classes are weighted by their held-out rows."""
    if train.shape[1] == 2:
        return headline.of_sums(train), headline.of_sums(held_out)
    (hits, rows), (hits_out, rows_out) = np.split(train, 2, axis=1), np.split(held_out, 2, axis=1)
    mass = np.where(rows > 0, rows_out, 0)
    rate = np.divide(hits, rows, out=np.zeros(np.broadcast_shapes(hits.shape, rows.shape)), where=rows > 0)
    return (rate * mass).sum(axis=1) / np.maximum(mass.sum(axis=1), 1), hits_out.sum(axis=1) / rows_out.sum(axis=1)


def _score_gap(headline: Headline, train: Floats, held_out: Floats) -> Floats:
    ours, theirs = _scores(headline, train, held_out)
    return headline.sign * (ours - theirs)
