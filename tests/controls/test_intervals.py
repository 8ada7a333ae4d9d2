"""Law: a 95 % interval holds the truth in 94 to 96 % of simulations, a test at 5 % is wrong in 5 %, a difference that is there is found.

Where a method can not do that (few rows, rates at the edge, metrics of a rare class) the rate that it reaches is stated in the table
below; a change for the worse fails. `python tests/controls/test_intervals.py` prints the whole table from 2,000 simulations a row.
The planted defect: the naive interval (normal approximation, plain percentiles of a biased metric) must miss in the same harness.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from weighbridge.evaluation.calibration import top_label_error
from weighbridge.evaluation.comparison import compare, holm, mcnemar, rows_for_power
from weighbridge.evaluation.gap import gap
from weighbridge.evaluation.intervals import bca, clopper_pearson, delong, quantile_interval, rate_interval, studentized, wilson
from weighbridge.evaluation.metrics import RMSE_LOG_ERROR, class_counts, number_statistic, ranking
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Replicates, Resampling, Sampler, Statistic, replicate

SIMULATIONS = 2000
RESAMPLES = 500  # the Monte Carlo error of an end is far below the sampling error that is judged
Draw = Callable[[int], bool]  # seed -> the interval held the truth, or the test said "different"


def ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def two_classes(
    n: int, random: np.random.Generator, *, distance: float = 1.2, share: float = 0.4, group: np.ndarray | None = None
) -> Predictions:
    """Rows whose class is drawn with `share`, whose score is normal at distance apart; the stated probability is calibrated."""
    target = (random.random(n) < share).astype(int)
    target[:2] = 0, 1
    score = random.normal(size=n) + distance * target
    logit = distance * score - distance**2 / 2 + math.log(share / (1 - share))
    p = 1 / (1 + np.exp(-logit))
    return Predictions(
        kind="category", row_id=ids(n), target=target, output=np.stack([1 - p, p], axis=1), classes=("no", "yes"), group=group
    )


def numbers(n: int, random: np.random.Generator, name: str = "model", target: np.ndarray | None = None, spread: float = 1.0) -> Predictions:
    truth = random.normal(size=n) if target is None else target
    return Predictions(kind="number", row_id=ids(n), target=truth, output=truth + spread * random.normal(size=n), model=name)


def drawn(statistic: Statistic, n: int, seed: int, group: np.ndarray | None = None) -> dict[str, Replicates]:
    return replicate([statistic], Sampler(n=n, resamples=RESAMPLES, seed=seed, group=group))


def holds(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def of_rate(interval: Callable[[int, int], tuple[float, float]], n: int, rate: float) -> Draw:
    return lambda seed: holds(interval(int(np.random.default_rng(seed).binomial(n, rate)), n), rate)


def of_area(n: int, by_delong: bool = False) -> Draw:
    truth = 0.5 * (1 + math.erf(1.2 / 2))

    def draw(seed: int) -> bool:
        p = two_classes(n, np.random.default_rng(seed))
        if by_delong:
            return holds(delong(p.target == 1, p.output[:, 1])[1], truth)
        return holds(bca(drawn(ranking(p), n, seed)["auroc"], low=0, high=1), truth)

    return draw


def of_error(n: int, name: str, *, heavy: bool = False) -> Draw:
    truth = {"rmse": math.sqrt(2.5) if heavy else 1.0, "mae": math.sqrt(2 / math.pi)}[name]

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        error = random.standard_t(5, n) * math.sqrt(1.5) if heavy else random.normal(size=n)
        p = Predictions(kind="number", row_id=ids(n), target=np.zeros(n), output=error)
        found = drawn(number_statistic(p), n, seed)
        return holds(studentized(found["rmse"], found[RMSE_LOG_ERROR]) if name == "rmse" else bca(found[name], low=0), truth)

    return draw


def of_f1(n: int, name: str) -> Draw:
    large = two_classes(2_000_000, np.random.default_rng(999))
    truth = float(dict(zip(class_counts(large).names, class_counts(large).of(np.ones((1, len(large))))[0], strict=True))[name])

    def draw(seed: int) -> bool:
        return holds(bca(drawn(class_counts(two_classes(n, np.random.default_rng(seed))), n, seed)[name], low=0, high=1), truth)

    return draw


def of_calibration(n: int, off: float) -> Draw:
    """The stated probability is `off` above the true one everywhere; at 0 it is calibrated."""

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        true = random.uniform(0.1, 0.8, n)
        stated = true + off
        target = (random.random(n) < true).astype(int)
        p = Predictions(kind="category", row_id=ids(n), target=target, output=np.stack([1 - stated, stated], axis=1), classes=("no", "yes"))
        return holds(bca(drawn(top_label_error(p), n, seed)["calibration_error"]), off)

    return draw


def naive_calibration(n: int, off: float) -> Draw:
    """The planted defect: plain percentiles of the plain (biased) calibration error."""

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        true = random.uniform(0.1, 0.8, n)
        stated = true + off
        target = (random.random(n) < true).astype(int)
        p = Predictions(kind="category", row_id=ids(n), target=target, output=np.stack([1 - stated, stated], axis=1), classes=("no", "yes"))
        statistic = top_label_error(p)
        plain = replicate([Statistic(names=statistic.names, of=statistic.of)], Sampler(n=n, resamples=RESAMPLES, seed=seed))[
            "calibration_error"
        ]
        low, high = np.sqrt(np.quantile(plain.draws, [0.025, 0.975]))
        return holds((float(low), float(high)), off)

    return draw


def of_groups(groups: int, size: int, *, ignored: bool = False) -> Draw:
    """Errors of one group share half of their variance; `ignored` is the planted defect of resampling rows."""
    n, group = groups * size, np.repeat(np.arange(groups), size)

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        error = random.normal(size=groups)[group] + random.normal(size=n)
        statistic = Statistic(names=("mean",), of=lambda weights: weights @ error[:, None] / weights.sum(axis=1, keepdims=True))
        return holds(bca(drawn(statistic, n, seed, None if ignored else group)["mean"]), 0.0)

    return draw


def of_gap(n_train: int, n: int) -> Draw:
    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        train, held_out = two_classes(n_train, random), two_classes(n, random)
        return holds(gap(train, held_out, Resampling(resamples=RESAMPLES, seed=seed)).interval, 0.0)

    return draw


def different_classes(n: int, ours: float, theirs: float) -> Draw:
    """Two models, right with these rates independently in each row: does the test say "different"?"""

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        a, b = random.random(n) < ours, random.random(n) < theirs
        return mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))[0] < 0.05

    return draw


def different_numbers(n: int, theirs: float, *, by_interval: bool = False) -> Draw:
    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        ours = numbers(n, random)
        found = compare(ours, numbers(n, random, "other", ours.target, theirs), Resampling(resamples=RESAMPLES, seed=seed))
        return not holds(found.interval, 0.0) if by_interval else found.p_value < 0.05

    return draw


def any_of_three(n: int) -> Draw:
    """Three baselines that are all equal to the model: does Holm leave any claim?"""

    def draw(seed: int) -> bool:
        random = np.random.default_rng(seed)
        model, *others = (random.random(n) < 0.8 for _ in range(4))
        return min(holm([mcnemar(int((model & ~o).sum()), int((o & ~model).sum()))[0] for o in others])) < 0.05

    return draw


def at_the_rows_for_power(difference: float) -> Draw:
    """Rows are computed from the true rates; at that many rows the difference should be found 8 times in 10."""
    ours, theirs = 0.8 + difference, 0.8
    discordant = ours * (1 - theirs) + theirs * (1 - ours)
    rows = rows_for_power(difference, math.sqrt(discordant - difference**2), 1)
    assert rows is not None
    return different_classes(rows, ours, theirs)


def of_median(n: int, q: float) -> Draw:
    return lambda seed: holds(quantile_interval(np.random.default_rng(seed).lognormal(size=n), q), math.exp(_normal_quantile(q)))


def _normal_quantile(q: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(q)


def _wald(hits: int, n: int) -> tuple[float, float]:
    half = 1.96 * math.sqrt(hits / n * (1 - hits / n) / n)
    return hits / n - half, hits / n + half


@dataclass(frozen=True, kw_only=True)
class Control:
    """A simulation and the share of "true" that it must reach (without its Monte Carlo error)."""

    name: str
    draw: Callable[[], Draw]
    low: float
    high: float
    simulations: int = SIMULATIONS


NOMINAL = {"low": 0.94, "high": 0.96}
CONTROLS = [
    Control(name="Wilson, n = 100, rate 0.8", draw=lambda: of_rate(wilson, 100, 0.8), **NOMINAL, simulations=20000),
    Control(name="Wilson, n = 1,000, rate 0.93", draw=lambda: of_rate(wilson, 1000, 0.93), **NOMINAL, simulations=20000),
    Control(name="Clopper-Pearson, n = 30, rate 0.8", draw=lambda: of_rate(clopper_pearson, 30, 0.8), low=0.95, high=1, simulations=20000),
    Control(name="rate, n = 30, rate 0.5", draw=lambda: of_rate(rate_interval, 30, 0.5), low=0.95, high=1, simulations=20000),
    Control(name="rate, n = 100, rate 0.99", draw=lambda: of_rate(rate_interval, 100, 0.99), low=0.95, high=1, simulations=20000),
    Control(name="rate, n = 400, rate 0.995", draw=lambda: of_rate(rate_interval, 400, 0.995), low=0.95, high=1, simulations=20000),
    Control(name="normal approximation, n = 100, rate 0.99 (planted defect)", draw=lambda: of_rate(_wald, 100, 0.99), low=0, high=0.90),
    Control(name="RMSE, normal errors, n = 30", draw=lambda: of_error(30, "rmse"), **NOMINAL),
    Control(name="RMSE, normal errors, n = 200", draw=lambda: of_error(200, "rmse"), **NOMINAL),
    Control(name="RMSE, heavy tails (t with 5), n = 30", draw=lambda: of_error(30, "rmse", heavy=True), low=0.88, high=0.96),
    Control(name="RMSE, heavy tails (t with 5), n = 200", draw=lambda: of_error(200, "rmse", heavy=True), low=0.92, high=0.96),
    Control(name="MAE, normal errors, n = 30", draw=lambda: of_error(30, "mae"), **NOMINAL),
    Control(name="AUROC, n = 30", draw=lambda: of_area(30), low=0.92, high=0.97),
    Control(name="AUROC, n = 200", draw=lambda: of_area(200), **NOMINAL),
    Control(name="AUROC by DeLong, n = 200", draw=lambda: of_area(200, by_delong=True), **NOMINAL),
    Control(name="F1, mean of the classes, n = 30", draw=lambda: of_f1(30, "f1"), low=0.92, high=0.97),
    Control(name="F1, mean of the classes, n = 200", draw=lambda: of_f1(200, "f1"), **NOMINAL),
    Control(name="balanced accuracy, n = 200", draw=lambda: of_f1(200, "balanced_accuracy"), **NOMINAL),
    Control(name="calibration error, off by 0.1, n = 500", draw=lambda: of_calibration(500, 0.1), low=0.93, high=0.98),
    Control(name="calibration error, calibrated, n = 500", draw=lambda: of_calibration(500, 0.0), low=0.95, high=1),
    Control(
        name="plain calibration error, calibrated, n = 500 (planted defect)", draw=lambda: naive_calibration(500, 0.0), low=0, high=0.2
    ),
    Control(name="mean over 40 groups of 5", draw=lambda: of_groups(40, 5), **NOMINAL),
    Control(name="mean over 40 groups of 5, rows drawn (planted defect)", draw=lambda: of_groups(40, 5, ignored=True), low=0, high=0.85),
    Control(name="gap, 300 training and 100 held-out rows", draw=lambda: of_gap(300, 100), **NOMINAL),
    Control(name="median by order statistics, n = 30", draw=lambda: of_median(30, 0.5), low=0.95, high=1),
    Control(name="99th percentile by order statistics, n = 1,000", draw=lambda: of_median(1000, 0.99), low=0.95, high=1),
    Control(
        name="McNemar says different, equal models, n = 100",
        draw=lambda: different_classes(100, 0.8, 0.8),
        low=0,
        high=0.05,
        simulations=20000,
    ),
    Control(
        name="McNemar says different, equal models, n = 1,000",
        draw=lambda: different_classes(1000, 0.8, 0.8),
        low=0,
        high=0.05,
        simulations=20000,
    ),
    Control(name="McNemar at the rows for power, 0.05 better", draw=lambda: at_the_rows_for_power(0.05), low=0.78, high=0.83),
    Control(name="permutation says different, equal RMSE, n = 30", draw=lambda: different_numbers(30, 1.0), low=0, high=0.05),
    Control(name="interval without 0, equal RMSE, n = 30", draw=lambda: different_numbers(30, 1.0, by_interval=True), low=0, high=0.08),
    Control(name="permutation says different, RMSE 1 against 1.3, n = 200", draw=lambda: different_numbers(200, 1.3), low=0.9, high=1),
    Control(name="Holm leaves a claim, three equal baselines, n = 500", draw=lambda: any_of_three(500), low=0, high=0.05),
]


def share(control: Control, simulations: int) -> float:
    draw = control.draw()
    return float(np.mean([draw(seed) for seed in range(simulations)]))


def within(control: Control, found: float, simulations: int) -> bool:
    """Whether the share found may come from the stated range: three standard errors of the simulation are allowed beyond it."""
    slack = 3 * math.sqrt(max(found * (1 - found), 0.0475) / simulations)
    return control.low - slack <= found <= control.high + slack


@pytest.mark.slow
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_intervals_and_tests_keep_what_they_state(control: Control) -> None:
    found = share(control, control.simulations)
    assert within(control, found, control.simulations), f"{found:.4f} is outside {control.low} to {control.high}"


def main() -> None:
    """Print the measured share of every control as a Markdown table."""
    print("| control | stated | measured | simulations | s |\n| --- | --- | --- | --- | --- |")
    for control in CONTROLS:
        started = time.perf_counter()
        found = share(control, control.simulations)
        verdict = "" if within(control, found, control.simulations) else " (!)"
        seconds = time.perf_counter() - started
        print(
            f"| {control.name} | {control.low:g} to {control.high:g} | {found:.4f}{verdict} | {control.simulations} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
