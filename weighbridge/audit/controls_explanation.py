"""Controls of the explanation audit: the one part that a model reads ranks first, what explains nothing is said to, and naive ways fail.

Planted models are functions of encoded rows; those with gradients are in controls_explanation_networks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from weighbridge.audit import explain_checks as checks
from weighbridge.audit.explain_importance import importances
from weighbridge.audit.explain_methods import shapley
from weighbridge.controls import control
from weighbridge.preprocessing import Arrays, Encoder, Ragged
from weighbridge.preprocessing.image import ImageFeature
from weighbridge.preprocessing.number import NumberFeature
from weighbridge.preprocessing.target import TargetFeature
from weighbridge.preprocessing.text import TextFeature, codes_of, learn_tokenizer, read_tokenizer
from weighbridge.runtime.curves import Shares, curves, lead, order_of
from weighbridge.runtime.explained import Explained
from weighbridge.runtime.occlusion import Attributions, occlusion
from weighbridge.runtime.parts import background_of
from weighbridge.storage.seeds import rng

TRIALS, INTERVAL_TRIALS = 100, 1000
SIDE, PARTS, ROWS, NETS = 16, 16, 40, 8
WORDS = [f"w{letter}{other}" for letter in "abcdef" for other in "abcdef"]
TWO = TargetFeature(kind="category", column="y", classes=("no", "yes"), counts=(1, 1), rows=2)
Answer = Callable[[Arrays], np.ndarray]


def _random(seed: int, name: str) -> np.random.Generator:
    return rng(seed, "control", "explanation", name)


def numbers(count: int) -> Encoder:
    """Return columns x0, x1, ... as they are."""
    made = [
        NumberFeature(column=f"x{place}", scale="none", center=0, spread=1, fill=0, indicator=False, clip=100, rows=1, missing=0)
        for place in range(count)
    ]
    return Encoder(features=tuple(made), target=TWO)


def pictures() -> Encoder:
    """Return grey pictures of 16 x 16 pixels."""
    made = ImageFeature(column="picture", height=SIDE, width=SIDE, channels=1, mean=(0.5,), std=(0.3,), rows=1, missing=0)
    return Encoder(features=(made,), target=TWO)


@cache
def texts() -> Encoder:
    """Return texts of 36 made words."""
    tokenizer = learn_tokenizer("word", [" ".join(WORDS)] * 2, vocabulary=100, normalize="none", lowercase=False)
    size = codes_of(read_tokenizer(tokenizer), "word")
    made = TextFeature(
        column="text", tokens="word", tokenizer=tokenizer, vocabulary=size, length=64, rows=1, missing=0, empty=0, sampled=1, cut=0,
        median_length=12, longest=12,
    )  # fmt: skip
    return Encoder(features=(made,), target=TWO)


def two_classes(odds: np.ndarray) -> np.ndarray:
    """Return probabilities [n, 2] of the log odds of `yes`."""
    yes = 1 / (1 + np.exp(-odds))
    return np.stack([1 - yes, yes], axis=1)


def _rows(blocks: dict[str, np.ndarray | Ragged], target: np.ndarray | None = None) -> Arrays:
    return Arrays(blocks=blocks, target=target, stored_ids=np.array([f"{row}" for row in range(len(next(iter(blocks.values()))))], "S"))


def of_columns(random: np.random.Generator, n: int = 3, count: int = 10) -> tuple[Encoder, Arrays]:
    """Return normal numbers."""
    return numbers(count), _rows({"number": random.normal(size=(n, count)).astype(np.float32)})


def of_pixels(random: np.random.Generator, n: int = 3) -> tuple[Encoder, Arrays]:
    """Return noise, each picture dark or light: a square of the mean colour would rightly have no weight."""
    noise = random.integers(0, 100, (n, SIDE, SIDE, 1)) + 155 * random.integers(0, 2, (n, 1, 1, 1))
    return pictures(), _rows({"image.picture": noise.astype(np.uint8)})


def of_words(random: np.random.Generator, word: int, n: int = 3) -> tuple[Encoder, Arrays, np.ndarray]:
    """Return texts of 12 words with one word in place, and where it stands."""
    encoder = texts()
    codes = encoder.encode({"text": np.array([" ".join(WORDS)], object)})["text.text"][0]
    others = np.delete(codes, word)
    found = random.choice(others, (n, 12))
    place = random.integers(12, size=n)
    found[np.arange(n), place] = codes[word]
    return encoder, _rows({"text.text": Ragged(found.reshape(-1).astype(np.int32), np.arange(n + 1) * 12)}), place


def explained(encoder: Encoder, answer: Answer, arrays: Arrays, random: np.random.Generator) -> Explained:
    """Return the rows, columns switched off by those of six other normal rows."""
    blocks: dict[str, np.ndarray | Ragged] = {name: values for name, values in arrays.blocks.items() if name == "number"}
    others = _rows(
        {name: random.normal(size=(6, values[:].shape[1])).astype(np.float32) for name, values in blocks.items()} or arrays.blocks
    )
    return Explained.of(encoder, answer, arrays, background_of(encoder, others, np.arange(len(others))))


def first(found: Attributions, wanted: np.ndarray | int) -> bool:
    """Whether in every row the wanted part is largest by size."""
    return bool((np.array([np.abs(one).argmax() for one in found]) == wanted).all())


METHODS: dict[str, Callable[[Explained], Attributions]] = {
    "occlusion": occlusion,
    "shapley": lambda rows: shapley(rows, seed=0),
}


def _ranked(method: str) -> None:
    explain = METHODS[method]

    @control(f"audit.explanation.{method}", "planted", f"the one column of ten that is read ranks first, by {method}", trials=TRIALS, low=1)
    def column(seed: int) -> bool:
        random = _random(seed, "column")
        encoder, arrays = of_columns(random)
        one = int(random.integers(10))
        rows = explained(encoder, lambda part: two_classes(3 * part.blocks["number"][:, one]), arrays, random)
        return first(explain(rows), one)


_ranked("occlusion")
_ranked("shapley")


@control("audit.explanation.occlusion", "planted", "the one square of 64 that is read ranks first", trials=TRIALS, low=1)
def square(seed: int) -> bool:
    random = _random(seed, "square")
    encoder, arrays = of_pixels(random)
    down, across = random.integers(8, size=2)

    def answer(part: Arrays) -> np.ndarray:
        seen = np.asarray(part.blocks["image.picture"])[:, 2 * down : 2 * down + 2, 2 * across : 2 * across + 2]
        return two_classes(seen.mean((1, 2, 3)) / 25 - 5)

    return first(occlusion(explained(encoder, answer, arrays, random)), 8 * down + across)


@control("audit.explanation.occlusion", "planted", "the one word of 12 that is read ranks first", trials=TRIALS, low=1)
def word(seed: int) -> bool:
    random = _random(seed, "word")
    one = int(random.integers(len(WORDS)))
    encoder, arrays, place = of_words(random, one)
    code = encoder.encode({"text": np.array([WORDS[one]], object)})["text.text"][0, 0]

    def answer(part: Arrays) -> np.ndarray:
        return two_classes(4.0 * (part.blocks["text.text"][:] == code).sum(1) - 2)

    return first(occlusion(explained(encoder, answer, arrays, random)), place)


@control("audit.explanation.occlusion", "clean", "a model that ignores its input: no part has any weight", trials=TRIALS, low=1)
def ignoring(seed: int) -> bool:
    random = _random(seed, "ignoring")
    encoder, arrays = of_columns(random)
    rows = explained(encoder, lambda part: np.full((len(part), 2), 0.5), arrays, random)
    return not any(one.any() for one in occlusion(rows))


def additive(weights: np.ndarray, noise: np.random.Generator | None = None) -> Shares:
    """Return the probability by the weights of the parts kept; with noise, one that has nothing to do with them."""

    def shares(keep_MU: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(keep_MU @ weights - weights.sum() / 2))) if noise is None else noise.random(len(keep_MU))

    return shares


def leads(random: np.random.Generator, model: Callable[[np.random.Generator], tuple[np.ndarray, Shares]], rows: int = ROWS) -> np.ndarray:
    """Return the lead of an explanation in each row; the model gives attributions and answers of a row."""
    found = []
    for _ in range(rows):
        attribution, shares = model(random)
        orders = np.stack([order_of(attribution, random), *(random.permutation(PARTS) for _ in range(4))])
        explained, *randoms = curves(shares, orders)
        found.append(lead(explained, randoms))
    return np.array(found)


def true_and_noisy(random: np.random.Generator) -> tuple[np.ndarray, Shares]:
    """Three of 16 parts matter, and are explained with noise."""
    weights = np.where(np.arange(PARTS) < 3, 2.0, 0.0)[random.permutation(PARTS)]
    return weights + random.normal(size=PARTS), additive(weights)


def by_chance(random: np.random.Generator) -> tuple[np.ndarray, Shares]:
    """Three of 16 parts matter; the explanation does not know which."""
    return random.normal(size=PARTS), true_and_noisy(random)[1]


def ignorant(random: np.random.Generator) -> tuple[np.ndarray, Shares]:
    """The answer has nothing to do with the input and is another one each time."""
    return random.normal(size=PARTS), additive(np.zeros(PARTS), random)


@control(
    "audit.explanation.faithfulness", "planted", "a noisy explanation of a model that reads 3 of 16 parts holds", trials=TRIALS, low=0.95
)
def holds(seed: int) -> bool:
    return checks.faithful(checks.mean_over(leads(_random(seed, "holds"), true_and_noisy))) == "holds"


@control("audit.explanation.faithfulness", "clean", "a model that ignores its input: no better than a random order", trials=TRIALS, low=1)
def constant(seed: int) -> bool:
    found = leads(_random(seed, "constant"), lambda random: (random.normal(size=PARTS), additive(np.zeros(PARTS))))
    return checks.faithful(checks.mean_over(found)) == "fails"


def _never(case: str, model: Callable[[np.random.Generator], tuple[np.ndarray, Shares]]) -> None:
    @control("audit.explanation.faithfulness", "clean", f"{case}: not said to hold", trials=200, low=0.95)
    def not_held(seed: int) -> bool:
        return checks.faithful(checks.mean_over(leads(_random(seed, case), model))) != "holds"


_never("a model that answers at random", ignorant)
_never("an explanation by chance of a model that reads 3 of 16 parts", by_chance)


@control(
    "audit.explanation.faithfulness", "planted", "naive: one row's lead above 0 is believed, model at random", trials=500, low=0.4, high=0.6
)
def naive(seed: int) -> bool:
    return bool(leads(_random(seed, "naive"), ignorant, rows=1)[0] > 0)


def correlated(trained: Attributions, nets: list[Attributions]) -> checks.Status:
    """Return what the check of redrawn weights says of attributions by the trained and by other weights."""
    table = [[checks.rank_correlation(one, other[row]) for other in nets] for row, one in enumerate(trained)]
    return checks.follows_weights(checks.mean_over(np.array(table)))


@control("audit.explanation.redrawn", "planted", "edges of the picture for an explanation: the same with any weights", trials=TRIALS, low=1)
def edges(seed: int) -> bool:
    pixels = _random(seed, "edges").random((24, 8, 8))
    found = [np.abs(np.gradient(one)).sum(0).reshape(-1) for one in pixels]
    return correlated(found, [found] * NETS) == "fails"


@control("audit.explanation.redrawn", "clean", "weights times input of a linear model: others with other weights", trials=TRIALS, low=0.95)
def weighted(seed: int) -> bool:
    random = _random(seed, "weighted")
    inputs = random.random((24, 64))
    by = [[random_weights * row for row in inputs] for random_weights in random.normal(size=(NETS + 1, 64))]
    return correlated(by[0], by[1:]) == "holds"


@control("audit.explanation.agreement", "planted", "two rankings that have nothing in common disagree", trials=TRIALS, low=0.95)
def apart(seed: int) -> bool:
    random = _random(seed, "apart")
    found = [checks.rank_correlation(*random.normal(size=(2, 16))) for _ in range(ROWS)]
    return checks.agrees(checks.mean_over(np.array(found))) == "fails"


@control("audit.explanation.agreement", "clean", "two noisy readings of one ranking agree", trials=TRIALS, low=0.95)
def together(seed: int) -> bool:
    random = _random(seed, "together")
    found = [checks.rank_correlation(*(random.normal(size=16) + 0.7 * random.normal(size=(2, 16)))) for _ in range(ROWS)]
    return checks.agrees(checks.mean_over(np.array(found))) == "holds"


def _importance(random: np.random.Generator, used: float, n: int) -> checks.Mean:
    """Return the importance of x1 where the truth is x0 above 0, one label in ten wrong, and the model reads x0 + used x1."""
    encoder, arrays = of_columns(random, n, 2)
    values = np.asarray(arrays.blocks["number"])
    wrong = random.random(n) < 0.1
    known = _rows(arrays.blocks, ((values[:, 0] > 0) ^ wrong).astype(np.int64))

    def answer(part: Arrays) -> np.ndarray:
        return two_classes(np.asarray(part.blocks["number"]) @ np.array([1.0, used]))

    return importances(answer, encoder, known, ["x1"], None, int(random.integers(2**31)))[0].rise


@control("audit.explanation.importance", "clean", "a column read in vain: not said to matter, n = 300", trials=400, low=0.95)
def in_vain(seed: int) -> bool:
    return not _importance(_random(seed, "vain"), 0.5, 300).interval[0] > 0


@control("audit.explanation.importance", "planted", "the column that decides is said to matter, n = 100", trials=200, low=0.99)
def decides(seed: int) -> bool:
    return _decided(_random(seed, "decides"), 100).interval[0] > 0


@control("audit.explanation.importance", "clean", "interval holds the loss of the column that decides, n = 200", trials=400, low=0.93)
def covers(seed: int) -> bool:
    low, high = _decided(_random(seed, "covers"), 200).interval
    return low <= 0.5 <= high


def _decided(random: np.random.Generator, n: int) -> checks.Mean:
    """Return the importance of x0 where it alone is the truth and the model knows it: without it half of the answers are wrong."""
    encoder, arrays = of_columns(random, n, 1)
    known = _rows(arrays.blocks, (np.asarray(arrays.blocks["number"])[:, 0] > 0).astype(np.int64))
    return importances(lambda part: two_classes(part.blocks["number"][:, 0]), encoder, known, ["x0"], None, int(random.integers(2**31)))[
        0
    ].rise


def _covered(case: str, draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]], low: float) -> None:
    @control("audit.explanation.interval", "clean", f"mean, {case}", trials=INTERVAL_TRIALS, low=low)
    def holds_truth(seed: int) -> bool:
        found = checks.mean_over(*draw(_random(seed, case)))
        return found.interval[0] <= 0 <= found.interval[1]


def _grouped(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    group = np.repeat(np.arange(25), 4)
    return random.normal(size=25)[group] + random.normal(size=100), group


def _crossed(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    return random.normal(size=(24, 1)) + random.normal(size=NETS) + random.normal(size=(24, NETS)), None


_covered("100 skewed rows", lambda random: (random.exponential(size=100) - 1, None), 0.92)
_covered("100 rows of 25 groups", _grouped, 0.93)
_covered("24 rows by 8 redrawn networks", _crossed, 0.93)


@control("audit.explanation.interval", "planted", "naive: rows of 25 groups taken for single ones, misses", trials=INTERVAL_TRIALS, low=0.1)
def ungrouped(seed: int) -> bool:
    low, high = checks.mean_over(_grouped(_random(seed, "100 rows of 25 groups"))[0]).interval
    return not low <= 0 <= high
