"""Law: a pretrained encoder goes the whole way: one recipe to a proven package that needs neither torch nor transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.pretrained_sources import image_source, recipe_of, text_source
from weighbridge import lifecycle
from weighbridge.errors import RecipeError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import parse_recipe
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pretrained BERT tuned by LoRA."""
    folder = tmp_path_factory.mktemp("journey")
    recipe = parse_recipe(recipe_of(folder, text_source(folder / "source"), tune="lora"))
    lifecycle.run(recipe, folder / "run")
    return folder


def test_the_package_holds_and_says_where_its_encoder_came_from(finished: Path) -> None:
    findings = read_findings(finished / "run" / "findings.jsonl")
    parity, source, share = (by_key(findings, key) for key in
                             ("deployment.parity", "training.pretrained.source", "training.pretrained.share"))  # fmt: skip
    assert parity is not None
    assert source is not None
    assert share is not None
    assert parity.verdict != "limitation"
    assert source.value == str(finished / "source")
    assert "cc0-1.0" in str(source.reason)
    assert 0 < float(share.value or 0) < 1
    assert (finished / "run" / "card.md").exists()


ANSWER = """
import json, sys
import weighbridge
model = weighbridge.load(sys.argv[1])
rows = [{"review": "the film was good 3", "stars": 1.0}, {"review": "", "stars": None}, {"review": "dull " * 60, "stars": -1.0}]
found = model.predict(rows).probabilities.tolist()
print(json.dumps({"found": found, "loaded": sorted({"torch", "transformers", "peft"} & set(sys.modules))}))
"""


def test_it_answers_without_torch_transformers_and_its_source(finished: Path, tmp_path: Path) -> None:
    package = shutil.copytree(finished / "run" / "deployment" / "package", tmp_path / "package")
    done = subprocess.run([sys.executable, "-c", ANSWER, str(package)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["loaded"] == []
    assert np.isfinite(said["found"]).all()
    assert np.array(said["found"]).shape == (3, 2)


def test_a_changed_source_is_trained_on_again_and_an_equal_one_is_not(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    shutil.copytree(finished / "source", tmp_path / "source")
    values = recipe_of(finished, tmp_path / "source", tune="lora")
    lifecycle.run(parse_recipe(values), tmp_path / "run", until="training")
    before = read_json(tmp_path / "run" / "training" / "model.json")["sha256"]
    mark = (tmp_path / "run" / "training" / "stage.json").read_bytes()
    lifecycle.run(parse_recipe(values), tmp_path / "run", until="training")
    assert (tmp_path / "run" / "training" / "stage.json").read_bytes() == mark
    text_source(tmp_path / "source", seed=1)
    lifecycle.run(parse_recipe(values), tmp_path / "run", until="training")
    assert read_json(tmp_path / "run" / "training" / "model.json")["sha256"] != before


def pictures(folder: Path, count: int = 90) -> Path:
    """`folder` holds two class folders of small grey pictures, bright above or bright below."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        side = number % 2
        pixels = random.integers(0, 120, (10, 10), dtype=np.uint8)
        pixels[5 * side : 5 * side + 5] += 120
        place = folder / ("up", "down")[side]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_pictures_are_read_by_an_image_encoder_whatever_their_size(tmp_path: Path) -> None:
    values = recipe_of(tmp_path, image_source(tmp_path / "vit"), tune="last", blocks=1)
    values["data"] = {"source": str(pictures(tmp_path / "pictures")), "split": {"method": "stratified"}}
    values["training"] |= {"epochs": 12, "batch_size": 8, "optimizer": {"type": "adamw", "lr": 0.003}}
    findings = lifecycle.run(parse_recipe(values), tmp_path / "run")
    accuracy, parity = by_key(findings, "evaluation.accuracy"), by_key(findings, "deployment.parity")
    assert accuracy is not None
    assert float(accuracy.value or 0) > 0.8
    assert parity is not None
    assert parity.verdict != "limitation"


def test_words_of_another_tokenizer_are_refused_before_training(tmp_path: Path) -> None:
    values = recipe_of(tmp_path, text_source(tmp_path / "source"))
    values["preprocessing"] = {"text": {"tokens": "word"}}
    with pytest.raises(RecipeError, match=r"preprocessing\.text\.tokens is word"):
        lifecycle.run(parse_recipe(values), tmp_path / "run", until="training")


def test_a_network_from_scratch_may_use_a_pretrained_tokenizer(tmp_path: Path) -> None:
    values = recipe_of(tmp_path, text_source(tmp_path / "source"))
    values["preprocessing"] = {"pretrained": str(tmp_path / "source")}
    values["training"] |= {"model": {"type": "transformer", "size": "xs"}, "augment": {"token_dropout": 0.2}}
    findings = lifecycle.run(parse_recipe(values), tmp_path / "run", until="training")
    tokens = by_key(findings, "preprocessing.text")
    assert tokens is not None
    assert str(tokens.reason) == "the vocabulary is the pretrained model's own"
