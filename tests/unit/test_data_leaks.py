"""Law: what makes the test score too good stops the data stage and is named; a suspicion is a limitation; what can not be told is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge.data import open_data, prepare
from weighbridge.data.controls_leaks import honest
from weighbridge.data.controls_texts import prose
from weighbridge.data.leaks_target import CERTAIN_ROWS, Column, Score, ranks, sample_of_classes, score_columns, too_few
from weighbridge.errors import LeakError, RecipeError
from weighbridge.findings import Finding
from weighbridge.recipe import parse_recipe


def run(folder: Path, columns: dict[str, Any], types: dict[str, str] | None = None, **section: Any) -> dict[str, Finding]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), folder / "rows.parquet")
    read = parse_recipe({"data": {"source": str(folder / "rows.parquet"), "target": "y", "columns": types or {}, **section}}).data
    found = prepare(read, seed=0, folder=folder / "data", command="weigh data runs/x")
    return {finding.key: finding for finding in found}


def best(values: np.ndarray, truth: np.ndarray, kind: Any = "class", **more: Any) -> Score:
    return score_columns([Column(name="x", values=values, **more)], truth, kind, 0)[0]


def test_each_check_is_a_finding_also_on_clean_data(tmp_path: Path) -> None:
    found = run(tmp_path, honest(0))
    leaks = {key: finding for key, finding in found.items() if key.startswith("data.leak.")}
    assert {key.split(".")[2] for key in leaks} == {"duplicates", "near_duplicates", "target", "group", "time", "outcome"}
    assert {finding.verdict for finding in leaks.values()} <= {"neutral", "unmeasured"}
    for name in ("duplicates", "near_duplicates", "target"):
        finding = leaks[f"data.leak.{name}"]
        assert (finding.value, finding.command) == (0, f"weigh data runs/x --only leak.{name}")
        assert finding.n
        assert str(finding.method)
    assert "can not prove" in str(leaks["data.leak.outcome"].reason)
    assert set(json.loads((tmp_path / "data" / "leaks.json").read_text())) == {key.split(".")[2] for key in leaks}


def test_a_stop_writes_its_evidence_and_no_split(tmp_path: Path) -> None:
    columns = honest(1) | {"after": honest(1)["y"]}
    with pytest.raises(
        LeakError, match=r"leak target: 1 column alone gives the target 'y' away: after \(score 1\.000, p = 0\.01\)"
    ) as error:
        run(tmp_path, columns)
    assert "data.allow: [target]" in error.value.do
    assert error.value.exit_code == 2
    evidence = json.loads((tmp_path / "data" / "leaks_stopped.json").read_text())
    assert evidence["target"]["columns"][0] == {"column": "after", "score": 1.0, "p_value": 0.01, "certain": True}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["leaks_stopped.json"]


def test_a_leak_that_the_recipe_allows_is_a_limitation_and_another_still_stops(tmp_path: Path) -> None:
    columns = honest(1) | {"after": honest(1)["y"]}
    found = run(tmp_path, columns, allow=["target"])
    assert found["data.leak.target"].verdict == "limitation"
    assert "the recipe goes on with this leak" in str(found["data.leak.target"].reason)
    with pytest.raises(LeakError, match="leak time: ") as error:
        run(tmp_path, columns, allow=["target"], time="seen", split={"method": "hash"})
    assert "data.allow: [target, time]" in error.value.do


def test_a_column_that_is_ignored_does_not_leak(tmp_path: Path) -> None:
    assert run(tmp_path, honest(1) | {"after": honest(1)["y"]}, types={"after": "ignore"})["data.leak.target"].value == 0


@pytest.mark.parametrize(("wrong", "said"), [("taget", "did you mean 'target'"), ("xyz", "known: duplicates, near_duplicates")])
def test_a_name_that_no_leak_has_is_refused(wrong: str, said: str) -> None:
    with pytest.raises(RecipeError, match=f"there is no leak '{wrong}'") as error:
        parse_recipe({"data": {"source": "a.csv", "allow": [wrong]}})
    assert said in str(error.value)


def test_one_name_stands_for_a_list_of_one() -> None:
    assert parse_recipe({"data": {"source": "a.csv", "allow": "time"}}).data.allow == ["time"]


def test_the_only_input_is_the_task_and_never_stops(tmp_path: Path) -> None:
    found = run(tmp_path, {"x": np.linspace(0, 1, 300), "y": 2 * np.linspace(0, 1, 300)})["data.leak.target"]
    assert found.verdict == "limitation"
    assert "the only input, x" in str(found.reason)


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine", "diabetes"])
def test_honest_easy_sets_pass_without_a_suspicion(tmp_path: Path, name: str) -> None:
    section = parse_recipe({"data": {"source": f"sklearn://{name}", "target": "target"}}).data
    found = {finding.key: finding for finding in prepare(section, seed=0, folder=tmp_path, command="x")}
    assert (found["data.leak.target"].value, found["data.leak.target"].verdict) == (0, "neutral")
    assert found["data.leak.near_duplicates"].verdict == "neutral"


def test_few_rows_are_a_suspicion_where_many_are_certain() -> None:
    truth = np.arange(3000) % 2
    apart = truth * 10 + np.random.default_rng(0).normal(size=3000)
    assert best(apart, truth).gives_away("class")
    few = best(apart[:100], truth[:100])
    assert (few.gives_away("class"), few.suspect()) == (False, True)
    assert too_few(truth[:19], "class")
    assert too_few(np.r_[np.zeros(500, int), np.ones(9, int)], "class")


def test_a_thousand_easy_rows_prove_nothing_about_ten_rare_ones() -> None:
    truth = np.r_[np.zeros(1000, int), np.ones(10, int)]
    assert best(truth * 1.0, truth).certain is False


def test_many_classes_as_codes_of_a_number_are_found() -> None:
    truth = np.repeat(np.arange(200), 8)
    assert best(truth * 1.0, truth).gives_away("class")


def test_noise_scores_nothing_and_a_number_is_judged_by_its_ranks() -> None:
    random = np.random.default_rng(1)
    price = np.exp(random.normal(size=CERTAIN_ROWS * 10))
    assert best(price**3, ranks(price), "number").gives_away("number")
    assert best(random.normal(size=500), ranks(price), "number").score < 0.2
    assert best(price * random.uniform(0.8, 1.2, 500), ranks(price), "number").gives_away("number") is False


def test_a_category_of_many_values_that_come_again_may_name_a_group(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    person = np.repeat(np.arange(100), 6)
    y = random.integers(0, 2, 100)[person]
    columns = {"person": np.char.add("p", person.astype(str)), "m": random.normal(size=600), "y": y.astype(str)}
    found = run(tmp_path, columns)
    assert found["data.leak.group"].verdict == "limitation"
    assert "name it in data.group" in str(found["data.leak.group"].reason)
    assert found["data.leak.target"].value == 0
    assert run(tmp_path, columns, group="person")["data.leak.group"].value == 0


def test_rare_classes_are_in_the_sample_and_hopeless_ones_are_not() -> None:
    targets = np.r_[np.zeros(9000), np.ones(50), np.full(4, 2)].astype(np.uint64)
    chosen = sample_of_classes(np.arange(9054), targets, 1000, 0)
    assert np.unique(targets[chosen], return_counts=True)[1].tolist() == [950, 50]
    assert len(set(chosen.tolist())) == 1000


def test_rows_that_cleaning_dropped_do_not_stop_and_are_told_of(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values[:9]]) for name, values in honest(3).items()}
    found = run(tmp_path, columns)["data.leak.duplicates"]
    assert (found.value, found.verdict) == (0, "neutral")
    assert "dropped 9 equal rows" in str(found.reason)


def test_rows_copied_with_other_last_digits_are_a_suspicion(tmp_path: Path) -> None:
    columns = {name: np.concatenate([values, values[:40]]) for name, values in honest(3).items()}
    columns["strong"][-40:] += 1e-7
    found = run(tmp_path, columns)["data.leak.near_duplicates"]
    assert found.verdict == "limitation"
    assert found.value
    assert run(tmp_path, honest(3))["data.leak.near_duplicates"].value == 0


def test_coarse_numbers_agree_by_chance_and_are_no_suspicion(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    x = random.uniform(size=3000)
    found = run(tmp_path, {"x": x, "y": (x > random.uniform(size=3000)).astype(str)})["data.leak.near_duplicates"]
    assert found.verdict == "neutral"


def test_a_date_after_the_rows_own_time_is_asked_about(tmp_path: Path) -> None:
    columns = honest(4)
    columns["opened"] = columns.pop("seen")
    columns["closed"] = columns["opened"] + np.timedelta64(5, "D")
    found = run(tmp_path, columns, time="opened")["data.leak.outcome"]
    assert (found.verdict, found.value) == ("limitation", 1)
    assert "closed lies after opened" in str(found.reason)


def test_a_split_by_time_and_by_group_has_no_such_leak(tmp_path: Path) -> None:
    assert run(tmp_path, honest(5), time="seen")["data.leak.time"].value == 0
    assert run(tmp_path, honest(5) | {"who": np.arange(600) % 50}, group="who")["data.leak.group"].value == 0


def test_targets_without_enough_rows_and_inputs_of_other_kinds_are_unmeasured(tmp_path: Path) -> None:
    found = run(tmp_path, {name: values[:24] for name, values in honest(6).items()}, split={"method": "stratified"})
    assert found["data.leak.target"].verdict == "unmeasured"
    tags = ["a;b", "b", "c;a", "a"] * 60
    found = run(tmp_path, {"tags": [tag.split(";") for tag in tags], "k": [f"v{n % 7}" for n in range(240)], "y": ["u", "v", "w"] * 80},
                clean={"duplicates": "drop"}, split={"method": "stratified"})  # fmt: skip
    assert found["data.leak.near_duplicates"].verdict == "unmeasured"


def test_rows_taken_out_of_training_are_counted_and_the_test_rows_stay(tmp_path: Path) -> None:
    from weighbridge.data.controls_leaks import _changed, _pictures, _png

    random = np.random.default_rng(0)
    pictures = _pictures(random, 30)
    files = [_png(picture) for picture in pictures] + [_changed(pictures[0], 0, random)]
    part = ["test"] * 6 + ["validation"] * 6 + ["train"] * 19
    columns = {"image": files, "part": part, "y": ["a", "b"] * 15 + ["a"]}
    found = run(tmp_path, columns, split={"column": "part"})
    assert found["data.leak.near_duplicates"].verdict == "neutral"
    assert (found["data.leak.near_duplicates"].value, found["data.rows"].value) == (1, 30)
    splits = open_data(tmp_path / "data")
    assert (len(splits.train), len(splits.validation), len(splits.test("a test", "pytest"))) == (18, 6, 6)
    evidence = json.loads((tmp_path / "data" / "leaks.json").read_text())["near_duplicates"]
    assert (evidence["rows"], evidence["dropped"]) == ([[31, 1]], 1)
    kept = run(tmp_path, columns, split={"column": "part"}, allow=["near_duplicates"])
    assert (kept["data.leak.near_duplicates"].verdict, kept["data.rows"].value) == ("limitation", 31)


def test_one_picture_beside_other_values_is_no_certain_copy(tmp_path: Path) -> None:
    from weighbridge.data.controls_leaks import _pictures, _png

    pictures = _pictures(np.random.default_rng(1), 20)
    files = [_png(picture) for picture in pictures] * 3
    columns = {"image": files, "age": np.arange(60) * 1.5, "y": ["a", "b"] * 30}
    found = run(tmp_path, columns)["data.leak.near_duplicates"]
    assert found.verdict == "limitation"
    assert "their other inputs differ" in str(found.reason)


def test_equal_rows_that_are_allowed_are_not_taken_out_as_near_copies(tmp_path: Path) -> None:
    from weighbridge.data.controls_leaks import _pictures, _png

    files = [_png(picture) for picture in _pictures(np.random.default_rng(2), 30)]
    columns = {"image": [*files, files[0]], "part": ["test"] * 6 + ["validation"] * 6 + ["train"] * 19, "y": ["a", "b"] * 15 + ["a"]}
    found = run(tmp_path, columns, split={"column": "part"}, clean={"duplicates": "keep"}, allow=["duplicates"])
    assert (found["data.leak.duplicates"].value, found["data.leak.duplicates"].verdict) == (1, "limitation")
    assert (found["data.leak.near_duplicates"].value, found["data.rows"].value) == (0, 31)


def test_near_copies_of_texts_leave_the_training_rows_where_the_recipe_says_so(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [prose(random, 12) for _ in range(120)]
    texts = words + [f"{text}!" for text in words[:30]]
    columns = {"text": texts, "y": [str(row % 2) for row in range(len(texts))]}
    with pytest.raises(LeakError, match=r"leak near_duplicates: \d+ rows are in column text a near copy of a row of a later side") as error:
        run(tmp_path, columns, {"text": "text"})
    assert "set data.clean.near_duplicates: drop" in error.value.do
    found = run(tmp_path, columns, {"text": "text"}, clean={"near_duplicates": "drop"})
    gone = found["data.leak.near_duplicates"]
    assert 0 < int(str(gone.value)) < 30
    assert found["data.rows"].value == len(texts) - int(str(gone.value))
    assert "taken out of training and validation" in str(gone.reason)
    kept = run(tmp_path, columns, {"text": "text"}, clean={"near_duplicates": "drop"}, allow=["near_duplicates"])
    assert (kept["data.leak.near_duplicates"].verdict, kept["data.rows"].value) == ("limitation", len(texts))
