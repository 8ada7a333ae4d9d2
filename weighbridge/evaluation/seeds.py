"""How much does the headline move when only the training seed changes? Networks of several seeds, judged on the same rows.

The mean over seeds gets a hierarchical bootstrap: seeds are drawn, then rows, the same rows for every seed, since all answered the
same test rows (crossed, not nested; Owen 2007). Three traps: rows of several seeds are not further rows; a bootstrap of S seeds
sees (S - 1) / S of their variance, so deviations are widened; and S - 1 degrees of freedom need Student's t (Satterthwaite 1946).
S seeds, U units (rows or groups).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from weighbridge.evaluation.intervals import Interval, clopper_pearson
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.resampling import Resampling, Sampler, unit_sums
from weighbridge.evaluation.wording import WORDS, said
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage.seeds import rng

LEAST_SEEDS = 3  # two values say next to nothing about a spread
KEY = "evaluation.seeds"
AGAINST = "evaluation.against."
TITLES = {
    "accuracy": Message("Accuracy, mean over training seeds"),
    "rmse": Message("Root mean squared error, mean over training seeds"),
    "f1_micro": Message("F1 over all labels together, mean over training seeds"),
}
UNKNOWN = Message("Spread from seed to seed")


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds with its two-sided interval: of the headline, or of the oriented difference to a baseline."""

    value: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The headline of each seed on the same n rows, their mean, and their standard deviation (n - 1) with its interval.

    The deviation is what is seen on these rows; its interval takes the seeds for normal (chi-square).
    """

    values: tuple[float, ...]
    mean: Mean
    deviation: float
    deviation_interval: Interval
    n: int


def spread(models: Sequence[Predictions], how: Resampling) -> Spread:
    """Return the spread over at least two seeds. Raises DataError when they did not answer the same rows."""
    first = models[0]
    models = [first, *(model.on_rows_of(first) for model in models[1:])]
    headline = HEADLINES[first.kind]
    values = np.array([headline.value(model) for model in models])
    deviation = float(values.std(ddof=1))
    return Spread(
        values=tuple(values.tolist()),
        mean=mean_over_seeds(models, how),
        deviation=deviation,
        deviation_interval=_deviation_interval(deviation, len(models), how.level),
        n=len(first),
    )


def mean_over_seeds(models: Sequence[Predictions], how: Resampling, *, other: Predictions | None = None) -> Mean:
    """Return the mean headline over seeds, or with `other` how much better the seeds are than it on average (positive: better)."""
    headline, first = HEADLINES[models[0].kind], models[0]
    seeds = np.stack([unit_sums(headline.features(model.on_rows_of(first)), first.group) for model in models])
    rival = None if other is None else unit_sums(headline.features(other.on_rows_of(first)), first.group)

    def scores(weights: Floats) -> Floats:
        """Weights [R, U] -> the headline, or the oriented lead, of each seed [R, S]."""
        own = headline.of_sums(np.einsum("ru,suk->rsk", weights, seeds, optimize=True))
        return own if rival is None else headline.sign * (own - headline.of_sums(weights @ rival)[:, None])

    units = seeds.shape[1]
    plain = scores(np.ones((1, units)))[0]
    over_rows = np.concatenate([scores(w) for w in Sampler(n=units, resamples=how.resamples, seed=how.seed, name="seeds").draws()])
    value = float(plain.mean())
    half = _half_width(plain, over_rows, units, how)
    if half == 0.0 and rival is None and headline.name != "rmse":  # nothing varies: the rows alone bound the rate
        low, high = clopper_pearson(value * units, units, how.level)
    else:
        low, high = value - half, value + half
    bounds = (-math.inf, math.inf) if rival is not None else (0.0, math.inf if headline.name == "rmse" else 1.0)
    return Mean(value=value, interval=(max(bounds[0], low), min(bounds[1], high)))


def _half_width(plain: Floats, over_rows: Floats, units: int, how: Resampling) -> float:
    """Return half the interval's width: Student's t times the deviation of the hierarchical bootstrap. plain [S], over_rows [R, S]."""
    from scipy.special import stdtrit

    seeds = len(plain)
    picks = rng(how.seed, "evaluation", "seeds", "drawn").integers(0, seeds, size=over_rows.shape)
    middle = over_rows.mean(axis=1)
    drawn = np.take_along_axis(over_rows, picks, axis=1).mean(axis=1) - middle
    means = middle + math.sqrt(seeds / (seeds - 1)) * drawn
    of_seeds, of_rows = float(plain.var(ddof=1)) / seeds, float(middle.var())
    if means.std() == 0 or of_seeds + of_rows == 0:
        return 0.0
    freedom = (of_seeds + of_rows) ** 2 / (of_seeds**2 / (seeds - 1) + of_rows**2 / max(units - 1, 1))
    return float(stdtrit(freedom, (1 + how.level) / 2) * means.std())


def _deviation_interval(deviation: float, seeds: int, level: float) -> Interval:
    from scipy.special import chdtri

    tail = (1 - level) / 2
    return tuple(deviation * math.sqrt((seeds - 1) / float(chdtri(seeds - 1, share))) for share in (tail, 1 - tail))  # type: ignore[return-value]


def seeds_finding(models: Sequence[Predictions], baselines: Sequence[Predictions], how: Resampling, command: str) -> Finding:
    """Return `evaluation.seeds`: the mean over seeds, held against the best baseline; unmeasured with fewer than three seeds."""
    command = f"{command} --only seeds"
    if len(models) < LEAST_SEEDS:
        reason = Message("{n} seeds were trained; with fewer than {least} the spread is not known", n=len(models), least=LEAST_SEEDS)
        return Finding(key=KEY, title=UNKNOWN, verdict="unmeasured", reason=reason, command=command)
    found, headline = spread(models, how), HEADLINES[models[0].kind]
    finding = Finding(
        key=KEY,
        title=TITLES[headline.name],
        value=found.mean.value,
        interval=found.mean.interval,
        unit=WORDS[headline.name].unit,
        n=len(models),
        n_of="seeds",
        reason=Message("standard deviation {deviation}, from {low} to {high}", **_range(found)),
        method=Message(
            "hierarchical bootstrap: seeds, then the same {rows} rows for all of them; Student's t. "
            "The first seed is packaged, whichever is best",
            rows=found.n,
        ),
        source="Owen 2007; Satterthwaite 1946; Bouthillier 2021",
        evidence=("evaluation/seeds.json",),
        command=command,
    )
    return _against_best(finding, found, models, baselines, how)


def _against_best(
    finding: Finding, found: Spread, models: Sequence[Predictions], baselines: Sequence[Predictions], how: Resampling
) -> Finding:
    """Return the finding with its verdict: does the lead over the best baseline hold on the average of the seeds?"""
    if not baselines:
        return finding
    headline = HEADLINES[models[0].kind]
    best = max(baselines, key=lambda one: headline.sign * headline.value(one))
    lead = mean_over_seeds(models, how, other=best)
    words = {"name": said(best.model), **_range(found)}
    reference = Reference(
        name=Message("{name}", name=said(best.model)),
        value=headline.value(best),
        difference=lead.value,
        difference_interval=lead.interval,
    )
    if lead.interval[0] > 0:
        reason = Message("better than {name} on the mean of the seeds; standard deviation {deviation}, from {low} to {high}", **words)
        return replace(finding, verdict="advantage", reason=reason, reference=reference)
    if lead.interval[1] < 0:
        reason = Message("worse than {name} on the mean of the seeds; standard deviation {deviation}, from {low} to {high}", **words)
        return replace(finding, verdict="limitation", reason=reason, reference=reference)
    reason = Message("seeds and rows together can not tell it from {name}; standard deviation {deviation}, from {low} to {high}", **words)
    return replace(finding, reason=reason, reference=reference)


def _range(found: Spread) -> dict[str, Any]:
    return {"deviation": found.deviation, "low": min(found.values), "high": max(found.values)}


def mention_spread(findings: Sequence[Finding], models: Sequence[Predictions]) -> list[Finding]:
    """Return the findings, where a difference to a baseline is smaller than the spread from seed to seed with words that say so."""
    if len(models) < LEAST_SEEDS:
        return list(findings)
    headline = HEADLINES[models[0].kind]
    deviation = float(np.std([headline.value(model) for model in models], ddof=1))
    return [_with_spread(finding, headline.name, deviation) for finding in findings]


def _with_spread(finding: Finding, headline: str, deviation: float) -> Finding:
    compared = finding.key.startswith(AGAINST) or finding.key == f"evaluation.{headline}"
    difference = finding.reference.difference if finding.reference is not None else None
    if not compared or difference is None or abs(difference) >= deviation or not {"name", "p"} <= finding.reason.values.keys():
        return finding
    words = {"name": finding.reason.values["name"], "p": finding.reason.values["p"], "deviation": deviation}
    if finding.reason.template.startswith("better"):
        said_so = Message(
            "better than {name} by the paired test (corrected p {p}), but by less than the spread from seed to seed "
            "(standard deviation {deviation}): another seed may not be", **words,
        )  # fmt: skip
    elif finding.reason.template.startswith("worse"):
        said_so = Message(
            "worse than {name} by the paired test (corrected p {p}), but by less than the spread from seed to seed "
            "(standard deviation {deviation}): another seed may not be", **words,
        )  # fmt: skip
    else:
        said_so = Message(
            "not measurably different from {name} (corrected p {p}); the spread from seed to seed (standard deviation {deviation}) "
            "is larger than the difference", **words,
        )  # fmt: skip
    return replace(finding, reason=said_so)


def seeds_json(
    models: Sequence[Predictions], validation: Sequence[Predictions], baselines: Sequence[Predictions], how: Resampling
) -> dict[str, Any]:
    """Return the content of seeds.json: each seed's headline on test and validation rows, mean, deviation, and the baselines."""
    headline, found = HEADLINES[models[0].kind], spread(models, how)
    held = [headline.value(one) for one in validation]
    rows = [
        {"seed": number, "test": value, "validation": other}
        for number, (value, other) in enumerate(zip(found.values, held, strict=True), 1)
    ]
    return {
        "metric": headline.name,
        "seeds": rows,
        "mean": found.mean.value,
        "interval": list(found.mean.interval),
        "deviation": found.deviation,
        "deviation_interval": list(found.deviation_interval),
        "n": found.n,
        "baselines": {one.model: headline.value(one) for one in baselines},
    }
