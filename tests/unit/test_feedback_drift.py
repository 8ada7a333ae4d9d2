"""Law: ranks are uniform while nothing has changed, a state does not depend on how rows came, and what moved is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from weighbridge.errors import StorageError
from weighbridge.evaluation.predictions import Array
from weighbridge.feedback.drift import BETS, Drift, plain_bets, uniforms
from weighbridge.feedback.streams import Stream, answer_traits, streams_of
from weighbridge.runtime.contract import ColumnSketch, Contract, Frequencies, Histogram, Measured, Price
from weighbridge.runtime.histograms import histogram


def numbers(count: int, random: np.random.Generator) -> tuple[Stream, ...]:
    made = [histogram(random.normal(size=2000), random.normal(size=600)) for _ in range(count)]
    return tuple(Stream(column=f"c{place}", trait="value", counts=one.counts, edges=one.edges) for place, one in enumerate(made))


def bins(streams: tuple[Stream, ...], values: Array) -> Array:
    return np.stack([one.places(values[:, place]) for place, one in enumerate(streams)], axis=1)


def test_any_pieces_and_json_between_them_give_the_same_state() -> None:
    random = np.random.default_rng(0)
    streams = numbers(3, random)
    values = random.normal(size=(400, 3))
    values[random.random((400, 3)) < 0.1] = np.nan
    rows = bins(streams, values)
    whole, pieces = Drift.start(streams, seed=1).add(rows), Drift.start(streams, seed=1)
    for piece in np.split(rows, [1, 2, 128, 129, 300]):
        pieces = Drift.from_json(json.loads(json.dumps(pieces.add(piece).to_json())), streams)
    for name in ("seen", "ranks", "totals", "log_tables", "peak", "since"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name
    assert whole.rows == pieces.rows == 400


def test_ranks_are_uniform_and_independent_of_those_before() -> None:
    random, found = np.random.default_rng(1), []
    for seed in range(60):
        streams = numbers(1, random)
        found.append(Drift.start(streams, seed=seed)._ranks(bins(streams, random.normal(size=(100, 1))))[0][:, 0])
    ranks = np.array(found)
    assert abs(ranks.mean() - 0.5) < 4 * np.sqrt(1 / 12 / ranks.size)
    assert abs(ranks.var() - 1 / 12) < 0.005
    assert abs(np.corrcoef(ranks[:, :-1].ravel(), ranks[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(ranks.size)


def test_plain_bets_are_densities() -> None:
    even = (np.arange(10_000) + 0.5) / 10_000
    densities = plain_bets(even[:, None])[:, 0]
    assert densities.min() >= 0
    assert np.allclose(densities.mean(axis=0), 1, atol=1e-6)
    assert densities.shape[1] < BETS


def test_chance_is_even_and_depends_on_stream_and_row_only() -> None:
    keys = np.array([1, 2], dtype=np.uint64)
    drawn = uniforms(keys, np.arange(5000))
    assert np.array_equal(drawn[100:], uniforms(keys, np.arange(100, 5000)))
    assert abs(drawn.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.06


def test_the_column_that_moved_is_named_and_no_other() -> None:
    random = np.random.default_rng(2)
    streams = numbers(4, random)
    values = random.normal(size=(1500, 4))
    values[700:, 2] += 1.5
    watch = Drift.start(streams, seed=3).add(bins(streams, values))
    assert watch.alarm
    (moved,) = watch.moved()
    assert (moved.column, moved.traits) == ("c2", ("value",))
    assert moved.since is not None
    assert 700 < moved.since < 850
    assert Drift.start(streams, seed=3).add(bins(streams, values[:700])).moved() == []


def test_a_state_of_another_contract_is_refused() -> None:
    random = np.random.default_rng(3)
    kept = Drift.start(numbers(2, random), seed=0).to_json()
    with pytest.raises(StorageError, match="another contract"):
        Drift.from_json(kept, numbers(3, random))


def test_no_streams_and_no_rows_are_no_error() -> None:
    assert Drift.start((), seed=0).add(np.zeros((5, 0), dtype=np.int64)).rows == 5
    streams = numbers(1, np.random.default_rng(4))
    assert not Drift.start(streams, seed=0).add(np.full((50, 1), -1)).alarm


def test_a_contract_gives_a_stream_for_each_trait_each_label_what_is_missing_and_the_answers() -> None:
    one = Measured(value=0.9, interval=(0.8, 0.95), n=100)
    inputs = (
        ColumnSketch(name="x", type="number", rows=100, missing=5, traits={"value": Histogram(edges=(0.0, 1.0), counts=(40, 30, 25))}),
        ColumnSketch(name="tags", type="set", rows=100, missing=0, values=Frequencies(counts={"hot": 30, "dry": 80}, other=6)),
        ColumnSketch(name="k", type="category", rows=100, missing=0, values=Frequencies(counts={"a": 60, "b": 40})),
        ColumnSketch(name="one", type="number", rows=100, missing=0, traits={"value": Histogram(counts=(100,))}),
    )
    contract = Contract(
        kind="category", classes=("no", "yes"), model_sha256="1", recipe_sha256="2", data_sha256="3", headline="accuracy",
        metrics={"accuracy": one}, predicted=Frequencies(counts={"no": 70, "yes": 30}), true=Frequencies(counts={"no": 70, "yes": 30}),
        output=Histogram(edges=(0.7,), counts=(40, 60)), inputs=inputs, price=Price(latency_s=one, rows_per_s=one, first_answer_s=one),
    )  # fmt: skip
    streams = {(stream.column, stream.trait): stream for stream in streams_of(contract)}
    assert set(streams) == {
        ("x", "value"), ("x", "missing"), ("tags", "values hot"), ("tags", "values dry"), ("tags", "missing"), ("k", "values"),
        ("k", "missing"), ("one", "missing"), ("", "answer"), ("", "answered"),
    }  # fmt: skip
    assert streams["tags", "values hot"].counts == (70, 30)
    assert streams["k", "values"].places(np.array(["b", "zebra", None, "a"], dtype=object)).tolist() == [1, 2, -1, 0]
    assert streams["x", "value"].places(np.array([-1.0, 0.5, np.nan, 9.0])).tolist() == [0, 1, -1, 2]
    told = answer_traits("category", ("no", "yes"), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert told["", "answered"].tolist() == ["no", "yes"]
    assert told["", "answer"].tolist() == [0.9, 0.8]
