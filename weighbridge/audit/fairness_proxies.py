"""Do the inputs tell the group of a row, though it may not be among them? Each input alone, and all together.

Out-of-fold answers of five folds: of an input alone the share of each group in its bins or values, of all together gradient boosting over
the encoded inputs. The figure is the area under the ROC curve, of more than two groups the mean of one against the rest. n rows, k groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.fairness_gaps import LEAST
from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.metrics import rank_areas
from weighbridge.evaluation.predictions import Array, Floats, Ints, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import results_of
from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

MOST_ROWS = 4000
FOLDS = 5
BINS = 24  # of a number
WIDEST = 256  # values of an input that are counted; one of more, or of several slots, is read by boosting
ROUNDS, LEAVES = 40, 15
LEAST_GROUPS = 2
RESAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What an input column is in the table: where it stands, and how many codes it has (0: a number)."""

    column: str
    places: tuple[int, ...]
    codes: int


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """How well inputs tell the group: `together` with its interval, `alone` by column, best first; over n rows of k groups."""

    together: float
    interval: Interval
    alone: tuple[tuple[str, float], ...]
    n: int
    groups: int


def find_proxies(
    table: Floats, slots: Sequence[Slots], categorical: Sequence[bool], codes: Ints, how: Resampling, *, units: Array | None = None,
    progress: Progress = silent,
) -> Proxies | None:  # fmt: skip
    """Return how well the columns of a table [n, D] tell groups [n]; None where fewer than two groups have 30 rows."""
    large = np.flatnonzero(np.bincount(codes) >= LEAST)
    if len(large) < LEAST_GROUPS or not slots:
        return None
    rows = np.isin(codes, large)
    table, truth = table[rows], np.searchsorted(large, codes[rows])
    units = np.arange(len(truth)) if units is None else np.unique(units[rows], return_inverse=True)[1]
    fold = rng(how.seed, "audit", "fairness", "folds").permutation(int(units.max()) + 1)[units] % FOLDS
    alone = []
    for done, one in enumerate(slots):
        alone.append((one.column, _area(truth, _of_slots(table, one, truth, fold, categorical, how.seed))))
        progress("proxies", done, len(slots) + 1)
    said = boosted(table, truth, fold, categorical, how.seed)
    predictions = Predictions(
        kind="category", row_id=np.char.zfill(np.arange(len(truth)).astype(str), 9), target=truth, output=said,
        classes=tuple(map(str, large)), group=units.astype(str) if units.max() + 1 < len(units) else None,
    )  # fmt: skip
    few = replace(how, resamples=min(how.resamples, RESAMPLES))
    result = results_of(predictions, few, wanted=lambda name: name == "auroc")["auroc"]
    return Proxies(
        together=result.value, interval=result.interval or (0.0, 1.0), alone=tuple(sorted(alone, key=lambda pair: -pair[1])), n=len(truth),
        groups=len(large),
    )  # fmt: skip


def sample(n: int, seed: int) -> Ints:
    """Return at most MOST_ROWS row numbers, rising."""
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(rng(seed, "audit", "fairness", "proxies").choice(n, MOST_ROWS, replace=False))


def flat_inputs(encoder: Encoder, arrays: Arrays, rows: Ints, seed: int, without: Sequence[str]) -> tuple[Floats, list[Slots], list[bool]]:
    """Return encoded rows as a flat table [n, D], where each input column stands in it, and which of the D are categories.

    Columns of `without` are left out.
    """
    from weighbridge.models.baseline_inputs import fit_inputs, shrunk_width

    inputs = fit_inputs(encoder, arrays, rows, seed=seed)
    table, owners = inputs.boosting(arrays, rows), list[str]()
    for block in encoder.blocks:
        if block.kind == "number":
            owners += [feature.column for feature in encoder.features if feature.kind == "number" for _ in feature.names]
        elif block.kind == "category":
            owners += block.columns
        elif block.kind == "text":
            terms = inputs.texts[block.name]
            width = (len(terms.terms) if terms.directions is None else int(terms.directions.n_components)) + terms.places
            owners += [block.columns[0]] * width
        else:
            owners += [block.columns[0]] * (shrunk_width(block.shape) if block.kind == "image" else block.shape[0])
    kept = [place for place, column in enumerate(owners) if column not in without]
    counts = inputs.codes()
    table, owners, counts = table[:, kept], [owners[place] for place in kept], [counts[place] for place in kept]
    slots = [_slots(column, owners, counts) for column in dict.fromkeys(owners)]
    return table.astype(np.float64), slots, [0 < count <= WIDEST - 1 for count in counts]


def _slots(column: str, owners: Sequence[str], counts: Sequence[int]) -> Slots:
    places = tuple(place for place, owner in enumerate(owners) if owner == column)
    return Slots(column=column, places=places, codes=max(counts[place] for place in places))


def _of_slots(table: Floats, one: Slots, truth: Ints, fold: Ints, categorical: Sequence[bool], seed: int) -> Floats:
    """Return out-of-fold probabilities [n, k] by one input column."""
    if len(one.places) > 2 or one.codes >= WIDEST:
        return boosted(table[:, one.places], truth, fold, [categorical[place] for place in one.places], seed)
    first = table[:, one.places[0]]
    if one.codes:
        bins = first.astype(np.int64)
    else:
        edges = np.unique(np.quantile(first, np.linspace(0, 1, BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, first)
    if len(one.places) == 2:  # the second says which values were missing
        bins = 2 * bins + (table[:, one.places[1]] > 0)
    return _counted(bins, truth, fold)


def _counted(bins: Ints, truth: Ints, fold: Ints) -> Floats:
    """Return the share of each group in a row's bin over the other folds, drawn towards the groups' shares by one row."""
    size, groups = int(bins.max()) + 1, int(truth.max()) + 1
    said = np.empty((len(truth), groups))
    for number in range(FOLDS):
        held = fold == number
        base = np.bincount(truth[~held], minlength=groups) / max(1, int((~held).sum()))
        counts = np.bincount(bins[~held] * groups + truth[~held], minlength=size * groups).reshape(size, groups) + base
        said[held] = (counts / counts.sum(axis=1, keepdims=True))[bins[held]]
    return said


def boosted(table: Floats, truth: Ints, fold: Ints, categorical: Sequence[bool], seed: int) -> Floats:
    """Return out-of-fold probabilities [n, k] by gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    groups = int(truth.max()) + 1
    said = np.full((len(truth), groups), 1 / groups)
    for number in range(FOLDS):
        held = fold == number
        known = np.unique(truth[~held])
        if not held.any() or len(known) < LEAST_GROUPS:
            continue
        model = HistGradientBoostingClassifier(
            max_iter=ROUNDS, max_leaf_nodes=LEAVES, early_stopping=False, random_state=seed31(seed, "proxies", number),
            categorical_features=[place for place, yes in enumerate(categorical) if yes] or None,
        ).fit(table[~held], truth[~held])  # fmt: skip
        said[held] = 0.0
        said[np.ix_(held, known)] = model.predict_proba(table[held])
    return np.asarray(said / said.sum(axis=1, keepdims=True))


def _area(truth: Ints, said: Floats) -> float:
    """Return the area under the ROC curve, of more than two groups the mean of each against the rest."""
    ones = np.ones((1, len(truth)))
    columns = [1] if said.shape[1] == 2 else range(said.shape[1])
    return float(np.mean([rank_areas(truth == column, said[:, column])(ones)[0, 0] for column in columns]))
