"""Law: damage is what it says and no more, the same for the same seed; and what it costs is told with an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.audit import damage_images, damage_table, damage_text
from weighbridge.audit.controls_robustness import answered, simulated
from weighbridge.audit.damage import Columns, Kind, conditions
from weighbridge.audit.damage_losses import losses
from weighbridge.evaluation import Predictions
from weighbridge.evaluation.comparison import compare
from weighbridge.evaluation.resampling import Resampling
from weighbridge.preprocessing.category import OTHER, CategoryFeature
from weighbridge.storage.seeds import rng

HOW = Resampling(resamples=300, seed=0)
TEXTS = st.text(alphabet=st.sampled_from("abcXYZ é你好未末小少. \n-7"), max_size=60)
ROW = np.arange(40)


def photos(channels: int = 1, side: int = 16, n: int = 6) -> np.ndarray:
    """Return smooth pictures, uint8."""
    place = np.linspace(0, np.pi, side)
    wave = np.sin(place)[:, None] * np.sin(place * 1.5)[None]
    return np.asarray((60 + 150 * np.abs(wave))[None, :, :, None].repeat(n, 0).repeat(channels, 3).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", damage_images.KINDS, ids=lambda kind: kind.name)
def test_a_damaged_picture_is_a_picture_of_the_same_form_and_strength_grows(kind: Kind, channels: int) -> None:
    images = photos(channels)
    before = images.copy()
    made = [kind.apply(images, level, rng(0, kind.name)) for level in kind.levels]
    assert all(one.shape == images.shape and one.dtype == np.uint8 for one in made)
    assert (images == before).all(), "the undamaged rows stay as they are"
    away = [np.abs(one.astype(float) - images).mean() for one in made]
    assert away[-1] > 0
    assert away[-1] >= away[0]


@pytest.mark.parametrize("kind", [*damage_images.KINDS], ids=lambda kind: kind.name)
def test_equal_seeds_give_equal_damage(kind: Kind) -> None:
    one, two = (kind.apply(photos(), kind.levels[2], rng(3, "x")) for _ in range(2))
    assert (one == two).all()


def test_a_shift_moves_a_dot_by_its_share_of_the_side() -> None:
    images = np.zeros((200, 31, 31, 1), np.uint8)
    images[:, 15, 15] = 255
    moved = damage_images.shift(images, 0.16, rng(0, "shift")).astype(float)[..., 0]
    place = np.arange(31)
    down = (moved * place[None, :, None]).sum((1, 2)) / moved.sum((1, 2)) - 15
    right = (moved * place[None, None]).sum((1, 2)) / moved.sum((1, 2)) - 15
    assert np.hypot(down, right) == pytest.approx(np.full(200, 0.16 * 31), abs=0.15)
    assert np.abs([down.mean(), right.mean()]).max() < 0.16 * 31 * 0.3, "directions are drawn for each picture"


def test_noise_has_the_deviation_that_it_says_and_contrast_keeps_the_mean() -> None:
    grey = np.full((20, 32, 32, 1), 128, np.uint8)
    assert damage_images.noise(grey, 0.1, rng(0, "noise")).std() == pytest.approx(25.5, rel=0.03)
    low = damage_images.contrast(photos(), 0.5, rng(0, "c")).astype(float)
    assert low.mean() == pytest.approx(photos().mean(), abs=0.6)
    assert low.std() == pytest.approx(photos().std() / 2, rel=0.03)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=5), seed=st.integers(0, 50))
def test_a_damaged_text_is_a_text_and_a_missing_one_stays_missing(texts: list[str | None], seed: int) -> None:
    column = np.fromiter(texts, dtype=object, count=len(texts))
    for condition in conditions(damage_text.KINDS):
        made = condition.kind.apply(column, condition.strength, rng(seed, condition.kind.name))
        assert [one is None for one in made.tolist()] == [one is None for one in texts]
        for before, after in zip(texts, made.tolist(), strict=True):
            if before is not None:
                assert isinstance(after, str)
                assert after.count("\n") <= before.count("\n")
                assert bool(after.strip()) or not before.strip() or condition.kind.name in ("truncation", "typos")


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, seed=st.integers(0, 50))
def test_each_kind_changes_what_it_names_only(text: str, seed: int) -> None:
    def made(change: damage_text.Change, level: float) -> str:
        return change(text, level, rng(seed, "x"))

    assert text.startswith(made(damage_text.truncate, 0.5))
    assert made(damage_text.case, 1.0).casefold() == text.casefold()
    dropped = made(damage_text.drop, 0.5)
    assert len(dropped) <= len(text)
    assert len(made(damage_text.alike, 0.5)) == len(text)
    assert made(damage_text.typos, 0.0) == text
    signs = [letter for letter in text if not letter.isalnum()]
    assert [letter for letter in made(damage_text.typos, 0.5) if not letter.isalnum()] == signs


def test_chinese_loses_characters_as_words_and_swaps_them_as_letters() -> None:
    text = "这家酒店的服务非常好下次还会来住" * 4
    assert len(damage_text.drop(text, 0.25, rng(0, "d"))) == len(text) * 3 // 4
    typed = damage_text.typos(text, 0.2, rng(0, "t"))
    assert typed != text
    assert set(typed) <= set(text), "characters are swapped, left out or doubled, none is made up"
    assert damage_text.case(text, 1.0, rng(0, "c")) == text
    assert damage_text.alike("未来的小鸟", 1.0, rng(0, "a")) == "末来的少乌"
    assert damage_text.alike("ace", 1.0, rng(0, "a")) == "асе"


def test_the_share_of_typos_is_what_it_says_over_many_short_texts() -> None:
    texts = np.fromiter(["abcdefghij"] * 2000, dtype=object, count=2000)
    made = damage_text.KINDS[0].apply(texts, 0.01, rng(0, "typos"))
    assert np.mean([one != "abcdefghij" for one in made.tolist()]) == pytest.approx(0.1, abs=0.03)


def columns() -> Columns:
    return {
        "whole": np.arange(400.0),
        "real": np.linspace(0, 1, 400),
        "day": np.arange(400).astype("datetime64[D]").astype("datetime64[us]"),
        "colour": np.array(["red", None, "blue", "red"] * 100, dtype=object),
    }


def test_cells_go_missing_in_every_type_of_column_at_the_share_that_is_said() -> None:
    before = columns()
    made = damage_table.missing(before, 0.3, rng(0, "missing"))
    assert np.isnan(made["whole"]).mean() == pytest.approx(0.3, abs=0.07)
    assert np.isnat(made["day"]).mean() == pytest.approx(0.3, abs=0.07)
    assert np.mean([one is None for one in made["colour"]]) == pytest.approx(0.25 + 0.75 * 0.3, abs=0.07)
    assert not np.isnan(before["whole"]).any()


def test_noise_is_in_deviations_of_the_column_and_whole_numbers_stay_whole() -> None:
    before = {name: values for name, values in columns().items() if name in ("whole", "real")} | {"none": np.full(400, np.nan)}
    made = damage_table.noise(before, 0.5, rng(0, "noise"))
    assert (made["real"] - before["real"]).std() == pytest.approx(0.5 * before["real"].std(), rel=0.1)
    assert damage_table.whole(made["whole"])
    assert np.isnan(made["none"]).all()


def test_an_unseen_value_is_the_code_for_others_and_a_missing_one_stays_missing() -> None:
    made = damage_table.unseen({"colour": columns()["colour"]}, 0.5, rng(0, "unseen"))["colour"]
    feature = CategoryFeature(
        column="colour", values=("blue", "red"), counts=(1, 2), rows=4, missing=1, rare_values=0, rare_rows=0
    )  # fmt: skip
    codes = feature.encode(made)[:, 0]
    assert (codes == OTHER).mean() == pytest.approx(0.75 * 0.5, abs=0.07)
    assert [one is None for one in made] == [one is None for one in columns()["colour"]]


def test_a_wrong_unit_is_in_one_column_at_a_time() -> None:
    before = {"a": np.array([1.0, np.nan]), "b": np.array([2.0, 3.0])}
    made = list(damage_table.wrong_units(before, ["a", "b"]))
    assert [(name, factor) for name, factor, _ in made] == [(name, factor) for name in "ab" for factor in damage_table.FACTORS]
    assert all((changed["b"] == before["b"]).all() for name, _, changed in made if name == "a")
    assert made[0][2]["a"][0] == 10.0


def test_the_loss_of_classes_is_that_of_the_paired_comparison() -> None:
    random = np.random.default_rng(0)
    clean, damaged = answered(random.random(200) < 0.9), answered(random.random(200) < 0.7)
    found, known = losses(clean, [damaged, clean], [0, 1], HOW), compare(clean, damaged, HOW)
    assert found.each[0].value == pytest.approx(known.difference)
    assert found.each[0].interval == known.interval
    assert found.each[1].value == 0
    assert found.each[1].interval[1] > 0, "no row changed here, which does not prove that none can"
    assert found.mean.value == pytest.approx(known.difference / 2)
    assert found.worst == 0
    assert found.each[0].corrected[0] < found.each[0].interval[0], "the worst of several carries their correction"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), kinds=st.integers(1, 3), levels=st.integers(1, 4))
def test_means_are_means_and_intervals_hold_what_they_are_of(seed: int, kinds: int, levels: int) -> None:
    found = simulated(60, 0.8, np.full((kinds, levels), 0.6), rng(seed, "means"))
    assert found.mean.value == pytest.approx(np.mean([one.value for one in found.each]))
    assert [family.value for family in found.families] == pytest.approx(
        np.array([one.value for one in found.each]).reshape(kinds, levels).mean(axis=1)
    )
    for one in (*found.each, *found.families, found.mean):
        assert one.corrected[0] <= one.interval[0] <= one.value <= one.interval[1] <= one.corrected[1]
        assert one.scored[0] <= one.damaged <= one.scored[1]


def test_numbers_sets_and_groups_have_losses_too() -> None:
    random = np.random.default_rng(0)
    ids, truth = np.array([f"r{row:03d}" for row in range(120)]), random.normal(size=120)

    def numbers(spread: float) -> Predictions:
        return Predictions(kind="number", row_id=ids, target=truth, output=truth + spread * random.normal(size=120))

    found = losses(numbers(1.0), [numbers(2.0), numbers(1.0)], [0, 0], HOW)
    assert found.each[0].value == pytest.approx(1.0, abs=0.4)
    assert found.each[0].interval[0] > 0
    labels = random.random((120, 3)) < 0.5

    def sets(flips: float) -> Predictions:
        wrong = random.random((120, 3)) < flips
        output = np.where(labels ^ wrong, 0.9, 0.1)
        return Predictions(kind="set", row_id=ids, target=labels, output=output, classes=("a", "b", "c"))

    assert losses(sets(0.1), [sets(0.4)], [0], HOW).mean.interval[0] > 0
    plain = answered(random.random(120) < 0.9)
    grouped = Predictions(
        kind="category",
        row_id=plain.row_id,
        target=plain.target,
        output=plain.output,
        classes=plain.classes,
        group=ROW.repeat(3).astype(str),
    )
    same = losses(grouped, [grouped], [0], HOW).mean
    assert same.value == 0
    assert same.interval[1] > 0
