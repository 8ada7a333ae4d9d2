"""Controls of the watch: clean streams of 200 windows looked at after each, planted shifts of several kinds, early and late, and the test
that everybody runs once for each window, which gives a false alarm sooner or later."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats
from weighbridge.feedback.drift import Drift
from weighbridge.feedback.sequences import Fall, Mean
from weighbridge.feedback.streams import MISSING, Stream, bins_of
from weighbridge.runtime.histograms import frequencies, histogram
from weighbridge.runtime.inner import sketch, watched
from weighbridge.storage.seeds import rng

QUALITY, DRIFT = "feedback.quality", "feedback.drift"
WINDOWS, ROWS = 200, 50  # clean streams
LAID, COUNTED = 4000, 1000  # training and validation rows of a contract
NAMES, MIX = ("a", "b", "c", "d"), (0.5, 0.3, 0.15, 0.05)
GONE = 0.02  # missing in the reference
Rows = dict[str, Array]


def rows_of(random: np.random.Generator, n: int) -> Rows:
    """Return columns as they are at release: two numbers that hang together, a skewed one with ties, a category, and what is missing."""
    common = random.normal(size=n)
    return {
        "x": common + 0.5 * random.normal(size=n),
        "y": common + random.normal(size=n),
        "z": np.round(random.exponential(20, size=n)),
        "k": random.choice(4, n, p=MIX),
        "gone": (random.random(n) < GONE).astype(np.int64),
    }


def reference(random: np.random.Generator) -> tuple[Stream, ...]:
    """Return the streams of a contract that such rows make."""
    laid, counted = rows_of(random, LAID), rows_of(random, COUNTED)
    made = [(name, histogram(laid[name], counted[name])) for name in ("x", "y", "z")]
    numbers = [Stream(column=name, trait="value", counts=one.counts, edges=one.edges) for name, one in made]
    found = frequencies({name: int((counted["k"] == code).sum()) for code, name in enumerate(NAMES)})
    gone = int(counted["gone"].sum())
    return (
        *numbers,
        Stream(column="k", trait="values", counts=(*found.counts.values(), found.other), names=tuple(found.counts)),
        Stream(column="x", trait=MISSING, counts=(COUNTED - gone, gone), edges=(0.5,)),
    )


def bins(streams: tuple[Stream, ...], rows: Rows) -> Array:
    names = np.array(NAMES, dtype=object)[rows["k"]]
    x = np.where(rows["gone"] > 0, np.nan, rows["x"])
    values = {("x", MISSING): rows["gone"].astype(float), ("x", "value"): x, ("k", "values"): names}
    values |= {(name, "value"): rows[name] for name in ("y", "z")}
    return bins_of(streams, values, len(x))


def _joined(quiet: Rows, moved: Rows) -> Rows:
    return {name: np.concatenate([quiet[name], moved[name]]) for name in quiet}


def since(random: np.random.Generator, change: Callable[[Rows], Rows], *, quiet: int, moved: int) -> tuple[int, Drift]:
    """Return the row of the first alarm counted from the change (0 for none, negative for a false one) and the watch after all rows."""
    streams = reference(random)
    rows = _joined(rows_of(random, quiet), change(rows_of(random, moved)))
    watch = Drift.start(streams, seed=int(random.integers(2**31))).add(bins(streams, rows))
    first = min((int(row) for row in watch.since if row), default=0)
    return (first - quiet if first else 0), watch


def _found(random: np.random.Generator, change: Callable[[Rows], Rows], column: str, *, quiet: int, moved: int = 1500) -> bool:
    delay, watch = since(random, change, quiet=quiet, moved=moved)
    return delay > 0 and column in {one.column for one in watch.moved()}


@control(DRIFT, "clean", "200 windows of 50 rows, 4 columns, looked at after each row: no alarm, ever", trials=300, low=0.95)
def quiet_stays_quiet(seed: int) -> bool:
    random = rng(seed, "control", DRIFT, "clean")
    return since(random, lambda rows: rows, quiet=WINDOWS * ROWS, moved=0)[1].alarm is False


@control(DRIFT, "planted", "a number half a deviation higher from window 20 on: found, and named", trials=200, low=0.9)
def shift_is_found(seed: int) -> bool:
    return _found(rng(seed, "control", DRIFT, "shift"), lambda rows: rows | {"y": rows["y"] + 0.7}, "y", quiet=1000)


@control(DRIFT, "planted", "the same after 400 quiet windows", trials=100, low=0.9)
def late_shift_is_found(seed: int) -> bool:
    return _found(rng(seed, "control", DRIFT, "late"), lambda rows: rows | {"y": rows["y"] + 0.7}, "y", quiet=20_000)


@control(DRIFT, "planted", "a number with its mean kept and its spread half as large again: found, and named", trials=200, low=0.9)
def spread_is_found(seed: int) -> bool:
    return _found(rng(seed, "control", DRIFT, "spread"), lambda rows: rows | {"x": 1.5 * rows["x"]}, "x", quiet=1000)


@control(DRIFT, "planted", "a unit changed, x 2.54: found within 100 rows", trials=200, low=0.9)
def unit_is_found(seed: int) -> bool:
    return _found(rng(seed, "control", DRIFT, "unit"), lambda rows: rows | {"z": 2.54 * rows["z"]}, "z", quiet=1000, moved=100)


@control(DRIFT, "planted", "missing in 10 % instead of 2 %: found, and named", trials=200, low=0.9)
def missing_is_found(seed: int) -> bool:
    random = rng(seed, "control", DRIFT, "missing")
    return _found(random, lambda rows: rows | {"gone": (random.random(len(rows["gone"])) < 0.1).astype(np.int64)}, "x", quiet=1000)


@control(DRIFT, "planted", "a category's mix 50/30/15/5 becomes 30/30/25/15: found, and named", trials=200, low=0.9)
def mix_is_found(seed: int) -> bool:
    random = rng(seed, "control", DRIFT, "mix")
    return _found(random, lambda rows: rows | {"k": random.choice(4, len(rows["k"]), p=(0.3, 0.3, 0.25, 0.15))}, "k", quiet=1000)


@cache
def _directions() -> Floats:
    """float64 [24, 24], orthonormal; the first three are the plane of an embedding."""
    return np.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0])


def _embedded(random: np.random.Generator, n: int) -> Floats:
    """float64 [n, 24]: two kinds of rows that lie near a plane of three axes."""
    along = random.normal(size=(n, 3)) * (3.0, 2.0, 1.0) + 3 * (random.random((n, 1)) < 0.5)
    return np.asarray(along @ _directions()[:3] + 0.3 * random.normal(size=(n, 24)))


def _of_embedding(random: np.random.Generator, quiet: int, moved: int, away: float) -> Drift:
    """Return the watch over the embedding of quiet rows and of moved ones, which lie `away` from the plane and along it as before."""
    made = sketch("hidden", "image", _embedded(random, 2000), _embedded(random, COUNTED))
    assert made is not None
    rows = np.concatenate([_embedded(random, quiet), _embedded(random, moved) + away * _directions()[20]])
    streams = [Stream(column="image", trait=name, counts=one.counts, edges=one.edges) for name, one in made.traits.items()]
    traits = {("image", name): values for name, values in watched(made, rows).items()}
    return Drift.start(streams, seed=int(random.integers(2**31))).add(bins_of(streams, traits, len(rows)))


@control(DRIFT, "clean", "an embedding of 24 values, 200 windows of 50 rows: no alarm, ever", trials=200, low=0.95)
def embedding_stays_quiet(seed: int) -> bool:
    return _of_embedding(rng(seed, "control", DRIFT, "embedding"), WINDOWS * ROWS, 0, 0.0).alarm is False


@control(DRIFT, "planted", "rows leave the plane of an embedding, along which they lie as before: found", trials=200, low=0.9)
def embedding_is_found(seed: int) -> bool:
    watch = _of_embedding(rng(seed, "control", DRIFT, "off the plane"), 1000, 1500, 1.0)
    return all(row == 0 or row > 1000 for row in watch.since) and watch.alarm


@control(
    DRIFT, "planted", "the usual way, a two-sample test of each window at 5 %, gives a false alarm in 200 windows", trials=100, low=0.95
)
def usual_test_alarms(seed: int) -> bool:
    from scipy.stats import ks_2samp

    random = rng(seed, "control", DRIFT, "usual")
    before = rows_of(random, COUNTED)["x"]
    return any(ks_2samp(before, rows_of(random, ROWS)["x"]).pvalue < 0.05 for _ in range(WINDOWS))


def _outcomes(random: np.random.Generator, rate: float, n: int) -> Floats:
    return (random.random(n) < rate).astype(np.float64)


@control(QUALITY, "clean", "accuracy 0.5: the interval holds it at each of 5,000 looks", trials=2000, low=0.95)
def half_is_held(seed: int) -> bool:
    return _held(seed, 0.5)


@control(QUALITY, "clean", "accuracy 0.9: the interval holds it at each of 5,000 looks", trials=2000, low=0.95)
def nine_tenths_are_held(seed: int) -> bool:
    return _held(seed, 0.9)


@control(QUALITY, "clean", "accuracy 0.99: the interval holds it at each of 5,000 looks", trials=2000, low=0.95)
def nearly_all_is_held(seed: int) -> bool:
    return _held(seed, 0.99)


def _held(seed: int, rate: float) -> bool:
    """The running intersection is the smallest of all intervals so far: what holds at the end held at every look."""
    low, high = Mean().add(_outcomes(rng(seed, "control", QUALITY, str(rate)), rate, 5000)).interval
    return low <= rate <= high


@control(QUALITY, "clean", "accuracy at the bound of the promise for 10,000 labels: no alarm, ever", trials=1000, low=0.975)
def promise_kept(seed: int) -> bool:
    return Fall(bound=0.9).add(_outcomes(rng(seed, "control", QUALITY, "kept"), 0.9, 10_000)).since is None


@control(QUALITY, "planted", "accuracy 0.90 falls to 0.85 after 1,000 labels: found within 3,000 more", trials=500, low=0.9)
def fall_is_found(seed: int) -> bool:
    return _fell(seed, 1000)


@control(QUALITY, "planted", "accuracy 0.90 falls to 0.85 after 50,000 labels: found within 3,000 more", trials=100, low=0.9)
def late_fall_is_found(seed: int) -> bool:
    return _fell(seed, 50_000)


def _fell(seed: int, quiet: int) -> bool:
    random = rng(seed, "control", QUALITY, "fall")
    found = Fall(bound=0.89).add(np.concatenate([_outcomes(random, 0.9, quiet), _outcomes(random, 0.85, 3000)])).since
    return found is not None and found > quiet


@control(QUALITY, "planted", "the usual way, a binomial test at 2.5 % every 50 labels, gives a false alarm in 10,000", trials=200, low=0.1)
def usual_binomial_alarms(seed: int) -> bool:
    from scipy.stats import binom

    right = np.cumsum(_outcomes(rng(seed, "control", QUALITY, "usual"), 0.9, 10_000))[49::50]
    return bool((binom.cdf(right, np.arange(50, 10_001, 50), 0.9) < 0.025).any())
