"""Law: a part that the model reads is named, one that it does not read has no weight; an explanation that does not hold is said to fail;
what a model has no weights or libraries for is said, while the rest goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.unit.preprocessing_tables import MemoryTable, mixed, schema, table
from weighbridge import training
from weighbridge.audit import Subject, Unmeasured, explain_gradients, explain_measure, explanation
from weighbridge.audit import controls_explanation as planted
from weighbridge.audit import controls_explanation_networks as networks
from weighbridge.audit import explain_checks as checks
from weighbridge.audit.explain_attention import rollout
from weighbridge.audit.explain_gradients import gradients, redrawn
from weighbridge.audit.explain_importance import MOST_COLUMNS, importances, screened
from weighbridge.audit.explain_methods import shapley
from weighbridge.errors import DependencyError
from weighbridge.evaluation import predictions_of
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Finding, by_key
from weighbridge.models.registry import DIAL, NetworkSpec, build_network
from weighbridge.preprocessing import Arrays, Encoder, TargetFeature, arrays_of
from weighbridge.preprocessing.feature import objects
from weighbridge.recipe import parse_recipe
from weighbridge.recipe.schema import PreprocessingSection
from weighbridge.runtime.curves import curves, lead, order_of
from weighbridge.runtime.explained import Explained
from weighbridge.runtime.occlusion import occlusion
from weighbridge.runtime.parts import RUNS, SQUARES, background_of, blank, layout_of, row_of, runs, squares, switched
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

WORDS = "good bad fine poor dull bright".split()
NUMBER = TargetFeature(kind="number", column="y", mean=10.0, std=4.0, rows=2)
LABELS = TargetFeature(kind="set", column="y", classes=("a", "b"), counts=(1, 1), rows=2)


@pytest.fixture(scope="module")
def all_kinds() -> tuple[Encoder, Arrays]:
    """Rows with a column of every type, some without their text or picture."""
    rows, known = mixed(40)
    random = np.random.default_rng(4)
    notes = objects([None if place == 3 else " ".join(random.choice(WORDS, 1 + place % 9)) for place in range(40)])
    columns = {**rows.columns, "note": notes}
    types = {**{column.name: column.type for column in known.columns}, "note": "text"}
    section = PreprocessingSection.model_validate({"text": {"tokens": "word"}})
    encoder = Encoder.fit(table(columns), schema(types, "label"), section)
    arrays = arrays_of(encoder, columns)
    return encoder, replace(arrays, target=encoder.encode_target(columns["label"]), stored_ids=table(columns).row_ids)


def before(encoder: Encoder, arrays: Arrays, answer: Callable[[Arrays], np.ndarray]) -> Explained:
    return Explained.of(encoder, answer, arrays, background_of(encoder, arrays, np.arange(min(6, len(arrays)))))


def network_of(encoder: Encoder, kind: str, **more: Any) -> nn.Module:
    torch.manual_seed(5)
    outputs = 1 if encoder.learnt.kind == "number" else len(encoder.learnt.classes)
    network = build_network(NetworkSpec(type=kind, blocks=encoder.blocks, outputs=outputs, sizes=DIAL["xs"], **more))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.eval()


def answering(network: nn.Module, encoder: Encoder) -> Callable[[Arrays], np.ndarray]:
    return partial(training.forward_all, training.Deployable(network, encoder.learnt).eval())


# parts


def test_a_row_with_every_part_kept_is_the_row_and_without_any_it_is_what_stands_for_nothing(all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    background = background_of(encoder, arrays, np.arange(6))
    for place in (0, 3, 39):
        row = row_of(arrays, place)
        layout = layout_of(encoder, row)
        made = switched(encoder, row, layout, np.array([[True] * len(layout), [False] * len(layout)]), background)
        assert len(made) == 12
        for block in encoder.blocks:
            values = made.blocks[block.name]
            assert all(np.array_equal(values[one], row[block.name]) for one in range(6)), block.name
            if block.kind in ("number", "category"):
                assert np.array_equal(values[6:], background[block.name])
            elif block.kind == "image":
                assert (values[6:] == blank(block)).all()
            elif block.kind == "text":
                assert (values[6] == block.hidden).all()
                assert len(values[6]) == len(row[block.name])
            else:
                assert (values[6:] == row[block.name]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 39), st.integers(0, 2**32))
def test_switching_a_part_changes_nothing_that_belongs_to_another(all_kinds: tuple[Encoder, Arrays], place: int, seed: int) -> None:
    encoder, arrays = all_kinds
    row = row_of(arrays, place)
    layout = layout_of(encoder, row)
    keep = np.random.default_rng(seed).random((1, len(layout))) < 0.5
    made = switched(encoder, row, layout, keep, background_of(encoder, arrays, np.arange(6)))
    for name, owner in layout.owner.items():
        values = np.asarray(made.blocks[name][0:1])[0][: len(row[name])]
        assert np.array_equal(values[keep[0][owner]], row[name][keep[0][owner]])


def test_every_raw_column_is_one_part_whatever_it_is_encoded_to(all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    layout = layout_of(encoder, row_of(arrays, 0))
    names = [part.column for part in layout.parts if part.block in ("number", "category")]
    assert sorted(names) == ["age", "city", "seen", "tags"]
    assert len(layout.owner["number"]) > 5  # a date and a set are many numbers


@given(st.integers(1, 400), st.integers(1, 400))
def test_pictures_and_texts_of_any_size_have_few_parts(height: int, width: int) -> None:
    down, across = squares((height, width, 3))
    assert max(down.max(), across.max()) < SQUARES
    assert runs(height).max() < RUNS
    assert (np.diff(runs(height)) >= 0).all()


@pytest.mark.parametrize("kind", ["word", "bpe", "character"])
@pytest.mark.parametrize(
    "text", ["good film, bad end", "  spaces   and\ttabs ", "\u597d\u7535\u5f71\uff0c\u4e0d\u597d", "caf\u00e9 \U0001f600 x", "", None]
)
def test_every_token_of_a_text_knows_where_it_stands_in_it(kind: str, text: str | None) -> None:
    section = PreprocessingSection.model_validate({"text": {"tokens": kind}})
    columns = {"t": objects(["good film, bad end", "caf\u00e9 \U0001f600", "\u597d\u7535\u5f71"] * 3), "y": objects(["a", "b", "a"] * 3)}
    encoder = Encoder.fit(table(columns), schema({"t": "text", "y": "category"}, "y"), section)
    feature: Any = encoder.features[0]
    shown, spans = feature.spans(text)
    codes = feature.encode(objects([text]))[0]
    assert len(spans) == int((codes != 0).sum())
    assert all(0 <= start < stop <= len(shown) for start, stop in spans)
    assert all(one[0] <= other[0] for one, other in pairwise(spans))


# black boxes


def test_occlusion_of_a_linear_model_is_weight_times_distance_from_the_background() -> None:
    random = np.random.default_rng(0)
    encoder, arrays = planted.of_columns(random, 5, 4)
    weights = np.array([1.0, -2.0, 0.5, 0.0])
    rows = planted.explained(encoder, lambda part: planted.two_classes(np.asarray(part.blocks["number"]) @ weights), arrays, random)
    apart = np.asarray(arrays.blocks["number"]) - rows.background["number"].mean(0)
    sign = np.where(rows.choice == 1, 1, -1)[:, None]
    assert np.stack(occlusion(rows)) == pytest.approx(sign * weights * apart, abs=1e-5)


@pytest.mark.slow
def test_shapley_values_sum_to_the_answer_minus_the_answer_without_any_part() -> None:
    random = np.random.default_rng(0)
    encoder, arrays = planted.of_columns(random, 3, 4)

    def answer(part: Arrays) -> np.ndarray:
        x = np.asarray(part.blocks["number"])
        return planted.two_classes(x[:, 0] * x[:, 1] + x[:, 2])

    rows = planted.explained(encoder, answer, arrays, random)
    for place, found in enumerate(shapley(rows, seed=0)):
        full, none = rows.answers(place, np.array([[True] * 4, [False] * 4])).strength
        assert found.sum() == pytest.approx(full - none, abs=1e-4)
        assert found[3] == 0


def test_a_number_is_explained_in_the_direction_in_which_its_answer_lies() -> None:
    random = np.random.default_rng(0)
    encoder, arrays = planted.of_columns(random, 20, 3)
    encoder = replace(encoder, target=NUMBER)
    rows = planted.explained(encoder, lambda part: 10 - 8 * np.asarray(part.blocks["number"])[:, 0], arrays, random)
    for place, found in enumerate(occlusion(rows)):
        assert found[0] >= 0
        assert rows.answers(place, np.ones((1, 3), bool)).strength[0] == pytest.approx(found[0])
        assert rows.answers(place, np.zeros((1, 3), bool)).strength[0] == pytest.approx(0, abs=1e-9)


def test_odds_stay_exact_where_a_model_is_nearly_sure() -> None:
    random = np.random.default_rng(0)
    encoder, arrays = planted.of_columns(random, 1, 2)

    def answer(part: Arrays) -> np.ndarray:
        odds = np.asarray(part.blocks["number"], np.float64)[:, 0] * 0 + 20
        return np.stack([np.exp(-odds) / (1 + np.exp(-odds)), 1 / (1 + np.exp(-odds))], 1).astype(np.float32)

    rows = planted.explained(encoder, answer, arrays, random)
    assert rows.answers(0, np.ones((1, 2), bool)).strength[0] == pytest.approx(20, rel=1e-6)


# checks


def test_areas_of_two_parts_are_what_one_counts_by_hand() -> None:
    def shares(keep: np.ndarray) -> np.ndarray:
        return np.asarray(keep @ np.array([0.6, 0.2]) + 0.2)

    best, worst = curves(shares, np.array([[0, 1], [1, 0]]))
    assert (best.deletion, best.insertion) == pytest.approx(((1 + 0.4) / 4 + (0.4 + 0.2) / 4, (0.2 + 0.8) / 4 + (0.8 + 1) / 4))
    assert lead(best, [worst]) == pytest.approx(0.2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=40), st.integers(0, 1000))
def test_no_order_of_an_additive_model_leads_the_true_one(weights: list[float], seed: int) -> None:
    weight = np.array(weights)
    random = np.random.default_rng(seed)
    orders = np.stack([order_of(weight, random), random.permutation(len(weight)), random.permutation(len(weight))])
    true, *others = curves(lambda keep: np.asarray(keep @ weight), orders)
    assert lead(true, others) >= -1e-9
    assert lead(true, [true]) == 0


def test_an_explanation_that_ranks_nothing_gets_a_random_order() -> None:
    found = {tuple(order_of(np.zeros(5), np.random.default_rng(seed))) for seed in range(20)}
    assert len(found) > 10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=5, max_size=30), st.integers(0, 1000))
def test_rank_correlation_is_spearmans(values: list[int], seed: int) -> None:
    from scipy.stats import spearmanr

    one, other = np.array(values, float), np.random.default_rng(seed).integers(0, 4, len(values)).astype(float)
    found = checks.rank_correlation(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic, abs=1e-9)


def test_what_chance_would_rank_is_not_ranked() -> None:
    assert np.isnan(checks.rank_correlation(np.arange(4.0), np.arange(4.0)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=3, max_size=30))
def test_the_interval_of_single_rows_is_students(values: list[float]) -> None:
    from scipy.stats import ttest_1samp

    found = checks.mean_over(np.array(values))
    assert found.interval[0] <= found.value <= found.interval[1]
    if np.ptp(values) > 1e-6:
        wanted = ttest_1samp(values, 0).confidence_interval(0.95)
        assert found.interval == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-6)


def test_rows_of_one_group_and_repeats_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(size=10), 10)
    alone, grouped = checks.mean_over(values), checks.mean_over(values, np.repeat(np.arange(10), 10))
    assert np.ptp(grouped.interval) > 2 * np.ptp(alone.interval)
    shared = random.normal(size=(40, 1)) * 0.1 + random.normal(size=5)
    assert np.ptp(checks.mean_over(shared).interval) > 5 * np.ptp(checks.mean_over(shared.mean(1)).interval)


@pytest.mark.parametrize(
    ("judge", "holds", "fails", "open_"),
    [
        (checks.faithful, (0.01, 0.3), (-0.1, 0.009), (-0.01, 0.2)),
        (checks.follows_weights, (-0.1, 0.4), (0.6, 0.9), (0.3, 0.7)),
        (checks.agrees, (0.4, 0.9), (-0.1, 0.2), (0.2, 0.5)),
        (checks.complete, (0.0, 0.04), (0.06, 0.2), (0.01, 0.2)),
    ],
)
def test_a_verdict_needs_the_whole_interval(judge: Any, holds: Any, fails: Any, open_: Any) -> None:
    def mean(interval: tuple[float, float]) -> checks.Mean:
        return checks.Mean(value=sum(interval) / 2, interval=interval, n=10)

    assert [judge(mean(interval)) for interval in (holds, fails, open_)] == ["holds", "fails", "open"]


# gradients


@pytest.mark.parametrize("kind", ["linear", "mlp", "cnn", "transformer", "rnn"])
def test_integrated_gradients_of_every_network_sum_to_its_answer_over_all_inputs(kind: str, all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    network = network_of(encoder, kind)
    rows = before(encoder, arrays.subset(slice(0, 12)), answering(network, encoder))
    found = gradients(network, rows, steps=64)
    left_out = np.abs(found.summed - found.wanted).mean() / np.abs(found.wanted).mean()
    assert left_out < 0.05
    by_part = np.array([one.sum() for one in found.integrated])
    assert by_part == pytest.approx(found.summed, abs=1e-4 * np.abs(found.summed).max())
    for name in ("number", "category", "image.photo", "text.note"):
        assert any(one[layout.of(name)].any() for one, layout in zip(found.integrated, rows.layouts, strict=True)), f"{name} has weight"


@pytest.mark.parametrize("target", [NUMBER, LABELS])
def test_numbers_and_labels_are_explained_by_gradients(target: TargetFeature) -> None:
    encoder, arrays = planted.of_columns(np.random.default_rng(0), 6, 5)
    encoder = replace(encoder, target=target)
    network = network_of(encoder, "linear")
    rows = before(encoder, arrays, answering(network, encoder))
    found = gradients(network, rows)
    assert np.stack(found.integrated) == pytest.approx(np.stack(found.times_input), abs=1e-4)
    assert np.stack(occlusion(rows)) == pytest.approx(np.stack(found.integrated), abs=1e-3)


@pytest.mark.slow
def test_the_tokens_of_a_pretrained_encoder_are_recognised(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.unit.pretrained_sources import recipe_of, text_source
    from weighbridge import data, preprocessing

    recipe = parse_recipe(recipe_of(tmp_path, text_source(tmp_path / "source")))
    data.prepare(recipe.data, seed=3, folder=tmp_path / "data", command="x")
    preprocessing.prepare(recipe.preprocessing, data=data.open_data(tmp_path / "data"), folder=tmp_path / "arrays", command="x")
    encoder = Encoder.from_json(json.loads((tmp_path / "arrays" / "encoder.json").read_text()))
    spec = training.network_spec(recipe.training, encoder)
    torch.manual_seed(0)
    network = build_network(spec).eval()
    rows = before(encoder, preprocessing.open_arrays(tmp_path / "arrays" / "validation").subset(slice(0, 6)), answering(network, encoder))
    found = gradients(network, rows, steps=64)
    text = next(block.name for block in encoder.blocks if block.kind == "text")
    assert all(one[layout.of(text)].any() for one, layout in zip(found.integrated, rows.layouts, strict=True))
    assert np.abs(found.summed - found.wanted).mean() < 0.05 * np.abs(found.wanted).mean()


def test_no_hook_is_left_on_a_network(all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    network = network_of(encoder, "transformer")
    rows = before(encoder, arrays.subset(slice(0, 4)), answering(network, encoder))
    gradients(network, rows, steps=2)
    rollout(network, rows)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


@pytest.mark.parametrize("kind", ["linear", "mlp", "cnn", "transformer", "rnn"])
def test_every_weight_is_drawn_anew_and_the_seed_says_how(kind: str, all_kinds: tuple[Encoder, Arrays]) -> None:
    network = network_of(all_kinds[0], kind)
    one, again, other = redrawn(network, 1), redrawn(network, 1), redrawn(network, 2)
    changed = 0
    for (name, before_), (_, a), (_, b), (_, c) in zip(
        network.named_parameters(), one.named_parameters(), again.named_parameters(), other.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
        if before_.numel() > 2 and "norm" not in name and not torch.equal(a, c):
            changed += 1
            assert not torch.equal(before_, a), name
    assert changed >= 2


def test_attention_reaches_the_tokens_that_are_held_and_no_others(all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    network = network_of(encoder, "transformer")
    rows = before(encoder, arrays, answering(network, encoder))
    for one in rollout(network, rows):
        assert (one >= 0).all()
        assert 0.1 < one.sum() < 1  # the rest is the answer's own token


# importance


def told(encoder: Encoder, arrays: Arrays, answer: Callable[[Arrays], np.ndarray], columns: list[str]) -> dict[str, Any]:
    return {one.column: one.rise for one in importances(answer, encoder, arrays, columns, None, 0)}


def test_a_raw_column_is_shuffled_with_all_that_it_is_encoded_to(all_kinds: tuple[Encoder, Arrays]) -> None:
    encoder, arrays = all_kinds
    truth = np.arange(40) % 2
    arrays = replace(arrays, target=truth)
    for column in ("age", "city", "seen", "tags", "photo", "note"):
        names = [block.name for block in encoder.blocks if column in block.columns]

        def answer(part: Arrays, names: list[str] = names) -> np.ndarray:
            same = np.ones(40, bool)
            for name in names:
                for place in range(40):
                    same[place] &= np.array_equal(part.blocks[name][place], arrays.blocks[name][place])
            return planted.two_classes(np.where(same, 1.0, -1.0) * np.where(truth == 1, 5, -5))

        found = told(encoder, arrays, answer, ["age", "city", "seen", "tags", "photo", "note"])
        assert found[column].value > 0.1
        shared = {"age", "seen", "tags"} if column in ("age", "seen", "tags") else {column}
        assert all(rise.value == 0 for name, rise in found.items() if name not in shared)


def test_of_a_wide_table_the_columns_that_matter_are_measured() -> None:
    random = np.random.default_rng(0)
    encoder, arrays = planted.of_columns(random, 200, 60)
    values = np.asarray(arrays.blocks["number"])
    arrays = replace(arrays, target=(values[:, 55] > 0).astype(int))
    kept = screened(lambda part: planted.two_classes(9 * np.asarray(part.blocks["number"])[:, 55]), encoder, arrays, 0)
    assert len(kept) == MOST_COLUMNS
    assert "x55" in kept


# the audit


@dataclass(frozen=True, kw_only=True)
class Planted(Subject):
    """A subject whose network is given."""

    net: nn.Module | None = None

    def network(self) -> nn.Module:
        return super().network() if self.net is None else self.net


def subject_of(
    folder: Path, encoder: Encoder, arrays: Arrays, answer: Callable[[Arrays], np.ndarray], columns: dict[str, np.ndarray],
    net: nn.Module | None = None, groups: np.ndarray | None = None,
) -> Planted:  # fmt: skip
    ids = np.array([f"{place:04d}" for place in range(len(arrays))])
    arrays = replace(arrays, stored_ids=ids.astype("S"))
    said = predictions_of(answer(arrays), arrays, encoder, split="test", groups=groups)
    kept: Any = SimpleNamespace(network="", name="boosting")
    recipe = parse_recipe({"name": "planted", "data": {"source": "x.csv", "target": "y"}})
    return Planted(
        recipe=recipe, folder=folder, chosen=SimpleNamespace(), kept=kept, splits=SimpleNamespace(), test=MemoryTable(columns, ids),  # type: ignore[arg-type]
        arrays=dict.fromkeys(("train", "validation", "test"), arrays), encoder=encoder, said={"test": said}, answer=answer,
        how=Resampling(resamples=200), command="weigh audit RUN", progress=silent, stop=StopRequest(), net=net,
    )  # fmt: skip


def tabular(folder: Path, n: int = 60, count: int = 6, answer: Callable[[Arrays], np.ndarray] | None = None, **more: Any) -> Planted:
    """Return a subject whose class is whether x0 is above 0, with a model that knows it."""
    encoder, arrays = planted.of_columns(np.random.default_rng(1), n, count)
    values = np.asarray(arrays.blocks["number"])
    arrays = replace(arrays, target=(values[:, 0] > 0).astype(np.int64))
    columns = {f"x{place}": values[:, place].astype(np.float64) for place in range(count)}
    known = answer or (lambda part: planted.two_classes(4 * np.asarray(part.blocks["number"])[:, 0]))
    return subject_of(folder, encoder, arrays, known, columns, **more)


@pytest.fixture
def no_shap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapley values are as if not installed: loading the library takes longer than all else here."""

    def missing() -> Any:
        raise DependencyError("Shapley values need shap", do="pip install 'weighbridge[audit]'")

    monkeypatch.setattr("weighbridge.audit.explain_methods.shap", missing)


def of(found: list[Finding], key: str) -> Finding:
    finding = by_key(found, f"audit.explanation.{key}")
    assert finding is not None, f"{key} is none of {[one.key for one in found]}"
    return finding


def sound(found: list[Finding]) -> None:
    """Every figure names its method and the command that measures it again; keys differ."""
    assert len({one.key for one in found}) == len(found)
    for one in found:
        assert "--only explanation" in one.command, one.key
        assert one.verdict == "unmeasured" or one.method.template, one.key


def test_a_black_box_is_explained_by_its_answers_and_says_that_it_has_no_gradients(tmp_path: Path, no_shap: None) -> None:
    found = explanation.explanation(tabular(tmp_path))
    sound(found)
    assert of(found, "held").verdict == "advantage"
    assert "occlusion" in str(of(found, "held").reason)
    assert "boosting is no single network" in str(of(found, "redrawn").reason)
    assert "pip install" in str(of(found, "lead.shapley").reason)
    assert of(found, "lead.occlusion").interval[0] > 0  # type: ignore[index]
    assert "x0" in str(of(found, "importance").title)
    assert of(found, "unused").value == 5
    rows = json.loads((tmp_path / "audit" / "explanation_rows.json").read_text())
    assert [one["columns"][0]["column"] for one in rows["rows"]] == ["x0"] * len(rows["rows"])
    assert float(rows["rows"][0]["columns"][0]["value"]) != 0


def test_a_model_that_ignores_its_input_has_no_explanation(tmp_path: Path, no_shap: None) -> None:
    found = explanation.explanation(tabular(tmp_path, answer=lambda part: np.full((len(part), 2), 0.5)))
    assert of(found, "held").verdict == "limitation"
    assert of(found, "lead.occlusion").verdict == "limitation"
    assert of(found, "lead.occlusion").interval == (0.0, 0.0)
    assert of(found, "importance").verdict == "limitation"
    assert "no column" in str(of(found, "importance").reason)


def test_an_explanation_by_chance_fails_and_is_shown_as_failed(tmp_path: Path, no_shap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_chance(rows: Explained) -> list[np.ndarray]:
        return [np.random.default_rng(place).permutation(len(layout)) * 1.0 for place, layout in enumerate(rows.layouts)]

    monkeypatch.setattr(explain_measure, "occlusion", by_chance)
    found = explanation.explanation(tabular(tmp_path, n=100, count=10))
    assert of(found, "held").value == 0
    shown = json.loads((tmp_path / "audit" / "explanation_rows.json").read_text())
    assert shown["methods"][0]["status"] in ("fails", "open")


@pytest.mark.parametrize("name", networks.CASES)
def test_a_network_is_explained_by_gradients_and_held_against_other_weights(name: str, tmp_path: Path, no_shap: None) -> None:
    random = np.random.default_rng(2)
    network, rows, _ = networks.case(name, random)
    encoder = rows.encoder
    columns: dict[str, np.ndarray] = {}
    if name == "column":
        _, arrays = planted.of_columns(random, 30)
    elif name == "square":
        _, arrays = planted.of_pixels(random, 30)
    else:
        _, arrays, _ = planted.of_words(random, 3, 30)
        columns = {"text": encoder.features[0].decode(np.stack([arrays.blocks["text.text"][place] for place in range(30)]))}
    answer = answering(network, encoder)
    arrays = replace(arrays, target=answer(arrays).argmax(1))
    found = explanation.explanation(subject_of(tmp_path, encoder, arrays, answer, columns, net=network))
    sound(found)
    assert of(found, "completeness").value == pytest.approx(0, abs=1e-3)
    assert of(found, "lead.integrated_gradients").value is not None
    shown = json.loads((tmp_path / "audit" / "explanation_rows.json").read_text())
    assert {"column": "columns", "square": "image", "word": "texts"}[name] in shown["rows"][0]


def test_the_words_of_a_text_are_shown_as_they_came(tmp_path: Path, no_shap: None) -> None:
    encoder, arrays, place = planted.of_words(np.random.default_rng(0), 5, 20)
    code = arrays.blocks["text.text"][0][place[0]]
    texts = encoder.features[0].decode(np.stack([arrays.blocks["text.text"][row] for row in range(20)]))
    columns = {"text": objects(["  " + text.replace(" ", "   ") for text in texts])}

    def answer(part: Arrays) -> np.ndarray:
        return planted.two_classes(4.0 * (part.blocks["text.text"][:] == code).sum(1) - 2)

    arrays = replace(arrays, target=np.ones(20, np.int64))
    explanation.explanation(subject_of(tmp_path, encoder, arrays, answer, columns))
    shown = json.loads((tmp_path / "audit" / "explanation_rows.json").read_text())
    for row in shown["rows"]:
        pieces = row["texts"][0]["pieces"]
        assert planted.WORDS[5] in [piece["text"] for piece in pieces if piece["weights"] and piece["weights"]["occlusion"] == 1]


def test_rows_of_groups_are_counted_as_groups(tmp_path: Path, no_shap: None) -> None:
    alone = of(explanation.explanation(tabular(tmp_path / "a")), "lead.occlusion")
    groups = np.repeat(np.arange(12), 5).astype(str)
    grouped = of(explanation.explanation(tabular(tmp_path / "b", groups=groups)), "lead.occlusion")
    assert grouped.value == alone.value
    assert grouped.interval != alone.interval


def test_equal_seeds_give_equal_findings(tmp_path: Path, no_shap: None) -> None:
    first, second = (explanation.explanation(tabular(tmp_path / name)) for name in ("a", "b"))
    assert [one.to_json() for one in first] == [one.to_json() for one in second]


def test_too_few_rows_and_rows_of_one_part_are_said(tmp_path: Path, no_shap: None) -> None:
    with pytest.raises(Unmeasured, match="5 test rows have two parts or more, 10 are needed"):
        explanation.explanation(tabular(tmp_path, n=5))
    with pytest.raises(Unmeasured, match="one part only"):
        explanation.explanation(tabular(tmp_path, count=1))
    with pytest.raises(Unmeasured, match="one group"):
        explanation.explanation(tabular(tmp_path, groups=np.full(60, "a")))


def test_without_captum_the_other_methods_go_on(tmp_path: Path, no_shap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise DependencyError("explanations by gradients need captum", do="pip install 'weighbridge[audit]'")

    monkeypatch.setattr(explain_gradients, "captum", missing)
    encoder, _ = planted.of_columns(np.random.default_rng(0), 2, 6)
    network = network_of(encoder, "mlp")
    found = explanation.explanation(tabular(tmp_path, answer=answering(network, encoder), net=network))
    assert "pip install" in str(of(found, "lead.integrated_gradients").reason)
    assert of(found, "redrawn.occlusion").value is not None


def test_the_estimate_grows_with_the_rows_and_counts_libraries(tmp_path: Path) -> None:
    assert 6 < explanation.estimate(tabular(tmp_path, n=40)) < 60
