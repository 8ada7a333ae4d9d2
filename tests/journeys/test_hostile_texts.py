"""Law: no text stops a run, is lost or is answered with nonsense: empty, endless, broken, from right to left, full of control signs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import weighbridge
from weighbridge import lifecycle
from weighbridge.errors import DataError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import parse_recipe

pytestmark = pytest.mark.slow

HOSTILE = {
    "empty": "", "spaces": " \t \n ", "a megabyte": "good film " * 100_000, "one word of a megabyte": "x" * 1_000_000,
    "control characters": "good\x00\x01\x1b[31m film\x7f\ufeff", "an unpaired surrogate": "good \ud83d film \udc00",
    "right to left": "\u202eسرد רע טוב\u202c", "joined marks": "a" + "\u0301" * 500, "markup": "<script>alert(1)</script>&lt;",
    "special tokens": "[CLS] [SEP] <pad> \x00pad", "emoji": "👩‍👩‍👧‍👦" * 50, "line breaks": "good\r\nfilm\u2028here",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    random, lines = np.random.default_rng(0), []
    for place in range(300):
        good = bool(random.integers(2))
        words = random.permutation(["film", "plot", "actor", "scene", "music", str(place)])[:4]
        lines.append({"text": " ".join(["good" if good else "bad", *words]), "liked": good})
    for place, (name, text) in enumerate(HOSTILE.items()):
        if name == "an unpaired surrogate":  # no table can hold one; see below
            continue
        lines += [{"text": text + (f" {place}" if text.strip() else ""), "liked": place % 2 == 0}, {"text": None, "liked": True}]
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    recipe = parse_recipe(
        {
            "data": {"source": str(path), "target": "liked", "columns": {"text": "text"}, "clean": {"duplicates": "keep"},
                     "allow": ["duplicates", "near_duplicates"]},
            "training": {"model": {"type": "transformer", "size": "xs"}, "epochs": 6, "batch_size": 32},
            "evaluation": {"baselines": ["trivial", "linear"], "slices": False},
        }
    )  # fmt: skip
    lifecycle.run(recipe, folder / "run")
    return folder / "run"


def test_every_row_is_kept_and_counted(finished: Path) -> None:
    findings = read_findings(finished / "findings.jsonl")
    rows, empty = by_key(findings, "data.rows"), by_key(findings, "preprocessing.text.empty")
    assert rows is not None
    assert rows.value == 300 + 2 * (len(HOSTILE) - 1)
    assert empty is not None
    assert float(empty.value or 0) > 0
    parity = by_key(findings, "deployment.parity")
    assert parity is not None
    assert parity.verdict != "limitation"


def test_an_unpaired_surrogate_in_a_file_is_refused_in_one_line_that_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    lines = [{"text": f"film {place}", "liked": place % 2 == 0} for place in range(40)]
    lines[7]["text"] = "good \ud83d film"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")  # as an escape: so JSON may hold it
    recipe = parse_recipe({"data": {"source": str(path), "target": "liked", "columns": {"text": "text"}}})
    with pytest.raises(DataError, match=r"line 8 holds an unpaired surrogate \(U\+D83D\)") as refused:
        lifecycle.run(recipe, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert path.exists()


def test_each_gets_a_finite_answer_alone_as_in_a_batch(finished: Path) -> None:
    model = weighbridge.load(finished / "deployment" / "package")
    rows = [{"text": text} for text in HOSTILE.values()]
    together = model.predict(rows).probabilities
    assert together is not None
    assert np.isfinite(together).all()
    for place, row in enumerate(rows):
        alone = model.predict([row]).probabilities
        assert alone is not None
        np.testing.assert_allclose(alone[0], together[place], atol=1e-5, err_msg=list(HOSTILE)[place])
    missing = model.predict([{"text": None}]).probabilities
    assert missing is not None
    for name in ("empty", "spaces"):
        np.testing.assert_allclose(together[list(HOSTILE).index(name)], missing[0], atol=1e-6)


def test_the_report_holds_no_text_that_a_browser_would_run(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert not any("\ud800" <= sign <= "\udfff" for sign in page)
