"""Metrics in weighted form, equal to scikit-learn's where it has them (the tests hold them to 1e-9).

Weights [R, n] -> values [R, k]. Averages over classes leave out classes that a resample does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Kind, Predictions
from weighbridge.evaluation.resampling import Statistic

RMSE_LOG_ERROR = "rmse.log_error"
TINY = float(np.finfo(np.float64).eps)  # scikit-learn's clip of a probability before its logarithm


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The one metric of a kind that comparisons are made in: a function of the ratio of two sums over rows, so that rows can be swapped,
    weighted and added up in groups. `features` gives the summands [n, 2], `of_sums` takes sums [..., 2] to values [...]."""

    name: str
    sign: int  # 1: higher is better; -1: lower is better
    features: Callable[[Predictions], Floats]
    of_sums: Callable[[Floats], Floats]

    def value(self, predictions: Predictions) -> float:
        return float(self.of_sums(self.features(predictions).sum(axis=0)))


def correct(predictions: Predictions) -> Array:
    """bool [n]: the output is right (for sets: exactly right)."""
    hits: Array = np.asarray(predictions.chosen == predictions.target)
    return hits if predictions.kind == "category" else np.asarray(hits.all(axis=1))


def statistics_of(predictions: Predictions) -> list[Statistic]:
    """Return every bootstrapped metric that these predictions allow; rates of single rows have their own intervals."""
    if predictions.kind == "number":
        return [number_statistic(predictions)]
    if predictions.kind == "set":
        return [
            set_counts(predictions),
            set_ranking(predictions),
            Statistic(names=("log_loss",), of=mean_of(set_loss(predictions)[:, None])),
        ]
    counts = [class_counts(predictions)]
    return counts if predictions.hard else [*counts, *probability_statistics(predictions)]


def mean_of(features: Floats) -> Callable[[Floats], Floats]:
    """Return the weighted mean over rows of features [n, k]."""
    return lambda weights: weights @ features / weights.sum(axis=1, keepdims=True)


def class_counts(predictions: Predictions) -> Statistic:
    """Macro averages from the counts of truth, of choices and of their agreement; then F1 of each class as `f1.<class>`."""
    classes = np.arange(len(predictions.classes))
    truth, choice = predictions.target[:, None] == classes, predictions.chosen[:, None] == classes
    features = np.concatenate([truth, choice, truth & choice], axis=1).astype(np.float64)

    def of(weights: Floats) -> Floats:
        true, chosen, both = np.split(weights @ features, 3, axis=1)
        recall, precision, f1 = _ratio(both, true), _ratio(both, chosen), _ratio(2 * both, true + chosen)
        seen = true + chosen > 0
        macro = [_mean_where(recall, true > 0), _mean_where(precision, seen), _mean_where(recall, seen), _mean_where(f1, seen)]
        return np.concatenate([np.stack(macro, axis=1), f1], axis=1)

    return Statistic(names=("balanced_accuracy", "precision", "recall", "f1", *(f"f1.{name}" for name in predictions.classes)), of=of)


def probability_statistics(predictions: Predictions) -> list[Statistic]:
    """Ranking and proper scores of class probabilities."""
    losses = Statistic(names=("log_loss", "brier"), of=mean_of(np.stack([log_losses(predictions), brier_scores(predictions)], axis=1)))
    return [ranking(predictions), losses]


def log_losses(predictions: Predictions) -> Floats:
    """float [n]: minus the logarithm of the true class's probability."""
    stated = np.take_along_axis(predictions.output, predictions.target[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(stated, TINY, 1)))


def brier_scores(predictions: Predictions) -> Floats:
    """float [n]: squared distance to the truth; for two classes that of the second class only (Brier 1950, scikit-learn's scale)."""
    truth = np.eye(len(predictions.classes))[predictions.target]
    squares = (predictions.output - truth) ** 2
    return squares[:, 1] if squares.shape[1] == 2 else squares.sum(axis=1)


def ranking(predictions: Predictions) -> Statistic:
    """Area under the ROC curve and average precision: of the second class of two, else the mean of one class against the rest."""
    columns = [1] if len(predictions.classes) == 2 else range(len(predictions.classes))
    return _mean_ranking([rank_areas(predictions.target == c, predictions.output[:, c]) for c in columns])


def rank_areas(positive: Array, score: Array) -> Callable[[Floats], Floats]:
    """Return weights [R, n] -> [R, 2] area under the ROC curve and average precision of a score; NaN where one side is empty.

    Sorted once; a resample then costs one gather and one running sum. Only thresholds that hold a positive matter for both areas.
    """
    order = np.argsort(-score, kind="stable")
    ordered, hit = score[order], positive[order]
    places = np.flatnonzero(hit)
    first = np.searchsorted(-ordered, -ordered[places], "left")  # ties share a threshold
    last = np.searchsorted(-ordered, -ordered[places], "right")
    hits_until = np.searchsorted(places, last, "left")  # positives at or above this one's threshold

    def of(weights: Floats) -> Floats:
        sorted_weights = weights[:, order]
        total = np.cumsum(sorted_weights, axis=1)
        own = sorted_weights[:, places]
        hits = np.cumsum(own, axis=1)
        if not len(places):
            return np.full((len(weights), 2), np.nan)
        above = np.where(first > 0, total[:, first - 1], 0.0)
        until, hits_above = total[:, last - 1], hits[:, hits_until - 1]
        hits_before = _shifted(hits, np.searchsorted(places, first, "left"))
        worse = total[:, -1:] - (until + above) / 2 - (hits[:, -1:] - (hits_above + hits_before) / 2)  # negatives below, ties half
        pairs = hits[:, -1] * (total[:, -1] - hits[:, -1])
        precision = np.divide(hits_above, until, out=np.zeros_like(until), where=until > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([(own * worse).sum(axis=1) / pairs, (own * precision).sum(axis=1) / hits[:, -1]], axis=1)

    return of


def number_statistic(predictions: Predictions) -> Statistic:
    """Mean absolute error, root mean squared error (and the standard error of its logarithm) and the share of variance explained."""
    middle = predictions.target.mean()  # sums of squares around 0 lose digits when the mean is far from it
    centred = predictions.target - middle
    error = predictions.output - predictions.target
    features = np.stack([np.abs(error), error**2, centred, centred**2, error**4], axis=1)

    def of(weights: Floats) -> Floats:
        absolute, squared, first, second, fourth = (weights @ features / weights.sum(axis=1, keepdims=True)).T
        variance = second - first**2
        r2 = 1 - np.divide(squared, variance, out=np.full_like(squared, np.nan), where=variance > 1e-12 * max(float(second.max()), 1e-300))
        spread = np.sqrt(np.maximum(fourth - squared**2, 0) / weights.sum(axis=1))
        log_error = np.divide(spread, 2 * squared, out=np.full_like(squared, np.nan), where=squared > 0)
        return np.stack([absolute, np.sqrt(squared), r2, log_error], axis=1)

    return Statistic(names=("mae", "rmse", "r2", RMSE_LOG_ERROR), of=of)


def set_loss(predictions: Predictions) -> Floats:
    """float [n]: binary cross-entropy, averaged over labels."""
    output = np.clip(predictions.output, TINY, 1 - TINY)
    return np.asarray(-np.log(np.where(predictions.target, output, 1 - output)).mean(axis=1))


def set_counts(predictions: Predictions) -> Statistic:
    """F1 over all labels together and averaged over labels."""
    truth, choice = predictions.target, predictions.chosen
    both, either = (truth & choice).astype(np.float64), truth.astype(np.float64) + choice
    labels = truth.shape[1]
    features = np.concatenate([both, either], axis=1)

    def of(weights: Floats) -> Floats:
        sums = weights @ features
        hit, seen = sums[:, :labels], sums[:, labels:]
        return np.stack([_ratio(2 * hit.sum(axis=1), seen.sum(axis=1)), _ratio(2 * hit, seen).mean(axis=1)], axis=1)

    return Statistic(names=("f1_micro", "f1_macro"), of=of)


def row_f1(predictions: Predictions) -> Floats:
    """float [n] in [0, 1]: F1 of each row's labels, 1 where it has none and none is answered; the F1 of all is no mean of rows."""
    hit, seen = _set_features(predictions).T
    return np.asarray(np.divide(hit, seen, out=np.ones_like(hit), where=seen > 0))


def set_ranking(predictions: Predictions) -> Statistic:
    """Area under the ROC curve and average precision, averaged over labels that hold both sides."""
    return _mean_ranking([rank_areas(predictions.target[:, c], predictions.output[:, c]) for c in range(len(predictions.classes))])


def _mean_ranking(areas: list[Callable[[Floats], Floats]]) -> Statistic:
    def of(weights: Floats) -> Floats:
        values = np.stack([area(weights) for area in areas])
        known = np.isfinite(values).all(axis=2, keepdims=True)
        return _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0), empty=np.nan)

    return Statistic(names=("auroc", "auprc"), of=of)


def _shifted(hits: Floats, count: Array) -> Floats:
    return np.where(count > 0, hits[:, count - 1], 0.0)


def _ratio(over: Array, under: Array, empty: float = 0.0) -> Floats:
    """over / under; `empty` where `under` is 0 (scikit-learn counts such a class as 0)."""
    under = np.broadcast_to(under, over.shape)
    return np.asarray(np.divide(over, under, out=np.full(over.shape, empty), where=under > 0))


def _mean_where(values: Floats, known: Array) -> Floats:
    return _ratio((values * known).sum(axis=1), known.sum(axis=1))


def _per_row(values: Array) -> Floats:
    return np.stack([values.astype(np.float64), np.ones(len(values))], axis=1)


def _set_features(predictions: Predictions) -> Floats:
    truth, choice = predictions.target, predictions.chosen
    return np.stack([2.0 * (truth & choice).sum(axis=1), truth.sum(axis=1) + choice.sum(axis=1).astype(np.float64)], axis=1)


def _share(sums: Floats) -> Floats:
    return _ratio(sums[..., 0], sums[..., 1])


HEADLINES: dict[Kind, Headline] = {
    "category": Headline(name="accuracy", sign=1, features=lambda p: _per_row(correct(p)), of_sums=_share),
    "number": Headline(
        name="rmse",
        sign=-1,
        features=lambda p: _per_row((p.output - p.target) ** 2),
        of_sums=lambda sums: np.sqrt(np.maximum(_share(sums), 0)),
    ),
    "set": Headline(name="f1_micro", sign=1, features=_set_features, of_sums=_share),
}
