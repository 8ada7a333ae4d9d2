"""Law: an adjusted graph says what the adjustment makes of the graph's own probabilities, in standard operators, whatever the form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit.form_graphs import KINDS, export, rows
from weighbridge.errors import FormError
from weighbridge.evaluation.adjustment import Adjustment, Isotonic, Kind, Offsets, Step, Temperature
from weighbridge.export.adjust import adjust
from weighbridge.export.half import half
from weighbridge.export.quantize import int4, int8_dynamic, int8_static, int8_weights
from weighbridge.export.sparse import sparse
from weighbridge.runtime.graph import check_graph
from weighbridge.runtime.session import Session

NEAR = 1e-5


def isotonic(maps: int, seed: int = 0) -> Isotonic:
    random = np.random.default_rng(seed)
    x = np.cumsum(random.uniform(0.1, 1.0, (maps, 9)), axis=1) - 3
    return Isotonic(x=x, y=np.sort(random.uniform(0, 1, (maps, 9)), axis=1), own=0.001)


def of(step: Step, kind: Kind = "category") -> Adjustment:
    return Adjustment(kind=kind, steps=(step,))


def apart(source: Path, adjustment: Adjustment, arrays: object) -> float:
    """Return how far the adjusted graph is from the adjustment of the graph's own answers."""
    target = source.with_name(f"{'-'.join(adjustment.names)}.onnx")
    adjust(source, target, adjustment)
    check_graph(target.read_bytes())
    said, found = (Session.open(path, threads=1).answer(arrays) for path in (source, target))  # type: ignore[arg-type]
    codes = arrays.blocks.get("category")  # type: ignore[attr-defined]
    assert np.abs(found - said).max() > 0.01, "the adjustment changes nothing, so nothing is tested"
    return float(np.abs(found - adjustment.applied(said, codes)).max())


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that reads numbers and categories, exported once."""
    return export("mlp", tmp_path_factory.mktemp("graph") / "model.onnx")


def copied(graph: Path, path: Path) -> Path:
    path.write_bytes(graph.read_bytes())
    return path


@pytest.mark.parametrize("step", [Temperature(value=2.5), Temperature(value=0.4), isotonic(4)], ids=["softer", "harder", "isotonic"])
def test_a_graph_says_what_the_adjustment_says(step: Step, mlp: Path, tmp_path: Path) -> None:
    assert apart(copied(mlp, tmp_path / "model.onnx"), of(step), rows("mlp")) < NEAR


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("mlp", "photos")])
def test_every_network_s_graph_can_be_adjusted(kind: str, tmp_path: Path) -> None:
    assert apart(export(kind, tmp_path / "model.onnx"), of(isotonic(4)), rows(kind)) < NEAR


@pytest.mark.parametrize("step", [Temperature(value=2.5), isotonic(4)], ids=["temperature", "isotonic"])
def test_labels_are_adjusted_each_alone(step: Step, tmp_path: Path) -> None:
    assert apart(export("mlp", tmp_path / "model.onnx", target="set"), of(step, "set"), rows("mlp")) < NEAR


@pytest.mark.parametrize("form", [half, int8_weights, int8_dynamic, int4, sparse])
def test_every_form_of_a_graph_can_be_adjusted_and_stays_what_it_is(form: Callable[[Path, Path], None], mlp: Path, tmp_path: Path) -> None:
    plain = copied(mlp, tmp_path / "plain.onnx")
    if form is sparse:
        zero_most(plain)
    form(plain, tmp_path / "form.onnx")
    assert apart(tmp_path / "form.onnx", of(Temperature(value=2.0)), rows("mlp")) < NEAR
    assert (tmp_path / "temperature.onnx").stat().st_size < (tmp_path / "form.onnx").stat().st_size + 1000


def zero_most(path: Path) -> None:
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.ndim == 2:
            values[np.random.default_rng(0).random(values.shape) < 0.9] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


@pytest.mark.slow
def test_an_image_network_in_integers_can_be_adjusted(tmp_path: Path) -> None:
    plain = export("cnn", tmp_path / "plain.onnx")
    int8_static(plain, tmp_path / "form.onnx", rows("cnn", 128))
    assert apart(tmp_path / "form.onnx", of(isotonic(4)), rows("cnn")) < NEAR


def two_classes(mlp: Path, path: Path) -> Path:
    """Return a graph of two classes that reads a category, made of the one of four by leaving two out."""
    from onnx import helper, numpy_helper

    model = onnx.load(mlp)
    for node in model.graph.node:
        node.output[:] = ["four" if name == "output" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 1], np.int64), "two"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "along"))
    model.graph.node.append(helper.make_node("Gather", ["four", "two"], ["half"], axis=1, name="g"))
    model.graph.node.append(helper.make_node("ReduceSum", ["half", "along"], ["whole"], keepdims=1, name="s"))
    model.graph.node.append(helper.make_node("Div", ["half", "whole"], ["output"], name="d"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    onnx.save(model, path)
    return path


def offsets(values: np.ndarray, place: int = 1) -> Offsets:
    return Offsets(column="l", place=place, values=values)


def test_offsets_follow_the_code_of_their_column_and_decide_by_the_group_s_threshold(mlp: Path, tmp_path: Path) -> None:
    source, arrays = two_classes(mlp, tmp_path / "model.onnx"), rows("mlp", 400)
    values = np.linspace(-2, 2, 7)
    assert apart(source, of(offsets(values)), arrays) < NEAR
    said, found = (Session.open(path, threads=1).answer(arrays) for path in (source, tmp_path / "thresholds.onnx"))
    odds = np.log(said[:, 1] / said[:, 0])
    limit = -values[arrays.blocks["category"][:, 1]]
    clear = np.abs(odds - limit) > 1e-4
    assert np.array_equal(found.argmax(axis=1)[clear], (odds > limit)[clear].astype(int))
    assert (found.argmax(axis=1) != said.argmax(axis=1)).any()


def test_two_classes_are_mapped_by_one_map(mlp: Path, tmp_path: Path) -> None:
    assert apart(two_classes(mlp, tmp_path / "model.onnx"), of(isotonic(1)), rows("mlp")) < NEAR


def test_steps_follow_each_other(mlp: Path, tmp_path: Path) -> None:
    both = Adjustment(kind="category", steps=(Temperature(value=3.0), offsets(np.linspace(-1, 1, 7))))
    assert apart(two_classes(mlp, tmp_path / "model.onnx"), both, rows("mlp")) < NEAR
    again = Adjustment.from_json(both.to_json())
    assert again.to_json() == both.to_json()
    assert again.names == ("temperature", "thresholds")


def test_log_odds_of_an_overconfident_model_keep_their_digits() -> None:
    """Answers such as 1 - 1e-9 are 1 in float32; the others' probabilities still say how sure the model was."""
    logits = np.array([[0.0, -20.0, -30.0, -40.0], [0.0, -60.0, -61.0, -62.0]])
    raised = np.exp(logits)
    stated = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    assert (stated[:, 0] == 1).all()
    soft = Temperature(value=20.0).applied(stated.astype(float), "category")
    expected = np.exp(logits / 20)
    assert np.abs(soft - expected / expected.sum(axis=1, keepdims=True)).max() < 1e-6
    assert np.ptp(Isotonic.scores(stated.astype(float), "category")[:, 0]) > 30


def without_categories(mlp: Path, path: Path) -> Path:
    """Return a graph whose second input has another name."""
    model = onnx.load(mlp)
    for value in model.graph.input:
        value.name = value.name.replace("category", "codes")
    for node in model.graph.node:
        node.input[:] = ["codes" if name == "category" else name for name in node.input]
    onnx.save(model, path)
    return path


def test_what_can_not_be_adjusted_is_refused(mlp: Path, tmp_path: Path) -> None:
    number = export("mlp", tmp_path / "number.onnx", target="number")
    with pytest.raises(FormError, match="float32 probabilities"):
        adjust(number, tmp_path / "x.onnx", of(Temperature(value=2.0)))
    with pytest.raises(FormError, match="reads no categories"):
        adjust(without_categories(mlp, tmp_path / "other.onnx"), tmp_path / "x.onnx", of(offsets(np.zeros(7))))
    with pytest.raises(FormError, match="two classes"):
        adjust(mlp, tmp_path / "x.onnx", of(offsets(np.zeros(7))))
    assert not (tmp_path / "x.onnx").exists()
