"""Law: a merged graph answers the mean of its members' answers, holds what is equal once, and refuses graphs that do not fit together."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.form_graphs import export, layers, numbers, rows
from weighbridge.errors import FormError
from weighbridge.export.half import half
from weighbridge.export.merge import merge
from weighbridge.export.quantize import int4, int8_dynamic, int8_static
from weighbridge.export.sparse import sparse
from weighbridge.runtime.graph import check_graph
from weighbridge.runtime.session import Session

SIZES = (48, 32, 3)


def answers(path: Path, arrays: object) -> np.ndarray:
    return Session.open(path, threads=1).answer(arrays)  # type: ignore[arg-type]


def members(folder: Path, count: int = 3, **more: object) -> list[Path]:
    return [layers(folder / f"{seed}.onnx", SIZES, seed=seed, **more) for seed in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0], [0.2, 0.5, 0.3], [3.0, 1.0, 4.0]])
@pytest.mark.parametrize("double", [False, True])
def test_a_merged_graph_answers_the_weighted_mean(weights: list[float] | None, double: bool, tmp_path: Path) -> None:
    sources, arrays = members(tmp_path, double=double), numbers()
    merge(sources, tmp_path / "mean.onnx", weights=weights)
    expected = np.average([answers(path, arrays) for path in sources], axis=0, weights=weights)
    assert np.abs(answers(tmp_path / "mean.onnx", arrays) - expected).max() < 1e-6
    check_graph((tmp_path / "mean.onnx").read_bytes())
    if not double:
        assert np.abs(answers(tmp_path / "mean.onnx", arrays).sum(axis=1) - 1).max() < 1e-6


def test_one_graph_alone_is_its_own_mean(tmp_path: Path) -> None:
    (source,), arrays = members(tmp_path, 1), numbers()
    merge([source], tmp_path / "mean.onnx")
    assert np.array_equal(answers(tmp_path / "mean.onnx", arrays), answers(source, arrays))


def test_what_is_equal_is_held_and_computed_once(tmp_path: Path) -> None:
    one, two, arrays = *members(tmp_path, 2), numbers()
    merge([one, two], tmp_path / "apart.onnx")
    merge([one, one, one], tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").stat().st_size < 1.1 * one.stat().st_size
    assert (tmp_path / "apart.onnx").stat().st_size > 1.8 * one.stat().st_size
    assert Counter(node.op_type for node in onnx.load(tmp_path / "same.onnx").graph.node)["Gemm"] == 2
    assert np.abs(answers(tmp_path / "same.onnx", arrays) - answers(one, arrays)).max() < 1e-6


def test_a_part_that_members_share_is_shared(tmp_path: Path) -> None:
    one, two = members(tmp_path, 2)
    first, second = onnx.load(one), onnx.load(two)
    for place in (0, 1):  # the first layer is the same, as after training on from one network
        second.graph.initializer[place].CopyFrom(first.graph.initializer[place])
    onnx.save(second, two)
    merge([one, two], tmp_path / "mean.onnx")
    model = onnx.load(tmp_path / "mean.onnx")
    assert Counter(node.op_type for node in model.graph.node)["Gemm"] == 3
    assert sum(list(tensor.dims) == [32, 48] for tensor in model.graph.initializer) == 1


def test_equal_bytes_of_another_type_or_shape_are_not_equal(tmp_path: Path) -> None:
    given = helper.make_tensor_value_info("number", TensorProto.FLOAT, ["rows", 1])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", 1])
    for name, values in (("a", np.zeros((1, 2), np.float32)), ("b", np.zeros((2, 1), np.float32))):
        nodes = [
            helper.make_node("ReduceSum", ["w", "axis"], ["r"], keepdims=1),
            helper.make_node("ReduceSum", ["r"], ["one"], keepdims=0),
            helper.make_node("Shape", ["w"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["sizes"], ["most"], keepdims=0),
            helper.make_node("Add", ["number", "one"], ["moved"]),
            helper.make_node("Mul", ["moved", "most"], ["output"]),
        ]
        weights = [numpy_helper.from_array(values, "w"), numpy_helper.from_array(np.array([0], np.int64), "axis")]
        graph = helper.make_graph(nodes, "g", [given], [answer], weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / f"{name}.onnx")
    merge([tmp_path / "a.onnx", tmp_path / "b.onnx"], tmp_path / "mean.onnx")
    assert (
        sum(
            tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) == 2
            for tensor in onnx.load(tmp_path / "mean.onnx").graph.initializer
        )
        == 2
    )


def test_forms_of_different_kinds_merge_and_a_merged_graph_has_forms(tmp_path: Path) -> None:
    plain, arrays = layers(tmp_path / "plain.onnx", zeros=0.6), numbers()
    steps = {"half": half, "int8": int8_dynamic, "int4": int4, "sparse": sparse}
    paths = [plain]
    for name, step in steps.items():
        step(plain, tmp_path / f"{name}.onnx")
        paths.append(tmp_path / f"{name}.onnx")
    merge(paths, tmp_path / "mean.onnx")
    expected = np.mean([answers(path, arrays) for path in paths], axis=0)
    assert np.abs(answers(tmp_path / "mean.onnx", arrays) - expected).max() < 1e-6
    twins = [layers(tmp_path / f"t{seed}.onnx", seed=seed) for seed in range(2)]
    merge(twins, tmp_path / "twins.onnx")
    int8_static(tmp_path / "twins.onnx", tmp_path / "twins8.onnx", numbers(count=200, seed=1))
    apart = np.abs(answers(tmp_path / "twins8.onnx", arrays) - np.mean([answers(path, arrays) for path in twins], axis=0)).max()
    assert apart < 0.05
    assert (tmp_path / "twins8.onnx").stat().st_size < 0.3 * (tmp_path / "twins.onnx").stat().st_size


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    sources = members(tmp_path)
    for name in ("a", "b"):
        merge(sources, tmp_path / f"{name}.onnx", weights=[0.5, 0.25, 0.25])
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, float("nan"), 1.0]])
def test_weights_that_make_no_mean_are_refused(weights: list[float], tmp_path: Path) -> None:
    with pytest.raises(FormError, match="can not be averaged with the weights"):
        merge(members(tmp_path), tmp_path / "mean.onnx", weights=weights)


@pytest.mark.parametrize(
    ("sizes", "double", "what"), [((40, 32, 3), False, "reads"), ((48, 32, 4), False, "gives"), (SIZES, True, "gives")]
)
def test_graphs_that_do_not_fit_together_are_refused(sizes: tuple[int, ...], double: bool, what: str, tmp_path: Path) -> None:
    one, other = layers(tmp_path / "one.onnx", SIZES), layers(tmp_path / "other.onnx", sizes, double=double)
    with pytest.raises(FormError, match=f"graph 2 {what}"):
        merge([one, other], tmp_path / "mean.onnx")
    assert not (tmp_path / "mean.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cnn", "columns", "gru"])
def test_networks_of_different_seeds_merge(kind: str, tmp_path: Path) -> None:
    sources, arrays = [export(kind, tmp_path / f"{seed}.onnx", seed=seed) for seed in (1, 2)], rows(kind)
    merge(sources, tmp_path / "mean.onnx", weights=[2, 1])
    expected = np.average([answers(path, arrays) for path in sources], axis=0, weights=[2, 1])
    assert np.abs(answers(tmp_path / "mean.onnx", arrays) - expected).max() < 1e-6
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "mean.onnx").graph.node)
    if kind == "cnn":  # the pixels are scaled once
        assert (kinds["Transpose"] + kinds["Cast"], kinds["Conv"]) == (2, 12)
