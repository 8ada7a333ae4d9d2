"""Categories, dates, sets and targets: codes in a fixed order, decode gives the value back, unseen and missing values have a place."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import DataError
from weighbridge.preprocessing.category import CategoryFeature, CategoryFit, frequent, natural
from weighbridge.preprocessing.date import DateFeature, DateFit, cyclic_part
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.set import SetFeature, SetFit
from weighbridge.preprocessing.target import TargetFeature, TargetFit
from weighbridge.storage.seeds import rng

TEXTS = st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=40)


def _category(values: list[str | None], rare: int = 1, most: int = 1000) -> CategoryFeature:
    fit = CategoryFit("c", rare=rare, most=most)
    fit.add(objects(values))
    return fit.finish()


def _target(values: list[object], kind: str) -> TargetFeature:
    fit = TargetFit("y", kind=kind, separator=";", generator=rng(0, "y"))  # type: ignore[arg-type]
    fit.add(np.array(values) if kind == "number" else objects(values))
    return fit.finish()


@settings(max_examples=80, deadline=None)
@given(TEXTS, TEXTS)
def test_known_categories_come_back_and_the_rest_is_other(train: list[str | None], new: list[str | None]) -> None:
    feature = _category(train)
    codes = feature.encode(objects(new))
    assert codes.max() < feature.cardinality
    expected = [value if value is None or value in train else "(other)" for value in new]
    assert feature.decode(codes).tolist() == expected
    assert CategoryFeature.from_json(feature.to_json()) == feature


def test_rare_values_share_code_0_and_missing_has_code_1() -> None:
    feature = _category(["b"] * 5 + ["a"] * 3 + ["x", "y", None], rare=3)
    assert feature.values == ("a", "b")
    assert feature.encode(objects(["x", None, "a", "b", "new"])).ravel().tolist() == [0, 1, 2, 3, 0]
    assert (feature.rare_values, feature.rare_rows, feature.missing, feature.rows) == (2, 2, 1, 11)


def test_at_most_the_given_number_of_codes_the_most_frequent_ones() -> None:
    feature = _category([str(value) for value in range(50) for _ in range(value + 1)], most=3)
    assert feature.values == ("47", "48", "49")


@given(st.lists(st.text(max_size=6), max_size=30))
def test_natural_order_is_total_and_does_not_depend_on_the_order_given(texts: list[str]) -> None:
    assert sorted(texts, key=natural) == sorted(reversed(texts), key=natural)
    counts = Counter(texts)
    assert sorted(frequent(counts, 1)) == sorted(counts)


def test_natural_order_counts() -> None:
    assert sorted(["10", "9", "-1", "2.5", "b10", "b9", "a", "nan"], key=natural) == ["-1", "2.5", "9", "10", "a", "b9", "b10", "nan"]


def _dates(values: list[str], parts: tuple[str, ...] = ("trend", "year", "month", "weekday", "day", "hour")) -> DateFeature:
    fit = DateFit("d", parts=parts, generator=rng(0, "d"))
    fit.add(np.array(values, dtype="datetime64[us]"))
    return fit.finish()


def test_parts_of_a_date_are_those_of_the_calendar() -> None:
    import datetime

    days = [datetime.datetime(1900, 1, 1, 5) + datetime.timedelta(days=37 * step, hours=step) for step in range(2000)]
    array = np.array(days, dtype="datetime64[us]")
    assert cyclic_part(array, "month").tolist() == [day.month - 1 for day in days]
    assert cyclic_part(array, "weekday").tolist() == [day.weekday() for day in days]
    assert cyclic_part(array, "day").tolist() == [day.day - 1 for day in days]
    assert cyclic_part(array, "hour").tolist() == [day.hour for day in days]


def test_parts_that_do_not_vary_are_left_out() -> None:
    feature = _dates(["2026-01-05", "2026-02-02", "2026-03-02"])
    assert feature.parts == ("trend", "month", "day")
    assert feature.names == ("d trend", "d month sin", "d month cos", "d day sin", "d day cos")


def test_december_stands_beside_january_and_a_missing_date_in_the_middle() -> None:
    feature = _dates(["2025-12-15", "2026-01-15", "2026-06-15", "NaT"], ("month",))
    encoded = feature.encode(np.array(["2025-12-15", "2026-01-15", "2026-06-15", "NaT"], dtype="datetime64[us]"))
    apart = np.linalg.norm(encoded[:1, :2] - encoded[:, :2], axis=1)
    assert apart[1] < 0.6 < 1.9 < apart[2]
    assert encoded[3].tolist() == [0, 0, 1]


def test_a_date_comes_back_to_the_precision_of_its_trend() -> None:
    days = np.array(["2020-01-01", "2023-07-09T11:00", "2026-12-31", "NaT"], dtype="datetime64[us]")
    feature = DateFeature.from_json(_dates([str(day) for day in days], ("hour", "trend")).to_json())
    back = feature.decode(feature.encode(days))
    assert np.isnat(back[3])
    assert np.abs(back[:3] - days[:3]).max() < np.timedelta64(30, "m")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.sets(st.sampled_from("abcdefg")).map(lambda letters: tuple(sorted(letters))), min_size=1, max_size=30))
def test_sets_come_back_whole(rows: list[tuple[str, ...] | None]) -> None:
    fit = SetFit("s", separator=";", rare=1)
    fit.add(objects(rows))
    feature = SetFeature.from_json(fit.finish().to_json())
    assert feature.decode(feature.encode(objects(rows))).tolist() == rows


def test_a_set_forgets_rare_and_unseen_values_and_counts_one_value_once_a_row() -> None:
    fit = SetFit("s", separator=";", rare=2)
    fit.add(objects([("a", "a"), ("b",), ("b", "c")]))
    feature = fit.finish()
    assert feature.values == ("b",)
    assert feature.encode(objects([("new", "b"), ("a",)])).tolist() == [[1], [0]]


def test_classes_are_in_natural_order_and_come_back() -> None:
    target = TargetFeature.from_json(_target(["10", "9", "2", "9"], "category").to_json())
    assert target.classes == ("2", "9", "10")
    codes = target.encode(objects(["10", "2"]))
    assert codes.dtype == np.int64
    assert target.decode(codes).tolist() == ["10", "2"]


def test_a_number_target_is_standardised_and_comes_back() -> None:
    values = np.random.default_rng(0).normal(1e6, 10, 1000)
    target = _target(list(values), "number")
    encoded = target.encode(values)
    assert encoded.dtype == np.float32
    assert (encoded.mean(), encoded.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
    np.testing.assert_allclose(target.decode(encoded), values, atol=1e-4)


def test_a_set_target_keeps_rare_labels() -> None:
    target = _target([("a",), ("b", "a"), ()], "set")
    assert target.classes == ("a", "b")
    assert target.encode(objects([("b",), ()])).tolist() == [[0, 1], [0, 0]]
    assert target.decode(np.array([[0.9, 0.2], [0.1, 0.7]])).tolist() == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("values", "kind", "line"),
    [
        (["a", "a"], "category", "only the class 'a'"),
        ([3.0, 3.0], "number", "is 3 in all 2 training rows"),
        ([(), ()], "set", "no class"),
        (["a", None], "category", "missing or not finite in 1 of 2"),
        ([1.0, np.nan], "number", "missing or not finite in 1 of 2"),
        ([1.0, np.inf], "number", "missing or not finite in 1 of 2"),
    ],
)
def test_a_target_that_can_not_be_learnt_is_refused(values: list[object], kind: str, line: str) -> None:
    with pytest.raises(DataError, match=line):
        _target(values, kind)


def test_a_class_that_no_training_row_has_is_named_or_marked() -> None:
    target = _target(["a", "b"], "category")
    with pytest.raises(DataError, match="'z', which no training row has"):
        target.encode(objects(["a", "z"]))
    assert target.encode(objects(["a", "z"]), unseen="mark").tolist() == [0, -1]


@pytest.mark.parametrize(("values", "kind"), [(["b", "a", "b"], "category"), ([("b",), ("a", "b"), ()], "set")])
def test_classes_of_other_splits_have_a_place_and_no_training_rows(values: list[object], kind: str) -> None:
    fit = TargetFit("y", kind=kind, separator=";", generator=rng(0, "y"), known=("a", "b", "aa"))  # type: ignore[arg-type]
    fit.add(objects(values))
    target = fit.finish()
    assert (target.classes, target.counts, target.untrained) == (("a", "aa", "b"), (1, 0, 2), ("aa",))
    assert TargetFeature.from_json(target.to_json()) == target


def test_two_classes_of_which_training_rows_hold_one_can_not_be_learnt() -> None:
    fit = TargetFit("y", kind="category", separator=";", generator=rng(0, "y"), known=("a", "b"))
    fit.add(objects(["a", "a"]))
    with pytest.raises(DataError, match="only the class 'a' in 2 training rows"):
        fit.finish()
