"""What every network is compared with: the trivial answer, a linear model, gradient boosting (scikit-learn), each lightly tuned.

Baselines read the same encoded blocks as the network. What is stored of them is their predictions, and where one is kept, its ONNX
graph (export/baselines.py): no file of theirs could carry code. scikit-learn wants all rows of a fit in memory: where they do not fit, a
random sample is learnt from, and how large it is goes with the answer. Rows are answered some at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.models.baseline_inputs import BOOSTING_SIDE, DIRECTIONS, Inputs, fit_inputs
from weighbridge.models.threads import quickest_threads
from weighbridge.models.unsaid import unsaid
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

LINEAR_ROWS = 20_000  # more training rows hardly move a linear model on pixels, and its time grows with them
LINEAR_STRENGTHS = (0.01, 1.0)  # inverse regularisation strengths tried
TEXT_STRENGTHS = (1.0, 10.0, 100.0)  # rows of TF-IDF have length one: they need weaker regularisation
BOOSTING_RATES = (0.1, 0.3)
BOOSTING_ROUNDS, BOOSTING_FEWER_ROUNDS = 300, 100
LEAST_ROWS = 1000  # a sample is so many rows, doubled as often as it fits: a little more or less free memory gives the same sample
COPIES = {"linear": 3, "boosting": 7}  # times 4 bytes a value while fitting: float32 flat, then float64, its part to stop by, its bins
TOKEN_BYTES = 150  # a token of a text while the terms are counted: three runs of it, each with its row, sorted
TRIAL_ROWS = 20_000  # of the trial of threads: a fit of so many rows gains from a second thread where one of all rows would
PIECE_BYTES = 64 << 20  # of rows that are answered at once


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A baseline that answers: `predict(arrays)` gives float64 probabilities [n, C] or [n, L], or values [n] in the target's own units.

    rows: how many training rows it learnt from, of all or a random sample of them.
    models: the scikit-learn estimator that answers; for a set one a label, or the label's share (0.0 or 1.0) where training rows had one
        value of it only. Empty for the trivial answer.
    inputs: what the estimators read; None for the trivial answer.
    answer: what the trivial answer says of every row, float64 [C], [L] or [] in the target's own units; None for the others.
    """

    name: str
    predict: Callable[[Arrays], np.ndarray]
    tuned: str
    rows: int
    models: tuple[Any, ...] = ()
    inputs: Inputs | None = None
    answer: np.ndarray | None = None


def fit_baseline(name: str, encoder: Encoder, train: Arrays, validation: Arrays, *, seed: int, room_bytes: int | None = None) -> Fitted:
    """Return the named baseline fitted on training rows, its one dial chosen on validation rows.

    Where the fit would take more than `room_bytes` (None: no limit), it is on a random sample of the rows.
    """
    from threadpoolctl import threadpool_limits

    if name == "trivial":
        return _trivial(encoder, train)
    most = LINEAR_ROWS if name == "linear" and _has_images(encoder) else None
    rows = _some_rows(len(train), fitting_rows(name, encoder, train, room_bytes, most), seed)
    forms = fit_inputs(encoder, train, rows, seed=seed)
    make = _linear_models if name == "linear" else partial(_boosting_models, forms)
    flatten = forms.linear if name == "linear" else forms.boosting
    inputs = flatten(train, rows)
    target, held_out = _target(train)[rows], _target(validation)
    size = max(1, PIECE_BYTES // fit_bytes(name, encoder, train))
    if encoder.learnt.kind == "set":
        return replace(_one_per_label(name, encoder, make, flatten, inputs, target, seed, size), inputs=forms)
    models = make(encoder, target, seed)
    threads = _threads(name, models[0], inputs, target)
    with threadpool_limits(threads), unsaid():  # a linear model that did not converge is judged by what it answers
        candidates = [model.fit(inputs, target) for model in models]

    def answered(model: Any, arrays: Arrays) -> np.ndarray:
        with threadpool_limits(threads):
            return np.concatenate([_answer(model, encoder, flatten(part)) for part in _pieces(arrays, size)])

    scores = [_held_out_score(answered(model, validation), held_out, encoder) for model in candidates]
    best = candidates[int(np.argmax(scores))]
    return Fitted(name=name, predict=partial(answered, best), tuned=_dial(best), rows=len(rows), models=(best,), inputs=forms)


def _pieces(arrays: Arrays, size: int) -> Iterator[Arrays]:
    """Yield the rows, at most `size` at a time; one empty piece of none."""
    for place in range(0, max(1, len(arrays)), size):
        yield arrays if len(arrays) <= size else arrays.subset(slice(place, place + size))


def fitting_rows(name: str, encoder: Encoder, train: Arrays, room_bytes: int | None, most: int | None = None) -> int | None:
    """Return how many training rows are learnt from: None for all, else at most `most` and what fits into the room, LEAST_ROWS or more."""
    count = len(train) if most is None else min(most, len(train))
    each = fit_bytes(name, encoder, train)
    if room_bytes is None or count * each <= room_bytes:
        return most
    fits = LEAST_ROWS
    while 2 * fits * each <= room_bytes:
        fits *= 2
    return min(fits, count)


def fit_bytes(name: str, encoder: Encoder, train: Arrays) -> int:
    """Return the memory that a row takes while the baseline is fitted, about."""
    values = tokens = 0
    for block in encoder.blocks:
        if block.kind == "text":
            tokens += 1 + int(np.mean(lengths)) if len(lengths := train.blocks[block.name].lengths) else 1  # type: ignore[union-attr]
            values += 0 if name == "linear" else DIRECTIONS
        elif block.kind == "category" and name == "linear":
            values += sum(block.cardinalities)
        elif block.kind == "image" and name == "boosting":
            values += min(int(np.prod(block.shape)), BOOSTING_SIDE**2 * block.shape[-1])
        else:
            values += int(np.prod(block.shape))
    return max(1, 4 * COPIES[name] * values + TOKEN_BYTES * tokens)


def _trivial(encoder: Encoder, train: Arrays) -> Fitted:
    """The class shares (majority class when one answer is asked), the label shares, or the mean."""
    target, feature = _target(train), encoder.learnt
    said: np.ndarray
    if feature.kind == "category":
        said = np.bincount(target, minlength=len(feature.classes)) / len(target)
    elif feature.kind == "set":
        said = target.mean(0)
    else:
        said = np.asarray(target.mean() * feature.std + feature.mean)
    answer = np.asarray(said, float)
    return Fitted(name="trivial", predict=lambda arrays: np.repeat(answer[None], len(arrays), 0), tuned="", rows=len(target), answer=answer)


def _linear_models(encoder: Encoder, target: np.ndarray, seed: int) -> list[Any]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if encoder.learnt.kind == "number":
        return [Ridge(alpha=alpha) for alpha in (1e-6, 1.0, 100.0)]
    iterations = 100 if _has_images(encoder) else 500
    strengths = TEXT_STRENGTHS if _has_texts(encoder) else LINEAR_STRENGTHS
    return [LogisticRegression(C=strength, max_iter=iterations, tol=1e-3) for strength in strengths]


def _boosting_models(forms: Inputs, encoder: Encoder, target: np.ndarray, seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if encoder.learnt.kind == "number" else HistGradientBoostingClassifier
    # pixels get the slow rate: with ten classes 0.3 goes astray (Fashion-MNIST 0.835 against 0.889), and each fit is dear
    rates = BOOSTING_RATES[:1] if _has_images(encoder) else BOOSTING_RATES
    watched = encoder.learnt.kind == "number" or _can_hold_out(target)
    rounds = BOOSTING_ROUNDS if watched and not _has_images(encoder) else BOOSTING_FEWER_ROUNDS
    return [
        kind(
            learning_rate=rate,
            max_iter=rounds,
            early_stopping=watched,
            n_iter_no_change=10,
            categorical_features=forms.categorical(),
            random_state=seed31(seed, "boosting"),
        )
        for rate in rates
    ]


def _threads(name: str, model: Any, inputs: Any, target: np.ndarray) -> int | None:
    """Return how many threads fit boosting soonest here, tried on a few rounds of a few rows; None: as the libraries please."""
    if name != "boosting":
        return None
    from sklearn.base import clone

    few = clone(model).set_params(max_iter=2, early_stopping=False)
    spaced = np.linspace(0, len(target) - 1, min(len(target), TRIAL_ROWS)).astype(int)
    return quickest_threads(lambda: few.fit(inputs[spaced], target[spaced]))


def _can_hold_out(target: np.ndarray) -> bool:
    """Whether scikit-learn can hold out a tenth of the rows by class to stop early: two rows of each class, and one for each side."""
    counts = np.unique(target, return_counts=True)[1]
    return bool(counts.min() >= 2 and len(target) // 10 >= len(counts))


def _one_per_label(name: str, encoder: Encoder, make: Any, flatten: Any, inputs: Any, target: np.ndarray, seed: int, size: int) -> Fitted:
    """A classifier for each label; a label with one value only in training rows answers its share."""
    from threadpoolctl import threadpool_limits

    made = [make(encoder, column, seed)[-1] if 0 < column.mean() < 1 else float(column.mean()) for column in target.T]
    first = next((place for place, model in enumerate(made) if not isinstance(model, float)), None)
    with threadpool_limits(None if first is None else _threads(name, made[first], inputs, target[:, first])), unsaid():
        models = [model if isinstance(model, float) else model.fit(inputs, column) for model, column in zip(made, target.T, strict=True)]

    def answered(rows: Any, count: int) -> np.ndarray:
        return np.stack([np.full(count, model) if isinstance(model, float) else model.predict_proba(rows)[:, 1] for model in models], 1)

    def predict(arrays: Arrays) -> np.ndarray:
        return np.concatenate([answered(flatten(part), len(part)) for part in _pieces(arrays, size)])

    return Fitted(name=name, predict=predict, tuned="", rows=len(target), models=tuple(models))


def _answer(model: Any, encoder: Encoder, inputs: Any) -> np.ndarray:
    """Return probabilities over all classes (also those that no fitted row had), or values in the target's own units."""
    feature = encoder.learnt
    if feature.kind == "number":
        return np.asarray(model.predict(inputs), float) * feature.std + feature.mean
    probabilities = np.zeros((inputs.shape[0], len(feature.classes)))
    probabilities[:, model.classes_.astype(int)] = model.predict_proba(inputs)
    return probabilities


def _held_out_score(answer: np.ndarray, target: np.ndarray, encoder: Encoder) -> float:
    if encoder.learnt.kind == "number":
        return -float(np.mean((answer - (target * encoder.learnt.std + encoder.learnt.mean)) ** 2))
    return float((answer.argmax(1) == target).mean())


def _dial(model: Any) -> str:
    for name in ("C", "alpha", "learning_rate"):
        if hasattr(model, name):
            return f"{name}={getattr(model, name):g}"
    return ""


def _target(arrays: Arrays) -> np.ndarray:
    if arrays.target is None:
        raise ValueError("these arrays have no target")
    return np.asarray(arrays.target)


def _some_rows(count: int, most: int | None, seed: int) -> np.ndarray:
    if most is None or count <= most:
        return np.arange(count)
    return np.sort(rng(seed, "baseline rows").choice(count, most, replace=False))


def _has_images(encoder: Encoder) -> bool:
    return any(block.kind == "image" for block in encoder.blocks)


def _has_texts(encoder: Encoder) -> bool:
    return any(block.kind == "text" for block in encoder.blocks)
