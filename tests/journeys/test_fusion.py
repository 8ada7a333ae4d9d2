"""Law: one recipe with an image, a text and numbers goes the whole way; what a row lacks is masked, in the network and in the package."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import weighbridge
from weighbridge import lifecycle, preprocessing, training
from weighbridge.findings import by_key, read_findings
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.ragged import ragged
from weighbridge.recipe import parse_recipe
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
KINDS, WORDS = ("round", "square", "flat"), ("wheel", "box", "plate")


def write_table(folder: Path, rows: int = 360) -> Path:
    """Write rows of three kinds: picture, words and numbers all tell the kind, mostly; a tenth of the pictures and texts is missing."""
    random = np.random.default_rng(0)
    lines: list[list[Any]] = []
    for row in range(rows):
        kind = int(random.integers(3))
        shown = kind if random.random() < 0.9 else int(random.integers(3))
        pixels = random.integers(0, 80, (8, 8, 3), dtype=np.uint8)
        pixels[:, :, shown] += 150
        picture = folder / f"{row}.png"
        Image.fromarray(pixels).save(picture)
        said = kind if random.random() < 0.8 else int(random.integers(3))
        text = f"a {WORDS[said]} number {row} of {random.integers(10)}"
        hidden = random.random(2) < 0.1
        numbers = [kind + float(random.normal()), float(random.normal()), float(random.normal())]
        lines.append(["" if hidden[0] else picture, "" if hidden[1] else text, *numbers, KINDS[kind]])
    path = folder / "things.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["photo", "words", "a", "b", "c", "kind"], *lines])
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion")
    recipe = parse_recipe(
        {
            "data": {
                "source": str(write_table(folder)),
                "target": "kind",
                "columns": {"words": "text", "photo": "image"},
                "allow": ["near_duplicates"],
            },
            "training": {"model": {"type": "cnn", "size": "xs"}, "epochs": 12, "augment": {"modality_dropout": 0.1}},
            "evaluation": {"baselines": ["trivial", "linear"], "slices": False},
        }
    )
    lifecycle.run(recipe, folder / "run")
    return folder


def test_the_report_says_what_each_input_is_worth(finished: Path) -> None:
    findings = read_findings(finished / "run" / "findings.jsonl")
    worths = {name: by_key(findings, f"evaluation.worth.{name}") for name in ("image.photo", "text.words", "table")}
    for found in worths.values():
        assert found is not None
        assert found.interval is not None
        assert found.interval[0] <= float(found.value or 0) <= found.interval[1]
    photo = worths["image.photo"]
    assert photo is not None
    assert photo.verdict == "advantage"
    parity = by_key(findings, "deployment.parity")
    assert parity is not None
    assert parity.verdict != "limitation"


def test_a_row_that_lacks_inputs_gets_the_networks_answer_from_the_package(finished: Path) -> None:
    run, photo = finished / "run", str(finished / "0.png")
    packaged = weighbridge.load(run / "deployment" / "package")
    whole = {"photo": photo, "words": "a wheel number 3 of 4", "a": 0.1, "b": 0.2, "c": 0.3}
    rows = [whole, whole | {"photo": None}, whole | {"words": None}, whole | {"words": ""}, whole | {"photo": None, "words": None}]
    rows.append({name: None for name in whole})
    found = packaged.predict(rows).probabilities
    assert found is not None
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[2], found[3], atol=1e-6, err_msg="an empty text is a missing one")
    assert np.abs(found[0] - found[1]).max() > 1e-3, "the picture counts where it is there"

    encoder = preprocessing.Encoder.from_json(read_json(run / "preprocessing" / "encoder.json"))
    columns = {name: objects([row[name] for row in rows]) for name in ("photo", "words")}
    columns |= {name: np.array([row[name] if row[name] is not None else np.nan for row in rows], dtype=float) for name in "abc"}
    network = training.Deployable(training.load_network(run / "training"), encoder.learnt)
    arrays = preprocessing.Arrays(
        blocks={name: ragged(part) if name.startswith("text.") else part for name, part in encoder.encode(columns).items()},
        target=None, stored_ids=np.arange(len(rows)).astype("S2"),
    )  # fmt: skip
    np.testing.assert_allclose(training.forward_all(network, arrays), found, atol=1e-5)
