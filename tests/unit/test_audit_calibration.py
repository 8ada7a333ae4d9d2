"""Law: what a model states is held against what comes true, with an interval; sets hold what they promise; strange rows are looked for;
what can not be measured says why, and the rest goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.form_graphs import KINDS, network, rows
from weighbridge.audit import Subject, Unmeasured, audits
from weighbridge.audit.calibration import calibration, seconds
from weighbridge.audit.calibration_inner import distances, energy, inner_scores
from weighbridge.audit.calibration_planted import planted
from weighbridge.audit.calibration_stated import surer_than_right
from weighbridge.evaluation import Predictions, populations, sets
from weighbridge.evaluation.calibration import brier_decomposition, brier_skill, debiased_decomposition
from weighbridge.evaluation.intervals import rate_interval
from weighbridge.evaluation.metrics import brier_scores
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.selective import apart, curve, passing, risk_area, sureness
from weighbridge.findings import Finding
from weighbridge.optimization import Kept
from weighbridge.preprocessing import Arrays
from weighbridge.report import plots_audit_calibration as drawings
from weighbridge.report.plots import drawn
from weighbridge.report.words import speaker
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.storage.seeds import rng

HOW = Resampling(resamples=200, seed=1)
THREE = populations.many_classes(3, 1.5)


def draw(population: populations.Population, n: int, seed: int = 0) -> Predictions:
    return population(n, rng(seed, "test"))


class Fake(Subject):
    """A subject without a run folder behind it."""

    net: Any = None

    def network(self) -> Any:
        if self.net is None:
            from weighbridge.findings import Message

            raise Unmeasured(Message("no gradients: {name} is no single network", name="x"))
        return self.net.network


def subject(tmp_path: Path, test: Predictions, validation: Predictions, *, kind: str = "mlp", form: str = "recipe", net: Any = None,
            arrays: Arrays | None = None) -> Fake:  # fmt: skip
    """Return a subject whose predictions are given; its rows and their answers belong to a network of random weights."""
    blocks = KINDS[kind][1]
    known = rows(kind, 120) if arrays is None else arrays
    answer = lambda some: np.tile(test.output[:1], (len(some), 1)) if net is None else of(net, some)  # noqa: E731
    made = Fake(
        recipe=SimpleNamespace(seed=0),  # type: ignore[arg-type]
        folder=tmp_path, chosen=None, kept=Kept(name=form, graph="", arrays="", sha256=""), splits=None, test=None,  # type: ignore[arg-type]
        arrays={"train": known, "validation": known, "test": known},
        encoder=SimpleNamespace(blocks=blocks, learnt=SimpleNamespace(kind=test.kind)),  # type: ignore[arg-type]
        said={"test": test, "validation": validation, "train": validation}, answer=answer, how=HOW, command="weigh audit r",
        progress=silent, stop=StopRequest(),
    )  # fmt: skip
    object.__setattr__(made, "net", net)
    return made


def of(net: Any, some: Arrays) -> np.ndarray:
    from weighbridge.training import forward_all

    return np.asarray(forward_all(net, some))


def by_key(found: list[Finding]) -> dict[str, Finding]:
    return {one.key.removeprefix("audit.calibration."): one for one in found}


def test_the_audit_is_registered_under_its_section() -> None:
    assert "calibration" in [one.name for one in audits()]


def test_a_calibrated_model_of_classes_has_every_figure_and_no_limitation_but_what_it_is_blind_to(tmp_path: Path) -> None:
    found = by_key(calibration(subject(tmp_path, draw(THREE, 600), draw(THREE, 400, 1))))
    assert {"error", "error_classwise", "worst_class", "overconfidence", "brier", "temperature", "sets", "set_size", "set_weakest",
            "answered", "answered.90", "answered.80", "answered.50", "strange", "strange.columns", "strange.far"} == set(found)  # fmt: skip
    assert all(one.interval is not None and one.n for one in found.values())
    assert {key for key, one in found.items() if one.verdict == "limitation"} == {"strange"}, "its answer does not depend on the row"
    assert found["sets"].verdict == "advantage"
    assert found["answered"].verdict == "advantage"
    assert all(one.command == f"weigh audit r --only calibration.{key}" for key, one in found.items())


def test_an_over_confident_model_is_named_and_the_remedy_with_it(tmp_path: Path) -> None:
    sure = populations.surer(populations.surer(THREE))
    found = by_key(calibration(subject(tmp_path, draw(sure, 900), draw(sure, 500, 1))))
    assert {found[key].verdict for key in ("worst_class", "overconfidence", "temperature")} == {"limitation"}
    assert "weigh mitigate" in str(found["temperature"].reason)
    assert found["sets"].verdict == "advantage", "sets hold whatever the model states"


def test_the_error_of_the_packaged_form_stands_beside_that_of_the_most_capable_model(tmp_path: Path) -> None:
    champion = subject(tmp_path, draw(populations.surer(THREE), 300), draw(THREE, 200, 1), form="recipe")
    form = replace(subject(tmp_path, draw(THREE, 300), draw(THREE, 200, 1), form="recipe+half"), champion=champion)
    reference = by_key(calibration(form))["error"].reference
    assert reference is not None
    assert str(reference.name) == "recipe"
    assert reference.value > 0.05  # type: ignore[operator]


def test_two_classes_have_no_figure_over_all_classes(tmp_path: Path) -> None:
    two = populations.two_classes()
    found = by_key(calibration(subject(tmp_path, draw(two, 300), draw(two, 200, 1))))
    assert not {"error_classwise", "worst_class", "set_weakest"} & set(found)


def test_labels_are_measured_each_alone_and_their_sets_miss_few_of_them(tmp_path: Path) -> None:
    labels = populations.label_sets()
    found = by_key(calibration(subject(tmp_path, draw(labels, 400), draw(labels, 300, 1))))
    assert {"error", "overconfidence", "brier", "temperature", "sets", "set_size", "answered"} <= set(found)
    assert found["sets"].value >= 0.85  # type: ignore[operator]
    evidence = json.loads((tmp_path / "audit" / "label_reliability.json").read_text())
    assert len(evidence["curve"]) > 3
    assert found["error"].evidence == ("audit/label_reliability.json",)


def test_numbers_have_intervals_and_say_that_they_state_no_sureness(tmp_path: Path) -> None:
    numbers = populations.errors(0.5)
    found = by_key(calibration(subject(tmp_path, draw(numbers, 300), draw(numbers, 200, 1))))
    assert found["sets"].verdict == "advantage"
    assert found["set_size"].value == pytest.approx(2 * 1.645 * 0.5, rel=0.15)
    assert found["answered"].verdict == found["strange"].verdict == "unmeasured"
    assert "how sure" in str(found["strange"].reason)
    inside = by_key(calibration(subject(tmp_path, draw(numbers, 300), draw(numbers, 200, 1), net=network("mlp", target="number"))))
    assert {inside[key].verdict for key in ("strange", "strange.columns", "strange.far")} == {"neutral"}
    assert "the package states no sureness" in str(inside["strange.far"].method)


def test_errors_that_grow_with_what_is_predicted_are_found_in_a_fifth_of_the_rows(tmp_path: Path) -> None:
    def growing(n: int, random: np.random.Generator) -> Predictions:
        output = random.uniform(0, 10, n)
        return Predictions(kind="number", row_id=populations.ids(n), target=output + output * random.normal(size=n), output=output)

    weakest = by_key(calibration(subject(tmp_path, draw(growing, 1000), draw(growing, 500, 1))))["set_weakest"]
    assert weakest.verdict == "limitation"
    assert str(weakest.title).endswith(" to 9.99") or float(str(weakest.title).split()[-1]) > 9.5


def test_a_map_that_validation_rows_fitted_leaves_its_sets_to_halves_of_the_test_rows(tmp_path: Path) -> None:
    found = by_key(calibration(subject(tmp_path, draw(THREE, 400), draw(THREE, 300, 1), form="recipe+isotonic")))
    assert "each half of the test rows" in str(found["sets"].method)
    assert found["sets"].verdict == "neutral"


def test_a_handful_of_rows_has_no_interval_and_no_verdict(tmp_path: Path) -> None:
    found = by_key(calibration(subject(tmp_path, draw(THREE, 6), draw(THREE, 5, 1), arrays=rows("mlp", 6))))
    assert found["sets"].verdict == "unmeasured"
    assert found["temperature"].verdict == "unmeasured"
    assert found["error"].interval is None
    assert "6 test rows are too few" in str(found["strange"].reason)
    assert not [key for key, one in found.items() if one.verdict == "limitation"]


def test_rows_of_one_class_only_are_measured_as_far_as_they_go(tmp_path: Path) -> None:
    one = draw(THREE, 300)
    one = one.rows(one.target == 1)
    found = by_key(calibration(subject(tmp_path, one, draw(THREE, 300, 1))))
    assert found["brier"].verdict == "unmeasured"
    assert found["error"].interval is not None


def test_a_model_that_is_always_sure_and_right_is_not_called_certain(tmp_path: Path) -> None:
    target = np.arange(60) % 3
    sure = Predictions(kind="category", row_id=populations.ids(60), target=target, output=np.eye(3)[target], classes=("a", "b", "c"))
    found = by_key(calibration(subject(tmp_path, sure, sure)))
    for key in ("error", "overconfidence", "answered"):
        low, high = found[key].interval  # type: ignore[misc]
        assert high - low > 0.03, key


def test_groups_of_rows_widen_what_is_said_of_them() -> None:
    clustered = draw(populations.clustered(20), 400)
    alone = surer_than_right(replace(clustered, group=None), HOW)[1]
    together = surer_than_right(clustered, HOW)[1]
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_predictions_of_the_chosen_class_only_are_not_measured(tmp_path: Path) -> None:
    hard = draw(THREE, 60)
    hard = replace(hard, output=np.eye(3)[hard.chosen], hard=True)
    with pytest.raises(Unmeasured, match="no probabilities"):
        calibration(subject(tmp_path, hard, hard))


def test_the_time_it_takes_is_told_before(tmp_path: Path) -> None:
    assert 1 < seconds(subject(tmp_path, draw(THREE, 300), draw(THREE, 200, 1))) < 60


@pytest.mark.parametrize("kind", ["cnn", "photos", "columns", "texts", "gru"])
def test_rows_of_every_kind_are_made_strange_and_the_network_s_own_scores_are_taken(kind: str, tmp_path: Path) -> None:
    net, arrays = network(kind), rows(kind, 60)
    test = Predictions(kind="category", row_id=arrays.row_ids, target=np.arange(60) % 4, output=of(net, arrays), classes=tuple("abcd"))
    found = by_key(calibration(subject(tmp_path, test, test, kind=kind, net=net, arrays=arrays)))
    wanted = {"cnn": {"noise", "tiles"}, "photos": {"noise", "tiles"}, "columns": {"columns", "far"}, "texts": {"tokens"},
              "gru": {"columns", "far", "tokens"}}[kind]  # fmt: skip
    assert {key.removeprefix("strange.") for key in found if key.startswith("strange.")} == wanted
    shown = json.loads((tmp_path / "audit" / "strange.json").read_text())
    assert all([score["name"] for score in one["scores"]] == ["sureness", "energy", "distance"] for one in shown["kinds"])
    assert drawn(drawings.strange, shown, speaker("zh")).startswith("<svg")


def test_strange_rows_keep_what_they_should(tmp_path: Path) -> None:
    usual = rows("gru", 50)
    made = {one.name: one.rows for one in planted(usual, KINDS["gru"][1], 3)}
    shuffled = made["columns"].blocks["number"]
    assert np.array_equal(np.sort(shuffled, axis=0), np.sort(np.asarray(usual.blocks["number"]), axis=0))
    assert not np.array_equal(shuffled, usual.blocks["number"])
    assert np.abs(made["far"].blocks["number"]).min() >= 5
    drawn_texts, texts = made["tokens"].blocks["text.note"], usual.blocks["text.note"]
    assert np.array_equal(drawn_texts.lengths, texts.lengths)  # type: ignore[union-attr]
    assert np.array_equal(np.sort(drawn_texts.tokens), np.sort(texts.tokens))  # type: ignore[union-attr]
    again = {one.name: one.rows for one in planted(usual, KINDS["gru"][1], 3)}
    assert np.array_equal(again["far"].blocks["number"], made["far"].blocks["number"])


def test_tiles_hold_every_pixel_and_noise_the_brightness() -> None:
    usual = rows("photos", 20)
    made = {one.name: np.asarray(one.rows.blocks["image.photo"]) for one in planted(usual, KINDS["photos"][1], 3)}
    before = np.asarray(usual.blocks["image.photo"])
    assert np.array_equal(np.sort(made["tiles"].reshape(20, -1), axis=1), np.sort(before.reshape(20, -1), axis=1))
    assert np.abs(made["noise"].mean(axis=(1, 2)) - before.mean(axis=(1, 2))).max() < 25


def test_energy_and_distance_are_those_of_their_papers() -> None:
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]])
    assert energy(logits, "category") == pytest.approx([np.log(2), 1000.0])
    assert energy(logits, "set") == pytest.approx([2 * np.log(2), 1000.0 + np.log(2)])
    assert energy(logits, "number") is None
    known = np.arange(20.0)[:, None]
    assert distances(np.array([[0.0], [100.0]]), known) == pytest.approx([9.0, 90.0])
    scores = inner_scores(network("mlp").network, "category", rows("mlp", 60))
    assert scores is not None
    assert scores(rows("mlp", 30, 1)).nearness.shape == (30,)


@given(st.integers(0, 10**6), st.sampled_from([0.9, 0.95]), st.integers(20, 120))
@settings(max_examples=25, deadline=None)
def test_sets_are_never_empty_and_hold_as_many_fitting_rows_as_promised(seed: int, level: float, m: int) -> None:
    fitting, judged = draw(THREE, m, seed), draw(THREE, 40, seed + 1)
    for fit in (sets.least_ambiguous, sets.by_class, sets.adaptive):
        assert fit(fitting, judged, level).any(axis=1).all()
    own = sets.least_ambiguous(fitting, fitting, level)
    assert np.take_along_axis(own, fitting.target[:, None], axis=1).mean() >= level


@given(st.integers(0, 10**6), st.integers(20, 80))
@settings(max_examples=25, deadline=None)
def test_label_sets_miss_no_more_of_the_fitting_rows_than_allowed(seed: int, m: int) -> None:
    fitting = draw(populations.label_sets(), m, seed)
    held = sets.least_missed(fitting, fitting, 0.9)
    missed = ((fitting.target & ~held).sum(axis=1) / np.maximum(fitting.target.sum(axis=1), 1)).mean()
    assert missed <= 0.1


def test_the_law_of_held_rows_is_that_of_simulation() -> None:
    random = np.random.default_rng(0)
    limits = np.sort(random.random((20_000, 60)), axis=1)[:, sets.place(0.9, 60) - 1]
    held = random.binomial(200, limits) / 200
    low, high = sets.held_law(0.9, 60, 200)
    assert 0.94 < np.mean((low <= held) & (held <= high)) < 0.98


def test_the_level_is_above_what_the_chosen_class_alone_reaches() -> None:
    assert sets.level_for(draw(THREE, 200)) == 0.9
    assert sets.level_for(draw(populations.many_classes(3, 5.0), 200)) == 0.99
    assert sets.level_for(draw(populations.many_classes(3, 5.0), 30)) == 0.95
    assert sets.level_for(draw(THREE, 8)) is None
    assert [sets.least_rows(level) for level in sets.LEVELS] == [9, 19, 99]


@given(st.lists(st.tuples(st.sampled_from([0.6, 0.7, 0.8, 0.9]), st.booleans()), min_size=3, max_size=30))
@settings(max_examples=40, deadline=None)
def test_the_area_of_wrong_answers_is_the_mean_of_the_risk_of_each_prefix(answers: list[tuple[float, bool]]) -> None:
    stated, right = np.array([one for one, _ in answers]), np.array([hit for _, hit in answers])
    rows_ = Predictions(
        kind="category", row_id=populations.ids(len(right)), target=right.astype(int), output=np.stack([1 - stated, stated], axis=1),
        classes=("no", "yes"),
    )  # fmt: skip
    plain = np.mean([(~right)[stated >= one].mean() for one in stated])
    area, saved = risk_area(rows_).of(np.ones((1, len(right))))[0]
    assert area == pytest.approx(plain)
    assert saved == pytest.approx((~right).mean() - plain)
    assert curve(rows_, rate_interval)[-1]["accuracy"] == pytest.approx(right.mean())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=60))
@settings(max_examples=40, deadline=None)
def test_the_area_that_tells_strange_rows_is_scikit_learn_s_and_lies_in_its_interval(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import roc_auc_score

    usual, strange = np.array(pairs, float).T
    area, (low, high) = apart(usual, strange, 0.95)
    assert area == pytest.approx(roc_auc_score([1] * len(usual) + [0] * len(usual), np.concatenate([usual, strange])))
    assert 0 <= low <= area <= high <= 1
    assert 0 <= passing(usual, strange) <= 1


@pytest.mark.parametrize("population", [populations.two_classes(), THREE], ids=["two", "three"])
def test_the_parts_of_the_brier_score_add_up_and_lose_their_bias(population: populations.Population) -> None:
    test = draw(population, 400)
    parts = debiased_decomposition(test)
    total = float(brier_scores(test).mean())
    assert parts["reliability"] - parts["resolution"] + parts["uncertainty"] == pytest.approx(total)
    plain = brier_decomposition(test)
    assert parts["reliability"] < plain["reliability"]
    skill = float(brier_skill(test).of(np.ones((1, 400)))[0, 0])
    assert skill == pytest.approx(1 - total / plain["uncertainty"])


def test_sureness_of_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="states no probability"):
        sureness(draw(populations.errors(), 10))


def test_what_is_drawn_is_small_and_empty_evidence_draws_nothing(tmp_path: Path) -> None:
    calibration(subject(tmp_path, draw(THREE, 600), draw(THREE, 400, 1)))
    for draw_one, name in ((drawings.risk_coverage, "risk_coverage"), (drawings.sets, "sets"), (drawings.strange, "strange")):
        svg = drawn(draw_one, json.loads((tmp_path / "audit" / f"{name}.json").read_text()), speaker("en"))
        assert 1000 < len(svg) < 30_000, name
        assert drawn(draw_one, {"curve": [], "classes": [], "kinds": [], "marks": [], "all": 1, "level": 0.9}, speaker("en")) == ""
