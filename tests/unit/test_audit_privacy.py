"""Law: rows that a model knows by heart are found, and rows that it does not know give no alarm; how few rows can tell is said; what
can not be tried says why, and the rest is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import lifecycle
from weighbridge.audit.canary import strange_rows
from weighbridge.audit.membership import joined
from weighbridge.audit.membership_score import attack, confidence, exposure, halves, likelihood_ratio, name_members
from weighbridge.findings import Finding, Message, by_key
from weighbridge.preprocessing import Arrays
from weighbridge.preprocessing.ragged import Ragged, ragged
from weighbridge.recipe import parse_recipe
from weighbridge.report.plots_audit_privacy import members
from weighbridge.storage.seeds import rng


def say(message: Message) -> str:
    return str(message)


def test_named_members_are_those_above_all_but_so_many_strangers() -> None:
    stranger = np.arange(1000.0)
    found = name_members(np.array([989.0, 989.5, 990.0, 5000.0]), stranger, 0.01)
    assert (found.hits, found.wrong) == (3, 10)  # strangers 990 to 999 are above 989, the first that is not named
    assert found.share == 0.75
    assert name_members(np.full(50, 999.0), stranger, 0.001).hits == 50  # above 998, as one stranger is


def test_ties_with_the_threshold_are_not_named() -> None:
    found = name_members(np.ones(100), np.ones(1000), 0.01)
    assert (found.hits, found.wrong, found.p_value) == (0, 0, 1.0)


def test_a_rate_that_so_few_strangers_can_not_tell_is_left_out() -> None:
    random = rng(0, "test", "few")
    assert [one.rate for one in attack(random.normal(size=99), random.normal(size=99)).named] == []
    assert [one.rate for one in attack(random.normal(size=99), random.normal(size=100)).named] == [0.01]
    assert [one.rate for one in attack(random.normal(size=99), random.normal(size=1000)).named] == [0.01, 0.001]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 80), st.integers(100, 200))
def test_an_attack_depends_on_the_order_of_scores_alone(seed: int, m: int, n: int) -> None:
    random = rng(seed, "test", "order")
    member, stranger = random.normal(0.5, 1, m), random.normal(size=n)
    one, other = attack(member, stranger), attack(np.exp(member), np.exp(stranger))
    assert one.area == pytest.approx(other.area)
    assert [(named.hits, named.wrong) for named in one.named] == [(named.hits, named.wrong) for named in other.named]
    assert one.interval[0] <= one.area <= one.interval[1]
    assert attack(stranger, member).area == pytest.approx(1 - one.area)
    assert all(0 <= named.p_value <= 1 for named in one.named)
    assert list(one.curve) == sorted(one.curve)


def test_the_exact_test_is_that_of_exchanged_rows() -> None:
    """In 4,000 exchanges of 30 members and 100 strangers, 3 or more members above the two first strangers come as often as it says."""
    random, seen = rng(0, "test", "exchange"), 0
    for _ in range(4000):
        ranks = random.permutation(130)
        member, stranger = ranks[:30].astype(float), ranks[30:].astype(float)
        seen += name_members(member, stranger, 0.01).hits >= 3
    from scipy.stats import hypergeom

    assert seen / 4000 == pytest.approx(float(hypergeom.cdf(1, 130, 100, 4)), abs=0.012)


def test_confidence_of_each_kind_grows_as_answers_get_better() -> None:
    sure = confidence("category", np.array([[0.9, 0.1], [0.6, 0.4], [0.0, 1.0]]), np.array([0, 0, 0]), spread=1.0)
    assert sure[0] > sure[1] > sure[2]
    assert np.isfinite(sure).all()
    sets = confidence("set", np.array([[0.9, 0.1], [0.9, 0.9]]), np.array([[True, False], [True, False]]), spread=1.0)
    assert sets[0] > sets[1]
    numbers = confidence("number", np.array([1.0, 1.5, 9.0]), np.array([1.0, 1.0, 1.0]), spread=2.0)
    assert numbers[0] > numbers[1] > numbers[2]
    assert np.isfinite(numbers).all()


def test_each_row_is_learnt_by_half_of_the_models() -> None:
    inside = halves(6, 200, rng(0, "test", "halves"))
    assert inside.sum(axis=0).tolist() == [3] * 200
    assert 0.4 < inside.mean(axis=1).min() <= inside.mean(axis=1).max() < 0.6


def test_the_likelihood_ratio_sees_what_hard_and_easy_rows_hide_from_the_loss() -> None:
    random = rng(0, "test", "ratio")
    hard, inside = random.normal(0, 3, 800), halves(8, 800, random)
    member = np.arange(800) < 400
    seen = hard + member + random.normal(0, 0.7, 800)
    score = likelihood_ratio(seen, hard + inside + random.normal(0, 0.7, (8, 800)), inside)
    assert attack(score[member], score[~member]).area > attack(seen[member], seen[~member]).area + 0.15


def test_exposure_is_between_nothing_and_all_bits() -> None:
    others = np.arange(255.0)
    assert exposure(np.array([-1.0, 254.0, 300.0]), others).tolist() == pytest.approx([0.0, 7.0, 8.0])


def rows(n: int = 40) -> Arrays:
    random = rng(0, "test", "rows")
    texts = np.where(np.arange(12) < random.integers(1, 12, n)[:, None], random.integers(1, 50, (n, 12)), 0).astype(np.int32)
    blocks: dict[str, np.ndarray | Ragged] = {"text": ragged(texts), "number": random.normal(size=(n, 2)).astype(np.float32)}
    return Arrays(blocks=blocks, target=random.integers(0, 3, n), stored_ids=np.array([f"{row:05}" for row in range(n)]).astype("S"))


def test_canaries_are_of_known_tokens_and_of_lengths_that_rows_have() -> None:
    like = rows()
    made = strange_rows(like, 100, rng(1, "test", "canary"))
    text, known = made.blocks["text"], like.blocks["text"]
    assert isinstance(text, Ragged)
    assert isinstance(known, Ragged)
    assert set(np.unique(text.tokens)) <= set(np.unique(known.tokens))
    assert set(text.lengths) <= set(known.lengths)
    assert made.target is not None
    assert set(made.target) == {0, 1, 2}
    assert len(set(made.row_ids)) == 100


def test_joined_rows_are_both_in_order() -> None:
    one, other = rows(30), rows(40)
    both = joined(one, other)
    assert len(both) == 70
    for name in ("text", "number"):
        assert np.array_equal(both.subset(slice(30, 70)).blocks[name][:], other.blocks[name][:])


def table(n: int = 500) -> str:
    """Labels of chance: all that can be learnt of them is by heart."""
    random = rng(0, "test", "table")
    lines = [
        ",".join([f"{value:.3f}" for value in random.normal(size=6)] + [random.choice(["x", "y"]), random.choice(["yes", "no"])])
        for _ in range(n)
    ]
    return "\n".join(["a,b,c,d,e,f,sex,label", *lines]) + "\n"


def run(folder: Path, **more: Mapping[str, object]) -> list[Finding]:
    off = {
        name: False for name in ("calibration", "robustness", "explanation", "fairness", "generalization", "quality", "cost", "security")
    }
    training = {"threads": 1, "precision": "fp32", "batch_size": 32, "early_stopping": {"enabled": False}, **more["training"]}
    recipe = parse_recipe(
        {
            "name": "run", "optimization": False, "audit": {**off, "budget": 5}, "data": more["data"], "training": training,
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False}, "report": {"language": "zh"},
        }
    )  # fmt: skip
    found = lifecycle.run(recipe, folder / "run", until="audit")
    return [one for one in found if one.key.startswith("audit.privacy")]


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Finding], Path]:
    folder = tmp_path_factory.mktemp("heart")
    (folder / "t.csv").write_text(table(), encoding="utf-8")
    data = {"source": (folder / "t.csv").as_posix(), "target": "label", "protected": ["sex"], "split": {"test": 0.3}}
    training: dict[str, object] = {
        "model": {"type": "mlp", "hidden": [128, 128], "dropout": 0},
        "epochs": 40,
        "optimizer": {"type": "adamw", "lr": 0.005},
    }
    return run(folder, data=data, training=training), folder / "run"


@pytest.mark.slow
def test_a_network_that_knows_its_rows_by_heart_is_found_by_both_attacks(by_heart: tuple[list[Finding], Path]) -> None:
    found = by_heart[0]
    for name in ("loss", "shadow"):
        one = by_key(found, f"audit.privacy.membership.{name}")
        assert one is not None
        assert one.verdict == "limitation", one.reason
        assert one.interval is not None
        assert one.interval[0] > 0.55
        assert one.value == pytest.approx(0.8, abs=0.15)
        tenth = by_key(found, f"audit.privacy.membership.{name}.at_0.001")
        assert tenth is not None
        assert tenth.verdict == "unmeasured"
        assert "1,000 are needed" in str(tenth.reason)
    assert by_key(found, "audit.privacy.canary") is None  # there are no texts


@pytest.mark.slow
def test_a_protected_column_that_has_nothing_to_do_with_the_answers_is_not_given_away(by_heart: tuple[list[Finding], Path]) -> None:
    one = by_key(by_heart[0], "audit.privacy.attribute.sex")
    assert one is not None
    assert one.verdict == "neutral"
    assert one.reference is not None


@pytest.mark.slow
def test_the_drawing_shows_both_attacks_and_survives_strange_evidence(by_heart: tuple[list[Finding], Path]) -> None:
    evidence = json.loads((by_heart[1] / "audit" / "privacy.json").read_text(encoding="utf-8"))
    assert set(evidence["attacks"]) == {"loss", "shadow"}
    drawn = members(evidence, say)
    assert drawn.startswith("<svg")
    assert "mathdefault" not in drawn
    assert members({"attacks": {}, "canaries": []}, say) == ""
    assert members({"attacks": {"loss": {"curve": [[0.1, float("nan")], [0.2]]}}}, say) == ""
    assert not (by_heart[1] / "audit" / "shadow").exists()


@pytest.mark.slow
def test_texts_have_canaries_and_a_baseline_has_no_copies(tmp_path: Path) -> None:
    random = rng(0, "test", "texts")
    words = [f"word{number}" for number in range(900)]
    lines = []
    for row in range(420):
        label = row % 2
        chosen = random.choice(words[:500] if label else words[400:], 8)
        lines.append(f"{' '.join(chosen)},{'good' if label else 'bad'}")
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    data = {"source": (tmp_path / "t.csv").as_posix(), "target": "label", "columns": {"text": "text"}, "split": {"test": 0.3}}
    found = run(tmp_path, data=data, training={"model": {"type": "rnn", "width": 16}, "epochs": 6})
    canaries = [one for one in found if one.key.startswith("audit.privacy.canary.")]
    assert [one.key for one in canaries] == [f"audit.privacy.canary.{times}" for times in (1, 4, 16)]
    assert all(one.interval is not None and one.n == 16 and one.unit == "bits" for one in canaries)
