"""Controls of explanations by gradients: small networks that read one column, one square or one word, and some that read everything.

Torch and Captum are loaded when a trial runs, not when controls are listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit import controls_explanation as planted
from weighbridge.audit import explain_checks as checks
from weighbridge.controls import control
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.runtime.explained import Explained

TRIALS, FEW = 100, 40
CASES = ("column", "square", "word")


def _random(seed: int, name: str) -> np.random.Generator:
    return rng(seed, "control", "explanation", "network", name)


def case(name: str, random: np.random.Generator) -> tuple[Any, Explained, np.ndarray | int]:
    """Return a network that reads one part, rows, and which part that is in each."""
    from weighbridge.audit import controls_explanation_readers as readers

    wanted: np.ndarray | int
    if name == "column":
        encoder, arrays = planted.of_columns(random)
        wanted = int(random.integers(10))
        network = readers.column(wanted, 10)
    elif name == "square":
        encoder, arrays = planted.of_pixels(random)
        down, across = (int(place) for place in random.integers(8, size=2))
        network, wanted = readers.square(down, across), 8 * down + across
    else:
        one = int(random.integers(len(planted.WORDS)))
        encoder, arrays, wanted = planted.of_words(random, one)
        code = int(encoder.encode({"text": np.array([planted.WORDS[one]], object)})["text.text"][0, 0])
        network = readers.word(code, encoder.blocks[0].cardinalities[0])
    return network, rows_of(network, encoder, arrays, random), wanted


def rows_of(network: Any, encoder: Encoder, arrays: Arrays, random: np.random.Generator) -> Explained:
    """Return the rows before a network."""
    from functools import partial

    from weighbridge import training

    answer = partial(training.forward_all, training.Deployable(network, encoder.learnt).eval())
    return planted.explained(encoder, answer, arrays, random)


def _ranked(name: str) -> None:
    @control("audit.explanation.gradients", "planted", f"the one {name} that is read ranks first, by both methods", trials=TRIALS, low=1)
    def found(seed: int) -> bool:
        from weighbridge.audit.explain_gradients import gradients

        network, rows, wanted = case(name, _random(seed, name))
        made = gradients(network, rows)
        return planted.first(made.integrated, wanted) and planted.first(made.times_input, wanted)


for _name in CASES:
    _ranked(_name)


@control("audit.explanation.gradients", "clean", "a network that ignores its input: no part has any weight", trials=FEW, low=1)
def ignoring(seed: int) -> bool:
    from weighbridge.audit import controls_explanation_readers as readers
    from weighbridge.audit.explain_gradients import gradients

    random = _random(seed, "ignoring")
    encoder, arrays = planted.of_columns(random)
    network = readers.nothing(10)
    made = gradients(network, rows_of(network, encoder, arrays, random))
    return not any(one.any() for one in (*made.integrated, *made.times_input))


@control("audit.explanation.redrawn", "clean", "integrated gradients of a small network: others with other weights", trials=FEW, low=0.95)
def redrawn(seed: int) -> bool:
    from weighbridge.audit import controls_explanation_readers as readers
    from weighbridge.audit.explain_gradients import gradients
    from weighbridge.audit.explain_gradients import redrawn as anew

    random = _random(seed, "redrawn")
    encoder, arrays = planted.of_pixels(random, 24)
    network = readers.whole(seed31(seed, "control", "whole"))
    rows = rows_of(network, encoder, arrays, random)
    by = [gradients(one, rows, steps=8).integrated for one in (network, *(anew(network, draw) for draw in range(8)))]
    return planted.correlated(by[0], by[1:]) == "holds"


def left_out(seed: int, steps: int) -> checks.Status:
    """Return what is said of the completeness of integrated gradients with so few steps of a steep network."""
    from weighbridge.audit import controls_explanation_readers as readers
    from weighbridge.audit.explain_gradients import gradients

    random = _random(seed, "complete")
    encoder, arrays = planted.of_columns(random, 30)
    network = readers.steep(10, seed31(seed, "control", "steep"))
    made = gradients(network, rows_of(network, encoder, arrays, random), steps=steps)
    return checks.complete(checks.mean_over(np.abs(made.summed - made.wanted) / np.abs(made.wanted).mean()))


@control("audit.explanation.completeness", "planted", "two steps of a steep network leave a part of the answer out", trials=FEW, low=0.95)
def incomplete(seed: int) -> bool:
    return left_out(seed, 2) == "fails"


@control("audit.explanation.completeness", "clean", "128 steps of a steep network leave nothing out", trials=FEW, low=0.95)
def complete(seed: int) -> bool:
    return left_out(seed, 128) == "holds"
