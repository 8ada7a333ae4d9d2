"""Law: a source that can not be used is refused in one line before anything is trained, and nothing that lies in it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.pretrained_sources import image_source, recipe_of, text_source, vocabulary
from weighbridge.errors import RecipeError
from weighbridge.preprocessing import open_source
from weighbridge.preprocessing.text import FIRST_ID, TextFit
from weighbridge.recipe import parse_recipe

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_source(tmp_path_factory.mktemp("sources") / "whole")


def copy(whole: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for file in whole.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lost_part(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))


HURTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickles only": (only_pickles, r"pytorch_model.bin only; such a file can run code.*save_pretrained"),
    "code of its own": (lambda folder: config(folder, auto_map={"AutoModel": "modeling.Evil"}), "auto_map"),
    "code further in": (lambda folder: config(folder, inner=[{"auto_map": {}}]), "auto_map"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "a broken config": (lambda folder: (folder / "config.json").write_text("{"), "config.json of .* can not be read"),
    "a config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    "parts outside": (lost_part, "lacks the weights"),
    "no tokenizer": (lambda folder: (folder / "vocab.txt").unlink(), "neither tokenizer.json nor vocab.txt"),
    "a broken tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "can not be read"),
    "words of another kind": (lambda folder: (folder / "vocab.txt").write_text("a\nb\n"), r"lacks \[UNK\]"),
    "a tokenizer with too many ids": (lambda folder: config(folder, vocab_size=20), "does not fit its model: it gives ids up to 75"),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter"),
    "an encoder with a decoder": (lambda folder: config(folder, is_encoder_decoder=True), "more than one encoder"),
}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_bad_folder_is_refused_in_one_line(whole: Path, tmp_path: Path, hurt: str) -> None:
    folder = copy(whole, tmp_path)
    assert open_source(str(folder)).kind == "text"
    change, line = HURTS[hurt]
    change(folder)
    with pytest.raises(RecipeError, match=line) as refused:
        open_source(str(folder))
    assert refused.value.do
    assert "\n" not in str(refused.value)


def test_weights_that_do_not_fit_the_config_are_refused(whole: Path, tmp_path: Path) -> None:
    from weighbridge.models.pretrained import build_encoder, read_weights

    for changes in ({"num_hidden_layers": 5}, {"hidden_size": 48}):
        place = tmp_path / next(iter(changes))
        place.mkdir()
        folder = copy(whole, place)
        config(folder, **changes)
        source = open_source(str(folder))
        with pytest.raises(RecipeError, match="do not fit its config"):
            read_weights(build_encoder(source.config), source)


def test_a_model_that_transformers_does_not_know_is_refused(whole: Path) -> None:
    from weighbridge.models.pretrained import build_encoder

    with pytest.raises(RecipeError, match="knows no model of type 'surprise'"):
        build_encoder({**open_source(str(whole)).config, "model_type": "surprise"})


@pytest.mark.parametrize(("name", "line"), [("missing folder/x y", "there is no folder"), ("./nowhere", "there is no folder")])
def test_a_source_that_is_not_there_is_said(name: str, line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        open_source(name)


def test_a_hub_model_says_so_where_the_hub_can_not_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match="the hub does not give it"):
        open_source("nobody/nothing-of-this-name")


def test_an_image_encoder_without_its_numbers_is_refused(tmp_path: Path) -> None:
    folder = image_source(tmp_path / "vit")
    found = open_source(str(folder))
    assert found.image is not None
    assert (found.image.size, found.image.mean) == ((16, 16), (0.4, 0.5, 0.6))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(RecipeError, match="no preprocessor_config"):
        open_source(str(folder))


def test_a_change_of_any_file_that_is_used_is_another_source(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    before = open_source(str(folder))
    assert before.licence == "cc0-1.0"
    (folder / "notes.txt").write_text("nothing that is used")
    assert open_source(str(folder)).sha256 == before.sha256
    (folder / "vocab.txt").write_text("\n".join([*vocabulary()[:-1], "other"]) + "\n")
    assert open_source(str(folder)).sha256 != before.sha256
    assert open_source(str(folder)).weights_sha256 == before.weights_sha256


def fit(source: Path, texts: list[str | None], length: int | None = None) -> TextFit:
    known = open_source(str(source))
    made = TextFit(
        "review", tokens="auto", vocabulary=300, length=length, normalize="nfkc", lowercase=True, generator=np.random.default_rng(0),
        pretrained=known.tokenizer, longest=known.longest,
    )  # fmt: skip
    made.add(np.array(texts, dtype=object))
    return made


def test_ids_are_kept_one_higher_with_the_models_own_tokens_around_and_no_text_can_spell_one(whole: Path) -> None:
    feature = fit(whole, ["a good film", None, "", " ", "good [SEP] film [PAD]", "zzz 9"]).finish()
    words = {word: place + FIRST_ID for place, word in enumerate(vocabulary())}
    codes = feature.encode(np.array(["a Good film", None, "", " ", "good [SEP]", "film 9"], dtype=object))
    assert codes[0].tolist()[:5] == [words["[CLS]"], words["a"], words["good"], words["film"], words["[SEP]"]]
    assert not codes[1:4].any()
    assert codes[4].tolist().count(words["[SEP]"]) == 1, "the last one; the text's own is letters"
    assert words["[UNK]"] in codes[5].tolist()
    assert feature.vocabulary == len(vocabulary()) + FIRST_ID
    assert feature.hidden == words["[MASK]"]
    assert feature.decode(codes).tolist()[:2] == ["a good film", None]
    assert type(feature).from_json(feature.to_json()) == feature


def test_a_length_that_the_model_has_no_places_for_is_refused(whole: Path) -> None:
    assert fit(whole, ["good " * 200]).finish().length == 48
    with pytest.raises(RecipeError, match="length: 64 is more than the 48 tokens"):
        fit(whole, ["good"], length=64).finish()
    with pytest.raises(RecipeError, match="leaves no room"):
        fit(whole, ["good"], length=2).finish()


def test_places_that_begin_behind_the_padding_id_are_counted(tmp_path: Path) -> None:
    assert open_source(str(text_source(tmp_path / "roberta", "roberta"))).longest == 48


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"preprocessing": {"pretrained": "other"}}, "preprocessing.pretrained: other and training.model.source"),
        ({"training": {"model": {"type": "pretrained"}}}, "needs training.model.source"),
        ({"training": {"model": {"type": "mlp", "source": "x"}}}, "training.model.source and training.model.type: mlp contradict"),
        ({"training": {"optimizer": {"layer_decay": 0.9}}}, "training.optimizer.layer_decay and training.model.type: auto contradict"),
        ({"training": {}, "preprocessing": {"text": {"tokens": "pretrained"}}}, "preprocessing.text.tokens: pretrained needs"),
    ],
)
def test_a_recipe_that_contradicts_itself_names_both_keys(tmp_path: Path, changes: dict[str, object], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        parse_recipe(recipe_of(tmp_path, tmp_path / "source") | changes)


def test_the_resolved_recipe_names_the_source_in_both_places(tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_of(tmp_path, tmp_path / "source"))
    assert recipe.preprocessing.pretrained == recipe.training.model.source == str(tmp_path / "source")
    assert parse_recipe(recipe.model_dump()) == recipe
