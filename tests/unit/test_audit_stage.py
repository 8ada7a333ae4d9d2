"""Law: each audit is made once, within the budget, and says why where it is not made; a stop keeps what is finished; what an audit sees is
the form that the run goes on with.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge import audit as audits
from weighbridge import lifecycle
from weighbridge.audit import Subject, Unmeasured, measure_again, open_subject, prepare, registry
from weighbridge.audit.stage import LEAST_BUDGET_S, budget_s
from weighbridge.cli.app import app
from weighbridge.data import read_ledger
from weighbridge.errors import DataError, DependencyError, Stopped, UsageError
from weighbridge.findings import Finding, Message, by_key, read_findings
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import read_json, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
Calls = list[str]


@pytest.fixture(autouse=True)
def no_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the audits that a test registers are there."""
    monkeypatch.setattr(registry, "PLACES", ())
    monkeypatch.setattr(registry, "_AUDITS", {})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run that has been evaluated, and its recipe."""
    folder = tmp_path_factory.mktemp("audited")
    random = np.random.default_rng(3)
    x = random.normal(size=(240, 2))
    lines = [f"{a:.4f},{b:.4f},{'yes' if a + 0.5 * random.normal() > 0 else 'no'}" for a, b in x]
    (folder / "t.csv").write_text("\n".join(["a,b,label", *lines]) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "t.csv").as_posix(), "target": "label"}, "optimization": False,
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 2}, "deployment": {"enabled": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
        }
    )  # fmt: skip
    lifecycle.run(recipe, folder / "run", until="evaluation")
    return recipe, folder / "run"


@pytest.fixture
def run(judged: tuple[Recipe, Path], tmp_path: Path) -> tuple[Recipe, Path]:
    """A copy of the run that a test may write to."""
    shutil.copytree(judged[1], tmp_path / "run")
    return judged[0], tmp_path / "run"


def register(name: str, calls: Calls, *, seconds: float = 0.0, work: Callable[[Subject], list[Finding]] | None = None) -> None:
    """Register an audit that notes that it was made, and gives one figure where `work` gives nothing else."""

    @registry.audit(name, Message("{name} of a test", name=name), seconds=lambda subject: seconds)
    def measure(subject: Subject) -> list[Finding]:
        calls.append(name)
        if work is not None:
            return work(subject)
        return [
            Finding(key=f"audit.{name}.figure", title=Message("a figure"), value=len(calls), command=f"{subject.command} --only {name}")
        ]


def made(recipe: Recipe, folder: Path, stop: StopRequest | None = None) -> list[Finding]:
    return prepare(recipe, folder=folder, command="weigh audit run", progress=silent, stop=StopRequest() if stop is None else stop)


def with_audit(recipe: Recipe, **keys: object) -> Recipe:
    return parse_recipe({**recipe.model_dump(mode="json"), "audit": keys})


def reason_of(found: list[Finding], key: str) -> str:
    finding = by_key(found, key)
    assert finding is not None
    assert finding.verdict == "unmeasured"
    return str(finding.reason)


def raising(error: Exception) -> Callable[[Subject], list[Finding]]:
    def work(subject: Subject) -> list[Finding]:
        raise error

    return work


def test_audits_are_made_in_their_order_and_the_test_rows_are_read_once_for_all(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    for name in ("privacy", "cost", "robustness"):
        register(name, calls)
    before = len(read_ledger(run[1] / "data"))
    found = made(*run)
    assert calls == ["cost", "robustness", "privacy"]
    assert [finding.key for finding in found] == [f"audit.{name}.figure" for name in calls]
    reads = read_ledger(run[1] / "data")[before:]
    assert [str(read["reason"]).startswith("audit of model ") for read in reads] == [True]


def test_one_that_is_switched_off_says_so_and_is_not_made(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls)
    register("privacy", calls)
    found = made(with_audit(run[0], privacy=False), run[1])
    assert calls == ["cost"]
    assert reason_of(found, "audit.privacy") == "the recipe says audit.privacy: false"


def test_with_all_switched_off_each_says_so_and_no_test_row_is_read(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls)
    register("privacy", calls)
    before = read_ledger(run[1] / "data")
    found = made(with_audit(run[0], enabled=False), run[1])
    assert calls == []
    assert [reason_of(found, f"audit.{name}") for name in ("cost", "privacy")] == ["the recipe says audit.enabled: false"] * 2
    assert read_ledger(run[1] / "data") == before


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Unmeasured(Message("{n} rows are too few", n=3)), "3 rows are too few"),
        (DataError("the column has one value", do="name another"), "the column has one value: name another"),
        (DependencyError("shap is not installed", do="pip install 'weighbridge[audit]'"), "shap is not installed"),
    ],
)
def test_one_that_can_not_be_made_says_why_and_the_others_go_on(run: tuple[Recipe, Path], error: Exception, says: str) -> None:
    calls: Calls = []
    register("cost", calls, work=raising(error))
    register("privacy", calls)
    found = made(*run)
    assert calls == ["cost", "privacy"]
    assert says in reason_of(found, "audit.cost")
    assert str(by_key(found, "audit.cost").command).endswith("--only cost")  # type: ignore[union-attr]
    assert by_key(found, "audit.privacy.figure") is not None


def test_a_mistake_in_an_audit_is_not_taken_for_a_limitation(run: tuple[Recipe, Path]) -> None:
    register("cost", [], work=raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        made(*run)


def test_one_that_does_not_fit_the_budget_is_not_made_and_a_shorter_one_after_it_is(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls, seconds=119)
    register("robustness", calls, seconds=121)
    register("privacy", calls, seconds=100)
    found = made(with_audit(run[0], budget=2), run[1])
    assert calls == ["cost", "privacy"]
    assert "it would take about 121 s, and 1" in reason_of(found, "audit.robustness")


def test_the_budget_is_minutes_or_the_time_of_training_and_at_least_two_minutes(run: tuple[Recipe, Path]) -> None:
    subject = open_subject(run[0], run[1], command="weigh audit run", progress=silent, stop=StopRequest())
    assert budget_s(subject) == LEAST_BUDGET_S == 120
    assert budget_s(replace(subject, recipe=with_audit(run[0], budget=0.5))) == 30
    history = run[1] / "training" / "history.json"
    history.write_text('{"seconds": 500.0}', encoding="utf-8")
    assert budget_s(subject) == 500


def test_a_stop_keeps_what_is_finished_and_the_next_sitting_makes_the_rest(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    stop = StopRequest()

    def stopping(subject: Subject) -> list[Finding]:
        stop.signal = signal.SIGTERM
        return [Finding(key="audit.cost.figure", title=Message("a figure"), value=42)]

    register("cost", calls, work=stopping)
    register("privacy", calls)
    with pytest.raises(Stopped, match="finished audits are kept"):
        made(*run, stop=stop)
    assert calls == ["cost"]
    found = made(*run)
    assert calls == ["cost", "privacy"]
    assert [finding.value for finding in found] == [42, 2]
    assert made(*run) == found
    assert calls == ["cost", "privacy"], "what is kept is not made again"


def test_what_sittings_before_took_counts_against_the_budget(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls)
    register("privacy", calls, seconds=50)
    made(*run)
    assert calls == ["cost", "privacy"]
    spent = run[1] / "audit" / "spent.json"
    assert set(read_json(spent)) == {"cost", "privacy"}
    write_json(spent, {"cost": 90.0})
    (run[1] / "audit" / "privacy.jsonl").unlink()
    assert "it would take about 50 s, and 30 s of audit.budget are left" in reason_of(made(*run), "audit.privacy")


def test_one_alone_is_measured_again_whatever_the_budget_and_the_run_keeps_what_it_has(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls)
    register("privacy", calls, seconds=9e9)
    made(*run)
    kept = (run[1] / "audit" / "privacy.jsonl").read_bytes()
    again = measure_again(run[0], run[1], "audit.privacy.figure", command="weigh audit run", progress=silent, stop=StopRequest())
    assert calls == ["cost", "privacy"]
    assert [finding.key for finding in again] == ["audit.privacy.figure"]
    assert (run[1] / "audit" / "privacy.jsonl").read_bytes() == kept
    with pytest.raises(UsageError, match=r"there is no audit 'privcy' \(did you mean 'privacy'\?\)"):
        measure_again(run[0], run[1], "privcy", command="", progress=silent, stop=StopRequest())


def test_what_an_audit_sees_is_the_form_that_the_run_goes_on_with(run: tuple[Recipe, Path]) -> None:
    subject = open_subject(run[0], run[1], command="weigh audit run", progress=silent, stop=StopRequest())
    assert subject.champion is None
    assert subject.kind == "category"
    assert subject.blocks("number") == ["number"]
    assert [len(subject.arrays[split]) for split in audits.subject.SPLITS] == [len(subject.said[split]) for split in audits.subject.SPLITS]
    again = subject.predictions(subject.answer(subject.arrays["test"]), subject.arrays["test"])
    assert np.array_equal(again.row_id, subject.said["test"].row_id)
    assert np.allclose(again.output, subject.said["test"].output, atol=1e-6)
    assert not subject.network().training
    assert len(subject.test) == len(subject.arrays["test"])
    assert subject.seconds_of(1000) > 0


def test_an_audit_is_registered_once(run: tuple[Recipe, Path]) -> None:
    register("cost", [])

    def other(subject: Subject) -> list[Finding]:
        return []

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="two audits are named cost"):
        registry.audit("cost", Message("cost"), seconds=lambda _: 0.0)(other)


def test_weigh_audit_makes_them_in_the_run_and_only_one_on_request(run: tuple[Recipe, Path]) -> None:
    calls: Calls = []
    register("cost", calls)
    register("privacy", calls)
    runner = CliRunner()
    told = runner.invoke(app, ["audit", str(run[1])], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert told.exit_code == 0, told.output
    assert calls == ["cost", "privacy"]
    assert {"audit.cost.figure", "audit.privacy.figure"} <= {finding.key for finding in read_findings(run[1] / "findings.jsonl")}
    told = runner.invoke(app, ["audit", str(run[1]), "--only", "privacy"], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert told.exit_code == 0, told.output
    assert calls == ["cost", "privacy", "privacy"]
    assert "a figure" in told.output
    told = runner.invoke(app, ["audit", str(run[1]), "--only", "privcy"])
    assert told.exit_code == 2
    assert "there is no audit 'privcy' (did you mean 'privacy'?)" in told.output


def test_one_audit_measured_again_leaves_the_files_of_the_run_as_they_were(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run

    def leaves(subject: Subject) -> list[Finding]:
        write_json(subject.place / "evidence.json", {"calls": len(calls)})
        if len(calls) > 1:
            write_json(subject.place / "more" / "new.json", {})
        if len(calls) > 2:
            raise Stopped("in the middle")
        return [Finding(key="audit.cost.figure", title=Message("a figure"), value=len(calls), evidence=("audit/evidence.json",))]

    calls: Calls = []
    register("cost", calls, work=leaves)
    made(recipe, folder)
    held = {path: path.read_bytes() for path in (folder / "audit").rglob("*") if path.is_file()}
    for _ in range(2):
        with contextlib.suppress(Stopped):
            again = measure_again(recipe, folder, "cost", command="weigh audit run", progress=silent, stop=StopRequest())
            assert again[0].value == 2
        assert {path: path.read_bytes() for path in (folder / "audit").rglob("*") if path.is_file()} == held
    assert len(calls) == 3
