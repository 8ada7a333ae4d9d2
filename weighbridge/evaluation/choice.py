"""The lightest form that is not measurably worse: every form is tested against the original, and the cheapest that passes is chosen.

What is chosen among many must not be judged as if it were alone: p-values are corrected over all forms tried (Holm 1979), whatever they
cost and in whatever order they came, and nothing is chosen that is not measurably cheaper. If no form passes, the original stays. The
choice is made on validation rows; `confirm` is the one statement on test rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from weighbridge.errors import DataError, UsageError
from weighbridge.evaluation.comparison import Comparison, compare, holm
from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.noninferiority import NonInferiority, margin_of, noninferior
from weighbridge.evaluation.power import rows_to_decide
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.verdicts import SIGNIFICANCE

Decision = Literal["chosen", "not inferior", "inferior", "undecided", "not cheaper"]
Statement = Literal["confirmed", "undecided", "refuted"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A form that may stand in for the original.

    Attributes:
        cost: what is to be small, in any unit; cost_ratio, cost_ratio_high: it as a share of the original's, as measured, and the upper
            end of its 95 % interval. A form counts as cheaper where that end is below 1.
    """

    name: str
    predictions: Predictions
    cost: float
    cost_ratio_high: float
    cost_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided about an option, and why.

    Attributes:
        decision: `chosen`; `not inferior`, cheaper too, but another one is cheaper still; `inferior`, measurably worse than the margin;
            `not cheaper`, measurably, so that its quality decides nothing; `undecided`, cheaper, but the rows can not tell.
        value: its headline metric. p_value, p_worse: those of `test`, corrected over all options.
        rows: about how many rows would show that it is not inferior, where it is undecided; None where no number would.
    """

    name: str
    decision: Decision
    value: float
    cost: float
    cost_ratio: float | None
    cost_ratio_high: float
    test: NonInferiority
    p_value: float
    p_worse: float
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The name of the chosen form (the original's where none passed), with what was decided about each option, in the order given.

    `margin` is absolute, in the unit of the metric; `confidence` one-sided, over all options together.
    """

    chosen: str
    original: str
    original_value: float
    metric: str
    margin: float
    confidence: float
    n: int
    options: tuple[Decided, ...]

    @property
    def taken(self) -> Decided | None:
        """The chosen option; None where the original stays."""
        return next((one for one in self.options if one.decision == "chosen"), None)


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What the test rows say about the chosen form: one test, made once; `rows` as in `Decided`."""

    statement: Statement
    test: NonInferiority
    value: float
    original: str
    original_value: float
    metric: str
    confidence: float
    rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A candidate beside the best: the paired difference (positive: the best is better), its corrected p, whether it is surely worse."""

    comparison: Comparison
    p_value: float
    worse: bool


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best candidate by the headline metric on these rows, and how sure that is; the others from the nearest to the farthest."""

    best: str
    value: float
    metric: str
    others: tuple[Ranked, ...]

    @property
    def worse(self) -> tuple[str, ...]:
        return tuple(one.comparison.name for one in self.others if one.worse)

    @property
    def alike(self) -> tuple[str, ...]:
        """Those that can not be told from the best."""
        return tuple(one.comparison.name for one in self.others if not one.worse)


def choose(original: Predictions, options: Sequence[Option], *, margin: float, confidence: float, how: Resampling) -> Choice:
    """Return the cheapest option that is shown not inferior and measurably cheaper; the order of the options does not matter.

    margin: as in a recipe, see `margin_of`. Equal costs go to the better difference, then to the name.
    Raises DataError when an option's rows are not the original's or two have one name, UsageError for a margin or confidence out of range.
    """
    headline = HEADLINES[original.kind]
    value = headline.value(original)
    loss = margin_of(original.kind, value, margin)
    decided = decide(original, options, loss=loss, confidence=confidence, how=how)
    tail = 1 - confidence
    step = 1 - tail / max(1, len(options) - sum(one.p_value < tail for one in decided))  # the level of the next step of Holm's
    told = [
        replace(one, rows=rows_to_decide(option.predictions, original, how, loss, step)) if one.decision == "undecided" else one
        for one, option in zip(decided, options, strict=True)
    ]
    return Choice(
        chosen=next((one.name for one in decided if one.decision == "chosen"), original.model),
        original=original.model,
        original_value=value,
        metric=headline.name,
        margin=loss,
        confidence=confidence,
        n=len(original),
        options=tuple(told),
    )


def decide(original: Predictions, options: Sequence[Option], *, loss: float, confidence: float, how: Resampling) -> list[Decided]:
    """Return what is decided about each option, in order, without the rows that would decide; `loss` is the absolute margin."""
    _check(options, confidence)
    headline, tail = HEADLINES[original.kind], 1 - confidence
    tests = [noninferior(one.predictions, original, how, margin=loss, level=confidence) for one in options]
    passed, refuted = holm([one.p_value for one in tests]), holm([one.p_worse for one in tests])
    fit = [at for at, one in enumerate(options) if passed[at] < tail and one.cost_ratio_high < 1]
    best = min(fit, key=lambda at: (options[at].cost, -tests[at].difference, options[at].name)) if fit else None
    return [
        Decided(
            name=option.name,
            decision="chosen" if at == best else _decision(passed[at] < tail, refuted[at] < tail, cheaper=option.cost_ratio_high < 1),
            value=headline.value(option.predictions),
            cost=option.cost,
            cost_ratio=option.cost_ratio,
            cost_ratio_high=option.cost_ratio_high,
            test=tests[at],
            p_value=passed[at],
            p_worse=refuted[at],
        )
        for at, option in enumerate(options)
    ]


def confirm(form: Predictions, original: Predictions, *, margin: float, confidence: float, how: Resampling) -> Confirmation:
    """Return what rows that chose nothing say: the form is confirmed, refuted, or the rows can not decide.

    margin: absolute, that of the choice. Raises DataError when the rows are not the same.
    """
    test = noninferior(form, original, how, margin=margin, level=confidence)
    tail, headline = 1 - confidence, HEADLINES[form.kind]
    statement: Statement = "confirmed" if test.p_value < tail else "refuted" if test.p_worse < tail else "undecided"
    return Confirmation(
        statement=statement,
        test=test,
        value=headline.value(form),
        original=original.model,
        original_value=headline.value(original.on_rows_of(form)),
        metric=headline.name,
        confidence=confidence,
        rows=rows_to_decide(form, original, how, margin, confidence) if statement == "undecided" else None,
    )


def most_capable(candidates: Sequence[Predictions], how: Resampling) -> Ranking:
    """Return the best of at least one candidate, and which others are measurably worse; equal ones go by name.

    The best is picked by the rows that then judge, so each of all pairs counts as tested: Holm over k (k - 1) / 2, not over the k - 1
    that are made. Raises DataError without candidates, or when two share a name or their rows differ.
    """
    _check_names([one.model for one in candidates])
    headline = HEADLINES[candidates[0].kind]
    best, *others = sorted(candidates, key=lambda one: (-headline.sign * headline.value(one), one.model))
    return ranked(best, others, how)


def ranked(best: Predictions, others: Sequence[Predictions], how: Resampling) -> Ranking:
    """Return the others beside one that was picked among all of them. Raises DataError when their rows differ."""
    headline = HEADLINES[best.kind]
    found = [compare(best, one, how) for one in others]
    pairs = len(others) * (len(others) + 1) // 2
    corrected = holm([*(one.p_value for one in found), *(1.0 for _ in range(pairs - len(found)))])
    beside = [
        Ranked(comparison=one, p_value=p, worse=p < SIGNIFICANCE and one.interval[0] > 0)
        for one, p in zip(found, corrected[: len(found)], strict=True)
    ]
    nearest = sorted(beside, key=lambda one: (one.comparison.difference, one.comparison.name))
    return Ranking(best=best.model, value=headline.value(best), metric=headline.name, others=tuple(nearest))


def choice_json(choice: Choice) -> dict[str, Any]:
    """Return plain numbers for a drawing of quality against cost: what may be lost, and each option with its interval."""
    return {
        "metric": choice.metric,
        "sign": next(one.sign for one in HEADLINES.values() if one.name == choice.metric),
        "n": choice.n,
        "margin": choice.margin,
        "confidence": choice.confidence,
        "original": {"name": choice.original, "value": choice.original_value},
        "chosen": choice.chosen,
        "options": [_option_json(one) for one in choice.options],
    }


def _option_json(one: Decided) -> dict[str, Any]:
    return {
        "name": one.name,
        "decision": one.decision,
        "value": one.value,
        "cost": one.cost,
        "cost_ratio": one.cost_ratio,
        "cost_ratio_high": one.cost_ratio_high,
        "difference": one.test.difference,
        "interval": _finite(one.test.interval),
        "lower": one.test.lower if math.isfinite(one.test.lower) else None,
        "p_value": one.p_value,
        "p_worse": one.p_worse,
        "rows": one.rows,
    }


def _finite(interval: Interval) -> list[float] | None:
    return list(interval) if all(map(math.isfinite, interval)) else None


def _decision(passed: bool, refuted: bool, *, cheaper: bool) -> Decision:
    if refuted:
        return "inferior"
    if not cheaper:
        return "not cheaper"
    return "not inferior" if passed else "undecided"


def _check(options: Sequence[Option], confidence: float) -> None:
    if not 0.5 < confidence < 1:
        raise UsageError(f"a confidence of {confidence:g} is none; it must lie between 0.5 and 1", do="give 0.95")
    if options:
        _check_names([one.name for one in options])
    for one in options:
        if not (math.isfinite(one.cost) and one.cost >= 0 and one.cost_ratio_high >= 0):
            what = f"form '{one.name}' costs {one.cost:g}, at most {one.cost_ratio_high:g} of the original"
            raise DataError(what, do="give costs of at least 0")


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise DataError("there is no candidate to rank", do="give at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two are called '{twice[0]}'", do="give each its own name")
