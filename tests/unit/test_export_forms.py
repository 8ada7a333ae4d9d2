"""Law: a form of a graph is smaller, answers nearly the same and is made of standard operators; what can not be one is a named error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.unit.form_graphs import KINDS, export, layers, numbers, rows
from weighbridge.errors import FormError, PackageError
from weighbridge.export.form import check_answers, lean
from weighbridge.export.half import half
from weighbridge.export.integers import by_channel, in_blocks, pack, rounded
from weighbridge.export.linear import prepared
from weighbridge.export.quantize import int4, int8_dynamic, int8_static, int8_weights
from weighbridge.export.rewrite import gemm_as_matmul, raise_opset, read_graph
from weighbridge.export.sparse import gaps, sparse
from weighbridge.preprocessing import Arrays
from weighbridge.runtime.graph import check_graph
from weighbridge.runtime.session import Session

Form = Callable[[Path, Path], None]
PLAIN: dict[str, Form] = {"half": half, "int8_weights": int8_weights, "int8_dynamic": int8_dynamic, "int4": int4}


def static(rows_: Arrays) -> Form:
    return partial(int8_static, rows=rows_)


def operators(path: Path) -> Counter[str]:
    """Return the operators that onnxruntime runs once it has folded and fused the graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path.with_suffix(".optimized"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def answers(path: Path, arrays: Arrays) -> np.ndarray:
    return Session.open(path, threads=1).answer(arrays)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the graph of a kind of network, exported once."""
    folder, known = tmp_path_factory.mktemp("graphs"), dict[str, Path]()

    def get(kind: str) -> Path:
        if kind not in known:
            known[kind] = export(kind, folder / f"{kind}.onnx")
        return known[kind]

    return get


# the numbers


@given(st.lists(st.integers(0, 700), max_size=12), st.integers(0, 700))
def test_what_is_stored_without_zeros_comes_back_whole(zeros_before: list[int], zeros_after: int) -> None:
    flat = np.concatenate([*(np.append(np.zeros(count), 1.5) for count in zeros_before), np.zeros(zeros_after)]).astype(np.float32)
    distances, held = gaps(flat)
    found = np.zeros_like(flat)
    found[np.cumsum(distances.astype(np.int64))] = held
    assert np.array_equal(found, flat)


def test_a_distance_above_a_byte_would_be_lost_without_zeros_between() -> None:
    flat = np.zeros(1000, np.float32)
    flat[[3, 900]] = 1
    naive = np.diff(np.flatnonzero(flat), prepend=0).astype(np.uint8)  # 897 becomes 129
    assert int(np.cumsum(naive.astype(np.int64))[-1]) != 900
    assert int(np.cumsum(gaps(flat)[0].astype(np.int64))[-1]) == 900


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=33))
def test_four_bit_codes_are_packed_as_onnx_reads_them(codes: list[int]) -> None:
    tensor = helper.make_tensor("codes", TensorProto.INT4, [len(codes)], pack(np.array(codes, np.int8)), raw=True)
    assert numpy_helper.to_array(tensor).astype(int).tolist() == codes


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 0.05, 3.0]), st.sampled_from([4, 8]))
@settings(max_examples=40)
def test_a_weight_is_within_half_a_step_and_zero_stays_zero(seed: int, size: float, bits: int) -> None:
    values = np.random.default_rng(seed).normal(0, size, (16, 32)).astype(np.float32)
    values[::3, ::2] = 0
    for coded in (by_channel(values, bits), rounded(values, (1,), bits), *([in_blocks(values)] if bits == 4 else [])):
        found = coded.weights.reshape(values.shape)
        assert (found[values == 0] == 0).all()
        step = np.broadcast_to(coded.scales, coded.codes.shape).reshape(values.shape)
        clipped = (np.abs(coded.codes) >= 7).reshape(values.shape) if bits == 4 else np.abs(coded.codes) == 127
        assert (np.abs(found - values)[~clipped] <= 0.501 * step[~clipped]).all()


def test_the_scale_of_four_bits_errs_less_than_that_of_the_largest_weight() -> None:
    values = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    largest = np.abs(values).max(axis=1, keepdims=True)
    naive = np.clip(np.rint(values / (largest / 7)), -8, 7) * (largest / 7)
    assert np.square(rounded(values, (1,), 4).weights - values).mean() < 0.95 * np.square(naive - values).mean()


# graphs by hand


@pytest.mark.parametrize(("name", "most"), [("half", 0.51), ("int8_weights", 0.29), ("int8_dynamic", 0.30), ("int4", 0.19)])
def test_a_form_is_smaller_and_answers_nearly_the_same(name: str, most: float, tmp_path: Path) -> None:
    source, arrays = layers(tmp_path / "source.onnx"), numbers()
    PLAIN[name](source, tmp_path / "form.onnx")
    apart = check_answers(answers(tmp_path / "form.onnx", arrays), answers(source, arrays))
    assert (tmp_path / "form.onnx").stat().st_size < most * source.stat().st_size
    assert 0 < apart < {"half": 1e-3, "int4": 0.3}.get(name, 0.03)


def test_large_linear_layers_are_computed_in_integers(tmp_path: Path) -> None:
    int8_dynamic(layers(tmp_path / "source.onnx"), tmp_path / "form.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "form.onnx").graph.node)
    assert kinds["MatMulInteger"] == 2  # the third has 480 weights, too few to pay
    assert operators(tmp_path / "form.onnx")["DynamicQuantizeMatMul"] == 2


def test_static_int8_runs_layer_after_layer_in_integers_and_gives_float_logits(tmp_path: Path) -> None:
    source, arrays = layers(tmp_path / "source.onnx"), numbers()
    int8_static(source, tmp_path / "form.onnx", numbers(count=200, seed=1))
    kinds = operators(tmp_path / "form.onnx")
    assert (kinds["QGemm"], kinds["QuantizeLinear"], kinds["DequantizeLinear"], kinds["FusedGemm"], kinds["Gemm"]) == (3, 1, 0, 0, 0)
    assert check_answers(answers(tmp_path / "form.onnx", arrays), answers(source, arrays)) < 0.05
    assert len(np.unique(answers(tmp_path / "form.onnx", arrays)[:, 0])) == len(arrays)  # 256 logits would make equal answers


def test_a_large_matrix_of_four_bits_is_multiplied_as_it_is_stored(tmp_path: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    source, arrays = layers(tmp_path / "source.onnx", (256, 544, 3)), numbers(256)
    int4(source, tmp_path / "form.onnx")
    kinds = operators(tmp_path / "form.onnx")
    assert (kinds["MatMulNBits"], kinds["DequantizeLinear"]) == (1, 0)
    assert check_answers(answers(tmp_path / "form.onnx", arrays), answers(source, arrays)) < 0.2
    naive = MatMulNBitsQuantizer(onnx.load(source), bits=4, block_size=32)
    naive.process()
    assert Counter(node.op_type for node in naive.model.model.graph.node)["Gemm"] == 2  # passed over in silence


def test_a_bias_that_is_added_would_have_the_matrix_restored_at_each_call(tmp_path: Path) -> None:
    int4(layers(tmp_path / "source.onnx", (256, 544, 3)), tmp_path / "form.onnx")
    model = onnx.load(tmp_path / "form.onnx")
    subtracted = next(node for node in model.graph.node if node.op_type == "Sub")
    subtracted.op_type = "Add"
    onnx.save(model, tmp_path / "naive.onnx")
    assert operators(tmp_path / "naive.onnx")["DequantizeLinear"] == 1


def test_weights_come_back_when_the_graph_is_loaded_and_not_at_each_call(tmp_path: Path) -> None:
    source = layers(tmp_path / "source.onnx", zeros=0.8)
    for place, form in enumerate((half, int8_weights, sparse)):
        form(source, tmp_path / f"{place}.onnx")
        assert operators(tmp_path / f"{place}.onnx") == operators(source)


def test_a_weight_too_large_for_float16_stays(tmp_path: Path) -> None:
    source = layers(tmp_path / "source.onnx")
    model = onnx.load(source)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]) * 1e6, "w0"))
    onnx.save(model, source)
    half(source, tmp_path / "form.onnx")
    kinds = Counter(tensor.data_type for tensor in onnx.load(tmp_path / "form.onnx").graph.initializer if len(tensor.dims) == 2)
    assert kinds == {TensorProto.FLOAT: 1, TensorProto.FLOAT16: 2}


def table(path: Path, width: int = 32, rows_: int = 4000) -> Path:
    """`path` is a graph that sums the vectors of a text's tokens."""
    values = np.random.default_rng(0).normal(0, 0.3, (rows_, width)).astype(np.float32)
    values[0] = 0
    nodes = [
        helper.make_node("Gather", ["table", "text.note"], ["vectors"], axis=0),
        helper.make_node("ReduceSum", ["vectors", "axis"], ["output"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("text.note", TensorProto.INT32, ["rows", "length"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", width])],
        [numpy_helper.from_array(values, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize(("form", "most", "error"), [(int8_weights, 0.27, 0.05), (int8_dynamic, 0.27, 0.05), (int4, 0.15, 1.0)])
def test_a_large_table_stays_integers_in_memory_and_padding_adds_nothing(form: Form, most: float, error: float, tmp_path: Path) -> None:
    source, arrays = table(tmp_path / "source.onnx"), rows("texts")
    form(source, tmp_path / "form.onnx")
    assert (tmp_path / "form.onnx").stat().st_size < most * source.stat().st_size
    assert check_answers(answers(tmp_path / "form.onnx", arrays), answers(source, arrays)) < error
    session = Session.open(tmp_path / "form.onnx", threads=1)
    alone = session.run({"text.note": np.array([[5, 6]], np.int32)})
    assert np.array_equal(alone, session.run({"text.note": np.array([[5, 6, 0, 0, 0]], np.int32)}))
    optimised = tmp_path / "form.optimized"
    operators(tmp_path / "form.onnx")
    floats = [t for t in onnx.load(optimised).graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 4000]
    assert floats == []


# zeros


def test_a_graph_without_its_zeros_answers_bit_for_bit_the_same_and_beats_the_sparse_form_of_onnx(tmp_path: Path) -> None:
    source, arrays = layers(tmp_path / "source.onnx", zeros=0.8), numbers()
    sparse(source, tmp_path / "form.onnx")
    assert np.array_equal(answers(tmp_path / "form.onnx", arrays), answers(source, arrays))
    model = read_graph(source)
    total = 0
    for tensor in model.graph.initializer:
        flat = numpy_helper.to_array(tensor).reshape(-1)
        total += min(flat.nbytes, np.count_nonzero(flat) * (4 + 8))  # values and int64 places
    assert (tmp_path / "form.onnx").stat().st_size < 0.55 * total


@pytest.mark.parametrize("name", ["half", "int8_dynamic", "int8_static"])
def test_steps_may_come_in_any_order(name: str, tmp_path: Path) -> None:
    source, arrays = layers(tmp_path / "source.onnx", zeros=0.8), numbers()
    form = static(numbers(count=100, seed=1)) if name == "int8_static" else PLAIN[name]
    form(source, tmp_path / "dense.onnx")
    sparse(tmp_path / "dense.onnx", tmp_path / "after.onnx")
    sparse(source, tmp_path / "first.onnx")
    form(tmp_path / "first.onnx", tmp_path / "before.onnx")
    sizes = [(tmp_path / f"{word}.onnx").stat().st_size for word in ("dense", "after", "before")]
    assert sizes[1] < 0.8 * sizes[0]
    assert abs(sizes[2] - sizes[1]) < 0.05 * sizes[1]
    for word in ("after", "before"):
        assert np.array_equal(answers(tmp_path / f"{word}.onnx", arrays), answers(tmp_path / "dense.onnx", arrays))


def test_halves_of_what_integers_left_are_smaller_still(tmp_path: Path) -> None:
    source, arrays = layers(tmp_path / "source.onnx"), numbers()
    model = read_graph(source)
    steps = np.random.default_rng(1).normal(size=(48, 48)).astype(np.float32)  # added, never multiplied: no quantiser looks at it
    model.graph.initializer.extend([numpy_helper.from_array(steps, "steps"), numpy_helper.from_array(np.array([0], np.int64), "axis")])
    first = model.graph.node[0]
    first.input[0] = "moved"
    added = [
        helper.make_node("ReduceMean", ["steps", "axis"], ["step"], keepdims=0),
        helper.make_node("Add", ["number", "step"], ["moved"]),
    ]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (*added, *model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, source)
    _only_linear(source, tmp_path / "int8.onnx")
    half(tmp_path / "int8.onnx", tmp_path / "form.onnx")
    sizes = [(tmp_path / f"{word}.onnx").stat().st_size for word in ("int8", "form")]
    assert sizes[1] < sizes[0] - 0.9 * steps.nbytes / 2
    assert check_answers(answers(tmp_path / "form.onnx", arrays), answers(tmp_path / "int8.onnx", arrays)) < 5e-3
    assert operators(tmp_path / "form.onnx")["DynamicQuantizeMatMul"] == 3


def _only_linear(source: Path, target: Path) -> None:
    """`target` is what onnxruntime's quantiser makes of `source` by itself: the other weights stay float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = read_graph(source)
    gemm_as_matmul(model.graph)
    prepared(model)
    onnx.save(model, target)
    quantize_dynamic(target, target, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)


# what is refused


@pytest.mark.parametrize("form", [half, int8_weights, int8_dynamic, int4, sparse, static(numbers(4))])
def test_a_graph_with_nothing_to_make_smaller_is_an_error_that_says_so(form: Form, tmp_path: Path) -> None:
    source = layers(tmp_path / "source.onnx", (4, 3))
    with pytest.raises(FormError, match=r"no weight|no convolution"):
        form(source, tmp_path / "form.onnx")
    assert not (tmp_path / "form.onnx").exists()


def test_without_rows_there_is_nothing_to_calibrate_with(tmp_path: Path) -> None:
    with pytest.raises(FormError, match="no rows"):
        int8_static(layers(tmp_path / "source.onnx"), tmp_path / "form.onnx", numbers(count=0))


def test_a_missing_or_damaged_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormError, match=r"gone\.onnx can not be read"):
        half(tmp_path / "gone.onnx", tmp_path / "form.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x01garbage")
    with pytest.raises(PackageError, match="damaged"):
        half(tmp_path / "bad.onnx", tmp_path / "form.onnx")


def test_what_the_libraries_raise_becomes_one_line_of_ours(tmp_path: Path) -> None:
    rows_ = numbers(width=7)  # not the width that the graph reads
    with pytest.raises(FormError, match="the form int8_static can not be made"):
        int8_static(layers(tmp_path / "source.onnx"), tmp_path / "form.onnx", rows_)


def test_an_operator_that_a_newer_opset_changed_is_refused(tmp_path: Path) -> None:
    model = read_graph(layers(tmp_path / "source.onnx"))
    model.graph.node.append(helper.make_node("GroupNormalization", ["r0", "b0", "b0"], ["g"], num_groups=2))
    with pytest.raises(FormError, match="GroupNormalization of opset 20"):
        raise_opset(model, 21)


@pytest.mark.parametrize("broken", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_answers_of_another_shape_or_not_finite_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(FormError, match=r"answers \[3, 2\]|not finite in row 0"):
        check_answers(broken, np.zeros((4, 2)))


IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from tests.unit.form_graphs import layers, numbers
from weighbridge.export.half import half
from weighbridge.export.quantize import int4, int8_dynamic, int8_static
from weighbridge.storage import sha256_file
folder = Path(sys.argv[1])
source = layers(folder / "source.onnx", zeros=0.5)
half(source, folder / "a.onnx")
int8_dynamic(source, folder / "b.onnx")
int8_static(source, folder / "c.onnx", numbers(count=100))
int4(source, folder / "d.onnx")
print(*(sha256_file(folder / f"{word}.onnx") for word in "abcd"))
"""


@pytest.mark.slow
def test_the_same_graph_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    found = set()
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=Path(__file__).parents[2])
        found.add(done.stdout)
        assert "WARNING" not in done.stderr  # the quantiser's advice is about what was done already
    assert len(found) == 1


# real networks


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_every_network_is_standard_smaller_and_near(kind: str, exported: Callable[[str], Path], tmp_path: Path) -> None:
    source, arrays = exported(kind), rows(kind)
    expected = answers(source, arrays)
    lean(source, tmp_path / "lean.onnx")
    assert check_answers(answers(tmp_path / "lean.onnx", arrays), expected) < 1e-6
    whole = (tmp_path / "lean.onnx").stat().st_size
    assert (tmp_path / "lean.onnx").read_bytes() == source.read_bytes()  # the exporter leaves nothing that could be left out
    limits = {
        "half": (0.62, 0.01),
        "int8_weights": (0.45, 0.1),
        "int8_dynamic": (0.45, 0.1),
        "int4": (0.4, 0.5),
        "int8_static": (0.45, 0.2),
    }
    forms = {**PLAIN, "int8_static": static(rows(kind, 200, seed=1))}
    for name, form in forms.items():
        if name == "int8_static" and kind == "lstm":  # no layer that it could compute
            with pytest.raises(FormError, match="no large linear layer"):
                form(source, tmp_path / "form.onnx")
            continue
        form(source, tmp_path / f"{name}.onnx")
        check_graph((tmp_path / f"{name}.onnx").read_bytes())
        apart = check_answers(answers(tmp_path / f"{name}.onnx", arrays), expected)
        size, most = (tmp_path / f"{name}.onnx").stat().st_size / whole, limits[name]
        assert size < most[0], (name, size)
        assert apart < most[1], (name, apart)


@pytest.mark.slow
def test_pixels_are_the_codes_of_a_grey_network_and_nothing_is_computed_in_floats(exported: Callable[[str], Path], tmp_path: Path) -> None:
    int8_static(exported("cnn"), tmp_path / "grey.onnx", rows("cnn", 200, seed=1))
    kinds = operators(tmp_path / "grey.onnx")
    assert not {"Cast", "Mul", "Add", "QuantizeLinear", "Conv", "MaxPool", "Relu", "ReduceMean"} & set(kinds)
    assert kinds["QLinearConv"] == 6
    int8_static(exported("photos"), tmp_path / "photos.onnx", rows("photos", 200, seed=1))
    kinds = operators(tmp_path / "photos.onnx")  # three channels of different scales: one QuantizeLinear, and no other between layers
    assert (kinds["QuantizeLinear"], kinds["QLinearConv"], kinds["Conv"]) == (1, 9, 0)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["number", "set"])
def test_forms_of_numbers_and_sets_are_near_too(target: str, tmp_path: Path) -> None:
    source, arrays = export("mlp", tmp_path / "source.onnx", target=target), rows("mlp")
    expected = answers(source, arrays)
    for name, form in {**PLAIN, "int8_static": static(rows("mlp", 200, seed=1))}.items():
        form(source, tmp_path / f"{name}.onnx")
        apart = check_answers(answers(tmp_path / f"{name}.onnx", arrays), expected)
        assert apart / (20 if target == "number" else 1) < 0.3, name
