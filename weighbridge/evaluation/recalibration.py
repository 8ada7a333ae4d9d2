"""How a model's probabilities are calibrated: fitted on rows that it was not trained on, and judged on folds that did not fit it.

Shapes: n rows, C classes or labels, M maps, K knots.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from weighbridge.evaluation.adjustment import Adjustment, Isotonic, Kind, Temperature, label_log_odds, log
from weighbridge.evaluation.intervals import NORMAL, Interval, bca
from weighbridge.evaluation.metrics import log_losses, mean_of, set_loss
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.resampling import Resampling, Sampler, Statistic, replicate, unit_sums
from weighbridge.storage.seeds import rng

COLDEST, HOTTEST = math.log(0.02), math.log(50.0)  # of the logarithm of a temperature
PRIOR = 1.0  # deviation of that logarithm around 0: rows without a mistake would otherwise send the temperature to 0
LEAST_ISOTONIC = 1000  # rows: with fewer the pieces follow the rows (Niculescu-Mizil and Caruana 2005)
MOST_KNOTS, MOST_PIECES = 32, 4096  # of a map; of all maps together
LEAST_GAP = 0.1  # of log-odds between knots: what another processor rounds otherwise moves an answer by little then
FARTHEST = 40.0  # log-odds beyond which a knot's place says nothing
FOLDS = 5

Fit = Callable[[Predictions], Adjustment]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Log loss before and after an adjustment on rows that did not fit it; `saved` is before less after, with its interval."""

    before: float
    after: float
    saved: float
    interval: Interval
    n: int


def fit_temperature(predictions: Predictions) -> Temperature:
    """Return the temperature under which the rows are most likely (Guo 2017), drawn towards 1 by about as much as one row weighs."""
    from scipy.optimize import minimize_scalar

    loss = _loss_of(predictions)
    found = minimize_scalar(
        lambda heat: loss(heat).sum() + (heat / PRIOR) ** 2 / 2, bounds=(COLDEST, HOTTEST), method="bounded", options={"xatol": 1e-7}
    )
    return Temperature(value=float(math.exp(found.x)))


def temperature_interval(predictions: Predictions, temperature: Temperature, level: float = 0.95) -> Interval:
    """Return the interval of a fitted temperature, on the logarithmic scale by the sandwich of its scores; groups vary together."""
    heat, step = math.log(temperature.value), 1e-3
    loss = _loss_of(predictions)
    rising = (loss(heat + step) - loss(heat - step)) / (2 * step)
    bend = float((loss(heat + step) + loss(heat - step) - 2 * loss(heat)).sum()) / step**2 + 1 / PRIOR**2
    scores = unit_sums(rising[:, None], predictions.group)[:, 0]
    error = math.sqrt(float(((scores - scores.mean()) ** 2).sum())) / max(bend, 1e-12)
    half = NORMAL.inv_cdf((1 + level) / 2) * error
    return math.exp(max(heat - half, COLDEST)), math.exp(min(heat + half, HOTTEST))


def fit_isotonic(predictions: Predictions) -> Isotonic:
    """Return the rising map of each class's log-odds that is nearest to what was seen (pool adjacent violators, Ayer 1955).

    Each pooled block is one knot at the mean of its log-odds, joined to the next by a line (centered isotonic regression, Oron and
    Flournoy 2017): steps would make rows tie that the model told apart.
    """
    kind = _kind(predictions)
    scores, truth = Isotonic.scores(predictions.output, kind), _truth(predictions)
    truth = truth[:, 1:] if kind == "category" and truth.shape[1] == 2 else truth
    most = max(2, min(MOST_KNOTS, MOST_PIECES // scores.shape[1]))
    maps = [_knots(z, hit, most) for z, hit in zip(np.clip(scores, -FARTHEST, FARTHEST).T, truth.T, strict=True)]
    width = max(2, *(len(x) for x, _ in maps))
    return Isotonic(
        x=np.stack([_padded(x, width) for x, _ in maps]),
        y=np.stack([np.pad(y, (0, width - len(y)), mode="edge") for _, y in maps]),
        own=1 / (len(predictions) + 1),
    )


def saved_on_unseen(predictions: Predictions, fit: Fit, how: Resampling) -> Saved:
    """Return what an adjustment saves of the log loss on rows that did not fit it (`on_unseen`)."""
    before, after = losses(predictions), losses(on_unseen(predictions, fit, how.seed))
    drawn = replicate(
        [Statistic(names=("saved",), of=mean_of((before - after)[:, None]))],
        Sampler(n=len(before), resamples=how.resamples, seed=how.seed, group=predictions.group),
    )["saved"]
    return Saved(
        before=float(before.mean()), after=float(after.mean()), saved=drawn.value, interval=bca(drawn, how.level), n=len(predictions)
    )


def on_unseen(predictions: Predictions, fit: Fit, seed: int) -> Predictions:
    """Return the rows as they are adjusted by what they did not fit: each fold of five by the other four.

    `fit` makes an adjustment of steps that need no codes. Whole groups are in one fold.
    """
    unit = np.arange(len(predictions)) if predictions.group is None else np.unique(predictions.group, return_inverse=True)[1]
    fold = rng(seed, "recalibration", "folds").permutation(int(unit.max()) + 1)[unit] % FOLDS
    output = predictions.output.copy()
    for number in range(FOLDS):
        held = fold == number
        if held.any() and not held.all():
            output[held] = fit(predictions.rows(~held)).applied(predictions.output[held])
    return replace(predictions, output=output)


def losses(predictions: Predictions) -> Floats:
    """float [n]: the log loss of each row."""
    return set_loss(predictions) if predictions.kind == "set" else log_losses(predictions)


def _kind(predictions: Predictions) -> Kind:
    if predictions.kind == "number":
        raise ValueError("a number has no probability to calibrate")
    return predictions.kind


def _truth(predictions: Predictions) -> Array:
    """bool [n, C]."""
    if predictions.kind == "set":
        return predictions.target
    return np.asarray(predictions.target[:, None] == np.arange(len(predictions.classes)))


def _loss_of(predictions: Predictions) -> Callable[[float], Floats]:
    """Return the function from the logarithm of a temperature to each row's loss."""
    truth = _truth(predictions)
    if _kind(predictions) == "set":
        odds = label_log_odds(predictions.output)
        signed = np.where(truth, odds, -odds)
        return lambda heat: np.asarray(np.logaddexp(0.0, -signed * math.exp(-heat)).sum(axis=1))
    logits = log(predictions.output)
    above = logits - logits[truth][:, None]  # of each class over the true one

    def loss(heat: float) -> Floats:
        scaled = above * math.exp(-heat)
        top = scaled.max(axis=1)
        return np.asarray(top + np.log(np.exp(scaled - top[:, None]).sum(axis=1)))

    return loss


def _knots(score: Floats, hit: Array, most: int) -> tuple[Floats, Floats]:
    """Return where the knots of one map lie, and its height there."""
    from sklearn.isotonic import isotonic_regression

    places, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    seen = np.bincount(inverse, hit.astype(np.float64)) / counts
    fitted = isotonic_regression(seen, sample_weight=counts.astype(np.float64), y_min=0.0, y_max=1.0)
    block = np.concatenate([[0], np.cumsum(np.diff(fitted) > 0)])
    weight: Floats = np.bincount(block, counts).astype(np.float64)
    x = np.bincount(block, counts * places) / weight
    y = np.bincount(block, counts * seen) / weight
    while len(x) > 1 and (len(x) > most or np.diff(x).min() < LEAST_GAP):
        left = int(np.argmin(np.diff(x)))
        x, y = (_merged(values, weight, left) for values in (x, y))
        weight = np.concatenate([weight[:left], [weight[left] + weight[left + 1]], weight[left + 2 :]])
    return x, y


def _merged(values: Floats, weight: Floats, left: int) -> Floats:
    pair = slice(left, left + 2)
    return np.concatenate([values[:left], [values[pair] @ weight[pair] / weight[pair].sum()], values[left + 2 :]])


def _padded(x: Floats, width: int) -> Floats:
    """Return the knots' places with further ones behind them, at which the map stays as high as at the last."""
    return np.concatenate([x, x[-1] + 1.0 + np.arange(width - len(x))])
