"""Law: the estimate follows the reliability curve and owns what it can not know; a cause is named only where its mark is clear."""

from __future__ import annotations

import numpy as np
import pytest

from weighbridge.feedback.diagnose import UNITS, diagnose, quantiles, unit_change
from weighbridge.feedback.estimate import curve_at, estimated_accuracy, is_outside, steps_at
from weighbridge.feedback.streams import MISSING, Stream
from weighbridge.report.words import translate
from weighbridge.runtime.contract import Bin, ColumnSketch, Frequencies
from weighbridge.runtime.fixed_features import image_features, text_features
from weighbridge.runtime.histograms import histogram

CURVE = tuple(Bin(stated=at, seen=at - 0.1, interval=(at - 0.13, at - 0.07), n=200) for at in (0.5, 0.7, 0.9))


def outputs(stated: list[float]) -> np.ndarray:
    return np.array([[at, (1 - at) * 0.6, (1 - at) * 0.4] for at in stated])


def test_between_and_beyond_the_bins_the_curve_is_a_line() -> None:
    right, weights, errors = curve_at(CURVE, np.array([0.4, 0.5, 0.6, 0.9, 1.0]))
    assert np.allclose(right, [0.3, 0.4, 0.5, 0.8, 0.9])
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.allclose(errors, 0.03 / 1.96, atol=1e-4)
    assert np.allclose(steps_at(CURVE, np.array([0.55, 0.65, 0.95])), [0.4, 0.6, 0.8])
    assert curve_at(CURVE[:1], np.array([0.5, 0.6]))[0].tolist() == pytest.approx([0.4, 0.5])


def test_rows_outside_widen_both_ends_in_full() -> None:
    output, nothing = outputs([0.9] * 1000), np.zeros(1000, dtype=bool)
    near = estimated_accuracy(CURVE, output, nothing)
    assert near.value == pytest.approx(0.8)
    assert near.interval[0] < 0.8 < near.interval[1]
    far = estimated_accuracy(CURVE, output, np.arange(1000) < 300)
    assert far.outside == pytest.approx(0.3)
    assert far.interval[1] - far.interval[0] > 0.3
    assert estimated_accuracy(CURVE, output, ~nothing).interval == (0.0, 1.0)


def test_two_classes_read_the_curve_of_the_second() -> None:
    output = np.array([[0.1, 0.9], [0.9, 0.1]])
    curve = (Bin(stated=0.1, seen=0.2, interval=(0.15, 0.25), n=99), Bin(stated=0.9, seen=0.7, interval=(0.6, 0.8), n=99))
    assert estimated_accuracy(curve, output, np.zeros(2, dtype=bool)).value == pytest.approx((0.7 + 0.8) / 2)


def test_a_row_is_outside_beyond_the_fences_and_for_names_that_nobody_had() -> None:
    random = np.random.default_rng(0)
    made = histogram(random.normal(size=3000), random.normal(size=1000))
    streams = (
        Stream(column="x", trait="value", counts=made.counts, edges=made.edges),
        Stream(column="k", trait="values", counts=(600, 400, 0), names=("a", "b")),
        Stream(column="k", trait=MISSING, counts=(1000, 0), edges=(0.5,)),
        Stream(column="", trait="answer", counts=(0, 1000), edges=(0.5,)),
    )
    rows = np.stack([
        streams[0].places(np.array([0.0, 40.0, 0.0, 0.0, np.nan])),
        streams[1].places(np.array(["a", "a", "zebra", None, "b"], dtype=object)),
        np.array([0, 0, 0, 1, 0]), np.array([0, 0, 0, 0, 0]),
    ], axis=1)  # fmt: skip
    assert is_outside(streams, rows).tolist() == [False, True, True, True, False]


def sketch(random: np.random.Generator) -> ColumnSketch:
    return ColumnSketch(
        name="h", type="number", rows=1000, missing=0, traits={"value": histogram(random.normal(20, 5, 3000), random.normal(20, 5, 1000))}
    )


@pytest.mark.parametrize("unit", ["x 1000", "inch -> cm", "°C -> °F", "sign"])
def test_a_unit_is_named(unit: str) -> None:
    random = np.random.default_rng(1)
    scale, shift = UNITS[unit]
    found = diagnose(sketch(random), scale * random.normal(20, 5, 400) + shift)
    assert (found.cause, found.broken) == ("unit", True)
    assert unit in str(found.words)
    assert translate(found.said, "zh").startswith("输入已损坏：")


@pytest.mark.parametrize(
    ("values", "cause", "broken"),
    [
        (lambda x: np.where(np.arange(len(x)) % 5 == 0, np.nan, x), "missing", True), (lambda x: np.full(len(x), 0.0), "constant", True),
        (lambda x: np.minimum(x, 22), "clipped", True), (lambda x: np.maximum(x, 17), "clipped", True), (lambda x: x + 4, "world", False),
        (lambda x: x[:5], "world", False),
    ],
)  # fmt: skip
def test_each_cause_has_its_mark(values: object, cause: str, broken: bool) -> None:
    random = np.random.default_rng(2)
    found = diagnose(sketch(random), values(random.normal(20, 5, 400)))  # type: ignore[operator]
    assert (found.cause, found.broken) == (cause, broken)
    assert translate(found.said, "zh") != str(found.said)


def test_names_that_nobody_knew_are_a_new_world() -> None:
    kind = ColumnSketch(name="k", type="category", rows=100, missing=0, values=Frequencies(counts={"a": 60, "b": 40}))
    found = diagnose(kind, np.array(["a"] * 60 + ["zebra"] * 40, dtype=object))
    assert (found.cause, found.broken) == ("new_value", False)
    assert "zebra" in str(found.words)
    assert diagnose(kind, np.array(["a"] * 50 + ["b"] * 50, dtype=object)).cause == "world"
    assert diagnose(kind, np.array(["b"] * 60, dtype=object)).cause == "constant"


def test_the_same_values_have_no_unit_and_their_quartiles_are_the_columns() -> None:
    random = np.random.default_rng(3)
    expected = sketch(random).traits["value"]
    assert unit_change(expected, random.normal(20, 5, 400)) is None
    assert np.allclose(quantiles(expected, np.array([0.25, 0.5, 0.75])), [16.6, 20, 23.4], atol=0.6)


def test_a_picture_turned_by_a_quarter_has_other_edges_and_the_same_brightness() -> None:
    picture = np.zeros((1, 28, 28))
    picture[0, :, 10:18] = 1.0
    straight, turned = image_features(picture), image_features(np.rot90(picture, axes=(1, 2)))
    assert len(straight) == 49 + 8
    assert straight["edges 0°"][0] > 0.9
    assert turned["edges 90°"][0] > 0.9
    assert sum(straight[f"cell {i},{j}"][0] for i in range(1, 8) for j in range(1, 8)) / 49 == pytest.approx(picture.mean())
    assert set(image_features(np.zeros((2, 3, 1)))) >= {"cell 1,1", "edges 0°"}
    assert all(len(values) == 0 for values in image_features(np.zeros((0, 9, 9))).values())


def test_a_text_has_its_shares_and_words_and_none_has_nothing() -> None:
    found = text_features(["abc 123", None, "", "the cat", "cat the"])
    assert found["letters"][0] == pytest.approx(3 / 7)
    assert found["digits"][0] == pytest.approx(3 / 7)
    assert np.isnan(found["letters"][1])
    assert found["words 1"][2] == 0
    assert all(values[3] == values[4] for name, values in found.items() if name.startswith("words"))
