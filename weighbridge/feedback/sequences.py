"""Quality in service from labels that come one by one: an interval that holds at every look, and an alarm that may be looked at as often.

Outcomes are numbers in [0, 1] (right or wrong, the share of a row's labels that is right). Two questions, two instruments:

- How good is the model in service? `Mean`: a confidence sequence by betting, hedged capital with predictable plug-in bets, over a grid of
  means, running intersection (Waudby-Smith and Ramdas 2024, theorem 3). With probability 1 - alpha it holds the mean at every row at once.
- Is it worse than promised? `Fall`: bets that outcomes are below a bound, started anew at every row (restarts.py), so a late fall is found
  too, which the mean of all rows would hide. It is silent for ever with probability 1 - alpha while each outcome's mean, given those before
  it, is at least the bound. For outcomes that are 0 or 1 a bet is a likelihood ratio against a rate of error with higher odds.

Both states are small, go through JSON without loss, and do not depend on how the outcomes were cut into pieces.
n outcomes, G means, K bets.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.feedback.restarts import log_stakes, purse

ALPHA = 0.025
GRID = 2000
TRUNCATION = 0.5  # of the largest bet that can not ruin: the paper's advice
MOST_CELLS = 100_000  # outcomes x means at a time: a few MB, and pieces that grow as means are excluded
ODDS = (0.1, 0.2, 0.4, 0.7, 1.1, 1.6, 2.3, 3.2)  # by how much the logit of the error is higher under each bet of a fall


def grid() -> Floats:
    """Return float64 [G + 1] means from 0 to 1, dense at both ends, where intervals are short."""
    return np.asarray((1 - np.cos(np.pi * np.arange(GRID + 1) / GRID)) / 2)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What the bets on the next outcome depend on: number, sum, and sum of squared distances from the running mean."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The confidence sequence of a mean: `interval` holds it at every row at once with probability 1 - alpha.

    log_up, log_down: logarithm of the capital of bets that the mean is above, and below, each mean of the grid from number `first` on; a
    mean that lies outside the interval is excluded for ever, and its capital is not kept.
    """

    alpha: float = ALPHA * 2
    moments: Moments = Moments()
    first: int = 0
    log_up: tuple[float, ...] = (0.0,) * (GRID + 1)
    log_down: tuple[float, ...] = (0.0,) * (GRID + 1)
    interval: tuple[float, float] = (0.0, 1.0)

    @property
    def n(self) -> int:
        return self.moments.n

    @property
    def value(self) -> float | None:
        """The mean of the outcomes; None without any."""
        return self.moments.total / self.n if self.n else None

    def add(self, outcomes: Floats) -> Mean:
        """Return the state after these outcomes [n], in their order. Raises ValueError for one outside [0, 1]."""
        values, state, start = _checked(outcomes), self, 0
        while start < len(values):
            rows = max(1, MOST_CELLS // len(state.log_up))
            state = state._after(values[start : start + rows])
            start += rows
        return state

    def _after(self, values: Floats) -> Mean:
        means = grid()[self.first : self.first + len(self.log_up)]
        grown, moments = _grown(values, means, self.moments, np.array([self.log_up, self.log_down]), self.alpha)
        held = np.maximum(grown[:, 0], grown[:, 1]) + math.log(0.5) < math.log(1 / self.alpha)
        low, high = _inside(means, held, *self.interval)
        kept = np.flatnonzero((means >= low) & (means <= high))
        up, down = grown[-1][:, kept].tolist()
        first = self.first + int(kept[0])
        return replace(self, moments=moments, first=first, log_up=tuple(up), log_down=tuple(down), interval=(low, high))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, which has no infinity: the capital against a mean that an outcome has ruled out is None."""
        value = asdict(self)
        capitals = {name: [one if math.isfinite(one) else None for one in value[name]] for name in ("log_up", "log_down")}
        return {**value, **capitals}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        up, down = (tuple(math.inf if one is None else one for one in value[name]) for name in ("log_up", "log_down"))
        low, high = value["interval"]
        moments = Moments(**value["moments"])
        return cls(alpha=value["alpha"], moments=moments, first=value["first"], log_up=up, log_down=down, interval=(low, high))


def _grown(values: Floats, means: Floats, moments: Moments, capitals: Floats, alpha: float) -> tuple[Floats, Moments]:
    """Return the logarithm of the capitals [n, 2, G] after each outcome, and the moments after all."""
    bets, moments = plug_in_bets(values, moments, alpha)
    gap = values[:, None] - means
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.minimum(bets[:, None], TRUNCATION / means)
        down = np.minimum(bets[:, None], TRUNCATION / (1 - means))
        steps = np.stack([np.log1p(up * gap), np.log1p(-down * gap)], axis=1)
    if means[0] == 0:  # allows only zeros
        steps[:, 0, 0] = np.where(values > 0, np.inf, 0.0)
    if means[-1] == 1:
        steps[:, 1, -1] = np.where(values < 1, np.inf, 0.0)
    return np.cumsum(np.concatenate([capitals[None], steps]), axis=0)[1:], moments


def plug_in_bets(values: Floats, moments: Moments, alpha: float) -> tuple[Floats, Moments]:
    """Return the bet on each outcome, float64 [n], from the outcomes before it, and the moments after them all."""
    order = moments.n + np.arange(1, len(values) + 1)
    totals = np.cumsum(np.concatenate([[moments.total], values]))
    means = (0.5 + totals[1:]) / (order + 1)
    squares = np.cumsum(np.concatenate([[moments.squares], (values - means) ** 2]))
    variance = (0.25 + squares[:-1]) / order
    bets = np.sqrt(2 * np.log(2 / alpha) / (variance * order * np.log1p(order)))
    return bets, Moments(n=moments.n + len(values), total=float(totals[-1]), squares=float(squares[-1]))


def _inside(means: Floats, held: Array, low: float, high: float) -> tuple[float, float]:
    """Return the running intersection; each end is the nearest excluded mean outside, so the grid costs no coverage.

    An intersection that becomes empty (the mean has moved) is the point where the last means were held.
    """
    every = np.flatnonzero(held.all(axis=0))
    if len(every):
        return _ends(means, every, low, high)
    for row in held:
        low, high = _ends(means, np.flatnonzero(row & (means >= low) & (means <= high)), low, high)
    return low, high


def _ends(means: Floats, places: Array, low: float, high: float) -> tuple[float, float]:
    if not len(places):
        return low, high
    first, last = max(int(places[0]) - 1, 0), min(int(places[-1]) + 1, len(means) - 1)
    found = max(low, float(means[first])), min(high, float(means[last]))
    return found if found[0] <= found[1] else (low, high)


@dataclass(frozen=True, kw_only=True)
class Fall:
    """An alarm that outcomes are below `bound`: false, ever, with a probability of at most alpha.

    log_tables: capital of each bet, all restarts together. peak: the largest logarithm of the capital so far. since: the number of the row
    at which it first held 1 / alpha; None while it never did.
    """

    bound: float
    alpha: float = ALPHA
    n: int = 0
    log_tables: tuple[float, ...] = (-math.inf,) * len(ODDS)
    peak: float = 0.0
    since: int | None = None

    @property
    def p_value(self) -> float:
        """The anytime-valid p-value of "never below the bound"."""
        return min(1.0, math.exp(-self.peak))

    def add(self, outcomes: Floats) -> Fall:
        """Return the state after these outcomes [n], in their order. Raises ValueError for one outside [0, 1]."""
        values = _checked(outcomes)
        if not len(values) or not 0 < self.bound < 1:
            return replace(self, n=self.n + len(values))
        order = self.n + np.arange(1, len(values) + 1)
        steps, stakes = np.log1p(fall_bets(self.bound) * (self.bound - values[:, None])), log_stakes(order)
        tables, made = np.array(self.log_tables), np.empty((len(values), len(ODDS)))
        for row, stake in enumerate(stakes):
            tables = np.logaddexp(tables, stake) + steps[row]
            made[row] = tables
        capital = np.log(purse(order) + np.exp(np.minimum(made, 600)).mean(axis=1))
        over = np.flatnonzero(capital >= math.log(1 / self.alpha))
        since = self.since if self.since is not None or not len(over) else int(order[over[0]])
        return replace(
            self, n=self.n + len(values), log_tables=tuple(tables.tolist()), peak=max(self.peak, float(capital.max())), since=since
        )

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        return {**value, "log_tables": [one if math.isfinite(one) else None for one in value["log_tables"]]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(**{**value, "log_tables": tuple(-math.inf if one is None else one for one in value["log_tables"])})


def fall_bets(bound: float) -> Floats:
    """Return float64 [K] bets b of the factor 1 + b (bound - outcome), each at least 0 for outcomes in [0, 1]."""
    logit = math.log((1 - bound) / bound) + np.array(ODDS)
    return np.asarray((1 - (1 - 1 / (1 + np.exp(-logit))) / bound) / (1 - bound))


def _checked(outcomes: Floats) -> Floats:
    values = np.asarray(outcomes, dtype=np.float64)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):  # NaN fails too
        raise ValueError("outcomes lie in [0, 1]")
    return values
