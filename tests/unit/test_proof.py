"""The pages quote what was measured: a run or record that is absent, or of a recipe that was changed since, leaves no figure.

A figure that differs from the measured one fails the check, and the limits that the README states are those of the code.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weighbridge.findings import Finding, Message, Reference, write_findings
from weighbridge.recipe import load_recipe
from weighbridge.stages.station import recipe_hash

ROOT = Path(__file__).resolve().parents[2]
MARKED = "before\n<!-- output:start -->\n\nold output\n\n<!-- output:end -->\n<!-- proof:start -->\n<!-- proof:end -->\nafter\n"


@pytest.fixture(scope="module")
def proof() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))  # its neighbours
    spec = importlib.util.spec_from_file_location("proof", ROOT / "scripts" / "proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["proof"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


def findings(verdict: str, difference: float, low: float, high: float, p_value: float) -> list[Finding]:
    best = Reference(name=Message("gradient boosting"), value=0.9, difference=difference, difference_interval=(low, high), p_value=p_value)
    why = Message("by the paired test")
    shared: dict[str, Any] = {"verdict": verdict, "unit": "share", "n": 40, "reference": best, "reason": why}
    return [
        Finding(key="data.split", title=Message("rows"), value="130 / 30 / 40", unit="rows"),
        Finding(key="training.seconds", title=Message("time"), value=0.25, unit="s"),
        Finding(
            key="evaluation.accuracy", title=Message("accuracy"), value=0.9 + difference, interval=(0.8, 0.97), headline=True, **shared
        ),
        Finding(key="evaluation.against.boosting", title=Message("better by"), value=difference, interval=(low, high), **shared),
        Finding(key="deployment.size", title=Message("size"), value=16_700, unit="bytes"),
        Finding(key="deployment.latency", title=Message("latency"), value=30.2e-6, unit="s"),
        Finding(key="deployment.first_answer", title=Message("first"), value=0.2, unit="s"),
    ]


def place(root: Path, found: list[Finding], *, recipe_sha256: str | None = None) -> Path:
    """`root` holds the pages, the example recipes, and one run: two_features."""
    (root / "docs").mkdir(parents=True)
    (root / "examples").mkdir()
    for page in ("README.md", "README.zh-CN.md", "docs/examples.md"):
        (root / page).write_text(MARKED, encoding="utf-8")
    for recipe in (ROOT / "examples").glob("*.yaml"):
        (root / "examples" / recipe.name).write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
    folder = root / "runs" / "two_features"
    folder.mkdir(parents=True)
    about = {
        "recipe_sha256": recipe_sha256 or recipe_hash(load_recipe(root / "examples" / "two_features.yaml")),
        "started": "2026-11-23T09:14:25+0000",
        "seconds": 8.7,
        "machine": {"cores": 2, "cpu": "a processor"},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
    }
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    write_findings(folder / "findings.jsonl", found)
    return root


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))


def made(proof: ModuleType, root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): text for path, text in proof.pages(root / "runs", root / "records", root)}


@pytest.mark.parametrize(
    ("verdict", "difference", "low", "high", "p_value", "said"),
    [
        ("advantage", 0.05, 0.01, 0.09, 0.01, ("better than boosting", "优于梯度提升")),
        ("limitation", -0.05, -0.09, -0.01, 0.01, ("boosting wins", "梯度提升胜出")),
        ("limitation", 0.02, -0.03, 0.07, 0.6, ("no difference from boosting shown", "未显示与梯度提升有差别")),
        ("limitation", -0.02, -0.07, 0.03, 0.6, ("no difference from boosting shown", "未显示与梯度提升有差别")),
    ],
)
def test_the_verdict_in_words_is_that_of_the_paired_test(
    proof: ModuleType, tmp_path: Path, verdict: str, difference: float, low: float, high: float, p_value: float, said: tuple[str, str]
) -> None:
    root = place(tmp_path / "house", findings(verdict, difference, low, high, p_value))
    texts = made(proof, root)
    for page, words in (("README.md", said[0]), ("README.zh-CN.md", said[1]), ("docs/examples.md", said[0])):
        assert f"| {words} |" in row(texts[page], "two_features"), page


def test_a_row_shows_what_the_findings_hold(proof: ModuleType, tmp_path: Path) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01))
    shown = row(made(proof, root)["README.md"], "two_features")
    for part in (
        "130 / 30 / 40",
        "accuracy 0.950 (0.800 – 0.970)",
        "boosting 0.900",
        "+0.050 (+0.010 to +0.090)",
        "250 ms",
        "16.7 KB",
        "30.2 µs",
    ):
        assert part in shown


def test_what_was_not_run_has_no_figure(proof: ModuleType, tmp_path: Path) -> None:
    texts = made(proof, place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01)))
    assert row(texts["README.md"], "digits") == "| `digits` | which of ten digits, 8 x 8 pixels | not measured here |" + " – |" * 8
    assert "此处未测" in row(texts["README.zh-CN.md"], "digits")
    assert "old output" in texts["README.md"]  # the screen is that of digits: without its run it stays


def test_a_run_of_another_recipe_does_not_count(proof: ModuleType, tmp_path: Path) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01), recipe_sha256="0" * 64)
    assert "not measured here" in row(made(proof, root)["README.md"], "two_features")


def test_a_page_without_its_markers_is_refused(proof: ModuleType) -> None:
    with pytest.raises(ValueError, match="do not stand once each"):
        proof.renewed("no markers", "proof", "x")
    with pytest.raises(ValueError, match="do not stand once each"):
        proof.renewed("<!-- proof:end --> <!-- proof:start -->", "proof", "x")


def test_writing_twice_changes_nothing_the_second_time(proof: ModuleType, tmp_path: Path) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01))
    first = made(proof, root)
    for page, text in first.items():
        (root / page).write_text(text, encoding="utf-8")
    assert made(proof, root) == first
    assert all(text.startswith("before\n") and text.endswith("after\n") for text in first.values())


def write_records(root: Path, **records: dict[str, Any]) -> None:
    (root / "records").mkdir(exist_ok=True)
    for name, record in records.items():
        (root / "records" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def test_a_record_fills_its_row_and_an_absent_one_leaves_no_figure(proof: ModuleType, tmp_path: Path) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01))
    write_records(root, race={"name": "race", "value": 20, "n": 20}, startup={"medians": {"weigh --help": 0.0921}, "n": 10})
    texts = made(proof, root)
    assert "| runs that start in one folder at once: one wins | 20 of 20 |" in texts["README.md"]
    assert "| 20 次中 20 次 |" in texts["README.zh-CN.md"]
    assert "`weigh --help` 0.092 s" in texts["README.md"]
    assert "whole | not measured here |" in texts["README.md"]


def test_the_errors_of_the_choice_are_the_worst_that_a_control_measured(proof: ModuleType) -> None:
    def told(instrument: str, kind: str, case: str, stated: float, measured: float) -> dict[str, Any]:
        return {"instrument": instrument, "kind": kind, "case": case, "stated": [stated, 1.0], "measured": measured}

    found = sys.modules["proof_promises"].choice_records(
        [
            told("test.noninferiority", "clean", "a form 0.05 worse does not pass, n = 30", 0.95, 0.97),
            told("optimization.choice", "clean", "of five forms none is kept", 0.95, 0.96),
            told("optimization.choice", "clean", "none is called inferior", 0.95, 0.90),
            told("test.noninferiority", "clean", "no level is promised", 0.0, 0.50),
            told("optimization.choice", "planted", "an equal form is kept, at the rows said for it", 0.8, 0.84),
            told("optimization.choice.rows", "planted", "passes at the rows said", 0.78, 0.81),
        ]
    )
    assert found == {"choice.worse": {"value": pytest.approx(0.04), "n": 2}, "choice.equal": {"value": 0.81, "n": 2}}


def test_a_record_that_no_row_shows_is_refused(proof: ModuleType, tmp_path: Path) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01))
    write_records(root, stray={"name": "stray", "value": 1, "n": 1})
    with pytest.raises(ValueError, match="shows the record stray"):
        made(proof, root)


def test_a_figure_that_differs_from_the_measured_one_fails_the_check(
    proof: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = place(tmp_path / "house", findings("advantage", 0.05, 0.01, 0.09, 0.01))
    write_records(root, race={"name": "race", "value": 19, "n": 20})
    wishes = ["--measured", str(root / "records")]
    assert proof.main(wishes, root) == 0
    assert proof.main([*wishes, "--check"], root) == 0
    readme = root / "README.md"
    for said, wrong in (("19 of 20", "20 of 20"), ("accuracy 0.950", "accuracy 0.960"), ("at most 200 ms", "at most 199 ms")):
        whole = readme.read_text(encoding="utf-8")
        assert said in whole
        readme.write_text(whole.replace(said, wrong), encoding="utf-8")
        assert proof.main([*wishes, "--check"], root) == 1
        assert "README.md" in capsys.readouterr().err
        readme.write_text(whole, encoding="utf-8")
    write_records(root, race={"name": "race", "value": 18, "n": 20})
    assert proof.main([*wishes, "--check"], root) == 1


def test_every_figure_that_a_test_records_has_a_row(proof: ModuleType) -> None:
    rows = set(sys.modules["proof_promises"].RECORDED)
    recorded = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"\brecord\(\s*\"([a-z0-9_.]+)\"", path.read_text(encoding="utf-8"))
    }
    assert recorded
    assert recorded <= rows


def test_the_limits_that_the_readme_states_are_those_of_the_code() -> None:
    from weighbridge.data import pictures
    from weighbridge.recipe.schema import PreprocessingSection
    from weighbridge.runtime.package import MOST_BYTES

    section = PreprocessingSection()
    limits = {
        "images": [f"{pictures.MOST_PIXELS:,}", f"{pictures.MOST_BYTES >> 20} MiB"],
        "categories": [f"{section.category.most:,}", str(section.category.rare)],
        "package": [f"`{name}` {_binary(MOST_BYTES[name])}" for name in ("model.onnx", "package.json", "golden.json")],
    }
    for page, names in (("README.md", limits), ("README.zh-CN.md", dict(zip(("图像", "类别", "包"), limits.values(), strict=True)))):
        rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
        for name, figures in names.items():
            stated = next(line for line in rows if line.startswith(f"| {name} |"))
            for figure in figures:
                assert figure in stated, (page, name)


def _binary(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


@pytest.mark.slow
def test_the_distance_to_least_squares_is_measured_on_a_run_and_grows_with_the_weights(proof: ModuleType, tmp_path: Path) -> None:
    from weighbridge import lifecycle
    from weighbridge.storage.tensors import load_tensors, save_tensors

    measure = sys.modules["proof_promises"].distance_to_least_squares
    recipe = load_recipe(ROOT / "examples" / "linear_regression.yaml", ["training.epochs=300", "training.threads=1"])
    lifecycle.run(recipe, tmp_path / "run", until="training")
    before = measure(tmp_path / "run")
    assert 0 < before < 1
    path = tmp_path / "run" / "training" / "model.safetensors"
    tensors, about = load_tensors(path)
    save_tensors(path, {name: tensor + 2 for name, tensor in tensors.items()}, meta=about)
    assert measure(tmp_path / "run") > 1
