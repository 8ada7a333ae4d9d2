"""Law: groups are compared with intervals that allow for every pair looked at; small groups are named and not judged; the rest goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import data, preprocessing
from weighbridge.audit import Subject, Unmeasured
from weighbridge.audit.fairness import fairness
from weighbridge.audit.fairness_gaps import (
    LEAST,
    comparable,
    difference,
    largest_difference,
    mean_cell,
    rate_cell,
    ratio,
    root_cell,
    smallest_ratio,
)
from weighbridge.audit.fairness_groups import MISSING, OTHERS, Grouping, together
from weighbridge.audit.fairness_measures import cells_of
from weighbridge.audit.fairness_proxies import Slots, find_proxies
from weighbridge.errors import RecipeError
from weighbridge.evaluation import Predictions
from weighbridge.evaluation.intervals import wilson
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Finding, by_key
from weighbridge.preprocessing import Encoder
from weighbridge.recipe import parse_recipe
from weighbridge.report.catalogue_zh import ZH
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

RATES = st.tuples(st.integers(0, 200), st.integers(LEAST, 200)).map(lambda pair: (min(pair), pair[1]))


def hits(count: int, n: int) -> np.ndarray:
    return np.arange(n) < count


def test_the_interval_of_a_rate_is_wilsons_and_the_difference_of_two_is_newcombes_own_example() -> None:
    first, second = rate_cell(hits(56, 70), 0), rate_cell(hits(48, 80), 1)
    assert first.interval == pytest.approx(wilson(56, 70))
    low, high = difference(first, second, 1.959964)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)  # Newcombe 1998, table II, case (a), method 10


def test_a_ratio_turned_round_has_the_interval_turned_round() -> None:
    first, second = rate_cell(hits(30, 100), 0), rate_cell(hits(45, 120), 1)
    low, high = ratio(first, second, 1.96)
    again = ratio(second, first, 1.96)
    assert (1 / again[1], 1 / again[0]) == pytest.approx((low, high))


@given(st.lists(RATES, min_size=2, max_size=5), st.floats(0.01, 0.3))
@settings(max_examples=60, deadline=None)
def test_a_gap_lies_in_its_interval_and_its_test_agrees_with_it(groups: list[tuple[int, int]], tolerance: float) -> None:
    gap = largest_difference([rate_cell(hits(*pair), place) for place, pair in enumerate(groups)], tolerance)
    assert gap is not None
    assert 0 <= gap.interval[0] <= gap.value <= gap.interval[1] <= 1 + 1e-12
    if abs(gap.interval[0] - tolerance) > 1e-9:
        assert (gap.p_value < 0.05) == (gap.interval[0] > tolerance)


@given(st.lists(RATES, min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_ratio_lies_in_its_interval_and_its_test_agrees_with_it(groups: list[tuple[int, int]]) -> None:
    gap = smallest_ratio([rate_cell(hits(*pair), place) for place, pair in enumerate(groups)], 0.8)
    if gap is None:
        assert all(count == 0 for count, _ in groups)
        return
    assert 0 <= gap.interval[0] <= gap.value <= gap.interval[1] <= 1
    if abs(gap.interval[1] - 0.8) > 1e-9:
        assert (gap.p_value < 0.05) == (gap.interval[1] < 0.8)


def test_a_group_of_three_rows_is_compared_with_none() -> None:
    cells = [rate_cell(hits(10, 100), 0), rate_cell(hits(3, 3), 1)]
    assert comparable(cells) == []
    assert largest_difference(cells, 0.05) is None


def test_rows_of_one_person_count_as_one_where_they_agree() -> None:
    same = np.repeat(np.arange(40) % 2, 10).astype(bool)
    people = np.repeat(np.arange(40), 10)
    alone, known = rate_cell(same, 0), rate_cell(same, 0, units=people)
    assert alone.rows == 400
    assert known.rows == pytest.approx(39, rel=0.03)
    assert np.diff(known.interval) > 2.8 * np.diff(alone.interval)


def test_a_root_mean_square_keeps_its_interval_above_zero() -> None:
    cell = root_cell(np.random.default_rng(0).normal(size=50), 0)
    assert 0 < cell.interval[0] < cell.value < cell.interval[1]
    assert cell.value == pytest.approx(1.0, rel=0.3)


def test_numbers_that_are_all_alike_have_a_point_for_an_interval() -> None:
    cell = mean_cell(np.full(40, 2.5), 0)
    assert cell.interval == (2.5, 2.5)


def test_the_groups_of_two_columns_are_those_that_rows_have() -> None:
    one = Grouping(columns=("a",), names=("x", "y"), codes=np.array([0, 0, 1]))
    two = Grouping(columns=("b",), names=("p", "q"), codes=np.array([0, 1, 0]))
    (both,) = together([one, two])
    assert both.names == ("x, p", "x, q", "y, p")
    assert both.codes.tolist() == [0, 1, 2]
    assert both.key == "a+b"
    three = together([one, two, Grouping(columns=("c",), names=("r", "s"), codes=np.array([0, 1, 1]))])
    assert [part.title for part in three] == ["a x b", "a x c", "b x c", "a x b x c"]


def test_rates_are_those_of_fairlearn() -> None:
    metrics = pytest.importorskip("fairlearn.metrics")
    random = np.random.default_rng(3)
    truth, score, codes = random.integers(0, 2, 600), random.random(600), random.integers(0, 3, 600)
    said = _predictions(truth, score)
    frame = metrics.MetricFrame(
        metrics={
            "selected": metrics.selection_rate, "true_positive": metrics.true_positive_rate,
            "false_positive": metrics.false_positive_rate,
        },
        y_true=said.target, y_pred=said.chosen, sensitive_features=codes,
    )  # fmt: skip
    cells = cells_of(said, Grouping(columns=("a",), names=("0", "1", "2"), codes=codes), 1)
    for name in ("selected", "true_positive", "false_positive"):
        assert [cell.value for cell in cells[name]] == pytest.approx(frame.by_group[name].tolist())
    gap, smallest = largest_difference(cells["selected"], 0.05), smallest_ratio(cells["selected"], 0.8)
    assert gap is not None
    assert smallest is not None
    wanted = {"sensitive_features": codes}
    assert gap.value == pytest.approx(metrics.demographic_parity_difference(said.target, said.chosen, **wanted))
    assert smallest.value == pytest.approx(metrics.demographic_parity_ratio(said.target, said.chosen, **wanted))


def test_of_several_classes_each_is_compared_with_itself() -> None:
    target = np.array([0, 1, 2] * 60)
    output = np.eye(3)[target]
    said = Predictions(kind="category", row_id=_ids(180), target=target, output=output, classes=("a", "b", "c"))
    cells = cells_of(said, Grouping(columns=("g",), names=("x", "y"), codes=np.arange(180) % 2), 1)
    assert {cell.part for cell in cells["selected"]} == {0, 1, 2}
    assert {cell.value for cell in cells["true_positive"]} == {1.0}
    assert [cell.n for cell in cells["error"]] == [90, 90]


def test_labels_are_compared_one_by_one() -> None:
    random = np.random.default_rng(0)
    target = random.random((200, 3)) < 0.4
    said = Predictions(kind="set", row_id=_ids(200), target=target, output=target * 0.8 + 0.1, classes=("x", "y", "z"))
    cells = cells_of(said, Grouping(columns=("g",), names=("x", "y"), codes=np.arange(200) % 2), 0)
    assert len(cells["selected"]) == 6
    assert {cell.value for cell in cells["false_positive"]} == {0.0}


def test_an_input_that_copies_the_group_is_named_first_and_noise_tells_nothing() -> None:
    random = np.random.default_rng(1)
    codes = random.integers(0, 2, 400)
    table = np.stack([random.normal(size=400), codes + 0.1 * random.normal(size=400), random.integers(0, 3, 400)], axis=1)
    slots = [
        Slots(column="noise", places=(0,), codes=0),
        Slots(column="copy", places=(1,), codes=0),
        Slots(column="few", places=(2,), codes=3),
    ]
    found = find_proxies(table, slots, [False, False, True], codes, Resampling(resamples=200, seed=0))
    assert found is not None
    assert found.alone[0][0] == "copy"
    assert found.alone[0][1] == pytest.approx(1.0, abs=0.01)
    assert found.interval[0] > 0.95
    assert all(abs(area - 0.5) < 0.15 for _, area in found.alone[1:])


def _ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def _predictions(truth: np.ndarray, score: np.ndarray) -> Predictions:
    output = np.stack([1 - score, score], axis=1)
    return Predictions(kind="category", row_id=_ids(len(truth)), target=truth, output=output, classes=("no", "yes"))


def rows_of(n: int = 2400) -> list[dict[str, Any]]:
    """Return people: the answer depends on a score that one city has more of; three of them live on an island."""
    random = np.random.default_rng(5)
    rows = []
    for place in range(n):
        city = "island" if place % (n // 14) == 0 else str(random.choice(["north", "south"]))
        score = float(random.normal() + (0.9 if city == "north" else 0.0))
        hint = score + float(random.normal())
        rows.append(
            {
                "score": f"{score:.5f}", "hint": f"{hint:.5f}", "city": city, "age": int(random.integers(18, 80)), "one": "same",
                "remark": " ".join(random.choice(["red", "green", "blue", "grey", "black", "white"], 6)) + f" {place}",
                "label": "yes" if random.random() < 1 / (1 + math.exp(-score)) else "no",
            }
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fairness")
    rows = rows_of()
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def subject_of(folder: Path, protected: list[str], *, target: str = "label", **more: Any) -> Subject:
    """Return a subject without a network: the data and encoded rows of a run, and answers that follow the score."""
    place = folder / "-".join([target, *protected, *more])
    section = {
        "source": (folder / "people.csv").as_posix(), "target": target, "protected": protected,
        "columns": {"city": "ignore", "remark": "text"} | ({"label": "ignore"} if target != "label" else {}),
    }  # fmt: skip
    recipe = parse_recipe({"name": "people", "data": section, "audit": {"fairness": more}})
    data.prepare(recipe.data, seed=0, folder=place / "data", command="weigh data RUN")
    splits = data.open_data(place / "data")
    preprocessing.prepare(recipe.preprocessing, data=splits, folder=place / "preprocessing", command="weigh preprocess RUN", seed=0)
    encoder = Encoder.from_json(read_json(place / "preprocessing" / "encoder.json"))
    arrays = {"train": preprocessing.open_arrays(place / "preprocessing" / "train")}
    test = splits.test("a test", "weigh audit RUN")
    said = {"test": _said(test, target), "train": _said(splits.train, target)}
    return Subject(
        recipe=recipe, folder=place, chosen=SimpleNamespace(), kept=SimpleNamespace(), splits=splits, test=test, arrays=arrays,  # type: ignore[arg-type]
        encoder=encoder, said=said, answer=lambda rows: np.zeros(len(rows)), how=Resampling(resamples=200), command="weigh audit RUN",
        progress=silent, stop=StopRequest(),
    )  # fmt: skip


def _said(table: Any, target: str) -> Predictions:
    score = table.column("score")
    if target == "label":
        truth = (table.column("label") == "yes").astype(int)
        yes = 1 / (1 + np.exp(-1.5 * score))
        return Predictions(
            kind="category", row_id=table.row_ids, target=truth, output=np.stack([1 - yes, yes], axis=1), classes=("no", "yes")
        )
    return Predictions(kind="number", row_id=table.row_ids, target=table.column(target), output=score)


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Finding]:
    return fairness(subject_of(folder, ["city", "age", "one", "remark"]))


def of(found: list[Finding], key: str) -> Finding:
    finding = by_key(found, f"audit.fairness.{key}")
    assert finding is not None, f"{key} is none of {[one.key for one in found]}"
    return finding


def test_a_planted_gap_is_a_limitation_with_the_two_groups_named(found: list[Finding]) -> None:
    gap = of(found, "city.selected")
    assert gap.verdict == "limitation"
    assert gap.interval is not None
    assert gap.interval[0] > 0.05
    assert "north" in str(gap.reason)
    assert "south" in str(gap.reason)
    assert gap.evidence == ("audit/fairness.json",)
    assert gap.command == "weigh audit RUN --only fairness.city"


def test_a_column_that_has_nothing_to_do_with_it_accuses_nobody(found: list[Finding]) -> None:
    own = [one for one in found if one.key.startswith("audit.fairness.age.")]
    assert len(own) > 6
    assert not [one.key for one in own if one.verdict == "limitation"]
    assert "≤" in str(of(found, "age.base_rate").reason)  # numbers are cut into quarters


def test_a_group_of_three_rows_is_named_as_too_small_and_the_rest_goes_on(found: list[Finding]) -> None:
    small = of(found, "city.small_groups")
    assert small.verdict == "unmeasured"
    assert "island (" in str(small.reason)
    assert of(found, "city.true_positive").value is not None


def test_a_column_of_one_value_and_one_of_texts_are_said(found: list[Finding]) -> None:
    assert "hold one value of it (same)" in str(of(found, "one").reason)
    assert "read as text" in str(of(found, "remark").reason)


def test_intersections_stand_beside_the_columns_and_weigh_only_where_those_do_not(found: list[Finding]) -> None:
    both = of(found, "city+age.together_selected")
    assert both.verdict == "neutral"
    assert both.interval is not None
    assert both.interval[0] > 0.05


def test_inputs_that_tell_of_a_column_which_was_left_out_are_a_limitation_only_where_surely_so(found: list[Finding]) -> None:
    proxy = of(found, "city.proxy")
    assert "does not read city" in str(proxy.reason)
    assert "score" in str(proxy.reason)
    assert proxy.interval is not None
    assert (proxy.verdict == "limitation") == (proxy.interval[0] > 0.7)
    assert "reads age itself" in str(of(found, "age.proxy").reason)


def test_every_word_has_its_chinese(found: list[Finding]) -> None:
    words = {message.template for one in found for message in (one.title, one.reason, one.method)} - {""}
    words |= {one.reference.name.template for one in found if one.reference is not None}
    assert words - set(ZH) == set()


def test_the_evidence_is_drawn(folder: Path, found: list[Finding]) -> None:
    from weighbridge.report.figures import SHAPES
    from weighbridge.report.plots import drawn
    from weighbridge.report.words import speaker

    evidence = read_json(folder / "label-city-age-one-remark" / "audit" / "fairness.json")
    draw = next(draw for name, draw, *_ in SHAPES if name == "fairness")
    svg = drawn(draw, evidence, speaker("zh"))
    assert svg.count("<svg") == 1
    assert "north" in svg
    assert "误判" in svg


def test_the_selected_class_may_be_the_first(folder: Path) -> None:
    gap = of(fairness(subject_of(folder, ["city"], selected="no")), "city.selected")
    assert "no is answered" in str(gap.title)
    assert str(gap.reason).startswith("south")


def test_a_class_that_is_not_there_is_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'yes'"):
        fairness(subject_of(folder, ["city"], selected="yess"))


def test_what_is_let_pass_is_the_recipes(folder: Path) -> None:
    assert of(fairness(subject_of(folder, ["city"], tolerance=0.6)), "city.selected").verdict == "advantage"


def test_where_another_form_is_packaged_the_most_capable_model_stands_beside_it(folder: Path) -> None:
    champion = subject_of(folder, ["city"])
    flipped = replace(champion.said["test"], output=champion.said["test"].output[:, ::-1])
    subject = replace(champion, champion=champion, said=champion.said | {"test": flipped})
    gap, own = of(fairness(subject), "city.selected"), of(fairness(champion), "city.selected")
    assert gap.reference is not None
    assert str(gap.reference.name) == "the most capable model"
    assert gap.reference.value == own.value
    assert own.reference is not None
    assert (str(own.reference.name), own.reference.value) == ("let pass", 0.05)


def test_rows_of_one_unit_are_taken_together(folder: Path) -> None:
    plain = subject_of(folder, ["city"])
    units = np.array([str(place // 10) for place in range(len(plain.said["test"]))])
    grouped = replace(plain, said=plain.said | {"test": replace(plain.said["test"], group=units)})
    gap = of(fairness(grouped), "city.selected")
    assert "units of data.group" in str(gap.method)


def test_numbers_are_compared_in_their_own_unit(folder: Path) -> None:
    found = fairness(subject_of(folder, ["city"], target="hint"))
    gap = of(found, "city.mean_answer")
    assert gap.value == pytest.approx(0.9, abs=0.25)
    assert gap.unit == ""
    assert of(found, "city.mean_error").verdict != "limitation"
    assert of(found, "city.rmse").interval is not None


def test_without_a_protected_column_there_is_nothing_to_measure(folder: Path) -> None:
    with pytest.raises(Unmeasured, match=r"data\.protected"):
        fairness(subject_of(folder, []))


def test_missing_values_are_a_group_and_many_values_are_put_together() -> None:
    from weighbridge.audit.fairness_groups import _of_values

    values = np.array([None, *(f"v{place % 30}" for place in range(300))], dtype=object)
    names = _of_values(values)
    assert len(set(names)) == 13
    assert OTHERS in names
    assert _of_values(np.array([None, "a", "b"], dtype=object)).tolist() == [MISSING, "a", "b"]
