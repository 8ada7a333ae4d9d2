"""Law: what a user may type is fixed; each verb does its work on a real run and says in one line what to do when it can not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from weighbridge import lifecycle
from weighbridge.cli.app import app
from weighbridge.recipe import load_recipe, parse_recipe, recipe_schema

pytestmark = pytest.mark.slow  # a minute in sum: left out of the quick set

VERBS = {
    "run": {"--set", "--runs", "--until"},
    "check": {"--set"},
    "init": {"--target", "--output", "-o"},
    "schema": set(),
    "preprocess": {"--only"},
    "train": {"--only"},
    "optimize": {"--only", "--scale"},
    "evaluate": {"--only"},
    "audit": {"--only"},
    "mitigate": {"--for", "--only", "--list"},
    "predict": {"--output", "-o", "--trust"},
    "serve": set(
        "--host --port --state --workers --threads --tls-cert --tls-key --insecure-bind --host-name --oidc "
        "--anchor --open-metrics --packages --log --strict-log --vault --trust --limit".split()
    ),
    "watch": set(
        "--state --name --policy --set --every --nice --host --port --workers --tls-cert "
        "--tls-key --insecure-bind --host-name --log --vault --limit".split()
    ),
    "report": {"--language"},
    "compare": {"--language"},
    "calibrate": {"--only", "--trials", "--output", "-o"},
    "version": set(),
    "data run": {"--only"},
    "data erase": {"--row", "--where", "--state", "--database", "--source", "--retrain", "--by"},
    "deploy run": {"--only"},
    "deploy container": {"--output", "-o", "--base", "--wheel", "--trust"},
    "deploy edge": {"--target", "--only"},
    "deploy homomorphic": {"--rows", "--only"},
    "deploy kubernetes": {"--output", "-o", "--image", "--name", "--namespace", "--workers", "--pods", "--tls", "--trust"},
    "deploy key": set(),
    "deploy sign": {"--key"},
    "feedback add": {"--state", "--by", "--policy", "--database", "--vault"},
    "feedback watch": {"--state", "--by", "--policy", "--every", "--database", "--vault"},
    "feedback status": {"--state", "--package", "--language", "--vault", "--database", "--json"},
    "feedback export": {"--state", "--start", "--end", "--model", "--labelled", "--database", "--vault"},
    "feedback conflicts": {"--state", "--database", "--vault"},
    "feedback decide": {"--state", "--by", "--database", "--vault"},
    "feedback trust": {"--state", "--database"},
    "feedback seal": {"--state", "--vault", "--database"},
    "feedback release": {"--state", "--name", "--why"},
    "feedback round": {"--state", "--name", "--findings", "--database", "--vault"},
    "feedback history": {"--state", "--name", "--json"},
    "feedback decisions": {"--state", "--name"},
    "feedback approve": {"--state", "--by"},
    "feedback refuse": {"--state", "--by"},
    "feedback trace": {"--state", "--database", "--vault"},
    "keys add": {"--role", "--expires", "--rate", "--burst", "--rows-per-day", "--state"},
    "keys list": {"--state"},
    "keys revoke": {"--state"},
    "keys rotate": {"--grace", "--state"},
    "keys vault": set(),
    "trail verify": {"--anchor", "--state"},
    "trail anchor": {"--to", "--state"},
    "trail show": {"--last", "--state"},
}
runner = CliRunner()


def weigh(*words: str | Path, code: int = 0) -> str:
    """Return what the command printed on both streams; its exit code must be `code`."""
    result = runner.invoke(app, [str(word) for word in words], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV, the recipe that `weigh init` drafted for it, and its finished run."""
    place = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(240, 2))
    lines = ["long,wide,kind", *(f"{a:.4f},{b:.4f},{'大' if a + b > 0 else '小'}" for a, b in x)]
    (place / "leaves.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    weigh("init", place / "leaves.csv", "--target", "kind", "-o", place / "leaves.yaml")
    recipe = load_recipe(
        place / "leaves.yaml", ["training.epochs=5", "training.threads=1", "training.batch_size=32", "evaluation.resamples=200"]
    )
    lifecycle.run(recipe, place / "runs" / "leaves")
    return place


def verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Give every verb, those of a group (weigh deploy VERB) with its name before them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{name} ")
        else:
            yield f"{before}{name}", command


def test_the_verbs_and_their_flags_are_these() -> None:
    found = {
        name: {flag for parameter in command.params for flag in parameter.opts if flag.startswith("-")}
        for name, command in verbs(typer.main.get_command(app))
    }
    assert found == VERBS


def test_every_verb_says_what_it_does() -> None:
    assert [name for name, command in verbs(typer.main.get_command(app)) if not (command.help and command.help.endswith("."))] == []


def test_check_shows_columns_with_reasons_every_default_and_an_estimate(folder: Path) -> None:
    shown = weigh("check", folder / "leaves.yaml", "--set", "training.epochs=3")
    for part in ("early_stopping", "long", "number", "network", "time       estimated", "memory     estimated", "weigh run"):
        assert part in shown


def test_check_shows_the_batch_that_the_recipe_names_though_its_trial_has_fewer_rows(folder: Path) -> None:
    shown = weigh("check", folder / "leaves.yaml", "--set", "training.epochs=3", "--set", "training.batch_size=230")
    assert "step       230 rows" in shown


def test_check_estimates_where_rows_have_groups(tmp_path: Path) -> None:
    lines = ["x,who,kind", *(f"{place % 7},p{place // 6},{'ab'[place % 7 > 3]}" for place in range(360))]
    (tmp_path / "grouped.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = f"{{source: {tmp_path / 'grouped.csv'}, target: kind, group: who, clean: {{duplicates: keep}}}}"
    text = f"data: {rows}\ntraining: {{epochs: 2, threads: 1}}\n"
    (tmp_path / "grouped.yaml").write_text(text, encoding="utf-8")
    shown = weigh("check", tmp_path / "grouped.yaml")
    assert "time       estimated" in shown


def test_init_does_not_write_over_a_recipe(folder: Path) -> None:
    before = (folder / "leaves.yaml").read_text(encoding="utf-8")
    assert "exists" in weigh("init", folder / "leaves.csv", "--target", "kind", "-o", folder / "leaves.yaml", code=2)
    assert (folder / "leaves.yaml").read_text(encoding="utf-8") == before


def test_schema_is_the_recipes_own(folder: Path) -> None:
    assert json.loads(weigh("schema")) == recipe_schema()


def test_predict_answers_a_csv_on_standard_output_and_in_a_file(folder: Path) -> None:
    package = folder / "runs/leaves/deployment/package"
    (folder / "new.csv").write_text("wide,long\n3,3\n-3,-3\n", encoding="utf-8")
    shown = weigh("predict", package, folder / "new.csv").splitlines()
    assert [line.split(",")[1] for line in shown] == ["prediction", "大", "小"]
    weigh("predict", package, folder / "new.csv", "-o", folder / "answers.jsonl")
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["prediction"] for answer in answers] == ["大", "小"]


def test_predict_names_a_missing_column_and_the_nearest_given_one(folder: Path) -> None:
    (folder / "bad.csv").write_text("wide,lng\n3,3\n", encoding="utf-8")
    shown = weigh("predict", folder / "runs/leaves/deployment/package", folder / "bad.csv", code=2)
    assert "long" in shown
    assert "lng" in shown


@pytest.mark.parametrize(("verb", "only"), [("evaluate", "accuracy"), ("evaluate", "against.linear"), ("data", "rows")])
def test_a_findings_command_measures_it_again_to_the_same_figure(folder: Path, verb: str, only: str) -> None:
    stage = {"evaluate": "evaluation"}.get(verb, verb)
    before = {
        json.loads(line)["key"]: json.loads(line)
        for line in (folder / "runs/leaves/findings.jsonl").read_text(encoding="utf-8").splitlines()
    }
    finding = before[f"{stage}.{only}"]
    assert finding["command"] == f"weigh {verb} {(folder / 'runs/leaves').as_posix()} --only {only}"
    shown = weigh(*finding["command"].split()[1:])
    assert f"n = {finding['n']}" in shown


def test_evaluate_serves_a_model_made_elsewhere(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    truth = ["a", "b"] * 60
    table = pa.table({"target": truth, "p_a": [0.9, 0.2] * 60, "p_b": [0.1, 0.8] * 60})
    pq.write_table(table, folder / "theirs.parquet")
    shown = weigh("evaluate", folder / "theirs.parquet")
    assert "Accuracy" in shown
    assert "1.000" in shown


def test_report_is_drawn_again_in_chinese(folder: Path) -> None:
    shown = weigh("report", folder / "runs/leaves", "--language", "zh")
    page = (folder / "runs/leaves/report.html").read_text(encoding="utf-8")
    assert "优势" in shown
    assert 'lang="zh' in page
    weigh("report", folder / "runs/leaves", "--language", "en")


def test_compare_puts_two_runs_side_by_side(folder: Path) -> None:
    recipe = load_recipe(folder / "runs/leaves/recipe.yaml", ["training.model=linear", "name=other"])
    lifecycle.run(recipe, folder / "runs/other")
    shown = weigh("compare", folder / "runs/leaves", folder / "runs/other")
    assert "linear" in shown
    assert "Accuracy" in shown
    assert "Better than other by" in shown  # the same rows: paired


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.yaml"], "there is no recipe nowhere.yaml"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["evaluate", "nowhere.parquet"], "nowhere.parquet"),
        (["predict", "nowhere", "rows.csv"], "nowhere"),
        (["compare", "nowhere", "nowhere"], "not a run folder"),
        (["init", "nowhere.csv", "--target", "y"], "nowhere.csv"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(words: list[str], says: str) -> None:
    shown = weigh(*words, code=2)
    assert says in shown
    assert len(shown.strip().splitlines()) == 1
    assert shown.startswith("weigh: ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.epoch=3", "did you mean 'epochs'"),
        ("training.model=mpl", "did you mean 'mlp'"),
        ("data.target=kin", "did you mean 'kind'"),
        ("version=9", "reads up to 1"),
        ("training.augment={mixup: 1, cutmix: 1}", "contradict"),
        ("training.early_stopping.metric=rmse", "does not fit a target of type category"),
        ("training.loss=huber", "does not fit a target of type category"),
        ("training.device=cuda:7", "not usable here"),
        ("data.split.test=0.0001", "test"),
        ("data.columns={long: numbr}", "numbr"),
    ],
)
def test_a_recipe_that_can_not_be_followed_is_refused_with_the_way_out(folder: Path, tmp_path: Path, change: str, says: str) -> None:
    shown = weigh("run", folder / "leaves.yaml", "--set", change, "--runs", tmp_path, code=2)
    assert says in shown
    assert shown.strip().splitlines()[-1].startswith("weigh: ")


def test_one_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("x,y\n" + "\n".join(f"{i}.5,a" for i in range(50)), encoding="utf-8")
    recipe = tmp_path / "one.yaml"
    recipe.write_text(f"data: {{source: {tmp_path / 'one.csv'}, target: y}}\n", encoding="utf-8")
    assert "one value only" in weigh("run", recipe, "--runs", tmp_path / "runs", code=2)


def test_a_plugin_network_is_found_by_its_entry_point(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    point = metadata.EntryPoint(name="mine", value="weighbridge.models.linear:linear", group="weighbridge.models")
    monkeypatch.setattr(
        metadata, "entry_points", lambda group, name=None: [point] if group == "weighbridge.models" and name in (None, "mine") else []
    )
    recipe = load_recipe(
        folder / "leaves.yaml", ["training.model=mine", "training.epochs=1", "training.threads=1", "evaluation.resamples=200"]
    )
    findings = lifecycle.run(recipe, tmp_path / "run", until="training")
    assert any(finding.key == "training.parameters" for finding in findings)


def test_the_smallest_recipe_is_enough() -> None:
    recipe = parse_recipe({"data": {"source": "reviews.csv", "target": "sentiment"}})
    assert recipe.training.early_stopping.enabled
    assert recipe.evaluation.baselines == ["trivial", "linear", "boosting"]
