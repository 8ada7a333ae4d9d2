"""Law: of a pretrained encoder only what the recipe names is trained; the kept network is plain, and a resumed one is equal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.pretrained_sources import image_source, recipe_of, text_source
from weighbridge import data, preprocessing, training
from weighbridge.errors import RecipeError, Stopped
from weighbridge.models.pretrained import TextReader, encoder_of
from weighbridge.models.registry import DIAL, NetworkSpec, build_network, count_parameters
from weighbridge.models.tuning import rate_scales
from weighbridge.preprocessing import Block
from weighbridge.recipe import parse_recipe
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.storage.tensors import load_tensors
from weighbridge.training.features import features, keeps_features
from weighbridge.training.optimizers import make_optimizer

pytest.importorskip("transformers")
BLOCKS = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and rows that are split and encoded with its tokenizer."""
    folder = tmp_path_factory.mktemp("pretrained")
    recipe = parse_recipe(recipe_of(folder, text_source(folder / "source")))
    data.prepare(recipe.data, seed=3, folder=folder / "data", command="x")
    preprocessing.prepare(recipe.preprocessing, data=data.open_data(folder / "data"), folder=folder / "arrays", command="x")
    return folder


def course(place: Path, folder: Path, *, optimizer: dict[str, Any] | None = None, **model: Any) -> training.Course:
    values = recipe_of(place, place / "source", **model)
    values["training"]["optimizer"] = optimizer or {"type": "adamw", "lr": 1e-3}
    return training.Course(
        section=parse_recipe(values).training, seed=3, folder=folder,
        encoder=preprocessing.Encoder.from_json(read_json(place / "arrays" / "encoder.json")),
        train=preprocessing.open_arrays(place / "arrays" / "train"), validation=preprocessing.open_arrays(place / "arrays" / "validation"),
    )  # fmt: skip


def train(one: training.Course, progress: Any = silent, stop: StopRequest | None = None) -> dict[str, torch.Tensor]:
    """Return the weights that are kept."""
    one.folder.mkdir(exist_ok=True)
    training.prepare(one, command="x", progress=progress, stop=StopRequest() if stop is None else stop)
    return load_tensors(one.folder / "model.safetensors")[0]


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert set(before) == set(after)
    return {name for name in before if not torch.equal(before[name], after[name])}


MUST_STAY = {
    "frozen": lambda name: ".encoder." in name,
    "last": lambda name: ".encoder." in name and ".layer.2." not in name,
    "lora": lambda name: ".encoder." in name and not (".layer." in name and name.endswith(".weight") and "LayerNorm" not in name),
    "all": lambda name: False,
}


@pytest.mark.slow
@pytest.mark.parametrize("tune", MUST_STAY)
def test_what_is_not_tuned_keeps_every_bit_and_the_rest_moves(place: Path, tmp_path: Path, tune: str) -> None:
    one = course(place, tmp_path / "run", tune=tune, blocks=1)
    torch.manual_seed(0)
    plain = training.Course.first_network(course(place, tmp_path, tune="all")).state_dict()
    moved = changed(plain, train(one))
    stays = {name for name in plain if MUST_STAY[tune](name)}
    assert not moved & stays
    still = ("position", "token_type", "missing_D")  # no row lacks its text, so nothing teaches what stands for a missing one
    assert {name for name in set(plain) - stays if not any(part in name for part in still)} <= moved | {
        name for name in plain if "word_embeddings" in name
    }
    assert any(name.startswith("head.") for name in moved)
    kept = read_json(tmp_path / "run" / "model.json")
    assert kept["parameters"] < kept["all_parameters"] or tune == "all"


def test_a_network_from_scratch_has_the_form_of_the_source_and_none_of_its_weights(place: Path, tmp_path: Path) -> None:
    first = course(place, tmp_path, tune="scratch").first_network().state_dict()
    source = course(place, tmp_path, tune="all").first_network().state_dict()
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in source.items()}
    matrices = {name for name, value in first.items() if ".encoder." in name and value.ndim == 2}
    assert matrices <= changed(first, source)


class StopAt:
    """A listener that asks for a stop when training has come to a step."""

    def __init__(self, step: int) -> None:
        self.request, self.step = StopRequest(), step

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "training" and done >= self.step:
            self.request.signal = signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["frozen", "lora", "last"])
def test_a_stopped_training_ends_with_the_same_bits(place: Path, tmp_path: Path, tune: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    whole = train(course(place, tmp_path / "whole", tune=tune, blocks=1))
    parts = course(place, tmp_path / "parts", tune=tune, blocks=1)
    for step in (2, 9):
        listener = StopAt(step)
        with pytest.raises(Stopped):
            train(parts, progress=listener, stop=listener.request)
    assert changed(whole, train(parts)) == set()


def test_features_kept_once_are_what_the_network_would_compute_at_each_epoch(place: Path, tmp_path: Path) -> None:
    one = course(place, tmp_path, tune="frozen")
    network = one.first_network().eval()
    made = features(network.reader("text.review"), one.train, "text.review", torch.device("cpu"), silent, StopRequest())  # type: ignore[operator]
    with torch.inference_mode():
        read = network({name: torch.from_numpy(np.array(values[:])) for name, values in one.train.blocks.items()})
        kept = network({"number": torch.from_numpy(np.array(one.train.blocks["number"])), "text.review": torch.from_numpy(made)})
    torch.testing.assert_close(read, kept, atol=1e-5, rtol=1e-4)
    assert keeps_features(one)
    assert not keeps_features(course(place, tmp_path, tune="last"))


def test_a_frozen_encoder_drops_nothing_while_its_head_trains(place: Path, tmp_path: Path) -> None:
    network = course(place, tmp_path, tune="frozen").first_network().train()
    assert network.training
    assert not any(part.training for part in encoder_of(network).modules())
    assert encoder_of(course(place, tmp_path, tune="all").first_network().train()).training


def test_rates_fall_from_block_to_block_and_the_head_has_the_whole(place: Path, tmp_path: Path) -> None:
    one = course(place, tmp_path, tune="all", optimizer={"type": "adamw", "layer_decay": 0.5})
    network = one.first_network()
    scales = rate_scales(network, 0.5)
    named = {name: scales.get(id(parameter), 1.0) for name, parameter in network.named_parameters()}
    assert {scale for name, scale in named.items() if name.startswith("head.")} == {1.0}
    for block in range(BLOCKS):
        assert {scale for name, scale in named.items() if f".layer.{block}." in name} == {0.5 ** (BLOCKS - block)}
    assert {scale for name, scale in named.items() if ".embeddings." in name} == {0.5 ** (BLOCKS + 1)}
    groups = make_optimizer(one.section, network, 1e-3).param_groups
    assert sum(parameter.numel() for group in groups for parameter in group["params"]) == count_parameters(network)
    assert {group["lr"] for group in groups} == {1e-3 * scale for scale in set(named.values())}


def test_more_blocks_than_there_are_is_said_before_training(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="blocks: 4, but the encoder has 3 blocks"):
        course(place, tmp_path, tune="last", blocks=4).first_network()


@pytest.mark.slow
def test_lora_leaves_the_plain_network_that_answers_as_the_trained_one(place: Path, tmp_path: Path) -> None:
    one = course(place, tmp_path / "run", tune="lora", lora_rank=4)
    kept = train(one)
    assert not any("lora" in name for name in kept)
    trained = one.first_network()
    trained.load_state_dict(load_tensors(one.folder / "best.safetensors")[0])
    merged = training.forward_all(training.load_network(one.folder), one.validation)
    np.testing.assert_allclose(merged, training.forward_all(trained, one.validation), atol=1e-5)


def reader_of(place: Path, tmp_path: Path, **model: Any) -> TextReader:
    reader = course(place, tmp_path, **model).first_network().eval().reader("text.review")  # type: ignore[operator]
    assert isinstance(reader, TextReader)
    return reader


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_text_is_read_alike_in_any_padding_and_nothing_is_zeros(place: Path, tmp_path: Path, pooling: str) -> None:
    reader = reader_of(place, tmp_path, pooling=pooling)
    codes = torch.tensor([[4, 70, 61, 5, 0, 0], [0] * 6], dtype=torch.int32)
    with torch.inference_mode():
        together, alone, wide = reader(codes), reader(codes[:1, :4]), reader(torch.nn.functional.pad(codes, (0, 9)))
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(wide, together, atol=1e-5, rtol=1e-4)
    assert not together[1].any()


def test_the_reader_says_what_transformers_says_of_the_same_text(place: Path, tmp_path: Path) -> None:
    import transformers

    one = course(place, tmp_path)
    text = next(feature for feature in one.encoder.features if feature.column == "review")
    codes = torch.from_numpy(text.encode(np.array(["the film was good", "dull"], dtype=object)))
    tokenizer = transformers.BertTokenizerFast(vocab=str(place / "source" / "vocab.txt"))
    encoder = transformers.AutoModel.from_pretrained(place / "source").eval()
    given = tokenizer(["the film was good", "dull"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        x_BLD = encoder(**given).last_hidden_state
        held = given["attention_mask"].unsqueeze(-1)
        torch.testing.assert_close(reader_of(place, tmp_path)(codes), (x_BLD * held).sum(1) / held.sum(1), atol=1e-5, rtol=1e-4)


def spec_of(folder: Path, blocks: tuple[Block, ...], **model: Any) -> NetworkSpec:
    from weighbridge.models.pretrained import describe_source
    from weighbridge.preprocessing import open_source

    options = parse_recipe(recipe_of(folder.parent, folder, **model)).training.model
    known = describe_source(open_source(str(folder)), options)
    return NetworkSpec(type="pretrained", blocks=blocks, outputs=2, sizes=DIAL["xs"], pretrained=known)


def text_block(name: str) -> Block:
    return Block(name=f"text.{name}", kind="text", shape=(24,), dtype="int32", columns=(name,), cardinalities=(77,))


def test_two_columns_of_text_share_one_encoder_and_one_set_of_tensors(tmp_path: Path) -> None:
    spec = spec_of(text_source(tmp_path / "source"), (text_block("title"), text_block("body")))
    assert NetworkSpec.from_json(spec.to_json()) == spec
    network = build_network(spec)
    assert sum("word_embeddings" in name for name in network.state_dict()) == 1
    codes = torch.tensor([[4, 70, 5]], dtype=torch.int32)
    title, body = (network.eval().reader(f"text.{name}")(codes) for name in ("title", "body"))  # type: ignore[operator]
    assert torch.equal(title, body)


def image_block(side: int = 16, channels: int = 3) -> Block:
    return Block(
        name="image.photo", kind="image", shape=(side, side, channels), dtype="uint8", columns=("photo",),
        mean=(0.1,) * channels, std=(0.9,) * channels,
    )  # fmt: skip


def test_an_image_encoder_normalises_with_its_own_numbers_and_enlarges_small_pictures(tmp_path: Path) -> None:
    import transformers

    source = image_source(tmp_path / "vit")
    torch.manual_seed(0)
    network = build_network(spec_of(source, (image_block(), text_block("review")))).eval()
    reader = network.reader("image.photo")  # type: ignore[operator]
    encoder = transformers.AutoModel.from_pretrained(source, add_pooling_layer=False).eval()
    encoder_of(network).load_state_dict(encoder.state_dict())
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    pixels = (image.float() / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.25, 0.3])
    with torch.inference_mode():
        wanted = encoder(pixel_values=pixels.permute(0, 3, 1, 2)).last_hidden_state.mean(1)
        torch.testing.assert_close(reader(image), wanted, atol=1e-5, rtol=1e-4)
        grey = build_network(spec_of(source, (image_block(8, 1),))).eval().reader("image.photo")  # type: ignore[operator]
        assert grey(image[:, :8, :8, :1]).shape == (2, 32)


def test_a_source_without_a_column_of_its_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="reads images, and the data has none"):
        build_network(spec_of(image_source(tmp_path / "vit"), (text_block("review"),)))


@pytest.mark.slow
def test_what_libraries_say_on_import_is_not_shown() -> None:
    config = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    program = f"from weighbridge.models.pretrained import build_encoder; build_encoder({config!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout + done.stderr == ""
