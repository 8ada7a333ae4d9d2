"""Controls of the intervals, the other side: what is not so is excluded. An interval that is always wide would pass every clean case."""

from __future__ import annotations

import math

from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.controls import HIGH, LOW, SIMULATIONS, holds
from weighbridge.evaluation.populations import Population
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import results_of
from weighbridge.storage.seeds import rng

TRIALS, FOUND = 300, 0.95


def _excludes(name: str, case: str, population: Population, n: int, wrong: float) -> None:
    """Register: the interval does not hold a value that is several of its own widths away from the truth."""

    @control(f"interval.{name}", "planted", f"{case}, n = {n}", trials=TRIALS, low=FOUND)
    def found(seed: int) -> bool:
        rows = population(n, rng(seed, "control", "planted", name, n))
        interval = results_of(rows, Resampling(resamples=200, seed=seed), wanted=lambda one: one == name)[name].interval
        return interval is not None and not holds(interval, wrong)


_BINARY, _THREE, _SETS = populations.two_classes(), populations.many_classes(3, 1.5), populations.label_sets()

_excludes("rmse", "1.3 is told from 1", populations.errors(1.3), 200, 1.0)
_excludes("mae", "1.3 is told from 1, in units of a normal error", populations.errors(1.3), 200, math.sqrt(2 / math.pi))
_excludes("r2", "half of the variance is told from none", populations.errors(math.sqrt(0.5)), 200, 0.0)
_excludes("auroc", "0.80 is told from chance", _BINARY, 200, 0.5)
_excludes("auprc", "0.74 is told from the share of the class", _BINARY, 200, 0.4)
_excludes("log_loss", "0.52 is told from the class frequencies alone", _BINARY, 400, -0.4 * math.log(0.4) - 0.6 * math.log(0.6))
_excludes("brier", "0.17 is told from the class frequencies alone", _BINARY, 400, 0.24)
_excludes("f1", "0.72 is told from 0.5", _BINARY, 200, 0.5)
_excludes("balanced_accuracy", "0.71 is told from 0.5", _BINARY, 200, 0.5)
_excludes("precision", "0.73 is told from 0.5", _BINARY, 200, 0.5)
_excludes("recall", "0.71 is told from 0.5", _BINARY, 200, 0.5)
_excludes("calibration_error_classwise", "probabilities of a model twice as sure are told from calibrated ones",
          populations.surer(_THREE), 1000, 0.0)  # fmt: skip
_excludes("f1_micro", "told from 0.4", _SETS, 200, 0.4)
_excludes("f1_macro", "told from 0.4", _SETS, 200, 0.4)


def _covers(name: str, case: str, population: Population, n: int) -> None:
    @control(f"interval.{name}", "clean", f"{case}, n = {n}", trials=SIMULATIONS, low=LOW, high=HIGH)
    def covers(seed: int) -> bool:
        rows = population(n, rng(seed, "control", name, case, n))
        found = results_of(rows, Resampling(resamples=400, seed=seed), wanted=lambda one: one == name)[name]
        return holds(found.interval, populations.truths(population)[name])


_covers("recall", "two classes", _BINARY, 100)
_covers("f1_micro", "sets of three labels", _SETS, 50)
_covers("f1_macro", "sets of three labels", _SETS, 100)
