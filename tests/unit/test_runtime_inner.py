"""Law: an embedding is watched along its main axes and off them, nothing of it is lost, and no single row decides where the axes lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import PackageError
from weighbridge.runtime.contract import Embedding
from weighbridge.runtime.inner import LONGEST, sketch, trait_of, watched

RANDOM = np.random.default_rng(0)
PLANE = np.linalg.qr(RANDOM.normal(size=(12, 12)))[0]


def near_the_plane(n: int) -> np.ndarray:
    return np.asarray(RANDOM.normal(size=(n, 3)) * (4, 2, 1) @ PLANE[:3] + 0.01 * RANDOM.normal(size=(n, 12)))


def made(rows: int = 1000) -> Embedding:
    found = sketch("hidden", "image", near_the_plane(rows), near_the_plane(500))
    assert found is not None
    return found


def test_the_axes_are_those_along_which_rows_spread_most() -> None:
    axes = np.array(made().axes)
    assert axes.shape == (8, 12)
    assert np.allclose(axes @ axes.T, np.eye(8), atol=1e-4)
    assert np.allclose(np.abs(axes[:3] @ PLANE[:3].T), np.eye(3), atol=0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=12, max_size=12))
def test_what_lies_along_the_axes_and_off_them_is_the_whole_distance(row: list[float]) -> None:
    embedding, vector = made(100), np.array([row])
    found = watched(embedding, vector)
    assert list(found) == [trait_of(1), trait_of(2), trait_of("rest")]
    whole = sum(float(found[trait_of(place)][0]) ** 2 for place in (1, 2)) + float(np.exp(found[trait_of("rest")][0])) ** 2
    assert whole == pytest.approx(float(((vector - np.array(embedding.mean)) ** 2).sum()), rel=1e-3, abs=1e-3)


def test_a_row_off_the_plane_is_seen_off_it_and_not_along_it() -> None:
    embedding, rows = made(), near_the_plane(50)
    before, after = watched(embedding, rows), watched(embedding, rows + 2 * PLANE[11])
    assert (after[trait_of("rest")] > before[trait_of("rest")] + 1).all()
    assert all(np.allclose(before[trait_of(place)], after[trait_of(place)], atol=0.3) for place in (1, 2, 3))


def test_each_number_has_the_counts_of_the_held_out_rows() -> None:
    assert {one.n for one in made().traits.values()} == {500}


def test_few_rows_have_few_axes_and_too_few_or_too_long_ones_have_none() -> None:
    assert len(made(149).axes) == 2
    assert sketch("hidden", "", near_the_plane(49), near_the_plane(50)) is None
    assert sketch("hidden", "", near_the_plane(500), near_the_plane(0)) is None
    assert sketch("hidden", "", np.zeros((60, LONGEST + 1)), np.zeros((60, LONGEST + 1))) is None


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(PackageError, match="speaks of 12"):
        watched(made(), np.zeros((3, 11)))
