"""Law: a law of scale is found again where there is one, says where its points speak against it, and promises nothing beyond its reach."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evaluation.controls_scale import widest_fail
from weighbridge.evaluation.scale_law import Law, ScaleRun, fit_law, predict_held_out, too_few
from weighbridge.evaluation.scale_verdict import judged_gain, least_gain, paying, scale_findings, scale_json
from weighbridge.findings import Finding, by_key, write_findings

LARGEST = (1_000_000, 16_000)
CONSTANTS = (0.3, 6.0, 0.35, 5.0, 0.4)  # E, A, a, B, b
EVIDENCE = ("optimization/scale.json",)


def loss(constants: tuple[float, ...], parameters: float, rows: float) -> float:
    floor, of_parameters, by_parameters, of_rows, by_rows = constants
    return floor + of_parameters / parameters**by_parameters + of_rows / rows**by_rows


def study(
    constants: tuple[float, ...] = CONSTANTS, *, noise: float = 0.0, sizes: int = 4, repeats: int = 2, seed: int = 0
) -> list[ScaleRun]:
    random = np.random.default_rng(seed)
    return [
        ScaleRun(
            parameters=LARGEST[0] // 4**width,
            rows=LARGEST[1] // 2**part,
            repeat=repeat,
            loss=loss(constants, LARGEST[0] // 4**width, LARGEST[1] // 2**part) * math.exp(noise * random.normal()),
            seconds=2e-6 * (LARGEST[0] // 4**width) ** 0.8 * (LARGEST[1] // 2**part) ** 0.9,
        )
        for width in range(sizes)
        for part in range(sizes)
        for repeat in range(repeats)
    ]


def law_of(runs: list[ScaleRun], resamples: int = 20) -> Law:
    law = fit_law(runs, seed=0, resamples=resamples)
    assert law is not None
    return law


def test_runs_without_noise_give_their_law_back() -> None:
    law = law_of(study())
    assert list(law.constants) == ["E", "A", "a", "B", "b"]
    assert list(law.constants.values()) == pytest.approx(list(CONSTANTS), rel=0.05)
    for parameters, rows in ((1_000_000, 16_000), (2_000_000, 16_000), (4_000_000, 64_000)):
        value, (low, high) = law.predict(parameters, rows)
        assert value == pytest.approx(loss(CONSTANTS, parameters, rows), rel=2e-3)
        assert low <= value <= high


def test_the_seconds_follow_their_own_power_law() -> None:
    law = law_of(study())
    assert law.times is not None
    assert law.times[:2] == pytest.approx((0.8, 0.9))
    assert law.seconds(2_000_000, 16_000) / law.seconds(1_000_000, 16_000) == pytest.approx(2**0.8)
    untimed = law_of([replace(run, seconds=0.0) for run in study()])
    assert untimed.seconds(1_000_000, 16_000) is None


def test_one_training_that_went_astray_moves_the_law_little() -> None:
    """The naive fit, least squares of the same terms with the true exponents, moves more."""
    runs = study(noise=0.005)
    astray = [replace(run, loss=run.loss * (2 if place == 5 else 1)) for place, run in enumerate(runs)]
    table = np.array([[1, run.parameters**-0.35, run.rows**-0.4] for run in astray])
    naive = np.linalg.lstsq(table, np.array([run.loss for run in astray]), rcond=None)[0]
    point, truth = (2_000_000, 32_000), loss(CONSTANTS, 2_000_000, 32_000)
    off = abs(naive @ [1, point[0] ** -0.35, point[1] ** -0.4] - truth)
    assert abs(law_of(astray).loss(*point) - truth) < 0.5 * off


def test_the_order_of_runs_does_not_matter() -> None:
    runs = study(noise=0.02)
    shuffled = [runs[place] for place in np.random.default_rng(0).permutation(len(runs))]
    first, second = law_of(runs), law_of(shuffled)
    assert np.array_equal(first.terms, second.terms)
    assert np.array_equal(first.refits, second.refits)
    assert predict_held_out(runs, seed=0, resamples=20) == predict_held_out(shuffled, seed=0, resamples=20)


def test_losses_of_another_unit_give_the_same_law_in_that_unit() -> None:
    runs = study(noise=0.02)
    large = [replace(run, loss=1000 * run.loss) for run in runs]
    assert law_of(large).loss(2e6, 3e4) == pytest.approx(1000 * law_of(runs).loss(2e6, 3e4), rel=1e-3)


@settings(max_examples=12, deadline=None)
@given(
    st.floats(0, 1), st.floats(0, 0.5), st.floats(0.1, 0.8), st.floats(0.001, 0.5), st.floats(0.1, 0.8), st.floats(0, 0.2),
    st.integers(0, 1000),
)  # fmt: skip
def test_a_law_never_rises_and_its_intervals_hold_it(
    floor: float, first: float, by_parameters: float, second: float, by_rows: float, noise: float, seed: int
) -> None:
    constants = (floor, first * LARGEST[0] ** by_parameters, by_parameters, second * LARGEST[1] ** by_rows, by_rows)
    law = law_of(study(constants, noise=noise, sizes=3, seed=seed))
    for start, end in itertools.pairwise([(5e5, 8e3), (1e6, 8e3), (1e6, 1.6e4), (2e6, 1.6e4), (4e6, 6.4e4)]):
        value, (low, high) = law.gain(start, end)
        assert 0 <= low <= value <= high
        assert law.loss(*end) > 0
    value, (low, high) = law.predict(2e6, 1.6e4)
    wide = law.predict_runs(2e6, 1.6e4, 1)[1]
    assert 0 < low <= value <= high
    assert math.isfinite(wide[1])


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [run for run in study() if run.parameters > 100_000],
        [run for run in study() if run.rows > 5000],
        [run for place, run in enumerate(study(sizes=3, repeats=1)) if place not in (1, 3)],
    ],
    ids=["no run", "two widths", "two parts", "seven points"],
)  # fmt: skip
def test_too_small_a_grid_has_no_law_and_the_finding_says_why(runs: list[ScaleRun]) -> None:
    assert too_few(runs) is not None
    assert fit_law(runs, seed=0) is None
    assert predict_held_out(runs, seed=0) is None
    (finding,) = scale_findings(None, runs, command="weigh optimize RUN --only scale", evidence=EVIDENCE)
    assert (finding.key, finding.verdict) == ("optimization.scale", "unmeasured")
    assert "show no law: at least 8 points and 3 of each are needed" in str(finding.reason)
    assert scale_json(None, runs)["curves"] == []


def test_a_loss_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        fit_law([replace(run, loss=0.0) for run in study()], seed=0)


def told(runs: list[ScaleRun], **how: float) -> dict[str, Finding]:
    findings = scale_findings(law_of(runs, 60), runs, command="weigh optimize RUN --only scale", evidence=EVIDENCE, **how)
    assert [one.key.removeprefix("optimization.scale.") for one in findings] == ["parameters", "rows", "prediction", "stop"]
    return {one.key.removeprefix("optimization.scale."): one for one in findings}


def test_a_law_that_holds_foretells_its_largest_point() -> None:
    found = predict_held_out(study(noise=0.02), seed=0, resamples=60)
    assert found is not None
    assert (found.parameters, found.rows, found.runs) == (*LARGEST, 2)
    assert found.holds
    assert abs(found.error) < 0.05


def test_a_jump_at_the_largest_point_is_found_and_nothing_else_is_claimed_then() -> None:
    runs = [
        replace(run, loss=run.loss * 1.3) if (run.parameters, run.rows) == LARGEST else run
        for run in study((0.1, 0, 0.5, 19.2, 0.4), noise=0.01)
    ]
    findings = told(runs)
    assert findings["prediction"].verdict == "limitation"
    assert "outside its interval, the law does not hold" in str(findings["prediction"].reason)
    assert findings["rows"].verdict == "neutral"
    assert str(findings["rows"].reason).endswith("if the law held, but its own points speak against it")
    assert "its own points speak against" in str(findings["stop"].reason)


def test_a_term_that_the_law_does_not_have_is_seen_by_the_repeats() -> None:
    runs = widest_fail(1)
    law = law_of(runs)
    assert law.misfit is not None
    assert law.misfit < 0.01
    assert law_of(study(noise=0.02)).misfit > 0.01
    assert law_of(study(noise=0.02, repeats=1)).misfit is None
    assert told(runs)["prediction"].verdict == "limitation"


def test_the_findings_say_what_a_doubling_buys_and_what_it_takes() -> None:
    runs = study((0.1, 0.0, 0.5, 0.3 * 16_000**0.3, 0.3), noise=0.01)
    findings = told(runs)
    rows, parameters = findings["rows"], findings["parameters"]
    assert rows.verdict == "limitation"
    assert rows.value == pytest.approx(0.3 * (1 - 2**-0.3), rel=0.15)
    assert str(rows.reason).startswith("2 times the training rows (32,000) would change the loss from 0.3991 to 0.34")
    assert str(rows.reason).endswith("s: more data helps")
    assert parameters.verdict == "advantage"
    assert str(parameters.reason).endswith("the network is large enough")
    before, after = (float(parameters.reason.values[name]) for name in ("before", "after"))
    assert after / before == pytest.approx(2**0.8, rel=0.02)
    assert findings["stop"].value == "more rows"
    assert "a doubling of the parameters pays not even once, one of the rows still at 4 times the largest point" in str(
        findings["stop"].reason
    )
    assert findings["prediction"].verdict == "neutral"


def test_a_doubling_stops_to_pay_where_it_saves_less_than_a_hundredth() -> None:
    """From the largest point on 0.0123 of the loss, then 0.0087: one doubling pays."""
    law = law_of(study((1.0, 0.0, 0.5, 0.0445 * 16_000**0.5, 0.5), noise=0.0005))
    gains = [law.gain((1e6, 16e3 * 2**k), (1e6, 32e3 * 2**k))[0] / law.loss(1e6, 16e3 * 2**k) for k in range(2)]
    assert gains[0] > 0.01 > gains[1]
    assert paying(law, "rows") == 1
    assert paying(law, "parameters") == 0
    assert least_gain(law, (1e6, 16e3)) == pytest.approx(0.01 * law.loss(1e6, 16e3))
    assert [judged_gain(gain, 0.01) for gain in ((0.011, 0.02), (0.0, 0.009), (0.005, 0.02))] == ["limitation", "advantage", "neutral"]


def test_the_noise_of_a_training_is_more_than_a_hundredth_where_it_is() -> None:
    law = law_of(study(noise=0.05))
    assert law.noise == pytest.approx(0.05, rel=0.4)
    assert least_gain(law, (1e6, 16e3)) == pytest.approx(law.noise * law.loss(1e6, 16e3))


def test_beyond_4_times_the_largest_point_nothing_supports_the_law() -> None:
    runs = study(noise=0.01)
    assert "nothing supports" not in str(told(runs)["rows"].method)
    far = told(runs, times=8.0)["rows"]
    assert "carried on beyond 4 times the largest point, where nothing supports its form" in str(far.method)
    assert str(far.reason).startswith("8 times the training rows (128,000)")


def test_a_study_without_repeats_or_times_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    runs = [replace(run, seconds=0.0) for run in study(noise=0.01, sizes=3, repeats=1)]
    findings = told(runs)
    assert "a training from" not in str(findings["rows"].reason)
    write_findings(tmp_path / "findings.jsonl", findings.values())
    fewer = [run for place, run in enumerate(runs) if place != 4]
    found = scale_findings(law_of(fewer), fewer, command="weigh", evidence=EVIDENCE)
    prediction = by_key(found, "optimization.scale.prediction")
    assert prediction is not None
    assert prediction.verdict == "unmeasured"


def test_the_evidence_holds_curves_with_bands_and_the_point_that_was_foretold() -> None:
    runs = study(noise=0.02, sizes=3)
    evidence = json.loads(json.dumps(scale_json(law_of(runs), runs), allow_nan=False))
    assert len(evidence["runs"]) == 18
    assert [one["parameters"] for one in evidence["curves"]] == [62_500, 250_000, 1_000_000]
    assert [one["rows"] for one in evidence["by_rows"]] == [4000, 8000, 16_000]
    for point in evidence["curves"][0]["points"]:
        assert 0 < point["low"] <= point["loss"] <= point["high"]
    assert evidence["curves"][0]["points"][-1]["rows"] == pytest.approx(32_000)
    assert evidence["held_out"]["rows"] == 16_000
    assert set(evidence["fit"]) >= {"E", "A", "a", "B", "b", "noise", "refits", "level"}
