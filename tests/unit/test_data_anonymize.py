"""Law: what data.anonymize takes out is nowhere in what the stage writes, k and l hold by a recount, and new rows meet the same steps."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weighbridge
from tests.unit.runtime_packages import write_package
from weighbridge.data import open_data, prepare
from weighbridge.data.anonymize import pseudonym, read_key
from weighbridge.data.splits import Splits
from weighbridge.errors import DataError, PackageError, RecipeError
from weighbridge.findings import Finding
from weighbridge.preprocessing import Encoder
from weighbridge.privacy.anonymity import climb, information, measure
from weighbridge.privacy.coarsening import codes_of, ladder_of
from weighbridge.privacy.steps import Bins, Masked, Parents, Period, Step, read_step
from weighbridge.recipe import parse_recipe

N = 600
KEY = "0123456789abcdef0123456789abcdef"
WAYS = {
    "email": "drop", "note": "mask", "patient": "pseudonym", "age": "generalize", "zip": "generalize", "job": "generalize",
    "born": "generalize",
}  # fmt: skip
Columns = dict[str, list[Any]]


def people(n: int = N) -> Columns:
    """Return rows of persons whose address, number and name of no two are equal; the class hangs on the age."""
    random = np.random.default_rng(0)
    age = random.integers(18, 80, n)
    day = np.datetime64("1950-01-01") + random.integers(0, 20_000, n)
    words = ["order", "late", "box", "open", "glad", "angry", "week", "call", "again", "blue", "paid", "lost"]
    return {
        "age": age.tolist(),
        "zip": [f"0{code}" for code in random.integers(1000, 1300, n)],
        "job": random.choice(["nurse", "clerk", "pilot", "miner", "judge"], n, p=[0.4, 0.3, 0.2, 0.08, 0.02]).tolist(),
        "born": [str(one) for one in day],
        "email": [f"planted{row}@mail.example.org" for row in range(n)],
        "note": [f"{' '.join(random.choice(words, 9))} from planted{row}@mail.example.org and so on" for row in range(n)],
        "patient": [f"patient-{number:03d}" for number in random.integers(0, 200, n)],
        "y": np.where(age + random.normal(0, 8, n) > 50, "yes", "no").tolist(),
    }


def stage(folder: Path, content: Columns, **data: Any) -> tuple[Splits, dict[str, Finding]]:
    lines = [",".join(content)] + [",".join(str(value) for value in row) for row in zip(*content.values(), strict=True)]
    (folder / "people.csv").write_text("\n".join(lines))
    section = parse_recipe({"data": {"source": str(folder / "people.csv"), "target": "y", **data}}).data
    found = prepare(section, seed=0, folder=folder / "data", command="weigh data runs/a")
    return open_data(folder / "data"), {one.key.removeprefix("data.anonymize."): one for one in found}


@pytest.fixture(scope="module")
def treated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Splits, dict[str, Finding]]:
    folder = tmp_path_factory.mktemp("people")
    (folder / "key").write_text(KEY + "\n")
    options = {"columns": WAYS, "key": str(folder / "key"), "k": 5}
    splits, found = stage(folder, people(), group="patient", columns={"zip": "category", "patient": "category"}, anonymize=options)
    return folder, splits, found


def test_no_raw_value_stays_in_the_folder(treated: tuple[Path, Splits, dict[str, Finding]]) -> None:
    folder, _, _ = treated
    content = people()
    planted = [*content["email"], *content["patient"], KEY]
    planted += [f'"{code}"' for code in content["zip"]]
    for path in (folder / "data").rglob("*"):
        if path.is_file():
            blob = path.read_bytes()
            assert [value for value in planted if value.encode() in blob] == [], path.name


def test_k_and_l_hold_by_a_recount_of_the_stored_rows(treated: tuple[Path, Splits, dict[str, Finding]]) -> None:
    _, splits, found = treated
    rows = list(zip(*(map(str, splits.train.column(name)) for name in ("age", "zip", "job", "born")), strict=True))
    assert min(Counter(rows).values()) == found["k"].value >= 5
    told = Counter(combination for combination, _ in set(zip(rows, splits.train.column("y").tolist(), strict=True)))
    assert min(told.values()) == found["l"].value
    left = len(splits.train) / (1 - float(str(found["suppressed"].value)))
    assert found["suppressed"].n == round(left)
    assert float(str(found["suppressed"].value)) <= 0.05
    assert found["risk"].value == pytest.approx(len(set(rows)) / len(rows))


def test_what_the_findings_say_is_what_was_done(treated: tuple[Path, Splits, dict[str, Finding]]) -> None:
    folder, splits, found = treated
    assert (found["columns"].value, found["row_ids"].value) == (len(WAYS), "keyed")
    assert "email" not in splits.train.names
    assert all("[email]" in note and "planted" not in note for note in splits.train.column("note"))
    about = json.loads((folder / "data" / "anonymize.json").read_text())
    assert about["columns"] == WAYS
    assert about["rungs"]["age"]["bits"] > about["rungs"]["born"]["bits"]  # the class hangs on the age alone
    assert (found["k"].verdict, found["l"].verdict, found["judged_rows"].verdict) == ("advantage", "limitation", "limitation")


def test_a_pseudonym_is_equal_for_equal_values_and_can_not_be_made_without_the_key(
    treated: tuple[Path, Splits, dict[str, Finding]],
) -> None:
    _, splits, _ = treated
    known = {pseudonym(KEY.encode(), "patient", value) for value in people()["patient"]}
    stored = [set(table.column("patient").tolist()) for table in (splits.train, splits.validation, splits.test("a test", "x"))]
    assert set.union(*stored) <= known
    assert all(not one & other for one, other in itertools.combinations(stored, 2))  # a group stands on one side
    assert pseudonym(b"another key of 32 characters ....", "patient", "patient-001") not in known
    assert pseudonym(KEY.encode(), "other column", "patient-001") not in known
    assert pseudonym(KEY.encode(), "patient", None) is None


def test_without_a_key_rows_are_numbered_and_with_another_they_have_other_names(tmp_path: Path) -> None:
    splits, found = stage(tmp_path, people(100), anonymize={"columns": {"email": "drop", "note": "drop"}})
    assert found["row_ids"].value == "numbers"
    assert sorted(map(int, splits.train.row_ids)) == list(map(int, splits.train.row_ids))
    names = []
    for place, key in enumerate((KEY, KEY, KEY[::-1])):
        (tmp_path / "key").write_text(key)
        again = tmp_path / str(place)
        again.mkdir()
        splits, _ = stage(again, people(100), anonymize={"columns": {"email": "drop", "note": "drop"}, "key": str(tmp_path / "key")})
        names.append(splits.train.row_ids.tolist())
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])


def test_rows_keep_their_sides(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain, _ = stage(tmp_path / "plain", people())
    hidden, found = stage(tmp_path, people(), anonymize={"columns": {"email": "drop", "age": "generalize", "job": "generalize"}})
    assert hidden.validation.column("note").tolist() == plain.validation.column("note").tolist()
    assert len(plain.train) - len(hidden.train) == round(float(str(found["suppressed"].value)) * len(plain.train))


def test_a_recipe_without_anonymisation_has_no_finding_and_no_file(tmp_path: Path) -> None:
    stage(tmp_path, people(100), anonymize={"columns": {"email": "drop"}})
    assert (tmp_path / "data" / "anonymize.json").exists()
    _, found = stage(tmp_path, people(100))
    assert not (tmp_path / "data" / "anonymize.json").exists()
    assert all(not one.key.startswith("data.anonymize") for one in found.values())


def test_l_diversity_leaves_no_class_with_one_value(tmp_path: Path) -> None:
    ways = {"columns": {"age": "generalize", "zip": "generalize", "email": "drop", "note": "drop"}, "k": 4, "l": 2}
    splits, found = stage(tmp_path, people(), columns={"zip": "category"}, anonymize=ways)
    rows = list(zip(map(str, splits.train.column("age")), map(str, splits.train.column("zip")), strict=True))
    told = Counter(combination for combination, _ in set(zip(rows, splits.train.column("y").tolist(), strict=True)))
    assert min(told.values()) >= 2
    assert (found["l"].value, found["l"].verdict) == (2, "advantage")


def test_parents_of_a_category_are_climbed(tmp_path: Path) -> None:
    parents = {"nurse": "care", "clerk": "office", "judge": "office", "pilot": "travel", "miner": "work", "travel": "work"}
    ways = {"columns": {"job": "generalize", "age": "generalize"}, "k": 25, "suppress": 0.0, "parents": {"job": parents}}
    splits, _ = stage(tmp_path, people(), anonymize=ways)
    assert set(splits.train.column("job")) <= {"care", "office", "work", "travel", "nurse", "clerk", "pilot", "*", "(other)"}
    step = splits.train.schema["job"].step
    assert step is not None
    assert set(step.apply(np.array(["miner", "pilot", "judge"], dtype=object))) <= {"work", "travel", "office", "*", "(other)"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"columns": {"zip": "pseudonym"}, "key": "env:WEIGH_TEST_KEY"}, "the model reads this column"),
        ({"columns": {"age": "mask"}}, "age: mask does not fit a column of type number"),
        ({"columns": {"note": "generalize"}}, "note: generalize does not fit a column of type text"),
        ({"columns": {"emial": "drop"}}, "did you mean 'email'"),
        ({"columns": {"age": "generalize"}, "l": 3}, "3 is more than the 2 values"),
        ({"columns": {"age": "generalize"}, "k": 5000}, "can not be put into classes of 5000"),
        ({"columns": {"age": "generalize"}, "l": 2, "sensitive": "age"}, "'age' is of type number"),
        ({"columns": {"email": "drop"}, "key": "env:NOT_SET_HERE"}, "the environment has no NOT_SET_HERE"),
        ({"columns": {"email": "drop"}, "key": "/nowhere/key"}, "/nowhere/key can not be read"),
    ],
)  # fmt: skip
def test_what_can_not_be_followed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], match: str) -> None:
    monkeypatch.setenv("WEIGH_TEST_KEY", KEY)
    with pytest.raises(DataError, match=match):
        stage(tmp_path, people(200), columns={"zip": "category"}, anonymize=changes)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"anonymize": {"columns": {"y": "drop"}}}, "contradicts data.target"),
        ({"group": "g", "anonymize": {"columns": {"g": "generalize"}}}, "contradicts data.group"),
        ({"weight": "w", "anonymize": {"columns": {"w": "drop"}}}, "contradicts data.weight"),
        ({"protected": ["sex"], "anonymize": {"columns": {"sex": "drop"}}}, "contradicts data.protected"),
        ({"anonymize": {"columns": {"g": "pseudonym"}}}, "needs data.anonymize.key"),
        ({"anonymize": {"columns": {"g": "hash"}}}, "hash"),
        ({"anonymize": {"l": 2}}, "names none"),
        ({"anonymize": {"k": 1}}, "k"),
        ({"anonymize": {"columns": {"g": "drop"}, "parents": {"g": {"a": "b"}}}}, "does not generalize"),
    ],
)  # fmt: skip
def test_a_contradiction_is_named(data: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        parse_recipe({"data": {"source": "people.csv", "target": "y", **data}})


def test_a_key_that_can_be_found_by_trying_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_KEY", "secret")
    with pytest.raises(DataError, match="6 bytes"):
        read_key("env:SHORT_KEY")
    monkeypatch.setenv("LONG_KEY", KEY)
    assert read_key("env:LONG_KEY") == KEY.encode()


def test_new_rows_are_made_as_coarse_by_the_package(tmp_path: Path) -> None:
    ways = {**dict.fromkeys(("age", "zip", "job", "born"), "generalize"), **dict.fromkeys(("email", "note", "patient"), "drop")}
    splits, _ = stage(tmp_path, people(), columns={"zip": "category"}, anonymize={"columns": ways})
    encoder = Encoder.fit(splits.train, splits.train.schema, parse_recipe({"data": {"source": "people.csv", "target": "y"}}).preprocessing)
    write_package(tmp_path / "package", encoder, {name: splits.train.column(name) for name in encoder.columns})
    model = weighbridge.load(tmp_path / "package", threads=1)
    content, names = people(), ("age", "zip", "job", "born")
    steps = {column.name: column.step for column in splits.train.schema.inputs if column.step is not None}
    assert dict(model.encoder.steps) == steps
    assert len(steps) >= 2
    raw = model.predict([{name: content[name][row] for name in names} for row in range(40)])
    coarse = {name: np.array(content[name][:40], dtype=object) for name in names}
    coarse["age"], coarse["born"] = coarse["age"].astype(float), np.array(content["born"][:40], dtype="datetime64[us]")
    same = model.predict({name: steps[name].apply(column) if name in steps else column for name, column in coarse.items()})
    assert raw.probabilities is not None
    assert same.probabilities is not None
    np.testing.assert_array_equal(raw.probabilities, same.probabilities)
    bare = Encoder(features=encoder.features, target=encoder.target).encode(coarse)
    assert any((bare[name] != array).any() for name, array in encoder.encode(coarse).items())  # the steps are not idle


def test_an_encoder_keeps_its_steps_and_refuses_ones_that_do_not_fit(treated: tuple[Path, Splits, dict[str, Finding]]) -> None:
    _, splits, _ = treated
    section = parse_recipe({"data": {"source": "people.csv", "target": "y"}}).preprocessing
    encoder = Encoder.fit(splits.train, splits.train.schema, section)
    state = json.loads(json.dumps(encoder.to_json()))
    assert dict(Encoder.from_json(state).steps) == dict(encoder.steps)
    assert state["format"] == 2
    for steps in ({"age": {"way": "period", "period": "day"}}, {"absent": {"way": "masked"}}, {"age": {"way": "run"}}, {"age": {}}, []):
        with pytest.raises(PackageError):
            Encoder.from_json({**state, "steps": steps})


STEPS: list[Step] = [
    Bins(cuts=()), Bins(cuts=(3.0,)), Bins(cuts=(-2.5, 0.0, 40.0)), *(Period(period=name) for name in ("day", "month", "quarter", "year")),
    Period(period="decade"), Period(period="any"), Parents(parents={"a": "b"}), Parents(parents={}, prefix=2),
    Parents(parents={"a": "b"}, kept=frozenset({"b"})), Parents(parents={}, kept=frozenset()), Masked(),
]  # fmt: skip
VALUES: dict[str, Any] = {
    "number": st.floats(-1e6, 1e6) | st.just(float("nan")),
    "date": st.integers(-(10**16), 10**16),
    "category": st.none() | st.sampled_from(["a", "b", "ab", "abc", "(other)", "*", "ab*"]),
    "text": st.none() | st.sampled_from(["call +49 30 1234567", "a@b.org", "nothing"]),
}


@settings(deadline=None)
@given(st.sampled_from(STEPS), st.data())
def test_a_step_is_the_same_a_second_time_and_after_json(step: Step, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[step.type], min_size=1, max_size=8))
    column = {
        "number": lambda: np.array(values, dtype=np.float64), "date": lambda: np.array(values, dtype="datetime64[us]"),
    }.get(step.type, lambda: np.array([*values, None], dtype=object)[:-1])()  # fmt: skip
    once = step.apply(column)
    np.testing.assert_array_equal(step.apply(once), once)
    again = read_step(json.loads(json.dumps(step.to_json())))
    np.testing.assert_array_equal(again.apply(column), once)
    alone = [step.apply(column[place : place + 1])[0] for place in range(len(column))]
    np.testing.assert_array_equal(np.array(alone, dtype=once.dtype), once)


@pytest.mark.parametrize(
    "state",
    [
        {"way": "bins", "cuts": [2, 1]}, {"way": "bins", "cuts": [float("nan")]}, {"way": "period", "period": "eon"}, {"way": "x"},
        {"way": "parents", "parents": {"a": 1}, "prefix": 0, "kept": None}, {"way": "parents", "parents": {}, "prefix": -1, "kept": None},
    ],
)  # fmt: skip
def test_a_damaged_step_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        read_step(state)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 3))
def test_no_column_can_go_one_rung_lower(seed: int, k: int, diversity: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(30, 120))
    columns = {"number": random.gamma(2, 10, n).round(), "category": random.choice(list("abcdefg"), n).astype(object)}
    sensitive = random.integers(0, 3, n)
    ladders = [codes_of(column, ladder_of(kind, column, k)) for kind, column in columns.items()]
    climbed = climb(ladders, sensitive, k=k, diversity=diversity, most_suppressed=0.1, answer=sensitive)
    assert climbed is not None
    left = ~climbed.suppressed
    after = measure([ladder[rung][left] for ladder, rung in zip(ladders, climbed.rungs, strict=True)], sensitive[left], k)
    assert after.k >= k
    assert after.l >= diversity
    assert climbed.suppressed.mean() <= 0.1
    for column, rung in enumerate(climbed.rungs):
        if rung:
            lower = [ladder[place - (number == column)] for number, (ladder, place) in enumerate(zip(ladders, climbed.rungs, strict=True))]
            sizes = Counter(zip(*(codes.tolist() for codes in lower), strict=True))
            told = {one: len({sensitive[row] for row in range(n) if tuple(codes[row] for codes in lower) == one}) for one in sizes}
            bad = sum(size for one, size in sizes.items() if size < k or told[one] < diversity)
            assert bad > 0.1 * n


def test_rungs_only_join_what_the_rung_under_them_parts() -> None:
    random = np.random.default_rng(1)
    columns = {
        "number": random.normal(size=300), "date": np.datetime64("1960-01-01", "us") + random.integers(0, 10**15, 300),
        "category": np.array([f"{code:05d}" for code in random.integers(0, 99_999, 300)], dtype=object),
    }  # fmt: skip
    for kind, column in columns.items():
        codes = codes_of(column, ladder_of(kind, column, 5))
        assert len(set(codes[0])) > 100
        assert len(set(codes[-1])) == 1
        for fine, coarse in itertools.pairwise(codes):
            assert len(set(zip(fine, coarse, strict=True))) == len(set(fine))


def test_codes_that_name_each_row_tell_nothing() -> None:
    random = np.random.default_rng(2)
    answer = random.integers(0, 2, 2000)
    assert information(np.arange(2000), answer) == 0
    assert information(random.integers(0, 5, 2000), answer) < 0.01
    assert information(answer, answer) > 0.9
