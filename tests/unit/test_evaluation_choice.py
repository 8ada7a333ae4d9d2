"""Law: the cheapest form that is shown not inferior is chosen, whatever the order of forms; what rows can not decide is said to be so."""

from __future__ import annotations

import ast
import itertools
import json
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weighbridge.evaluation
from weighbridge.errors import DataError, UsageError
from weighbridge.evaluation.choice import Choice, Option, choice_json, choose, confirm, most_capable
from weighbridge.evaluation.choice_verdict import COSTS, champion_finding, choice_findings, confirmed_finding
from weighbridge.evaluation.comparison import compare
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Finding, Message, by_key, write_findings
from weighbridge.report.catalogue_zh import ZH
from weighbridge.report.catalogue_zh_choice import ZH as OWN

HOW = Resampling(resamples=400, level=0.95, seed=0)
N = 2000


def ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def right(hits: np.ndarray, name: str, group: np.ndarray | None = None) -> Predictions:
    """Predictions of two classes that are right exactly where `hits` is true."""
    target = np.arange(len(hits)) % 2
    output = np.eye(2)[np.where(hits, target, 1 - target)]
    return Predictions(kind="category", row_id=ids(len(hits)), target=target, output=output, classes=("a", "b"), model=name, group=group)


def losing(name: str, lost: int, won: int = 0, n: int = N) -> Predictions:
    """A form that is wrong in `lost` rows in which the original is right, and the other way round in `won` of them."""
    hits = np.arange(n) >= 200
    hits[200 : 200 + lost], hits[:won] = False, True
    return right(hits, name)


ORIGINAL = losing("cnn", 0)


def option(name: str, lost: int, won: int = 0, cost: float = 1.0, high: float = 0.5, n: int = N) -> Option:
    return Option(name=name, predictions=losing(name, lost, won, n), cost=cost, cost_ratio_high=high)


def chosen(*options: Option, margin: float = 0.01, confidence: float = 0.95) -> Choice:
    return choose(ORIGINAL, options, margin=margin, confidence=confidence, how=HOW)


EACH = (
    option("half", 0, cost=0.9, high=0.95),
    option("int8", 5, 4, cost=0.3),
    option("int4", 60, 4, cost=0.2),
    option("pruned", 17, 2, cost=0.4),
    option("student", 3, 3, cost=1.2, high=1.3),
)


def decisions(choice: Choice) -> dict[str, str]:
    return {one.name: one.decision for one in choice.options}


def test_each_decision_is_made_where_it_is_due() -> None:
    choice = chosen(*EACH)
    assert decisions(choice) == {
        "half": "not inferior", "int8": "chosen", "int4": "inferior", "pruned": "undecided", "student": "not cheaper",
    }  # fmt: skip
    assert (choice.chosen, choice.original, choice.metric, choice.n) == ("int8", "cnn", "accuracy", N)
    undecided = next(one for one in choice.options if one.name == "pruned")
    assert undecided.rows is not None
    assert undecided.rows > N
    assert all(one.rows is None for one in choice.options if one.name != "pruned")


def test_the_order_of_options_does_not_matter() -> None:
    """The naive way, the first that is good enough, would give several answers."""
    first = {one.name: one for one in chosen(*EACH).options}
    for order in itertools.islice(itertools.permutations(EACH), 0, 120, 37):
        choice = chosen(*order)
        assert choice.chosen == "int8"
        assert {one.name: one for one in choice.options} == first
        assert [one.name for one in choice.options] == [one.name for one in order]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([0.1, 0.2, 0.5]), st.booleans()), max_size=6),
    st.randoms(use_true_random=False),
)
def test_what_is_chosen_passes_is_cheaper_and_none_that_passes_is_cheaper_still(
    forms: list[tuple[int, int, float, bool]], random: object
) -> None:
    options = [option(f"f{at}", lost, won, cost, 0.9 if cheap else 1.1) for at, (lost, won, cost, cheap) in enumerate(forms)]
    choice = chosen(*options)
    shuffled = list(options)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert chosen(*shuffled).chosen == choice.chosen
    passing = [one for one in choice.options if one.p_value < 0.05 and one.cost_ratio_high < 1]
    if not passing:
        assert choice.chosen == "cnn"
        assert choice.taken is None
        return
    assert choice.taken is not None
    assert choice.taken in passing
    assert choice.taken.cost == min(one.cost for one in passing)
    assert {one.name for one in choice.options if one.decision in ("chosen", "not inferior")} == {one.name for one in passing}


def test_equal_costs_go_to_the_better_difference_and_then_to_the_name() -> None:
    assert chosen(option("a", 4), option("b", 4, 3), option("c", 4)).chosen == "b"
    assert chosen(option("b", 4), option("a", 4)).chosen == "a"


def test_every_form_that_is_tried_costs_certainty() -> None:
    """One form of this quality passes alone and not among ten: the others may not be dropped from the count."""
    alone = option("int8", 15, 4)
    others = [option(f"bad{at}", 20, 0, cost=5.0) for at in range(9)]
    assert chosen(alone).chosen == "int8"
    choice = chosen(alone, *others)
    assert choice.chosen == "cnn"
    assert choice.options[0].decision == "undecided"
    assert choice.options[0].p_value == pytest.approx(10 * choice.options[0].test.p_value)


def test_nothing_that_is_not_measurably_cheaper_is_chosen() -> None:
    choice = chosen(option("half", 0, high=1.0), option("int4", 60, high=1.02))
    assert choice.chosen == "cnn"
    assert decisions(choice) == {"half": "not cheaper", "int4": "inferior"}


def test_without_options_the_original_stays() -> None:
    choice = chosen()
    assert (choice.chosen, choice.options) == ("cnn", ())
    (finding,) = choice_findings(choice, original_name="cnn", cost="latency", command="weigh optimize RUN")
    assert (finding.value, finding.verdict, str(finding.reason)) == ("cnn", "neutral", "no other form was tried")


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.01])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        chosen(option("a", 0), margin=margin)


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="a confidence of 95"):
        chosen(option("a", 0), confidence=95)
    with pytest.raises(DataError, match="two are called 'a'"):
        chosen(option("a", 0), option("a", 1))
    with pytest.raises(DataError, match="costs nan"):
        chosen(option("a", 0, cost=float("nan")))
    with pytest.raises(DataError, match="do not predict the same rows"):
        chosen(option("a", 0, n=3000))
    with pytest.raises(DataError, match="no candidate"):
        most_capable([], HOW)


def test_the_evidence_is_plain_numbers() -> None:
    told = json.loads(json.dumps(choice_json(chosen(*EACH)), allow_nan=False))
    assert told["chosen"] == "int8"
    assert told["original"] == {"name": "cnn", "value": 0.9}
    assert (told["margin"], told["confidence"], told["sign"]) == (0.01, 0.95, 1)
    half = told["options"][0]
    assert half["interval"][0] <= half["lower"] <= half["difference"] <= half["interval"][1]
    assert {one["decision"] for one in told["options"]} == {"chosen", "not inferior", "inferior", "undecided", "not cheaper"}


def test_five_groups_can_not_decide_and_their_evidence_is_plain_numbers_too() -> None:
    group = np.repeat(np.arange(5), 20)
    original, form = (right(np.arange(100) >= 10, name, group) for name in ("cnn", "int8"))
    offered = [Option(name="int8", predictions=form, cost=1.0, cost_ratio_high=0.5)]
    choice = choose(original, offered, margin=0.01, confidence=0.95, how=HOW)
    assert decisions(choice) == {"int8": "undecided"}
    json.dumps(choice_json(choice), allow_nan=False)
    findings = choice_findings(choice, original_name="cnn", cost="latency", command="weigh")
    assert "fewer than 8 independent rows or groups" in str(findings[1].reason)
    assert findings[1].interval is None


def number(off: np.ndarray, name: str) -> Predictions:
    return Predictions(kind="number", row_id=ids(len(off)), target=np.zeros(len(off)), output=off, model=name)


def of_numbers() -> Choice:
    random = np.random.default_rng(0)
    off = 20 * random.normal(size=500)
    forms = {"int8": off + 0.5 * random.normal(size=500), "int4": 1.4 * off}
    offered = [
        Option(name=name, predictions=number(one, name), cost=1.0, cost_ratio=0.2, cost_ratio_high=0.25) for name, one in forms.items()
    ]
    return choose(number(off, "mlp"), offered, margin=0.05, confidence=0.95, how=HOW)


def test_for_numbers_the_margin_is_a_share_of_the_originals_error() -> None:
    choice = of_numbers()
    assert decisions(choice) == {"int8": "chosen", "int4": "inferior"}
    assert choice.margin == pytest.approx(0.05 * choice.original_value)
    assert choice.metric == "rmse"


def test_the_test_rows_confirm_refute_or_can_not_decide() -> None:
    found = {lost: confirm(losing("int8", lost), ORIGINAL, margin=0.01, confidence=0.95, how=HOW) for lost in (5, 18, 60)}
    assert [one.statement for one in found.values()] == ["confirmed", "undecided", "refuted"]
    assert found[18].rows is not None
    assert found[18].rows > N
    findings = [confirmed_finding(one, command="weigh evaluate RUN --only choice") for one in found.values()]
    assert [one.verdict for one in findings] == ["advantage", "neutral", "limitation"]
    assert "on these rows, too, int8 is not worse than cnn by more than 1.0 points" in str(findings[0].reason)
    assert "more rows would" in str(findings[1].reason)
    assert all(one.key == "evaluation.choice" and one.value == one.reference.difference for one in findings if one.reference)


def test_the_best_candidate_is_named_with_who_can_not_be_told_from_it() -> None:
    random = np.random.default_rng(0)
    hits = random.random(1000) < 0.9
    near, far = hits.copy(), hits.copy()
    near[:4], far[:120] = ~near[:4], False
    models = [right(far, "far"), right(hits, "best"), right(near, "near")]
    ranking = most_capable(models, HOW)
    assert (ranking.best, ranking.worse, ranking.alike) == ("best" if hits.sum() >= near.sum() else "near", ("far",), ranking.alike)
    assert len(ranking.alike) == 1
    assert most_capable(models[::-1], HOW) == ranking
    assert most_capable(models[:1], HOW).others == ()
    alone = compare(models[1], models[0], HOW).p_value
    assert next(one for one in ranking.others if one.comparison.name == "far").p_value == pytest.approx(min(1, 3 * alone)), "three pairs"
    assert most_capable([right(hits, "b"), right(hits, "a")], HOW).best == "a", "equal ones go by name"


def test_a_champion_that_is_an_ensemble_stands_beside_every_rival() -> None:
    finding = champion_finding(losing("average", 0, 20), [losing("cnn", 0), losing("mlp", 100)], HOW, command="weigh optimize RUN")
    assert (finding.key, finding.value) == ("optimization.champion", "average")
    assert str(finding.reason) == "measurably better than cnn, mlp"
    alone = champion_finding(losing("cnn", 0), [], HOW, command="weigh")
    assert str(alone.reason) == "nothing else competed"


def every_finding() -> list[Finding]:
    return [
        *choice_findings(chosen(*EACH), original_name="cnn", cost="latency", command="weigh optimize RUN"),
    ]


def test_the_findings_say_what_was_decided_and_why() -> None:
    findings = every_finding()
    main = by_key(findings, "optimization.choice")
    assert main is not None
    assert (main.value, main.verdict, main.headline) == ("int8", "advantage", True)
    assert str(main.reason).startswith(
        "int8: its median time for one row is at most 0.5 of that of cnn, and it is not worse by more than 1.0 points (difference -0.05, "
    )
    verdicts = {one.key.removeprefix("optimization.choice."): one.verdict for one in findings[1:]}
    assert verdicts == {"half": "advantage", "int8": "advantage", "int4": "limitation", "pruned": "neutral", "student": "neutral"}
    undecided = by_key(findings, "optimization.choice.pruned")
    assert undecided is not None
    assert "the data can not decide whether it is worse by more than 1.0 points" in str(undecided.reason)
    assert "more rows would" in str(undecided.reason)
    assert undecided.reference is not None
    assert undecided.interval is not None
    assert undecided.interval[0] <= undecided.value <= undecided.interval[1]
    assert undecided.command == "weigh optimize RUN --only choice.pruned"


def test_a_ratio_that_was_measured_is_said_and_numbers_have_no_points() -> None:
    main = choice_findings(of_numbers(), original_name="mlp", cost="size", command="weigh")[0]
    assert str(main.reason).startswith("int8: its size of the graph is 0.2 of that of mlp, and it is not worse by more than 1.0")
    assert "points" not in str(main.reason)


def test_when_nothing_passes_the_reason_counts_why() -> None:
    choice = chosen(option("int4", 60), option("pruned", 17, 2), option("student", 0, high=1.3))
    main = choice_findings(choice, original_name="cnn", cost="latency", command="weigh")[0]
    assert (main.value, main.verdict) == ("cnn", "neutral")
    assert "of 3 forms none" in str(main.reason)
    assert "(1 undecided, 1 inferior, 1 not cheaper)" in str(main.reason)


def test_findings_can_be_written(tmp_path: Path) -> None:
    numbers = choice_findings(of_numbers(), original_name="mlp", cost="latency", command="weigh")
    write_findings(tmp_path / "findings.jsonl", every_finding())
    write_findings(tmp_path / "numbers.jsonl", numbers)


def test_every_sentence_of_choice_and_scale_has_its_chinese() -> None:
    known, place = {**ZH, **OWN}, Path(weighbridge.evaluation.__file__).parent
    for name in ("choice_verdict.py", "scale_verdict.py"):
        for node in ast.walk(ast.parse((place / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message" and isinstance(node.args[0], ast.Constant):
                template = str(node.args[0].value)
                assert not template or template in known, template
    for template, chinese in OWN.items():
        names, own = ({name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (template, chinese))
        assert names == own, template
    assert all(isinstance(words, Message) and str(words) in OWN for words in COSTS.values())
