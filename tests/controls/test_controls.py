"""Law: every instrument has a planted case that it finds and a clean one that it passes, at the rate it states; a broken one is caught.

`weigh calibrate` runs the same controls in full and writes docs/calibration.md.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from weighbridge import controls as register
from weighbridge.cli.app import app
from weighbridge.controls import Control, Outcome, chosen, control, controls, run_control, run_controls
from weighbridge.errors import Stopped
from weighbridge.evaluation import measure
from weighbridge.evaluation.populations import errors, label_sets, many_classes, two_classes
from weighbridge.findings import Finding, Message
from weighbridge.storage.control import StopRequest
from weighbridge.storage.seeds import rng

ROOT = Path(__file__).resolve().parents[2]
SHARES = r"balanced_accuracy|precision|recall|f1|f1_micro|f1_macro|auroc|auprc"
INSTRUMENTS: dict[str, tuple[str, ...]] = {  # a finding's key -> what made its interval and its test; {0} is the metric in the key
    r"evaluation\.(accuracy|subset_accuracy|weakest_class|interval_coverage)": ("interval.rate",),
    rf"evaluation\.({SHARES}|log_loss|brier|calibration_error|calibration_error_classwise|rmse|mae|r2)": ("interval.{0}",),
    r"evaluation\.baseline\..*": ("interval.rate", "interval.rmse", "interval.f1_micro"),
    r"evaluation\.against\..*": ("test.mcnemar", "test.permutation", "test.holm", "interval.difference"),
    r"evaluation\.gap": ("interval.gap",),
}
runner = CliRunner()


class Options:
    resamples, worst = 200, 3


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """The findings of the evaluation of classes, two and many, of numbers and of sets, each against a baseline."""
    folder, found = tmp_path_factory.mktemp("findings"), []
    for name, population in (("two", two_classes()), ("many", many_classes(4, 1.5)), ("numbers", errors(0.5)), ("sets", label_sets())):
        rows = population(120, rng(0, "findings"))
        found += measure(
            rows,
            baselines=[replace(rows, model="linear")],
            train=rows,
            validation=rows,
            options=Options(),
            seed=0,
            folder=folder / name,
            command="weigh",
        )
    return found


def uncontrolled(findings: list[Finding], known: list[Control]) -> Iterator[str]:
    """Give each finding with an interval or a test whose instrument is not named above, or lacks a planted or a clean control."""
    kinds = {(one.instrument, one.kind) for one in known}
    for finding in findings:
        if finding.interval is None and (finding.reference is None or finding.reference.p_value is None):
            continue
        match = next((found for pattern in INSTRUMENTS if (found := re.fullmatch(pattern, finding.key))), None)
        if match is None:
            yield f"{finding.key}: no instrument is named"
            continue
        for instrument in INSTRUMENTS[match.re.pattern]:
            name = instrument.format(*match.groups())
            yield from (f"{finding.key}: {name} has no {kind} control" for kind in ("planted", "clean") if (name, kind) not in kinds)


def test_every_finding_with_an_interval_or_a_test_has_controls_of_both_kinds(findings: list[Finding]) -> None:
    assert list(uncontrolled(findings, controls())) == []


def test_an_instrument_without_controls_would_be_seen(findings: list[Finding]) -> None:
    kept = [one for one in controls() if one.instrument != "interval.auroc"]
    assert any("interval.auroc has no planted control" in line for line in uncontrolled(findings, kept))


def unnamed(findings: list[Finding]) -> list[str]:
    """Return the keys of findings with an interval or a comparison whose method is not named."""
    return [
        finding.key
        for finding in findings
        if (finding.interval is not None or (finding.reference is not None and finding.reference.difference is not None))
        and not finding.method.template
    ]


def test_every_finding_names_its_test(findings: list[Finding]) -> None:
    assert len(findings) > 40
    assert unnamed(findings) == []


def test_a_finding_that_does_not_name_its_test_would_be_seen() -> None:
    assert unnamed([Finding(key="evaluation.x", title=Message("x"), value=1.0, interval=(0.0, 2.0))]) == ["evaluation.x"]


def test_controls_are_told_apart_by_name_and_state_a_range() -> None:
    names = [one.name for one in controls()]
    assert len(set(names)) == len(names)
    assert all(0 <= one.low <= one.high <= 1 for one in controls())


def test_a_name_that_is_taken_or_a_range_that_is_empty_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "_REGISTERED", {})
    control("x", "clean", "case", trials=1, low=0.5)(bool)
    with pytest.raises(ValueError, match="twice"):
        control("x", "clean", "case", trials=1, low=0.5)(bool)
    with pytest.raises(ValueError, match="states"):
        control("x", "clean", "other", trials=1, low=0.5, high=0.4)(bool)


ELSEWHERE = (
    "data.leak",
    "data.anonymize",
    "evaluation.",
    "optimization.",
    "audit.",
    "feedback.",
)  # the other files of this folder run these


@pytest.mark.slow
@pytest.mark.parametrize("one", [one for one in controls() if not one.instrument.startswith(ELSEWHERE)], ids=lambda one: one.name)
def test_controls_hold(one: Control) -> None:
    """A twentieth of the trials of `weigh calibrate`, and a hundred at least: `holds` allows for so few."""
    found = run_control(one, trials=max(100, one.trials // 20))
    assert found.holds, f"{found.share:.4f} is outside {one.low} to {one.high}"
    assert run_control(one, trials=3) == run_control(one, trials=3)


@pytest.mark.parametrize("instrument", ["test.holm", "test.mcnemar", "interval.quantile"])
def test_quick_controls_hold_in_few_trials(instrument: str) -> None:
    for one in chosen(instrument):
        found = run_control(one, trials=200)
        assert found.holds, f"{one.name}: {found.share:.4f} is outside {one.low} to {one.high}"


def test_three_standard_errors_are_allowed_and_not_more() -> None:
    one = Control(instrument="x", kind="clean", case="", low=0.94, high=0.96, trials=2000, trial=bool)
    assert Outcome(control=one, right=1850, n=2000).holds
    assert not Outcome(control=one, right=1840, n=2000).holds
    assert not Outcome(control=one, right=1960, n=2000).holds


@pytest.mark.slow
def test_processes_give_what_one_gives() -> None:
    wanted = chosen("test.mcnemar")
    assert run_controls(wanted, trials=120, workers=2) == run_controls(wanted, trials=120)


def test_a_stop_is_heeded_between_two_pieces() -> None:
    stop = StopRequest()

    def press(label: str, done: int, total: int | None, note: str = "") -> None:
        stop.signal = signal.SIGINT

    with pytest.raises(Stopped) as stopped:
        run_controls(chosen("test.holm"), trials=200, progress=press, stop=stop)
    assert stopped.value.exit_code == 130


def calibrate(*words: str | Path, code: int = 0) -> str:
    """Return what `weigh calibrate` printed on both streams; its exit code must be `code`."""
    result = runner.invoke(app, ["calibrate", *map(str, words)], env={"NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.slow
def test_calibrate_prints_its_table_and_writes_it_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {one.name: one for one in chosen("test.holm")}
    monkeypatch.setattr(register, "_REGISTERED", kept)
    page = tmp_path / "calibration.md"
    page.write_text("# Mine\n\n<!-- calibration:start -->\nold\n<!-- calibration:end -->\n\nafter\n", encoding="utf-8")
    shown = calibrate("--trials", "150", "--output", page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Mine")
    assert text.endswith("after\n")
    assert "\nold\n" not in text
    assert "| `test.holm` | three baselines equal to the model, n = 500 |" in text
    assert "of 150 | 0.95 to 1 |" in shown
    told = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    assert {one["n"] for one in told["controls"]} == {150}
    assert len(told["controls"]) == len(kept)
    assert told["machine"]["cores"] >= 1


def test_a_part_of_the_calibration_renews_its_own_rows_and_keeps_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {one.name: replace(one, trials=40) for one in (*chosen("test.holm"), *chosen("test.mcnemar"))}
    monkeypatch.setattr(register, "_REGISTERED", kept)
    page = tmp_path / "calibration.md"
    calibrate("--only", "test.mcnemar", "--output", page)
    assert " Not run yet: test.holm.\n" in page.read_text(encoding="utf-8")
    first = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))["controls"]
    calibrate("--only", "test.holm", "--output", page)
    told = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))["controls"]
    assert [f"{one['instrument']}: {one['case']}" for one in told] == list(kept)
    assert [one for one in told if one["instrument"] == "test.mcnemar"] == first
    assert "Not run yet" not in page.read_text(encoding="utf-8")
    gone = next(name for name in kept if name.startswith("test.mcnemar"))
    kept[gone] = replace(kept[gone], low=0.5)
    calibrate("--only", "test.holm", "--output", page)
    told = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))["controls"]
    assert len(told) == len(kept) - 1, "a row that states what no control states now has left"
    assert f"| {kept[gone].case} |" not in page.read_text(encoding="utf-8")
    (tmp_path / "calibration.json").write_text("[]", encoding="utf-8")
    assert "does not hold an earlier calibration" in calibrate("--only", "test.holm", "--output", page, code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "interval.rat"], "did you mean 'interval.rate'"),
        (["--output", "nowhere/x.md"], "there is no folder nowhere"),
        (["--output", "README.md"], "does not hold <!-- calibration:start -->"),
    ],
)
def test_calibrate_says_in_one_line_what_does_not_fit(words: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = (ROOT / "README.md").read_bytes()
    shown = calibrate(*words, code=2)
    assert says in shown
    assert len(shown.strip().splitlines()) == 1
    assert (ROOT / "README.md").read_bytes() == before


@pytest.mark.slow
def test_a_broken_instrument_fails_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: an interval of a rate that is half as long as it should be."""
    from weighbridge.evaluation import controls as of_evaluation
    from weighbridge.evaluation.intervals import rate_interval

    def short(hits: int, n: int) -> tuple[float, float]:
        low, high = rate_interval(hits, n)
        return (3 * low + high) / 4, (low + 3 * high) / 4

    assert "**does not hold**" not in calibrate("--only", "interval.rate", "--trials", "100")
    monkeypatch.setattr(of_evaluation, "_rate_interval", short)
    assert "**does not hold**" in calibrate("--only", "interval.rate", "--trials", "100", code=1)


def test_a_test_that_never_finds_anything_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other planted defect: a test whose p-value is 1 passes every clean case."""
    from weighbridge.evaluation import controls_tests

    monkeypatch.setattr(controls_tests, "mcnemar", lambda ours, theirs: (1.0, "mcnemar"))
    shown = calibrate("--only", "test.mcnemar", "--trials", "100", code=1)
    assert shown.count("**does not hold**") == 1


def test_the_population_is_what_its_formula_says() -> None:
    rows = two_classes()(100_000, rng(0, "population test"))
    assert rows.target.mean() == pytest.approx(0.4, abs=0.006)
    top = rows.output[:, 1] > 0.7
    assert (rows.target[top] == 1).mean() == pytest.approx(rows.output[top, 1].mean(), abs=0.015)
    many = many_classes(3, 1.5)(100_000, rng(0, "population test"))
    sure = many.output.max(axis=1) > 0.7
    assert (many.chosen[sure] == many.target[sure]).mean() == pytest.approx(many.output.max(axis=1)[sure].mean(), abs=0.015)
    tails = errors(freedom=5)(100_000, rng(0, "population test"))
    assert np.std(tails.output - tails.target) == pytest.approx(1.0, abs=0.03)
