"""Law: personal data in the training rows is counted and never shown, serials accuse no column, and what can not be told is said.

The controls (audit/controls_privacy_personal.py) hold the rates; here is what each finding says, of each type of column.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from weighbridge import data
from weighbridge.audit.controls_privacy_personal import card, iban, mobile, resident
from weighbridge.audit.privacy_columns import by_chance, held_by, look, looked_at, loses_digits, rows_with, words_of
from weighbridge.audit.privacy_known import known_columns, speaks_of_a_person, stand_alone
from weighbridge.audit.privacy_names import MOST_TEXTS, pipeline_for
from weighbridge.audit.privacy_personal import personal
from weighbridge.audit.subject import Subject
from weighbridge.errors import RecipeError
from weighbridge.evaluation import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Finding, by_key
from weighbridge.mitigation import Patient, chosen
from weighbridge.mitigation.pairing import under_first_names
from weighbridge.mitigation.privacy_data import ways_of
from weighbridge.preprocessing import Encoder
from weighbridge.privacy import search
from weighbridge.recipe import parse_recipe
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

N = 240
WORDS = ["order", "late", "box", "open", "glad", "angry", "week", "call", "again", "blue", "paid", "lost"]
Columns = dict[str, list[Any]]


def people(seed: int = 0, *, planted: bool = True) -> Columns:
    """Return rows with personal data in a text, a category and a column of numbers; not `planted`: serials in their place."""
    random = np.random.default_rng(seed)

    def text(row: int) -> str:
        piece = f"write to planted{row}@mail.example.org" if planted and row % 4 == 0 else f"order 4{random.integers(10**14, 10**15)}"
        return f"{' '.join(random.choice(WORDS, 9))} {piece} {row}"

    serial = [f"4{random.integers(10**14, 10**15)}" for _ in range(N)]
    return {
        "age": random.integers(18, 80, N).tolist(),
        "sex": random.choice(["f", "m"], N).tolist(),
        "note": [text(row) for row in range(N)],
        "paid_by": [card(random) if planted else serial[row] for row in range(N)],
        "number": [int(mobile(random)) if planted else int(random.integers(10**10, 2 * 10**10)) for _ in range(N)],
        "x": random.normal(size=N).round(4).tolist(),
        "y": random.choice(["yes", "no"], N).tolist(),
    }


def subject_of(folder: Path, content: Columns, **section: Any) -> Subject:
    """Return a subject without a model: the data of a run and its encoder."""
    folder.mkdir(exist_ok=True)
    lines = [",".join(content)] + [",".join(str(value) for value in row) for row in zip(*content.values(), strict=True)]
    (folder / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    columns = {"paid_by": "category"} if "paid_by" in content else {}
    recipe = parse_recipe({"data": {"source": (folder / "people.csv").as_posix(), "target": "y", "columns": columns, **section}})
    data.prepare(recipe.data, seed=0, folder=folder / "data", command="weigh data RUN")
    splits = data.open_data(folder / "data")
    return Subject(
        recipe=recipe, folder=folder, chosen=SimpleNamespace(), kept=SimpleNamespace(), splits=splits, test=splits.test("a test", "x"),  # type: ignore[arg-type]
        arrays={}, encoder=Encoder.fit(splits.train, splits.train.schema, recipe.preprocessing), said={}, answer=len,  # type: ignore[arg-type]
        how=Resampling(resamples=200), command="weigh audit RUN", progress=silent, stop=StopRequest(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, list[Finding]]:
    subject = subject_of(tmp_path_factory.mktemp("people"), people(), protected=["sex"])
    return subject, personal(subject)


def of(found: list[Finding], key: str = "") -> Finding:
    finding = by_key(found, f"audit.privacy.personal{key}")
    assert finding is not None, f"{key} is none of {[one.key for one in found]}"
    return finding


def test_planted_numbers_and_addresses_are_limitations_with_their_share(planted: tuple[Subject, list[Finding]]) -> None:
    subject, found = planted
    n = len(subject.splits.train)
    notes = [note for note in subject.splits.train.column("note") if "@" in note]
    for key, share in ((".email", len(notes) / n), (".card", 1.0), (".phone", 1.0), ("", 1.0)):
        one = of(found, key)
        assert (one.verdict, one.value, one.n) == ("limitation", share, n), key
        assert one.interval is not None
        assert one.interval[0] <= share <= one.interval[1]
    assert "note" in str(of(found, ".email").reason)
    assert "paid_by" in str(of(found, ".card").reason)
    assert "number" in str(of(found, ".phone").reason)
    assert of(found, ".email").command == "weigh audit RUN --only privacy.personal.email"


def test_no_value_is_shown(planted: tuple[Subject, list[Finding]]) -> None:
    subject, found = planted
    said = json.dumps([one.to_json() for one in found]) + (subject.place / "privacy_personal.json").read_text()
    values = people()
    assert "planted" not in said
    assert [value for value in [*map(str, values["paid_by"]), *map(str, values["number"])] if value in said] == []
    assert "9999999999999999" in said


def test_addresses_that_the_encoder_knows_go_with_the_package_and_that_is_said(tmp_path: Path) -> None:
    content = people()
    content["agent"] = [f"agent{row % 6}@mail.example.org" if row % 8 else "none of them" for row in range(N)]
    subject = subject_of(tmp_path, content)
    found = personal(subject)
    carried = of(found, ".package")
    assert (carried.value, carried.verdict) == (6, "limitation")
    assert str(carried.reason).startswith("agent: ")  # cards that come once are rare values, which no encoder knows


def test_rows_that_stand_alone_are_counted(planted: tuple[Subject, list[Finding]]) -> None:
    subject, found = planted
    pairs = list(zip(subject.splits.train.column("age"), subject.splits.train.column("sex"), strict=True))
    alone = sum(pairs.count(pair) == 1 for pair in pairs)
    assert alone > 0
    assert (of(found, ".alone").value, of(found, ".alone").verdict) == (alone / len(pairs), "limitation")


def test_serials_without_meaning_accuse_no_column(tmp_path: Path) -> None:
    found = personal(subject_of(tmp_path, people(2, planted=False)))  # of a hundred seeds, five may accuse one
    assert (of(found).value, of(found).verdict) == (0, "neutral")
    assert "can not tell" in str(of(found, ".card").reason)
    assert of(found, ".card").verdict == "neutral"
    assert by_key(found, "audit.privacy.personal.email") is None
    assert by_key(found, "audit.privacy.personal.package") is None


def test_an_anonymised_run_is_clean_and_its_promise_is_counted_again(tmp_path: Path) -> None:
    ways = {"note": "mask", "paid_by": "drop", "number": "drop", "age": "generalize", "sex": "generalize"}
    found = personal(subject_of(tmp_path, people(), anonymize={"columns": ways, "k": 6}))
    assert (of(found).value, of(found).verdict) == (0, "neutral")
    assert (of(found, ".alone").value, of(found, ".alone").verdict) == (0, "advantage")
    assert "at least" in str(of(found, ".alone").reason)


def test_a_table_without_texts_or_persons_says_so(tmp_path: Path) -> None:
    content = {"x": [index / 7 + 0.1 for index in range(60)], "y": ["yes", "no"] * 30}
    found = personal(subject_of(tmp_path, content))
    assert [one.key for one in found] == ["audit.privacy.personal"]
    assert of(found).value == 0


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        ("number", [13800138000.0, 1.5, float("nan"), 2.0**60], ["13800138000", None, None, None]),
        ("set", [("a@b.org", "c"), None, ()], ["a@b.org, c", None, ""]),
        ("text", ["a@b.org", None], ["a@b.org", None]),
    ],
)  # fmt: skip
def test_columns_are_read_as_texts(kind: str, values: list[Any], texts: list[str | None]) -> None:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    assert words_of(column.astype(np.float64) if kind == "number" else column, kind) == texts


def test_numbers_that_lose_their_last_digits_are_named() -> None:
    assert loses_digits(np.array([440308199901101512.0, 110105194912310021.0]))
    assert not loses_digits(np.array([4111111111111111.0, np.nan]))
    assert not loses_digits(np.array([np.nan]))


def test_chinese_columns_are_searched() -> None:
    random = np.random.default_rng(3)
    texts: list[str | None] = [f"客户{resident(random)}的电话是{mobile(random)}，账户{iban(random)}。" for _ in range(8)]
    held = {one.kind.name: one for one in held_by({"备注": [*texts, None, "没有"]})}
    assert {name for name, one in held.items() if one.found} == {"resident_id", "phone", "iban"}
    assert rows_with(list(held.values())) == 8
    assert speaks_of_a_person("出生日期")
    assert not speaks_of_a_person("image")


def test_one_number_alone_is_told_from_chance_only_where_chance_is_rare() -> None:
    seen = search(["4111111111111111"])["card"]
    assert by_chance(seen) == pytest.approx(0.1)
    assert not held_by({"c": ["4111111111111111"]})[0].found


def test_long_texts_are_looked_at_in_part_and_the_same_rows_again() -> None:
    texts = {"note": ["x" * 40_000] * 1_000}
    assert len(looked_at(texts, 0)) == 200
    assert len(looked_at({"note": ["x"] * 1_000}, 0)) == 1_000
    few = looked_at({"note": ["x" * 5_000] * 2_000}, 0)
    assert len(few) == 800
    np.testing.assert_array_equal(few, looked_at({"note": ["x" * 5_000] * 2_000}, 0))


class Pipeline:
    """Stands for a spaCy pipeline that takes capital words for persons."""

    def pipe(self, texts: list[str]) -> Any:
        for text in texts:
            words = [word for word in text.split() if word[0].isupper()]
            yield SimpleNamespace(ents=[SimpleNamespace(label_="PERSON", text=word) for word in words])


@pytest.fixture
def spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.machinery
    import types

    module = types.ModuleType("spacy")
    module.__spec__ = importlib.machinery.ModuleSpec("spacy", None)
    module.util = SimpleNamespace(get_installed_models=lambda: ["en_core_web_sm", "zh_core_web_sm"])  # type: ignore[attr-defined]
    module.load = lambda name: Pipeline()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", module)


def test_names_are_unmeasured_without_a_model(planted: tuple[Subject, list[Finding]]) -> None:
    names = of(planted[1], ".names")
    assert names.verdict == "unmeasured"
    assert "no model that knows names" in str(names.reason)


def test_names_are_counted_where_a_model_is_installed(planted: tuple[Subject, list[Finding]], spacy: None, tmp_path: Path) -> None:
    content = people()
    content["note"] = [f"{note} {'Anna' if row % 2 else 'nobody'}" for row, note in enumerate(content["note"])]
    subject = subject_of(tmp_path, content)
    names = of(personal(subject), ".names")
    shown = [note for note in subject.splits.train.column("note") if "Anna" in note]
    assert names.n == min(MOST_TEXTS, len(subject.splits.train))
    assert names.value == len(shown) / len(subject.splits.train)
    assert "en_core_web_sm" in str(names.reason)
    assert pipeline_for(["这是一个没有空格的句子"]) == "zh_core_web_sm"


def test_the_remedy_masks_texts_drops_numbers_and_makes_the_rest_coarser(planted: tuple[Subject, list[Finding]]) -> None:
    subject, found = planted
    patient = Patient(recipe=subject.recipe, folder=subject.folder, findings=found)
    ways = {"note": "mask", "paid_by": "drop", "number": "drop", "age": "generalize", "sex": "generalize"}
    assert ways_of(patient) == ways
    (remedy,) = chosen(["anonymize"])
    changes = remedy.changes(patient)
    assert changes == {"data.anonymize.columns": ways}
    assert remedy in chosen(["privacy"])
    parse_recipe({"data": {**subject.recipe.data.model_dump(mode="json"), "anonymize": {"columns": ways}}})


def test_the_remedy_refuses_a_run_that_has_nothing_to_hide_or_hides_it_already(tmp_path: Path) -> None:
    (remedy,) = chosen(["anonymize"])
    content = {"x": [index / 7 + 0.1 for index in range(60)], "y": ["yes", "no"] * 30}
    subject = subject_of(tmp_path / "clean", content)
    with pytest.raises(RecipeError, match="nothing to anonymise"):
        remedy.changes(Patient(recipe=subject.recipe, folder=subject.folder, findings=[]))
    subject = subject_of(tmp_path / "done", people(), anonymize={"columns": {"note": "drop"}})
    with pytest.raises(RecipeError, match="anonymises already"):
        remedy.changes(Patient(recipe=subject.recipe, folder=subject.folder, findings=[]))


def test_a_column_that_the_run_needs_is_left_alone(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, people(), group="paid_by")
    ways = ways_of(Patient(recipe=subject.recipe, folder=subject.folder, findings=[]))
    assert set(ways) == {"note", "number", "age", "sex"}


def test_the_same_rows_under_other_names_are_paired(tmp_path: Path) -> None:
    plain = subject_of(tmp_path / "plain", people())
    hidden = subject_of(tmp_path / "hidden", people(), anonymize={"columns": {"note": "drop"}})
    before, now = (_said(one) for one in (plain, hidden))
    assert not set(before.row_id) & set(now.row_id)
    paired = under_first_names(now, before, plain.folder, hidden.folder)
    np.testing.assert_array_equal(paired.row_id, before.row_id)
    np.testing.assert_array_equal(paired.target, before.target)
    np.testing.assert_array_equal(paired.output, before.output)  # both answer by the target
    other = Predictions(kind="category", row_id=now.row_id[1:], target=now.target[1:], output=now.output[1:], classes=now.classes)
    assert under_first_names(other, before, plain.folder, hidden.folder) is other
    assert under_first_names(before, before, plain.folder, plain.folder) is before


def _said(subject: Subject) -> Predictions:
    x = subject.test.column("x")
    truth = (subject.test.column("y") == "yes").astype(int)
    yes = 1 / (1 + np.exp(-x))
    return Predictions(
        kind="category", row_id=subject.test.row_ids, target=truth, output=np.stack([1 - yes, yes], axis=1), classes=("no", "yes")
    )


def test_columns_that_the_recipe_makes_coarser_are_those_that_are_counted(planted: tuple[Subject, list[Finding]]) -> None:
    subject, _ = planted
    table = subject.splits.train
    assert known_columns(subject.recipe, table) == ("age", "sex")
    seen = stand_alone(table, ("sex",), 5)
    assert (seen.alone, seen.few, seen.n) == (0, 0, len(table))
    assert look(table, 0).lost == []
