"""Law: a sketch shows no single row, its edges do not depend on the rows that are counted, and what it counts are all of them."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime_packages import encoder_of
from weighbridge.deployment.sketches import sketches
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime.contract import FEWEST, Contract, Frequencies, Histogram
from weighbridge.runtime.histograms import BINS, edges_of, frequencies, frequent, histogram, merged
from weighbridge.runtime.traits import is_known, traits_of

numbers = st.lists(st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, float("nan"), float("inf")]), max_size=120)


@settings(max_examples=150, deadline=None)
@given(numbers, numbers)
def test_any_numbers_give_rising_edges_and_counts_of_all_known_rows_none_of_them_small(laid: list[float], counted: list[float]) -> None:
    known = np.array([value for value in counted if value == value])
    found = histogram(np.array(laid), known)
    assert found.n == len(known)
    assert list(found.edges) == sorted(set(found.edges))
    assert len(found.counts) == len(found.edges) + 1
    assert len(found.counts) == 1 or not any(0 < count < FEWEST for count in found.counts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=10, max_size=400, unique=True), st.integers(0, 5000))
def test_each_bin_holds_at_least_five_laid_rows_but_those_beyond_a_fence_none_and_no_edge_is_one_of_them(
    laid: list[float], counted: int
) -> None:
    edges = edges_of(np.array(laid), counted)
    held = np.bincount(Histogram(edges=edges).places(np.array(laid)), minlength=len(edges) + 1)
    assert all(rows >= FEWEST for rows in held[1:-1])
    assert all(rows == 0 or rows >= FEWEST for rows in held[[0, -1]])
    assert len(edges) <= BINS + 1
    assert not set(edges) & set(laid) or min(np.diff(np.sort(laid))) < 1e-300


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_merging_loses_no_row_and_leaves_no_small_count(counts: list[int]) -> None:
    found = merged([float(edge) for edge in range(len(counts) - 1)], counts)
    assert sum(found.counts) == sum(counts)
    assert len(found.counts) == 1 or not any(0 < count < FEWEST for count in found.counts)


def test_a_thousand_rows_give_about_64_bins_of_equal_mass() -> None:
    random = np.random.default_rng(0)
    found = histogram(random.normal(size=5000), random.normal(size=2000))
    assert len(found.counts) == BINS + 2  # one beyond each fence
    assert (found.counts[0], found.counts[-1]) == (0, 0)
    assert 10 < min(found.counts[1:-1]) < max(found.counts) < 60


def test_a_value_beyond_a_column_of_one_value_has_a_bin_of_its_own() -> None:
    found = histogram(np.zeros(100), np.zeros(50))
    assert found.counts == (0, 50, 0)
    assert found.places(np.array([-1.0, 0.0, 0.01])).tolist() == [0, 1, 2]


def test_a_new_rows_rank_is_uniform_while_nothing_changes_and_not_when_it_does() -> None:
    random, ranks, moved = np.random.default_rng(1), [], []
    for _ in range(400):
        found = histogram(random.exponential(size=300), random.exponential(size=200))
        below = np.cumsum([0, *found.counts]) / found.n
        for values, kept in ((random.exponential(size=1), ranks), (3 * random.exponential(size=1), moved)):
            place = found.places(values)[0]
            kept.append(below[place] + random.random() * (below[place + 1] - below[place]))
    assert abs(np.mean(ranks) - 0.5) < 3 * np.sqrt(1 / 12 / 400)
    assert np.mean(moved) > 0.65


def test_names_that_few_rows_have_are_counted_together() -> None:
    assert frequent({"a": 900, "b": 300, "c": 40, "d": 4}, share=0.1) == ["a", "b"]
    assert frequencies({"a": 90, "b": 31, "c": 4, "d": 1}, named=["a", "b", "e"]) == Frequencies(counts={"a": 90, "b": 31}, other=5)
    assert frequencies({"no": 40, "yes": 3}) == Frequencies(counts={"no": 40}, other=3)
    assert len(frequent({str(one): 100 for one in range(200)}, share=1.0)) == 50


@pytest.fixture(scope="module")
def sketched() -> dict[str, object]:
    encoder, table = encoder_of(rows=240)
    return {one.name: one for one in sketches(encoder, table, table)}  # type: ignore[arg-type]  # a table in memory


def test_every_column_has_its_traits_names_and_missing_rows(sketched: dict[str, object]) -> None:
    from weighbridge.runtime.contract import ColumnSketch

    encoder, table = encoder_of(rows=240)
    expected = {"number": {"value"}, "date": {"days", "month", "weekday", "hour"}, "category": set(), "set": {"labels"},
                "text": {"tokens", "unseen", "letters", "digits"}, "image": {"brightness", "contrast", "sharpness"}}  # fmt: skip
    types = {feature.column: feature.type for feature in encoder.features}
    assert set(sketched) == set(types)
    for name, one in sketched.items():
        assert isinstance(one, ColumnSketch)
        traits = {trait.split(" ")[-1] for trait in one.traits if not trait.startswith(("cell ", "edges ", "words "))}
        assert traits == expected[types[name]], name
        assert one.rows == len(table)
        assert one.missing == int((~is_known(table.columns[name])).sum())
        assert all(trait.n == one.rows - one.missing for trait in one.traits.values())
        assert (one.values is not None) == (types[name] in ("category", "set"))


def test_a_sketch_of_more_rows_than_are_looked_at_takes_evenly_spaced_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from weighbridge.deployment import sketches as module

    monkeypatch.setattr(module, "MOST_ROWS", 50)
    monkeypatch.setattr(module, "MOST_COSTLY_ROWS", 10)
    encoder, table = encoder_of(rows=240)
    rows = {feature.type: one.rows for feature, one in zip(encoder.features, sketches(encoder, table, table), strict=True)}  # type: ignore[arg-type]
    assert rows["number"] == 48
    assert rows["image"] == 10


def test_traits_are_what_they_are_called() -> None:
    encoder, _ = encoder_of(rows=240)
    by_type = {feature.type: feature for feature in encoder.features}
    day = datetime.datetime(2026, 3, 4, 15)
    found = traits_of(by_type["date"], np.array([day, np.datetime64("NaT")], dtype="datetime64[us]"))
    assert [found[name][0] for name in ("days", "month", "weekday", "hour")] == [20516.625, 2, 2, 15]
    assert all(np.isnan(values[1]) for values in found.values())
    image = by_type["image"]
    plain, edgy = np.full((16, 16, 3), 51, np.uint8), np.zeros((16, 16, 3), np.uint8)
    edgy[:, ::2] = 255
    seen = traits_of(image, objects([plain, edgy, None]))
    bright = next(values for name, values in seen.items() if name.endswith("brightness"))
    assert bright[0] == pytest.approx(0.2)
    assert seen["sharpness"][0] < seen["sharpness"][1]
    assert np.isnan(seen["sharpness"][2])


def test_a_sketch_is_part_of_a_contract_that_can_be_read(sketched: dict[str, object]) -> None:
    from dataclasses import replace

    from tests.unit.test_runtime_contract import CONTRACT

    contract = replace(CONTRACT, inputs=tuple(sketched.values()))  # type: ignore[arg-type]
    assert Contract.from_json(contract.to_json()) == contract
