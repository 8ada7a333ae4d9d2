"""What a training by clipped, noised gradients promises, and how much noise a promise asks for: the accountant of Opacus.

A promise of (epsilon, delta) is about a row that is added or taken away: whatever is seen of the weights is at most exp(epsilon) times as
likely with it as without, but for a chance of delta (Dwork 2006). It is counted in Renyi divergences of the sampled Gaussian mechanism
(Abadi 2016; Mironov 2017; Mironov 2019), each row in each step by equal chance, and brought to epsilon as by Balle 2020. That is an upper
bound: the accountant of Gopi 2021 gave 8 to 11 % less for three trainings of 60,000 rows (docs/mitigation-privacy.md), and took fifteen
to thirty-five times as long.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

from weighbridge.errors import DependencyError, RecipeError

USUAL_DELTA = 1e-5
MOST_NOISE, PRECISION = 1e5, 1e-3
# Opacus's, and higher ones: with its largest, 63, no epsilon under 0.12 could be shown at a delta of 1e-5
ORDERS = [1 + tenths / 10 for tenths in range(1, 100)] + list(range(12, 64)) + [72, 96, 128, 192, 256, 384, 512, 1024]


def delta_of(wish: float | None, rows: int) -> float:
    """Return the recipe's delta, else 1e-5 or 1 / (n ln n), whichever is less. Raises RecipeError for one of 1 / n or more.

    1e-5 is what published figures are for; at 1 / n a way to learn that gives one row away whole would keep its promise.
    """
    if wish is None:
        return min(USUAL_DELTA, 1 / (rows * math.log(max(rows, 3))))
    if wish >= 1 / rows:
        raise RecipeError(
            f"training.privacy.delta: {wish:g} is not below 1 / {rows} training rows: a chance of that much gives a row away",
            do="set it lower, or leave it out",
        )
    return wish


@lru_cache(maxsize=256)
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Return the standard deviation of the noise, times the clipping norm, that keeps the promise: the least one to within 0.1 %.

    `rate`: chance of a row to be in a step. Raises RecipeError where no noise is enough, DependencyError without Opacus.
    """
    high = 1.0
    while epsilon_of(high, delta, rate, steps) > epsilon:
        high *= 2
        if high > MOST_NOISE:
            what = f"training.privacy.epsilon: {epsilon:g} can not be kept over {steps} steps at delta {delta:.3g}"
            raise RecipeError(what, do="set it higher, or fewer epochs")
    low = high / 2 if high > 1 else 0.0
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon_of(middle, delta, rate, steps) <= epsilon else (middle, high)
    return high


def epsilon_of(noise: float, delta: float, rate: float, steps: int) -> float:
    """Return the epsilon that so many steps have spent; 0 before the first. Raises DependencyError without Opacus."""
    if steps == 0:
        return 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports, and where the best order is the first or last
            from opacus.accountants import RDPAccountant

            accountant = RDPAccountant()
            accountant.history = [(noise, rate, steps)]
            return float(accountant.get_epsilon(delta, alphas=ORDERS))
    except ImportError:
        raise DependencyError("private training is accounted for by opacus", do="pip install 'weighbridge[audit]'") from None
