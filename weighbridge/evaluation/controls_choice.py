"""Controls of the choice of a form: one truly worse than the margin is kept in at most 5 %, an equal one in at least 80 % at the rows said.

Forms share an error beside the rows' difficulty (what rounding does to one it does to the next), so their tests are correlated.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.choice import Decided, Option, decide, most_capable
from weighbridge.evaluation.comparison import compare, holm
from weighbridge.evaluation.controls import SIMULATIONS
from weighbridge.evaluation.controls_noninferiority import BOUNDS, LEVEL, exact, family, how, numbers, of_errors, p_value, pair, right_where
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.power import rows_of_classes, rows_to_decide
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.storage.seeds import rng

CHOICES = 1000  # choices among five forms: a tenth of a second each


def _five(losses: list[float], n: int, margin: float, seed: int, name: str) -> list[Decided]:
    """Return what is decided about five forms, the first the cheapest."""
    original, *forms = family(n, losses, rng(seed, "control", "choice", name))
    options = [
        Option(name=form.model, predictions=form, cost=0.2 + 0.1 * place, cost_ratio_high=0.25 + 0.1 * place)
        for place, form in enumerate(forms)
    ]
    return decide(original, options, loss=margin, confidence=0.95, how=how(seed))


def _kept(decided: list[Decided]) -> str | None:
    return next((one.name for one in decided if one.decision == "chosen"), None)


@control(
    "optimization.choice", "clean", "of five forms exactly at the margin of 0.02 none is kept, n = 1,000", trials=CHOICES, low=1 - LEVEL
)
def none_at_the_margin(seed: int) -> bool:
    """The most that the correction has to hold."""
    return _kept(_five([0.02] * 5, 1000, 0.02, seed, "at")) is None


@control(
    "optimization.choice", "clean", "of five forms beyond the margin (0.03 for 0.02) none is kept, n = 1,000", trials=CHOICES, low=1 - LEVEL
)
def none_beyond_the_margin(seed: int) -> bool:
    return _kept(_five([0.03] * 5, 1000, 0.02, seed, "beyond")) is None


@control(
    "optimization.choice",
    "clean",
    "the cheapest at the margin, four dearer ones equal: it is not kept, n = 1,500",
    trials=CHOICES,
    low=1 - LEVEL,
)
def cheapest_is_not_good_enough(seed: int) -> bool:
    """Equal forms pass first, so the last is tested at the full 5 %."""
    return _kept(_five([0.02, 0.0, 0.0, 0.0, 0.0], 1500, 0.02, seed, "cheapest")) != "form 0"


@control(
    "optimization.choice",
    "clean",
    "five forms exactly at the margin of 0.02: none is called inferior, n = 1,000",
    trials=CHOICES,
    low=1 - LEVEL,
)
def none_is_called_inferior(seed: int) -> bool:
    return all(one.decision != "inferior" for one in _five([0.02] * 5, 1000, 0.02, seed, "not inferior"))


@control("optimization.choice", "clean", "of five RMSEs exactly 0.05 larger none is kept, n = 200", trials=BOUNDS, low=1 - LEVEL)
def none_of_five_numbers(seed: int) -> bool:
    random = rng(seed, "control", "five numbers")
    target, first, common = (random.normal(size=200) for _ in range(3))
    forms = []
    for place in range(5):
        own = math.sqrt(0.5) * common + math.sqrt(0.5) * random.normal(size=200)
        form, original = of_errors(target, 1.05 * (0.95 * first + math.sqrt(1 - 0.95**2) * own), first)
        forms.append(Option(name=f"form {place}", predictions=form, cost=float(place), cost_ratio_high=0.5))
    return _kept(decide(original, forms, loss=0.05 * HEADLINES["number"].value(original), confidence=0.95, how=how(seed))) is None


@cache
def rows_for_first_of_five() -> int:
    """Return the rows said for an equal form at the first of five steps of Holm's, from the rates at which rows differ."""
    form, original = pair(populations.LARGE, 0.0, rng(0, "population", "choice"))
    differ = float(((form.chosen == form.target) != (original.chosen == original.target)).mean())
    found = rows_of_classes(differ / 2, differ / 2, 0.02, 1 - LEVEL / 5, 0)
    assert found is not None
    return found


@control(
    "optimization.choice", "planted", "an equal form beside four at the margin is kept, at the rows said for it", trials=CHOICES, low=0.8
)
def equal_form_is_kept(seed: int) -> bool:
    """The cheapest of the five; should one at the margin pass as well, it is dearer."""
    return _kept(_five([0.0, 0.02, 0.02, 0.02, 0.02], rows_for_first_of_five(), 0.02, seed, "equal")) == "form 0"


@control(
    "optimization.choice",
    "planted",
    "the cheapest whose difference lies within the margin: forms at the margin are kept",
    trials=CHOICES,
    low=0.5,
)
def point_estimate_keeps(seed: int) -> bool:
    """The naive way, that of a point tolerance: half of the forms exactly at the margin look better than that."""
    original, *forms = family(1000, [0.02] * 5, rng(seed, "control", "choice", "point"))
    return any(_accuracy(form) - _accuracy(original) >= -0.02 for form in forms)


@control("optimization.choice", "planted", "five tests at 5 % without a correction: forms at the margin are kept", trials=CHOICES, low=0.1)
def uncorrected_keeps(seed: int) -> bool:
    """The other naive way: one of five passes by chance."""
    return any(one.test.p_value < LEVEL for one in _five([0.02] * 5, 1000, 0.02, seed, "uncorrected"))


def _accuracy(model: Predictions) -> float:
    return float((model.chosen == model.target).mean())


@cache
def _rows_said(won: int, lost: int, margin: float) -> int:
    """Return what `rows_to_decide` says of 1,000 rows of which so many differ."""
    hits = np.ones(1000, dtype=bool)
    form, original = hits.copy(), hits.copy()
    original[:won], form[won : won + lost] = False, False
    found = rows_to_decide(right_where(form, "form"), right_where(original, "original"), Resampling(seed=0), margin, 1 - LEVEL)
    assert found is not None
    return found


def _power(won: int, lost: int, margin: float) -> None:
    @control(
        "optimization.choice.rows", "planted", f"{won / 1000:g} won, {lost / 1000:g} lost, margin {margin:g}: passes at the rows said",
        trials=SIMULATIONS, low=0.78, high=0.84,
    )  # fmt: skip
    def passes(seed: int) -> bool:
        n = _rows_said(won, lost, margin)
        counts = rng(seed, "control", "power", won, lost).multinomial(n, [won / 1000, lost / 1000, 1 - (won + lost) / 1000])
        return exact(int(counts[0]), int(counts[1]), n, margin) < LEVEL


_power(20, 20, 0.01)
_power(30, 34, 0.01)
_power(50, 40, 0.005)


@cache
def _numbers_said() -> tuple[Predictions, Predictions, int]:
    form, original = numbers(1000, 0.0, rng(0, "control", "numbers said"))
    found = rows_to_decide(form, original, Resampling(seed=0), 0.05 * HEADLINES["number"].value(original), 1 - LEVEL)
    assert found is not None
    return form, original, found


@control(
    "optimization.choice.rows", "planted", "RMSE at a margin of 0.05: passes at the rows said", trials=SIMULATIONS, low=0.78, high=0.84
)
def numbers_pass_at_the_rows_said(seed: int) -> bool:
    """Rows are drawn from the 1,000 that were seen: their differences are the truth here."""
    form, original, n = _numbers_said()
    picks = rng(seed, "control", "numbers said", "drawn").integers(0, len(form), n)
    drawn = of_errors(form.target[picks], (form.output - form.target)[picks], (original.output - original.target)[picks])
    return p_value(*drawn, 0.05 * HEADLINES["number"].value(original), seed) < LEVEL


@control(
    "optimization.choice.rows",
    "clean",
    "no number is named exactly where the difference seen is at the margin or beyond",
    trials=100,
    low=1.0,
)
def no_number_is_named(seed: int) -> bool:
    """More rows like these would show that it is worse; half a second where a number is named."""
    form, original = pair(400, 0.03, rng(seed, "control", "no number"))
    apart = int((form.chosen == form.target).sum()) - int((original.chosen == original.target).sum())
    return (rows_to_decide(form, original, how(seed), 0.03, 1 - LEVEL) is None) == (apart <= -12)


@control(
    "optimization.champion", "clean", "of five equal models none is called worse than the best, n = 500", trials=CHOICES, low=1 - LEVEL
)
def equal_models(seed: int) -> bool:
    return not most_capable(family(500, [0.0] * 4, rng(seed, "control", "champion"), blur=0.5), how(seed)).worse


@control(
    "optimization.champion", "planted", "Holm over the four tests made calls one of five equal models worse", trials=SIMULATIONS, low=0.06
)
def four_tests_are_not_all(seed: int) -> bool:
    """The naive way: the best was picked by these rows, so the farthest of ten pairs is what is looked at."""
    models = family(500, [0.0] * 4, rng(seed, "control", "champion", "naive"), blur=0.5)
    best, *others = sorted(models, key=lambda one: -_accuracy(one))
    return min(holm([compare(best, one, how(seed)).p_value for one in others])) < LEVEL


@control("optimization.champion", "planted", "a model 0.06 worse is told from the best of five, n = 1,000", trials=CHOICES, low=0.9)
def worse_model_is_found(seed: int) -> bool:
    models = family(1000, [0.0, 0.0, 0.0, 0.06], rng(seed, "control", "champion", "worse"), blur=0.3)
    return "form 3" in most_capable(models, how(seed)).worse
