"""Law: a baseline's graph says of every row what scikit-learn says, also where a value ties with a threshold, a category was never seen or
a text is empty; it reads the network's own inputs, needs standard operators only, and is the same file each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing_tables import SECTION, MemoryTable, schema, table
from tests.unit.runtime_packages import write_package
from weighbridge.errors import RefusedArtefact
from weighbridge.export.baselines import count_values, export_baseline
from weighbridge.export.nodes import Graph
from weighbridge.export.terms import aligned_codes, dense_terms, term_values
from weighbridge.models.baseline_inputs import Inputs, TextTerms, fit_inputs
from weighbridge.models.baselines import Fitted, fit_baseline
from weighbridge.preprocessing import Arrays, Block, Encoder, open_arrays, write_arrays
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.ragged import ragged
from weighbridge.runtime import Model
from weighbridge.runtime.graph import check_graph

ALL = ("trivial", "linear", "boosting")
WORDS = [f"w{number}" for number in range(40)]
INPUTS = {"size": "number", "weight": "number", "city": "category", "many": "category", "photo": "image", "note": "text", "seen": "date"}
TYPES = {"category": "category", "number": "number", "set": "set"}


def columns(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Every type of input with missing values, empty texts, and targets of each kind that follow from them; sizes tie (7 values)."""
    random = np.random.default_rng(seed)
    size, city = random.integers(0, 7, rows) / 4, random.integers(0, 12, rows)
    notes = [" ".join(random.choice(WORDS, int(random.integers(0, 9)))) for _ in range(rows)]
    photos = random.integers(0, 256, (rows, 30, 17, 3), dtype=np.uint8)  # averaged over squares of 3: two columns are cut
    score = size + (city % 3) - np.array(["w1 " in note for note in notes]) + random.normal(0, 0.3, rows)
    return {
        "size": np.where(random.random(rows) < 0.1, np.nan, size),
        "weight": random.normal(70, 20, rows),
        "city": objects([None if code == 11 else f"city {code}" for code in city]),
        "many": objects([f"code {code}" for code in random.integers(0, 60, rows)]),
        "photo": objects([*photos[:-1], None]),
        "note": objects(notes),
        "seen": np.datetime64("2026-01-01T00:00:00", "us") + random.integers(0, 10**13, rows).astype("timedelta64[us]"),
        "category": objects([("low", "mid", "high")[place] for place in np.digitize(score, [1.0, 2.0])]),
        "number": 1000 + 50 * score,
        "set": objects([tuple(name for name, cut in (("a", 1.0), ("b", 2.0)) if value > cut) for value in score]),
    }


def encoded(folder: Path, data: MemoryTable, target: str, inputs: dict[str, str] | None = None) -> tuple[Encoder, Arrays]:
    types = {**(INPUTS if inputs is None else inputs), target: TYPES[target]}
    encoder = Encoder.fit(data, schema(types, target), SECTION)
    write_arrays(folder, data, encoder)
    return encoder, open_arrays(folder)


def fitted(folder: Path, name: str, target: str, inputs: dict[str, str] | None = None) -> tuple[Fitted, Encoder, Arrays]:
    """A baseline of 240 rows, and 120 others."""
    encoder, arrays = encoded(folder, table(columns(360, seed=1)), target, inputs)
    train, others = arrays.copied(np.arange(240)), arrays.copied(np.arange(240, 360))
    return fit_baseline(name, encoder, train, others, seed=0), encoder, others


def answers(path: Path, encoder: Encoder, arrays: Arrays, size: int = 256) -> np.ndarray:
    """What the graph says, `size` rows at a time; texts are as long as the longest beside them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    parts = [arrays.subset(slice(start, start + size)) for start in range(0, len(arrays), size)]
    feeds = [{block.name: np.asarray(part.blocks[block.name]) for block in encoder.blocks} for part in parts]
    return np.concatenate([session.run(["output"], feed)[0] for feed in feeds])


def apart(path: Path, one: Fitted, encoder: Encoder, arrays: Arrays) -> float:
    """The largest difference of an output, in deviations of a number."""
    wanted, found = one.predict(arrays), answers(path, encoder, arrays)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / (encoder.learnt.std if encoder.learnt.kind == "number" else 1))


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("name", ALL)
def test_the_graph_answers_every_row_as_the_baseline_does_alone_and_in_company(tmp_path: Path, name: str, target: str) -> None:
    one, encoder, others = fitted(tmp_path / "rows", name, target)
    path = tmp_path / "model.onnx"
    export_baseline(one, encoder, path)
    check_graph(path.read_bytes())
    assert apart(path, one, encoder, others) < 1e-5
    together, alone = answers(path, encoder, others), answers(path, encoder, others, size=1)
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)
    assert together.dtype == (np.float64 if target == "number" else np.float32)
    if name != "trivial":
        shuffled = others.subset(np.random.default_rng(0).permutation(len(others)))
        assert np.abs(answers(path, encoder, shuffled) - one.predict(others)).max() > 0.1, "other rows have other answers"


@pytest.mark.parametrize("name", ALL)
def test_equal_baselines_are_equal_files_and_read_all_blocks_of_the_encoder(tmp_path: Path, name: str) -> None:
    contents = []
    for place in ("first", "second"):
        one, encoder, _ = fitted(tmp_path / place, name, "category")
        export_baseline(one, encoder, tmp_path / f"{place}.onnx")
        contents.append((tmp_path / f"{place}.onnx").read_bytes())
    assert contents[0] == contents[1]
    session = onnxruntime.InferenceSession(contents[0], providers=["CPUExecutionProvider"])
    found = {value.name: value.type for value in session.get_inputs()}
    assert found == {
        block.name: f"tensor({block.dtype.replace('32', '') if 'float' in block.dtype else block.dtype})" for block in encoder.blocks
    }
    assert [value.name for value in session.get_outputs()] == ["output"]


def test_a_baseline_is_a_package_like_any_other_and_answers_raw_rows(tmp_path: Path) -> None:
    import onnx

    data = table(columns(360, seed=1))
    one, encoder, _ = fitted(tmp_path / "rows", "boosting", "category")
    export_baseline(one, encoder, tmp_path / "model.onnx")
    write_package(tmp_path / "package", encoder, data.columns, model=onnx.load(str(tmp_path / "model.onnx")))
    model = Model.load(tmp_path / "package", threads=1)
    raw = {name: data.columns[name][240:] for name in INPUTS}
    write_arrays(tmp_path / "raw", MemoryTable({**raw, "category": data.columns["category"][240:]}, data.row_ids[240:]), encoder)
    np.testing.assert_allclose(model.outputs(raw, 120), one.predict(open_arrays(tmp_path / "raw")), atol=1e-6)


def test_a_value_next_to_a_threshold_falls_on_the_side_where_scikit_learn_puts_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = table({"size": random.normal(size=600), "weight": random.integers(0, 3, 600).astype(float), "number": random.normal(size=600)})
    encoder, arrays = encoded(tmp_path / "rows", data, "number", {"size": "number", "weight": "number"})
    one = fit_baseline("boosting", encoder, arrays, arrays, seed=0)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    nodes = np.concatenate([tree.nodes for trees in one.models[0]._predictors for tree in trees])
    inner = nodes[(nodes["is_leaf"] == 0) & np.isfinite(nodes["num_threshold"]) & (nodes["feature_idx"] == 0)]
    exact = inner["num_threshold"]
    nearest = exact.astype(np.float32)
    beside = np.concatenate([nearest, np.nextafter(nearest, np.float32(9)), np.nextafter(nearest, np.float32(-9)), [np.float32("nan")]])
    numbers = np.stack([beside, np.full(len(beside), arrays.blocks["number"][0, 1])], axis=1).astype(np.float32)
    rows = Arrays(blocks={"number": numbers}, target=None, stored_ids=np.zeros(len(numbers), "S1"))
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", encoder, rows), one.predict(rows), rtol=0, atol=1e-9)
    assert (nearest.astype(float) > exact).any(), "thresholds rounded to the nearest float32 would send this very value left"


@pytest.mark.parametrize("target", TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_boosting_sends_what_is_missing_where_scikit_learn_does(tmp_path: Path, seed: int, target: str) -> None:
    encoder, arrays = encoded(
        tmp_path / "rows", table(columns(600, seed)), target, {"size": "number", "weight": "number", "city": "category"}
    )
    random, numbers = np.random.default_rng(seed), np.array(arrays.blocks["number"])
    low = arrays.blocks["category"][:, 0] % 2 == 0
    numbers[random.random(numbers.shape) < np.where(low, 0.4, 0.05)[:, None]] = np.nan
    arrays = Arrays(blocks={**arrays.blocks, "number": numbers}, target=arrays.target, stored_ids=arrays.stored_ids)
    one = fit_baseline("boosting", encoder, arrays.subset(slice(0, 400)), arrays.subset(slice(400, None)), seed=seed)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-6
    filled = Arrays(blocks={**arrays.blocks, "number": np.nan_to_num(numbers)}, target=None, stored_ids=arrays.stored_ids)
    assert np.abs(one.predict(filled) - one.predict(arrays)).max() > 1e-3, "to be missing is not to be zero here"


@pytest.mark.parametrize("codes", [3, 31, 32, 64, 200, 400])
@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_every_category_seen_or_not_in_training_is_answered_as_scikit_learn_does(tmp_path: Path, name: str, codes: int) -> None:
    random = np.random.default_rng(codes)
    effect, code = random.normal(size=codes), np.concatenate([np.arange(codes)] * 2 + [random.integers(0, codes, 1500)])
    kinds = {"category": objects([("no", "yes")[int(effect[one] > 0)] for one in code]), "city": objects([f"{one:03}" for one in code])}
    encoder, arrays = encoded(tmp_path / "rows", table(kinds), "category", {"city": "category"})
    unseen = encoder.blocks[0].cardinalities[0] // 3
    kept = np.flatnonzero(arrays.blocks["category"][:, 0] != unseen)
    one = fit_baseline(name, encoder, arrays.subset(kept), arrays.subset(kept), seed=0)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    every = np.arange(encoder.blocks[0].cardinalities[0], dtype=np.int32)[:, None]
    rows = Arrays(blocks={"category": every}, target=None, stored_ids=np.zeros(len(every), "S1"))
    np.testing.assert_allclose(answers(tmp_path / "model.onnx", encoder, rows), one.predict(rows), atol=1e-6)
    if name == "boosting" and codes in (31, 64, 200):
        sets = sum(int(tree.nodes["is_categorical"].sum()) for trees in one.models[0]._predictors for tree in trees)
        assert sets > 5, "splits of categories are what is tried here"
        assert roots_like_a_leaf(tmp_path / "model.onnx") == [], "onnxruntime up to 1.23.0 would answer otherwise"


def roots_like_a_leaf(path: Path) -> list[int]:
    """The roots whose children have one number, where one is a split and the other is a leaf."""
    import onnx

    (node,) = (node for node in onnx.load(str(path)).graph.node if node.op_type == "TreeEnsemble")
    held = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    yes, no = (list(zip(held[f"nodes_{side}nodeids"], held[f"nodes_{side}leafs"], strict=True)) for side in ("true", "false"))
    return [root for root in held["tree_roots"] if yes[root][0] == no[root][0] and yes[root] != no[root]]


@pytest.mark.parametrize("rows", [30, 300])
def test_a_tree_that_is_one_leaf_adds_it_to_every_row(tmp_path: Path, rows: int) -> None:
    encoder, arrays = encoded(tmp_path / "rows", table(columns(rows, seed=4)), "category", {"size": "number", "city": "category"})
    one = fit_baseline("boosting", encoder, arrays, arrays, seed=0)
    trees = [tree for trees in one.models[0]._predictors for tree in trees]
    assert all(len(tree.nodes) == 1 for tree in trees) == (rows == 30), "under 40 rows nothing is split"
    for place, tree in enumerate(trees[:5]):
        tree.nodes = tree.nodes[tree.nodes["is_leaf"] == 1][:1].copy()
        tree.nodes["value"] = 0.5 + place
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-6
    assert count_values(one) >= len(trees) + 3


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_a_class_that_no_training_row_has_keeps_its_column_and_gets_nothing(tmp_path: Path, name: str, classes: int) -> None:
    random = np.random.default_rng(0)
    code = random.integers(0, classes + 1, 400)
    data = table({"size": code + random.normal(0, 0.5, 400), "category": objects([f"class {one}" for one in code])})
    encoder, arrays = encoded(tmp_path / "rows", data, "category", {"size": "number"})
    kept = np.flatnonzero(arrays.target != 1)
    one = fit_baseline(name, encoder, arrays.subset(kept), arrays.subset(kept), seed=0)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-5
    assert answers(tmp_path / "model.onnx", encoder, arrays)[:, 1].max() == 0


@pytest.mark.parametrize("constant", [(1,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("name", ALL)
def test_a_label_that_all_or_no_training_rows_have_is_answered_by_its_share(tmp_path: Path, name: str, constant: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    size = random.normal(size=300)
    data = table({"size": size, "set": objects([("a", "b") if one > 0 else ("c",) for one in size])})
    encoder, arrays = encoded(tmp_path / "rows", data, "set", {"size": "number"})
    target = np.array(arrays.target)
    for place in constant:
        target[:, place] = place % 2
    arrays = Arrays(blocks=arrays.blocks, target=target, stored_ids=arrays.stored_ids)
    one = fit_baseline(name, encoder, arrays, arrays, seed=0)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-5
    assert set(answers(tmp_path / "model.onnx", encoder, arrays)[:, 1]) == {1.0}


VOCABULARY = 12
TEXTS = st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=9), min_size=1, max_size=8)


def padded(rows: list[list[int]]) -> np.ndarray:
    width = max(1, max(map(len, rows)))
    return np.array([row + [0] * (width - len(row)) for row in rows], np.int32)


def terms_of(rows: np.ndarray, longest_run: int) -> TextTerms:
    from weighbridge.models.baseline_inputs import _fit_terms

    return _fit_terms(ragged(rows), longest_run, VOCABULARY, 0)


def of_texts(path: Path, terms: TextTerms, kind: str) -> Any:
    """A session that gives TextTerms.dense (`dense`), the plain TF-IDF (`plain`) or `places` of padded tokens."""
    from dataclasses import replace

    graph, block = Graph(), Block(name="text.t", kind="text", shape=(9,), dtype="int32", columns=("t",), cardinalities=(VOCABULARY,))
    if kind == "places":
        graph.save(path, [block], graph.cast(aligned_codes(graph, block.name, terms.places), np.float32), terms.places)
    else:
        form = replace(terms, directions=None) if kind == "plain" else terms
        width = len(terms.terms) if form.directions is None else form.directions.n_components
        graph.save(path, [block], dense_terms(graph, term_values(graph, block.name, form, 9), form), width)
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


@settings(max_examples=25, deadline=None)
@given(known=TEXTS, asked=TEXTS, longest_run=st.sampled_from([2, 3]))
def test_the_terms_of_any_texts_weigh_bit_by_bit_what_they_weigh_for_the_fitted_baseline(
    tmp_path_factory: pytest.TempPathFactory, known: list[list[int]], asked: list[list[int]], longest_run: int
) -> None:
    terms = terms_of(padded(known), longest_run)
    session = of_texts(tmp_path_factory.getbasetemp() / "terms.onnx", terms, "plain")
    for rows in (known, asked):
        wanted = np.asarray(terms.sparse(ragged(padded(rows))).todense())
        np.testing.assert_array_equal(session.run(["output"], {"text.t": padded(rows)})[0], wanted)


def test_runs_never_reach_over_a_code_that_is_no_token(tmp_path: Path) -> None:
    terms = terms_of(np.array([[3, 4, 0], [3, 4, 0]], np.int32), 2)
    session = of_texts(tmp_path / "terms.onnx", terms, "plain")
    whole, parted = (session.run(["output"], {"text.t": np.array([row], np.int32)})[0] for row in ([3, 4, 0], [3, 1, 4]))
    assert ((whole > 0).sum(), (parted > 0).sum()) == (3, 2), "3, 4 and 3 4; then 3 and 4 alone"


def test_directions_are_summed_in_the_order_of_scipy_so_that_a_tie_with_a_threshold_stays_one(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = padded([random.integers(3, VOCABULARY, int(random.integers(0, 10))).tolist() for _ in range(300)])
    terms = terms_of(rows, 2)
    wanted = terms.dense(ragged(rows))
    np.testing.assert_array_equal(of_texts(tmp_path / "terms.onnx", terms, "dense").run(["output"], {"text.t": rows})[0], wanted)
    blas = np.asarray(terms.sparse(ragged(rows)).todense()) @ terms.directions.components_.T
    assert (blas != wanted).mean() > 0.1, "a sum in another order has other last bits"


def test_tokens_stand_at_their_places_however_long_the_rows_beside_them_are(tmp_path: Path) -> None:
    terms = terms_of(np.full((4, 5), 3, np.int32), 2)
    assert terms.places == 5
    session = of_texts(tmp_path / "places.onnx", terms, "places")
    for rows in ([[7]], [[3, 4, 5, 6, 7, 8, 9], [5]], [[], [4, 4]]):
        np.testing.assert_array_equal(session.run(["output"], {"text.t": padded(rows)})[0], terms.aligned(ragged(padded(rows))))


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_aligned_strings_of_few_letters_are_answered_alike(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    strands = ["".join(random.choice(list("ACGT"), 12)) for _ in range(400)]
    data = table({"strand": objects(strands), "category": objects(["yes" if one[4] in "AC" else "no" for one in strands])})
    encoder, arrays = encoded(tmp_path / "rows", data, "category", {"strand": "text"})
    one = fit_baseline(name, encoder, arrays.subset(slice(0, 300)), arrays.subset(slice(300, None)), seed=0)
    assert one.inputs is not None
    assert one.inputs.texts["text.strand"].places == 12
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-5
    assert (answers(tmp_path / "model.onnx", encoder, arrays).argmax(1) == arrays.target).mean() > 0.97


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_texts_that_are_all_empty_are_answered(tmp_path: Path, name: str) -> None:
    data = table({"note": objects([""] * 60), "size": np.arange(60.0), "number": np.arange(60.0)})
    encoder, arrays = encoded(tmp_path / "rows", data, "number", {"note": "text", "size": "number"})
    one = fit_baseline(name, encoder, arrays, arrays, seed=0)
    export_baseline(one, encoder, tmp_path / "model.onnx")
    assert apart(tmp_path / "model.onnx", one, encoder, arrays) < 1e-5


def test_the_numbers_of_a_baseline_are_counted_as_one_can_by_hand(tmp_path: Path) -> None:
    inputs = {"size": "number", "city": "category"}
    trivial, encoder, _ = fitted(tmp_path / "trivial", "trivial", "category", inputs)
    assert count_values(trivial) == 3
    linear, _, _ = fitted(tmp_path / "linear", "linear", "category", inputs)
    width = sum(block.shape[0] if block.kind == "number" else sum(block.cardinalities) for block in encoder.blocks)
    assert count_values(linear) == 3 * (width + 1)
    boosting, _, _ = fitted(tmp_path / "boosting", "boosting", "category", inputs)
    trees = [tree for trees in boosting.models[0]._predictors for tree in trees]
    leaves = sum(tree.get_n_leaf_nodes() for tree in trees)
    assert count_values(boosting) == leaves + 2 * (leaves - len(trees)) + 3, "a tree has one split less than leaves"
    worded, _, _ = fitted(tmp_path / "worded", "boosting", "category", {**inputs, "note": "text"})
    assert worded.inputs is not None
    assert count_values(worded) > worded.inputs.texts["text.note"].directions.components_.size


def test_what_can_not_be_a_graph_is_refused_by_name_and_leaves_no_file(tmp_path: Path) -> None:
    from dataclasses import replace

    one, encoder, _ = fitted(tmp_path / "rows", "linear", "category", {"size": "number", "note": "text"})
    assert one.inputs is not None
    foreign = replace(one, models=(object(),))
    huge = replace(one, inputs=_with_vocabulary(one.inputs, 1 << 40))
    one.models[0].coef_[0, 0] = np.inf
    for bad, why in ((foreign, "no graph is known for object"), (huge, "64 bits"), (one, "not finite")):
        with pytest.raises(RefusedArtefact, match=why):
            export_baseline(bad, encoder, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def _with_vocabulary(inputs: Inputs, vocabulary: int) -> Inputs:
    from dataclasses import replace

    return replace(inputs, texts={name: replace(terms, vocabulary=vocabulary) for name, terms in inputs.texts.items()})


def test_columns_are_counted_as_the_rows_for_boosting_have_them(tmp_path: Path) -> None:
    encoder, arrays = encoded(tmp_path / "rows", table(columns(200, seed=2)), "category")
    inputs = fit_inputs(encoder, arrays, np.arange(200), seed=0)
    rows, codes = inputs.boosting(arrays), np.array(inputs.codes())
    assert rows.shape[1] == len(codes)
    assert ((rows < codes) | (codes == 0)).all()
    assert inputs.categorical() == [0 < count <= 255 for count in codes]
