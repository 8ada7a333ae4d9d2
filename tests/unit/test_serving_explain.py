"""Law: an explanation is asked for like an answer, says the same answer, and never comes without its faithfulness; a form tells what a row
needs. What takes too long is refused, and no explanation is counted as an answer in the log.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.explained_packages import WORDS, numbers_model, picture_model, text_model
from tests.unit.runtime_packages import make_package
from weighbridge.errors import InputError
from weighbridge.runtime import Model
from weighbridge.runtime.golden import value_json
from weighbridge.serving.dialects import spoken
from weighbridge.serving.explain import MOST_ROWS, Unexplained
from weighbridge.serving.limits import Limits, TooLarge

HEAD = {"content_type": "application/json", "id": "r1"}
PARTS = {"strength", "without"}


def asked(model: Model, rows: list[dict[str, Any]], kind: str = "explain", **more: Any) -> dict[str, Any]:
    dialect = spoken()[kind]
    found = dialect.read(model, {**HEAD, **more}, json.dumps({"rows": rows}).encode(), Limits())
    output = model.outputs(found.columns, found.count)
    content_type, _, body = dialect.write(model, found.context, output)
    assert content_type == "application/json"
    return dict(json.loads(body))


def rows_of(folder: Path, kind: str, count: int) -> tuple[Model, list[dict[str, Any]]]:
    _, data = make_package(folder, kind)
    model = Model.load(folder, threads=1)
    return model, [
        {name: value_json(data.columns[name][place], one) for name, one in model.signature.items()} for place in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["category", "number", "set"])
def test_an_explanation_says_what_an_answer_says_and_why(kind: str, tmp_path: Path) -> None:
    model, rows = rows_of(tmp_path / "package", kind, 2)
    answers, told = asked(model, rows, "predict"), asked(model, rows)
    assert (told["id"], told["model"], told["method"]) == ("r1", model.hash, "occlusion")
    for answer, one in zip(answers["predictions"], told["explanations"], strict=True):
        assert answer.items() <= one.items()
        assert {column["column"] for column in one["columns"]} == {name for name, type_ in model.signature.items() if type_ != "image"}
        assert all(column.keys() == {"column", *PARTS} for column in one["columns"])
        assert one["faithfulness"]["status"] in ("holds", "open", "fails")
        (image,) = one["images"]
        assert (len(image["down"]), len(image["across"])) == (len(image["strength"]) + 1, len(image["strength"][0]) + 1)
        assert image["down"][0] == image["across"][0] == 0
        assert image["down"][-1] == image["across"][-1] == 1
        said = answer["prediction"] if kind == "number" else answer["probabilities"][one["explained"]]
        assert one["answer"] == pytest.approx(said, rel=1e-4, abs=1e-5)


def test_the_pieces_of_a_text_are_the_text_and_the_word_that_is_read_weighs_most(tmp_path: Path) -> None:
    model = text_model(tmp_path / "text", WORDS[3])
    text = f"  {WORDS[0]}, {WORDS[3]} and {WORDS[1]}!  "
    (one,) = asked(model, [{"text": text}])["explanations"]
    pieces = one["texts"][0]["pieces"]
    assert "".join(piece["text"] for piece in pieces) == text
    assert max(pieces, key=lambda piece: piece["strength"] or 0)["text"] == WORDS[3]
    assert all(piece["strength"] is None for piece in pieces if not piece["text"].strip())


def test_a_text_that_is_missing_or_empty_has_no_pieces_that_weigh(tmp_path: Path) -> None:
    model = text_model(tmp_path / "text", WORDS[3])
    for text in (None, "", "   "):
        (one,) = asked(model, [{"text": text}])["explanations"]
        assert one["faithfulness"] is None
        assert all(piece["strength"] is None for piece in one["texts"][0]["pieces"])


def test_the_square_that_is_read_weighs_most(tmp_path: Path) -> None:
    model = picture_model(tmp_path / "picture", 2, 6)
    pixels = np.random.default_rng(0).integers(155, 255, (16, 16)).tolist()
    (one,) = asked(model, [{"picture": pixels}])["explanations"]
    assert np.unravel_index(np.abs(one["images"][0]["strength"]).argmax(), (8, 8)) == (2, 6)


def test_only_a_few_rows_are_explained_at_once_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "numbers", 4)
    row = {f"x{place}": 0.5 for place in range(10)}
    assert len(asked(model, [row] * MOST_ROWS)["explanations"]) == MOST_ROWS
    with pytest.raises(TooLarge, match="at most 4"):
        asked(model, [row] * (MOST_ROWS + 1))
    with pytest.raises(InputError, match="row 2: column 'x3'"):
        asked(model, [row, {**row, "x3": "a"}])


def test_what_takes_too_long_is_refused_before_a_worker_counts_as_hanging(tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "numbers", 4)
    dialect = spoken()["explain"]
    body = json.dumps({"rows": [{f"x{place}": 0.5 for place in range(10)}]}).encode()
    found = dialect.read(model, HEAD, body, Limits(hang_s=1e-9))
    with pytest.raises(Unexplained, match="takes this model longer"):
        dialect.write(model, found.context, model.outputs(found.columns, 1))


def test_a_package_that_does_not_carry_what_explaining_needs_still_answers(tmp_path: Path) -> None:
    model = numbers_model(tmp_path / "hurt", 4, reference={"x0": [1.0], "x1": [1.0, 2.0]})
    row = {f"x{place}": 0.5 for place in range(10)}
    assert asked(model, [row], "predict")["predictions"]
    with pytest.raises(Unexplained, match="reference does not fit"):
        asked(model, [row])


def test_a_form_tells_each_columns_type_choices_and_typical_value(tmp_path: Path) -> None:
    make_package(tmp_path / "package")
    model = Model.load(tmp_path / "package", threads=1)
    about = asked_form(model)
    assert about["models"] == ["a", "b"]
    assert (about["name"], about["model"], about["kind"], about["classes"]) == ("a", model.hash, "category", list(model.classes))
    by_name = {one["name"]: one for one in about["inputs"]}
    assert {name: one["type"] for name, one in by_name.items()} == model.signature
    assert by_name["city"]["choices"] == ["Kyiv", "Oslo", "Rom"]
    assert by_name["tags"]["choices"] == ["a", "b"]
    assert all(one["typical"] is None and one["more"] is False for one in about["inputs"])
    known = numbers_model(tmp_path / "known", 1, reference={"x0": [1.0, 2.0, 3.0], "x1": "hurt"}, target="y")
    assert [one["typical"] for one in asked_form(known)["inputs"]] == [2.0, *[None] * 9]
    assert asked_form(known)["target"] == "y"


def asked_form(model: Model) -> dict[str, Any]:
    dialect = spoken()["form"]
    found = dialect.read(model, {"name": "a", "models": ["a", "b"]}, b"", Limits())
    return dict(json.loads(dialect.write(model, found.context, model.outputs(found.columns, found.count))[2]))


def test_the_words_of_the_page_are_the_same_in_both_languages_and_each_one_that_is_used_is_there() -> None:
    import re

    import weighbridge.serving

    page = Path(weighbridge.serving.__file__).with_name("page")
    english, chinese = (flat(json.loads((page / f"{name}.json").read_text(encoding="utf-8"))) for name in ("en", "zh"))
    assert english.keys() == chinese.keys()
    for name, text in english.items():
        assert set(re.findall(r"\{(\w+)\}", text)) >= set(re.findall(r"\{(\w+)\}", chinese[name])), name
    sources = "\n".join(path.read_text(encoding="utf-8") for path in page.iterdir() if path.suffix in (".js", ".html"))
    used = set(re.findall(r'word\("([\w.]+)"', sources)) | set(re.findall(r'data-word="(\w+)"', sources))
    assert used <= english.keys(), used - english.keys()
    assert len(used) > 40


def flat(words: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in words.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found
