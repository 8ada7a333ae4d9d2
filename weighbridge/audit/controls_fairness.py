"""Controls of the fairness audit: a planted gap is found, equal groups are not accused, small groups are not judged; naive ways fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from weighbridge.audit.fairness import PROXY
from weighbridge.audit.fairness_findings import Claim, claims_of, corrected
from weighbridge.audit.fairness_gaps import Gap, largest_difference, mean_cell, rate_cell, smallest_ratio
from weighbridge.audit.fairness_groups import Grouping, together
from weighbridge.audit.fairness_measures import NEUTRAL, calibrated, cells_of
from weighbridge.audit.fairness_proxies import Slots, find_proxies
from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats, Ints, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.verdicts import CALIBRATION_ERROR, SIGNIFICANCE
from weighbridge.storage.seeds import rng

TOLERANCE = 0.05
TRIALS = 1000
FAMILY_TRIALS = 400  # whole audits of predictions
PROXY_TRIALS = 60  # half a second each


def _random(seed: int, name: str) -> np.random.Generator:
    return rng(seed, "control", "fairness", name)


def _rates(random: np.random.Generator, rates: tuple[float, ...], rows: tuple[int, ...], tolerance: float = TOLERANCE) -> Gap | None:
    """Return the gap between groups whose rows are hits at these rates."""
    return largest_difference(
        [rate_cell(random.random(n) < rate, group) for group, (rate, n) in enumerate(zip(rates, rows, strict=True))], tolerance
    )


def _holds(gap: Gap | None, truth: float) -> bool:
    return gap is not None and gap.interval[0] <= truth <= gap.interval[1]


def _covered(case: str, rates: tuple[float, ...], rows: tuple[int, ...], high: float = 1.0) -> None:
    @control("audit.fairness.interval", "clean", f"largest difference, {case}", trials=TRIALS, low=0.94, high=high)
    def covers(seed: int) -> bool:
        return _holds(_rates(_random(seed, case), rates, rows), max(rates) - min(rates))


_covered("two groups, 0.3 and 0.4, 200 rows each", (0.3, 0.4), (200, 200), 0.965)
_covered("two groups, 0.1 and 0.2, 1,000 and 60 rows", (0.1, 0.2), (1000, 60), 0.97)
_covered("five equal groups of 100 to 2,000 rows", (0.25,) * 5, (2000, 800, 400, 200, 100))
_covered("five groups, 0.2 to 0.4, 300 rows each", (0.2, 0.25, 0.3, 0.35, 0.4), (300,) * 5)


@control("audit.fairness.interval", "clean", "smallest ratio, 0.3 to 0.4, 400 rows each", trials=TRIALS, low=0.94)
def ratio_covers(seed: int) -> bool:
    """Donner and Zou's interval."""
    random = _random(seed, "ratio")
    gap = smallest_ratio([rate_cell(random.random(400) < rate, group) for group, rate in enumerate((0.3, 0.4))], 0.8)
    return _holds(gap, 0.75)


@control("audit.fairness.interval", "clean", "mean error of skewed numbers, 0 and 0.3, 200 rows each", trials=TRIALS, low=0.93)
def means_cover(seed: int) -> bool:
    """Errors are exponential: skewed, as errors of amounts are."""
    random = _random(seed, "means")
    cells = [mean_cell(random.exponential(size=200) - 1 + shift, group) for group, shift in enumerate((0.0, 0.3))]
    return _holds(largest_difference(cells, TOLERANCE), 0.3)


@control(
    "audit.fairness.interval", "planted", "the naive way, the farthest of five equal groups taken as two, misses", trials=TRIALS, low=0.2
)
def uncorrected_pairs_miss(seed: int) -> bool:
    """An interval of the pair that looks worst, as if it had been the only one: 0 is outside of it far more often than in 5 %."""
    random = _random(seed, "uncorrected")
    cells = sorted((rate_cell(random.random(400) < 0.25, group) for group in range(5)), key=lambda cell: cell.value)
    return not _holds(largest_difference([cells[0], cells[-1]], TOLERANCE), 0.0)


@control("audit.fairness.interval", "clean", "rows of 150 people that answer alike, 10 each: equal groups", trials=TRIALS, low=0.94)
def people_cover(seed: int) -> bool:
    """Whole people vary, not rows."""
    return _holds(_of_people(seed, known=True), 0.0)


@control("audit.fairness.interval", "planted", "the naive way, rows of people taken for independent ones, misses", trials=TRIALS, low=0.2)
def rows_for_people_miss(seed: int) -> bool:
    """The same rows, without saying whose they are."""
    return not _holds(_of_people(seed, known=False), 0.0)


def _of_people(seed: int, *, known: bool) -> Gap | None:
    random = _random(seed, "people")
    cells = []
    for group in range(2):
        hits = random.random((75, 10)) < random.choice([0.1, 0.7], 75)[:, None]
        cells.append(rate_cell(hits.ravel(), group, units=np.repeat(np.arange(75), 10) if known else None))
    return largest_difference(cells, TOLERANCE)


def _answers(truth: Array, score: Floats) -> Predictions:
    output = np.stack([1 - score, score], axis=1)
    ids = np.char.zfill(np.arange(len(truth)).astype(str), 6)
    return Predictions(kind="category", row_id=ids, target=truth.astype(int), output=output, classes=("no", "yes"))


def _population(random: np.random.Generator, n: int, sizes: tuple[tuple[float, ...], ...]) -> tuple[Predictions, list[Grouping]]:
    """Return a calibrated model of two classes and columns of these shares, of which it knows nothing, with their intersections."""
    score = random.beta(1.2, 2.4, n)
    single = [_grouping(f"c{place}", random.choice(len(shares), n, p=shares)) for place, shares in enumerate(sizes)]
    return _answers(random.random(n) < score, score), [*single, *together(single)]


def _grouping(column: str, codes: Ints) -> Grouping:
    return Grouping(columns=(column,), names=tuple(f"g{code}" for code in range(int(codes.max()) + 1)), codes=codes.astype(np.int64))


def _accused(said: Predictions, groupings: list[Grouping], tolerance: float = TOLERANCE) -> list[Claim]:
    """Return the claims of a whole audit that are limitations."""
    claims = [claim for one in groupings for claim in claims_of(one, cells_of(said, one, 1), tolerance)]
    return [claim for claim in corrected(claims) if claim.measure not in NEUTRAL and claim.corrected < SIGNIFICANCE]


def _miscalibrated(said: Predictions, groupings: list[Grouping]) -> bool:
    """Whether a group's calibration error is surely too large, and surely larger than another's."""
    for groups in groupings:
        found = calibrated(said, groups)
        worst = max((one.interval[0] for one in found), default=0.0)
        if worst > CALIBRATION_ERROR and min(one.interval[1] for one in found) < worst:
            return True
    return False


def _equal(n: int, tolerance: float) -> None:
    words = f"nothing let pass ({tolerance:g})" if tolerance < TOLERANCE else "0.05 let pass"

    @control(
        "audit.fairness", "clean", f"equal groups: no figure of the whole audit accuses, {words}, n = {n}", trials=FAMILY_TRIALS, low=0.95
    )
    def quiet(seed: int) -> bool:
        said, groupings = _population(_random(seed, "equal"), n, ((0.6, 0.4), (0.7, 0.2, 0.08, 0.02)))
        without_ratio = [claim for claim in _accused(said, groupings, tolerance) if tolerance >= TOLERANCE or claim.measure != "ratio"]
        return not without_ratio and not _miscalibrated(said, groupings)


_equal(400, TOLERANCE)
_equal(3000, TOLERANCE)
_equal(3000, 1e-9)


@control("audit.fairness", "clean", "groups that differ by just what is let pass are not accused, 2,000 rows each", trials=TRIALS, low=0.95)
def at_the_tolerance(seed: int) -> bool:
    """A difference of 0.05 is let pass: at it the claim is false, and 5 % may say so."""
    gap = _rates(_random(seed, "at"), (0.25, 0.30), (2000, 2000))
    return gap is not None and gap.p_value >= SIGNIFICANCE


def _planted(columns: int, n: int) -> None:
    words = "one column" if columns == 1 else "two columns and their intersections"

    @control(
        "audit.fairness", "planted", f"answered 0.10 more often in one group, audit of {words}, n = {n}", trials=FAMILY_TRIALS, low=0.95
    )
    def found(seed: int) -> bool:
        random = _random(seed, "planted")
        said, groupings = _population(random, n, ((0.5, 0.5), (0.7, 0.3))[:columns])
        favoured = groupings[0].rows(1)
        more = favoured & (said.chosen == 0) & (random.random(n) < 0.1 / np.mean(said.chosen == 0))
        output = np.where(more[:, None], [0.3, 0.7], said.output)
        accused = _accused(replace(said, output=output), groupings)
        return any(claim.measure == "selected" and claim.grouping.columns == ("c0",) for claim in accused)


_planted(1, 7000)
_planted(2, 8000)


@control(
    "audit.fairness",
    "planted",
    "a model stated 0.15 too high for a third of the rows: that group's calibration, n = 3,000",
    trials=FAMILY_TRIALS,
    low=0.95,
)
def miscalibrated_group(seed: int) -> bool:
    """Calibrated on the whole would hide it."""
    random = _random(seed, "miscalibrated")
    score = random.uniform(0.2, 0.8, 3000)
    group = random.random(3000) < 1 / 3
    said = _answers(random.random(3000) < np.where(group, score - 0.15, score), score)
    groupings = [_grouping("c0", group.astype(int))]
    return _miscalibrated(said, groupings) and any(claim.measure == "stated" for claim in _accused(said, groupings))


@control("audit.fairness", "clean", "a group of 3 to 25 rows, all of them wrong, is not judged", trials=TRIALS, low=1.0)
def small_groups_are_left_alone(seed: int) -> bool:
    """Fewer than 30 rows tell nothing: the figure is not there, whatever they show."""
    random = _random(seed, "small")
    few = int(random.integers(3, 26))
    gap = largest_difference([rate_cell(random.random(500) < 0.1, 0), rate_cell(np.ones(few), 1)], TOLERANCE)
    return gap is None


@control(
    "audit.fairness", "planted", "numbers a tenth of the target's deviation too high in one group, n = 4,000", trials=FAMILY_TRIALS, low=0.9
)
def shifted_numbers(seed: int) -> bool:
    """The model explains nine tenths of the variance."""
    random = _random(seed, "numbers")
    target, group = random.normal(size=4000), random.integers(0, 2, 4000)
    said = Predictions(
        kind="number",
        row_id=np.char.zfill(np.arange(4000).astype(str), 6),
        target=target,
        output=target + 0.3 * random.normal(size=4000) + 0.1 * group,
    )
    return any(claim.measure == "mean_error" for claim in _accused(said, [_grouping("c0", group)], TOLERANCE * float(target.std())))


def _told(seed: int, strength: float) -> bool:
    """Six inputs of noise, one of which follows a hidden column: is it called a proxy?"""
    random = _random(seed, "proxy")
    hidden = random.integers(0, 2, 800)
    table = random.normal(size=(800, 6))
    table[:, 2] += strength * hidden
    slots = [Slots(column=f"x{place}", places=(place,), codes=0) for place in range(6)]
    found = find_proxies(table, slots, [False] * 6, hidden, Resampling(resamples=200, seed=seed))
    return found is not None and found.interval[0] > PROXY and found.alone[0][0] == "x2"


@control(
    "audit.fairness.proxy",
    "planted",
    "an input 1.4 deviations apart tells the hidden column (area 0.84), n = 800",
    trials=PROXY_TRIALS,
    low=0.95,
)
def proxy_is_found(seed: int) -> bool:
    """And is named first."""
    return _told(seed, 1.4)


@control(
    "audit.fairness.proxy", "clean", "an input just too weak to tell it (area 0.70) is not accused, n = 800", trials=PROXY_TRIALS, low=0.95
)
def weak_input_is_no_proxy(seed: int) -> bool:
    """Phi(0.742 / sqrt 2) = 0.70."""
    return not _told(seed, 0.742)
