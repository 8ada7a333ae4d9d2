"""Controls of the pace of a service: noise of twice the time that comes and goes is no alarm, three times the time for good is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.feedback.pace import SLOWER, SPAN_S, Pace
from weighbridge.feedback.windows import Served, Window
from weighbridge.storage.seeds import rng

LATENCY = "feedback.latency"
MIDDLE_S, SPREAD = 0.004, 0.5  # median of a request under load, deviation of its logarithm
EVERY_S = 10.0  # seconds between requests, in the mean
NOISY, PASSES = 0.1, 0.5  # chance of each window that noise comes, and that it passes


def served(random: np.random.Generator, times: Floats) -> Window:
    """Return the requests of windows of five minutes, in each of which a request takes `times` [W] the median of the contract."""
    n = random.poisson(SPAN_S / EVERY_S, size=len(times))
    at_s = np.concatenate([SPAN_S * (place + np.sort(random.random(count))) for place, count in enumerate(n)])
    taken = MIDDLE_S * np.repeat(times, n) * np.exp(SPREAD * random.normal(size=len(at_s)))
    ids = np.array([f"q{place}/0" for place in range(len(at_s))], dtype=object)
    nothing: Array = np.full(len(at_s), None, dtype=object)
    return Window(
        sequence=np.arange(1, len(at_s) + 1), id=ids, time_us=(1e6 * at_s).astype(np.int64), model=np.zeros(len(at_s), dtype=np.int64),
        key=nothing, latency_s=taken, outputs=[b""] * len(at_s), kept=nothing, who=nothing,
        served=(Served(model="", package="", kind="category", classes=()),),
    )  # fmt: skip


def noise(random: np.random.Generator, windows: int, factor: float) -> Floats:
    """Return float64 [W]: spells in which everything takes `factor` times as long, of two windows in the mean."""
    found, here = np.ones(windows), False
    for place in range(windows):
        here = random.random() < (1 - PASSES if here else NOISY)
        found[place] = factor if here else 1.0
    return found


def pace() -> Pace:
    return Pace(limit_s=SLOWER * MIDDLE_S, most_per_s=100.0)


@control(LATENCY, "clean", "noise doubles every time for spells of two windows, 500 windows: no alarm, ever", trials=200, low=0.95)
def noise_is_no_alarm(seed: int) -> bool:
    random = rng(seed, "control", LATENCY, "clean")
    return pace().add(served(random, noise(random, 500, 2.0))).fall.since is None


@control(LATENCY, "clean", "two of five requests take three times as long, 500 windows: no alarm, ever", trials=200, low=0.95)
def slow_requests_among_others_are_no_alarm(seed: int) -> bool:
    """49 % of all requests are then slow."""
    random = rng(seed, "control", LATENCY, "mixed")
    rows = served(random, np.ones(500))
    factors = np.where(random.random(len(rows)) < 0.4, 3.0, 1.0)
    return pace().add(replace(rows, latency_s=factors * rows.latency_s)).fall.since is None


@control(LATENCY, "planted", "three times slower for good after a day of noise: found within 4 hours", trials=200, low=0.9)
def slow_for_good_is_found(seed: int) -> bool:
    random = rng(seed, "control", LATENCY, "planted")
    before = noise(random, 288, 2.0)
    rows = served(random, np.concatenate([before, np.full(48, 3.0)]))
    quiet = rows.time_us < 1e6 * SPAN_S * len(before)
    state = pace().add(rows.rows(quiet))
    return state.fall.since is None and state.add(rows.rows(~quiet)).fall.since is not None


@control(LATENCY, "planted", "three times slower from the first answer: found within an hour", trials=300, low=0.9)
def slow_from_the_start_is_found(seed: int) -> bool:
    return pace().add(served(rng(seed, "control", LATENCY, "first"), np.full(12, 3.0))).fall.since is not None


@control(LATENCY, "planted", "the usual way, the interval of one window's median, alarms in such noise", trials=100, low=0.95)
def one_window_alarms(seed: int) -> bool:
    from weighbridge.evaluation.intervals import quantile_interval

    random = rng(seed, "control", LATENCY, "usual")
    rows = served(random, noise(random, 500, 2.0))
    windows = np.split(rows.latency_s, np.arange(100, len(rows), 100))
    return any(len(one) > 10 and quantile_interval(one)[0] > SLOWER * MIDDLE_S for one in windows)
