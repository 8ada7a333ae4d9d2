"""Law: an image or a text that a row lacks is masked: what stands in its place is not read, and the other inputs answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.test_models_text import IMAGE, NUMBER, TEXT, network, rows
from weighbridge.preprocessing import Block
from weighbridge.recipe.schema import AugmentOptions
from weighbridge.training.augment import Augmenter

PRESENT = Block(name="present.photo", kind="present", shape=(1,), dtype="float32", columns=("photo",))
BLOCKS = (NUMBER, PRESENT, IMAGE, TEXT)
READERS = ("transformer", "rnn", "cnn")  # read an image by a network of its own; mlp and linear get the flag as one more input
KINDS = (*READERS, "mlp", "linear")


def some_rows(count: int, *, missing: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return rows of which the first `missing` have neither image nor text."""
    made = rows(count, (NUMBER, IMAGE, TEXT), seed)
    made["text.review"][:missing] = 0
    made["text.review"][missing:, 0] = 5
    present = torch.ones(count, 1)
    present[:missing] = 0
    return made | {"present.photo": present}


@pytest.mark.parametrize("kind", READERS)
def test_what_stands_in_the_place_of_a_missing_image_is_not_read(kind: str) -> None:
    made, batch = network(kind, BLOCKS), some_rows(6, missing=3)
    other = batch | {"image.photo": torch.randint(0, 256, batch["image.photo"].shape, dtype=torch.uint8)}
    with torch.inference_mode():
        first, second = made(batch), made(other)
    torch.testing.assert_close(first[:3], second[:3])
    assert not torch.allclose(first[3:], second[3:], atol=1e-4), "an image that is there is read"


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_image_and_text_is_answered_by_its_numbers(kind: str) -> None:
    made, batch = network(kind, BLOCKS), some_rows(6, missing=6)
    with torch.inference_mode():
        first = made(batch)
        moved = made(batch | {"number": batch["number"] + 1})
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, moved, atol=1e-4)


@pytest.mark.parametrize("kind", READERS)
def test_without_the_mask_a_stand_in_is_taken_for_an_image(kind: str) -> None:
    made, batch = network(kind, (NUMBER, IMAGE, TEXT)), some_rows(6, missing=3)
    batch.pop("present.photo")
    with torch.inference_mode():
        assert not torch.allclose(made(batch), made(batch | {"image.photo": 255 - batch["image.photo"]}), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_answers_for_the_missing_is_learned_from_rows_that_lack_it(kind: str) -> None:
    made = network(kind, BLOCKS).train()
    vectors = {name: weight for name, weight in made.named_parameters() if name.endswith("missing_D")}
    made(some_rows(6, missing=0)).sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in vectors.values())
    made(some_rows(6, missing=2)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in vectors.values())
    assert vectors or kind == "transformer"  # there the places are not attended to


def test_modality_dropout_hides_whole_inputs_as_if_they_were_missing() -> None:
    batch = some_rows(2000, missing=0)
    augment = Augmenter(AugmentOptions(modality_dropout=0.25), BLOCKS, kind="category", outputs=3)
    changed, _ = augment(batch, torch.zeros(2000, dtype=torch.int64), torch.Generator().manual_seed(0))
    without_image, without_text = changed["present.photo"][:, 0] == 0, (changed["text.review"] == 0).all(1)
    for hidden in (without_image, without_text):
        assert 0.2 < hidden.float().mean() < 0.3
    assert (changed["image.photo"][without_image] == 128).all(), "the mean colour, as the encoder writes it"
    assert torch.equal(changed["image.photo"][~without_image], batch["image.photo"][~without_image])
    assert torch.equal(changed["text.review"][~without_text], batch["text.review"][~without_text])
    assert 0.04 < (without_image & without_text).float().mean() < 0.09, "each is drawn by itself"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_says_the_same_of_rows_that_lack_inputs(kind: str, tmp_path: Path) -> None:
    import onnxruntime

    from weighbridge.export import export_onnx

    made = network(kind, BLOCKS)
    export_onnx(made, BLOCKS, tmp_path / "model.onnx")  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == {block.name for block in BLOCKS}
    for missing in (0, 2, 5):
        batch = some_rows(5, missing=missing, seed=missing)
        found = session.run(["output"], {name: values.numpy() for name, values in batch.items()})[0]
        assert np.isfinite(found).all()
        with torch.inference_mode():
            np.testing.assert_allclose(found, made(batch).numpy(), atol=2e-4, rtol=1e-3)


def test_an_image_alone_needs_no_mask_where_every_training_row_has_one() -> None:
    from tests.unit.preprocessing_tables import SECTION, schema, table
    from weighbridge.preprocessing import Encoder
    from weighbridge.preprocessing.feature import objects

    pictures = objects([np.full((4, 4), place, dtype=np.uint8) for place in range(20)])
    labels, numbers = objects(["a", "b"] * 10), np.arange(20.0)
    alone = Encoder.fit(table({"photo": pictures, "y": labels}), schema({"photo": "image", "y": "category"}, "y"), SECTION)
    assert [block.name for block in alone.blocks] == ["image.photo"]
    form = schema({"photo": "image", "n": "number", "y": "category"}, "y")
    beside = Encoder.fit(table({"photo": pictures, "n": numbers, "y": labels}), form, SECTION)
    assert [block.name for block in beside.blocks] == ["number", "present.photo", "image.photo"]
    found = beside.encode({"photo": objects([None, pictures[1]]), "n": np.arange(2.0)})
    assert found["present.photo"].tolist() == [[0.0], [1.0]]
    again = Encoder.from_json(beside.to_json())
    assert again == beside
    older = beside.to_json()
    for feature in older["features"]:
        feature.pop("masked", None)  # as a package of an earlier version has it: its graph knows no such input
    assert [block.name for block in Encoder.from_json(older).blocks] == ["number", "image.photo"]
    assert dataclasses.replace(beside.features[0], masked=False) == Encoder.from_json(older).features[0]
