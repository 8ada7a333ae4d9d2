"""Law: a remedy is the run's recipe with its keys, run beside the run; its rows say what was before, what is after and what it cost, and
call a change one only where the rows do; what does not fit is said, a stop keeps what is finished.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import lifecycle
from weighbridge.errors import LeakError, RecipeError, Stopped, TrainingError
from weighbridge.evaluation import Predictions, read_predictions, write_predictions
from weighbridge.findings import Finding, Message, by_key
from weighbridge.mitigation import Patient, Remedy, prepare, registry
from weighbridge.mitigation.stage import BETTER, LIKE, NEW, REASONS, WORSE, _verdict
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.report.catalogue_zh_audit import ZH
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
Rows = Mapping[str, tuple[float, tuple[float, float] | None]]


@pytest.fixture(autouse=True)
def no_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the remedies that a test registers are there."""
    monkeypatch.setattr(registry, "PLACES", ())
    monkeypatch.setattr(registry, "_REMEDIES", {})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run that has been evaluated, and its recipe."""
    folder = tmp_path_factory.mktemp("mended")
    random = np.random.default_rng(3)
    x = random.normal(size=(240, 2))
    lines = [f"{a:.4f},{b:.4f},{'yes' if a + 0.5 * random.normal() > 0 else 'no'}" for a, b in x]
    (folder / "t.csv").write_text("\n".join(["a,b,label", *lines]) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "t.csv").as_posix(), "target": "label"}, "optimization": False,
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 2}, "deployment": {"enabled": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False, "learning_curve": True}, "audit": False,
        }
    )  # fmt: skip
    plain = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"learning_curve": _off(recipe)})})
    lifecycle.run(plain, folder / "run", until="evaluation")
    return recipe, folder / "run"


def _off(recipe: Recipe) -> Any:
    return recipe.evaluation.learning_curve.model_copy(update={"enabled": False})


@pytest.fixture
def run(judged: tuple[Recipe, Path], tmp_path: Path) -> tuple[Recipe, Path]:
    """A copy of the run that a test may write to."""
    shutil.copytree(judged[1], tmp_path / "run")
    return judged[0], tmp_path / "run"


class Ran:
    """Stands for lifecycle.run: leaves the answers of the test rows and gives these figures; notes what it was asked to run."""

    def __init__(
        self, figures: Rows, before: Path, *, error: Exception | None = None, say: Callable[[Predictions], Predictions] = lambda one: one
    ):
        self.figures, self.before, self.error, self.say = figures, before, error, say
        self.asked: list[Recipe] = []

    def __call__(self, recipe: Recipe, folder: Path, *, until: str, progress: object, stop: StopRequest) -> list[Finding]:
        assert until == "audit"
        assert (folder / "recipe.yaml").exists()
        assert (folder / "training" / "model.safetensors").exists(), "the stages of the run are there to begin with"
        self.asked.append(recipe)
        if self.error is not None:
            raise self.error
        (folder / "evaluation").mkdir(exist_ok=True)
        write_predictions(folder / "evaluation" / "test.parquet", self.say(read_predictions(self.before / "evaluation" / "test.parquet")))
        return list(figures(self.figures))


def figures(rows: Rows) -> Iterator[Finding]:
    for key, (value, interval) in rows.items():
        yield Finding(key=key, title=Message("a figure"), value=value, interval=interval, n=36)
    yield Finding(key="training.seconds", title=Message("Time to train"), value=1.5, unit="s")


def remedy(name: str = "longer", *, against: str = "boredom", changes: Mapping[str, Any] | None = None, **more: Any) -> Remedy:
    keys = {"training.epochs": 3} if changes is None else changes
    known = {"watches": ("audit.boredom.*",), "title": Message("trains longer"), **more}
    return registry.register(Remedy(name=name, against=against, changes=lambda patient: keys, **known))


def mended(run: tuple[Recipe, Path], ran: Ran, names: Sequence[str] = ("longer",), stop: StopRequest | None = None) -> list[Finding]:
    recipe = run[0].model_copy(update={"mitigation": type(run[0].mitigation)(remedies=list(names))})
    return prepare(
        recipe, folder=run[1], command="weigh mitigate run", run=ran, progress=silent, stop=StopRequest() if stop is None else stop
    )


def store(folder: Path, rows: Rows) -> None:
    """The run's audit has these figures."""
    from weighbridge.findings import write_findings

    (folder / "audit").mkdir(exist_ok=True)
    write_findings(folder / "audit" / "findings.jsonl", list(figures(rows))[:-1])


def test_a_row_holds_what_was_before_what_is_after_and_the_price(run: tuple[Recipe, Path]) -> None:
    remedy()
    store(run[1], {"audit.boredom.gap": (0.30, (0.25, 0.35)), "audit.boredom.rest": (0.2, (0.1, 0.3)), "audit.other": (0.5, (0.4, 0.6))})
    ran = Ran({"audit.boredom.gap": (0.10, (0.06, 0.14)), "audit.boredom.rest": (0.21, (0.1, 0.3))}, run[1])
    found = mended(run, ran)
    assert [one.key for one in found] == ["mitigation.longer.audit.boredom.gap", "mitigation.longer.audit.boredom.rest"]
    gap, rest = found
    assert (gap.value, gap.interval, gap.verdict, rest.verdict) == (0.10, (0.06, 0.14), "advantage", "neutral")
    assert gap.reference is not None
    assert (str(gap.reference.name), gap.reference.value) == ("before", 0.30)
    assert str(gap.reason).startswith("mended, beyond what the rows leave open; price: accuracy 0 (")
    assert str(gap.reason).endswith("), 1.5 s to train; by training.epochs: 3")
    assert gap.command == "weigh mitigate run --only longer"
    assert gap.evidence == ("mitigation/longer/run/findings.jsonl",)


def test_the_price_is_the_paired_difference_of_the_headline(run: tuple[Recipe, Path]) -> None:
    remedy()
    store(run[1], {"audit.boredom.gap": (0.30, (0.25, 0.35))})

    def wrong(said: Predictions) -> Predictions:
        from dataclasses import replace

        return replace(said, output=said.output[:, ::-1].copy())

    row = mended(run, Ran({"audit.boredom.gap": (0.3, (0.25, 0.35))}, run[1], say=wrong))[0]
    before = read_predictions(run[1] / "evaluation" / "test.parquet")
    accuracy = float((before.output.argmax(1) == before.target).mean())
    assert row.reason.values["difference"] == pytest.approx(1 - 2 * accuracy, abs=1e-5)
    assert row.reason.values["metric"] == "accuracy"


@settings(deadline=None)
@given(was=st.floats(-1, 1), value=st.floats(-1, 1), sides=st.lists(st.floats(0.001, 0.5), min_size=4, max_size=4), less=st.booleans())
def test_a_change_is_called_one_only_where_both_intervals_leave_no_other_way(
    was: float, value: float, sides: list[float], less: bool
) -> None:
    before = Finding(key="k", title=Message("k"), value=was, interval=(was - sides[0], was + sides[1]))
    now = Finding(key="k", title=Message("k"), value=value, interval=(value - sides[2], value + sides[3]))
    verdict, reason = _verdict(before, now, less=less)
    apart = now.interval[1] < before.interval[0] or now.interval[0] > before.interval[1]  # type: ignore[index]
    inside = before.interval[0] <= value <= before.interval[1] or now.interval[0] <= was <= now.interval[1]  # type: ignore[index]
    assert verdict != "neutral" or not apart
    assert verdict == "neutral" or not inside
    if verdict != "neutral":
        assert (verdict == "advantage") == ((value < was) == less)
    assert reason in (BETTER, WORSE, LIKE)
    swapped, _ = _verdict(before, now, less=not less)
    assert {verdict, swapped} in ({"neutral"}, {"advantage", "limitation"})


@pytest.mark.parametrize(("less", "verdict"), [(True, "advantage"), (lambda kind: kind == "number", "limitation")])
def test_which_way_is_better_may_hang_on_the_kind_of_target(run: tuple[Recipe, Path], less: Any, verdict: str) -> None:
    remedy(less=less)
    store(run[1], {"audit.boredom.gap": (0.3, (0.28, 0.32))})
    assert mended(run, Ran({"audit.boredom.gap": (0.1, (0.08, 0.12))}, run[1]))[0].verdict == verdict


def test_of_two_equal_models_few_rows_call_a_change_that_is_none() -> None:
    random, calls = np.random.default_rng(0), 0
    for _ in range(1000):
        both = random.random((2, 400)) < 0.2
        pair = []
        for hits in both.sum(1):
            from weighbridge.evaluation.intervals import rate_interval

            pair.append(Finding(key="k", title=Message("k"), value=float(hits / 400), interval=rate_interval(float(hits), 400)))
        calls += _verdict(pair[0], pair[1], less=True)[0] != "neutral"
    assert calls <= 70, "independent rows are the worst case: about one in twenty"


def test_what_was_measured_on_one_side_only_is_said_and_what_on_none_is_left_out(run: tuple[Recipe, Path]) -> None:
    remedy(watches=("audit.boredom.gap", "audit.boredom.new", "audit.boredom.gone", "audit.boredom.never"))
    store(run[1], {"audit.boredom.gap": (0.3, (0.2, 0.4)), "audit.boredom.gone": (1.0, (0.9, 1.1))})
    found = mended(run, Ran({"audit.boredom.gap": (0.3, None), "audit.boredom.new": (0.5, (0.4, 0.6))}, run[1]))
    assert [one.key.rsplit(".", 1)[1] for one in found] == ["gap", "new", "gone"]
    assert [one.verdict for one in found] == ["neutral", "neutral", "unmeasured"]
    assert str(found[1].reason).startswith(NEW)
    assert found[1].reference is None
    assert str(found[2].reason) == "it was not measured after the remedy"


def test_where_nothing_of_what_it_mends_was_measured_one_row_says_why(run: tuple[Recipe, Path]) -> None:
    remedy(audits=("privacy",))
    found = mended(run, Ran({}, run[1]))
    assert [(one.key, one.verdict) for one in found] == [("mitigation.longer", "unmeasured")]
    assert str(found[0].reason) == "nothing of what it is to mend was measured, neither before nor after"
    shutil.rmtree(run[1] / "mitigation")
    ran = Ran({}, run[1])
    lacking = Finding(key="audit.privacy", title=Message("privacy"), verdict="unmeasured", reason=Message("{n} rows are too few", n=3))
    found = mended(run, _also(ran, lacking))
    assert str(found[0].reason) == "3 rows are too few"


def _also(ran: Ran, finding: Finding) -> Any:
    return lambda *args, **keys: [*ran(*args, **keys), finding]


def test_a_remedy_that_does_not_fit_is_said_and_the_others_go_on(run: tuple[Recipe, Path]) -> None:
    def refuse(patient: Patient) -> Mapping[str, Any]:
        raise RecipeError(f"there is nothing to mend in a target of type {patient.kind}", do="leave it out")

    registry.register(Remedy(name="none", against="boredom", title=Message("nothing"), changes=refuse, watches=()))
    remedy()
    remedy("wrong", changes={"training.epoch": 3})
    store(run[1], {"audit.boredom.gap": (0.3, (0.2, 0.4))})
    ran = Ran({"audit.boredom.gap": (0.3, (0.2, 0.4))}, run[1])
    found = {one.key: one for one in mended(run, ran, ["boredom"])}
    assert "nothing to mend in a target of type category" in str(found["mitigation.none"].reason)
    assert "no recipe key 'training.epoch'" in str(found["mitigation.wrong"].reason)
    assert found["mitigation.longer.audit.boredom.gap"].verdict == "neutral"
    assert len(ran.asked) == 1


@pytest.mark.parametrize(
    "error", [TrainingError("the loss is not finite", do="lower it"), LeakError("a column gives it away", do="drop it")]
)
def test_a_remedy_whose_run_fails_is_said(run: tuple[Recipe, Path], error: Exception) -> None:
    remedy()
    found = mended(run, Ran({}, run[1], error=error))
    assert [one.verdict for one in found] == ["unmeasured"]
    assert str(error) in str(found[0].reason)


def test_names_that_are_not_known_are_refused_before_anything_runs(run: tuple[Recipe, Path]) -> None:
    remedy()
    ran = Ran({}, run[1])
    with pytest.raises(RecipeError, match=r"there is no remedy or limitation 'boredon' \(did you mean 'boredom'\?\)"):
        mended(run, ran, ["longer", "boredon"])
    assert ran.asked == []


def test_a_limitation_stands_for_all_its_remedies_each_once(run: tuple[Recipe, Path]) -> None:
    for name, against in (("longer", "boredom"), ("shorter", "boredom"), ("wider", "haste")):
        remedy(name, against=against, changes={"training.epochs": 3})
    ran = Ran({"audit.boredom.gap": (0.3, (0.2, 0.4))}, run[1])
    found = mended(run, ran, ["boredom", "longer"])
    assert [one.key.split(".")[1] for one in found] == ["longer", "shorter"]
    with pytest.raises(ValueError, match="two remedies are named longer"):
        remedy("longer")


def test_the_remedys_run_follows_the_recipe_but_for_its_keys_and_studies_nothing_else(run: tuple[Recipe, Path]) -> None:
    remedy(audits=("fairness", "privacy"))
    ran = Ran({}, run[1])
    on = parse_recipe({**run[0].model_dump(mode="json"), "audit": {"enabled": True, "privacy": False}})
    mended((on, run[1]), ran)
    asked = ran.asked[0]
    assert asked.training == on.training.model_copy(update={"epochs": 3})
    assert asked.data == on.data
    assert asked.mitigation.remedies == []
    assert on.evaluation.learning_curve.enabled
    assert not asked.evaluation.learning_curve.enabled
    switched = {name: options["enabled"] for name, options in asked.audit.model_dump().items() if isinstance(options, dict)}
    assert [name for name, is_on in switched.items() if is_on] == ["fairness"], "what the recipe switches off stays off"


def test_a_training_anew_follows_the_runs_plan_where_the_recipe_leaves_it_open(run: tuple[Recipe, Path]) -> None:
    left_open = parse_recipe({**run[0].model_dump(mode="json"), "training": {"epochs": 2, "threads": 1, "batch_size": "auto"}})
    remedy()
    remedy("own", changes={"training.batch_size": 16})
    remedy("after", changes={"evaluation.resamples": 300})
    ran = Ran({}, run[1])
    mended((left_open, run[1]), ran, ["boredom"])
    longer, own, after = (recipe.training for recipe in ran.asked)
    assert (longer.batch_size, longer.precision, longer.memory_format, longer.compile) == (32, "fp32", "contiguous", False)
    assert (own.batch_size, own.precision) == (16, "fp32")
    assert after == left_open.training, "what is not trained anew keeps its key"


def test_a_remedy_that_was_measured_is_not_run_again_and_one_with_other_keys_is(run: tuple[Recipe, Path]) -> None:
    keys = {"training.epochs": 3}
    remedy(changes=keys)
    ran = Ran({"audit.boredom.gap": (0.3, (0.2, 0.4))}, run[1])
    first = mended(run, ran)
    assert mended(run, ran) == first
    assert len(ran.asked) == 1
    (run[1] / "mitigation" / "longer" / "run" / "left.txt").write_text("of the run before", encoding="utf-8")
    keys["training.epochs"] = 4
    mended(run, ran)
    assert len(ran.asked) == 2
    assert not (run[1] / "mitigation" / "longer" / "run" / "left.txt").exists()


def test_the_remedys_run_begins_with_whole_stages_and_rows_lie_on_the_disk_once(
    run: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy()
    place = run[1] / "mitigation" / "longer" / "run"
    (place / "training.part").mkdir(parents=True)  # killed while it was copied
    mended(run, Ran({}, run[1]))
    names = sorted(path.name for path in (run[1] / "training").iterdir() if path.name != "checkpoints")
    assert sorted(path.name for path in (place / "training").iterdir()) == names
    assert not (place / "training.part").exists()
    assert (place / "data" / "train.arrow").stat().st_ino == (run[1] / "data" / "train.arrow").stat().st_ino
    assert not (place / "data" / "test_ledger.jsonl").exists()
    shutil.rmtree(run[1] / "mitigation")

    def refused(source: str, target: str) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refused)
    mended(run, Ran({}, run[1]))
    assert (place / "data" / "train.arrow").read_bytes() == (run[1] / "data" / "train.arrow").read_bytes()


def test_remedies_that_are_no_longer_asked_for_leave_nothing(run: tuple[Recipe, Path]) -> None:
    remedy()
    remedy("shorter", changes={"training.epochs": 1})
    ran = Ran({"audit.boredom.gap": (0.3, (0.2, 0.4))}, run[1])
    mended(run, ran, ["boredom"])
    mended(run, ran, ["shorter"])
    assert [path.name for path in (run[1] / "mitigation").iterdir() if path.is_dir()] == ["shorter"]


def test_a_stop_keeps_finished_remedies_and_the_next_sitting_makes_the_rest(run: tuple[Recipe, Path]) -> None:
    remedy()
    remedy("shorter", changes={"training.epochs": 1})
    stop, ran = StopRequest(), Ran({"audit.boredom.gap": (0.3, (0.2, 0.4))}, run[1])

    def stopping(*args: Any, **keys: Any) -> list[Finding]:
        stop.signal = signal.SIGTERM
        return ran(*args, **keys)

    with pytest.raises(Stopped, match="finished remedies are kept"):
        mended(run, stopping, ["boredom"], stop)  # type: ignore[arg-type]
    found = mended(run, ran, ["boredom"])
    assert [recipe.training.epochs for recipe in ran.asked] == [3, 1]
    assert len(found) == 2


def test_rows_that_a_remedy_took_out_have_a_price_of_two_separate_figures(run: tuple[Recipe, Path]) -> None:
    from dataclasses import replace

    def fewer(said: Predictions) -> Predictions:
        return replace(said, row_id=np.array([f"new {one}" for one in said.row_id]))

    remedy()
    store(run[1], {"audit.boredom.gap": (0.3, (0.2, 0.4))})
    ran = Ran({"audit.boredom.gap": (0.3, (0.2, 0.4)), "evaluation.accuracy": (0.9, (0.8, 0.95))}, run[1], say=fewer)
    row = mended(run, ran)[0]
    was = by_key(_evaluated(run[1]), "evaluation.accuracy")
    assert was is not None
    assert was.interval is not None
    assert isinstance(was.value, float)
    low = 0.9 - was.value - float(np.hypot(0.1, was.interval[1] - was.value))
    assert row.reason.values["difference"] == pytest.approx(0.9 - was.value, abs=1e-5)
    assert row.reason.values["low"] == pytest.approx(low, abs=1e-5)


def _evaluated(folder: Path) -> list[Finding]:
    from weighbridge.findings import read_findings

    return read_findings(folder / "evaluation" / "findings.jsonl")


def test_every_reason_has_its_chinese() -> None:
    assert set(REASONS.values()) <= set(ZH)
