"""Law: what a network can see, its baselines can see: of aligned strings, which token stands at which place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.preprocessing_tables import SECTION, schema, table
from weighbridge.models.baseline_inputs import fit_inputs
from weighbridge.models.baselines import fit_baseline
from weighbridge.preprocessing import Arrays, Encoder, open_arrays, write_arrays
from weighbridge.preprocessing.feature import objects

LENGTH, TRAIN = 20, 600


def encoded(folder: Path, *, shifted: bool) -> tuple[Encoder, Arrays]:
    """900 strings of letters by lot, the class follows from the eighth letter alone; shifted: up to 8 letters stand before all."""
    random = np.random.default_rng(0)
    rows = ["".join(random.choice(list("ACGT"), LENGTH)) for _ in range(900)]
    classes = ["yes" if row[7] in "AC" else "no" for row in rows]
    if shifted:
        rows = ["".join(random.choice(list("ACGT"), int(random.integers(9)))) + row for row in rows]
    data = table({"strand": objects(rows), "y": objects(classes)})
    encoder = Encoder.fit(data, schema({"strand": "text", "y": "category"}, "y"), SECTION)
    write_arrays(folder, data, encoder)
    return encoder, open_arrays(folder)


def part(arrays: Arrays, rows: slice) -> Arrays:
    return arrays.copied(np.arange(len(arrays))[rows])


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_the_letter_at_a_place_is_seen_where_strings_are_aligned(tmp_path: Path, name: str) -> None:
    right = []
    for shifted in (False, True):
        encoder, arrays = encoded(tmp_path / str(shifted), shifted=shifted)
        fitted = fit_baseline(name, encoder, part(arrays, slice(0, TRAIN)), part(arrays, slice(TRAIN, 750)), seed=0)
        held_out = part(arrays, slice(750, None))
        right.append(float((fitted.predict(held_out).argmax(axis=1) == held_out.target).mean()))
    assert right[0] > 0.97, "the eighth letter decides"
    assert right[1] < 0.75, "without a place it can not be found"


def test_places_are_those_of_the_rows_asked_for_and_only_of_aligned_strings(tmp_path: Path) -> None:
    encoder, arrays = encoded(tmp_path / "aligned", shifted=False)
    inputs = fit_inputs(encoder, arrays, np.arange(TRAIN), seed=0)
    terms, texts = inputs.texts["text.strand"], arrays.blocks["text.strand"]
    assert terms.places == LENGTH
    np.testing.assert_array_equal(terms.aligned(texts.subset(np.array([5, 2]))), np.stack([texts[5], texts[2]]))
    assert inputs.boosting(arrays, np.arange(3)).shape[1] == len(inputs.categorical())
    assert sum(inputs.categorical()) == LENGTH
    encoder, arrays = encoded(tmp_path / "shifted", shifted=True)
    assert fit_inputs(encoder, arrays, np.arange(TRAIN), seed=0).texts["text.strand"].places == 0
