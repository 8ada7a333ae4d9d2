"""Law: a smaller network is a selection of the larger one's weights: what goes without loss is left out without any change of the answers,
what stays keeps its bits and its place, and what it becomes is a network like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.unit.shrunk_networks import (
    FORMS,
    IMAGE,
    NUMBER,
    OF_EACH_KIND,
    SMALL,
    TEXT,
    Lots,
    answers,
    kill,
    large,
    precise,
    rebuilt,
    rows,
    spec_of,
)
from weighbridge.errors import RecipeError
from weighbridge.models import NetworkSpec, Sizes, build_network, count_all, count_parameters
from weighbridge.models.shrink import IMPORTANCES, drop_layers, hold_gradients, magnitude, shrink
from weighbridge.models.shrink_units import left
from weighbridge.models.transformer import HEAD_WIDTH, Layer


@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("form", FORMS)
def test_without_its_dead_units_a_network_answers_exactly_as_before(form: str, importance: str) -> None:
    network, spec = large(form)
    lots = Lots()
    shrink(network, spec, keep=0.6, importance=lots)
    kill(network, lots.kept)
    batch = rows(spec.blocks)
    hold_gradients(network, [batch, rows(spec.blocks, 200, seed=1)], seed=0)  # so many that every living unit says something
    smaller, tensors = shrink(network, spec, keep=0.6, importance=IMPORTANCES[importance])
    small = rebuilt(smaller, tensors)
    torch.testing.assert_close(answers(small, batch), answers(network, batch), atol=1e-6, rtol=1e-6)
    assert count_all(small) < count_all(network)
    assert answers(network, batch).std(0).min() > 1e-3, "the answers depend on the rows"


@pytest.mark.parametrize("form", FORMS)
def test_without_living_units_it_answers_differently(form: str) -> None:
    network, spec = large(form)
    batch = rows(spec.blocks)
    smaller, tensors = shrink(network, spec, keep=0.6, importance=magnitude)
    assert (answers(rebuilt(smaller, tensors), batch) - answers(network, batch)).abs().max() > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_what_stays_keeps_its_bits_and_its_order_and_a_selection_of_all_is_the_network(form: str) -> None:
    network, spec = large(form)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lots = Lots()
    shrink(network, spec, keep=0.6, importance=lots)
    whole = left(network.state_dict(), [(units, torch.ones_like(stay)) for units, stay in lots.kept])
    assert all(torch.equal(whole[name], before[name]) and whole[name].data_ptr() != before[name].data_ptr() for name in before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "the larger network stays as it is"
    numbered = {name: torch.arange(value.numel()).view(value.shape) for name, value in before.items()}
    for numbers in left(numbered, lots.kept).values():
        assert (numbers.flatten().diff() > 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_small_network_is_said_by_its_spec_alone(form: str) -> None:
    network, spec = large(form)
    smaller, tensors = shrink(network, spec, keep=0.6, importance=magnitude)
    again = NetworkSpec.from_json(json.loads(json.dumps(smaller.to_json())))
    assert again == smaller
    built = build_network(again)
    assert {name: tuple(value.shape) for name, value in built.state_dict().items()} == {
        name: tuple(value.shape) for name, value in tensors.items()
    }
    twice, tensors = shrink(rebuilt(smaller, tensors), smaller, keep=0.6, importance=magnitude)
    assert count_all(rebuilt(twice, tensors)) < count_all(built) < count_all(network)


def silence(part: nn.Module, kept: Tensor, dim: int = 1) -> None:
    """What the part gives is zero in the units that are not kept."""

    def silent(module: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        return out * kept.view([-1 if place == dim else 1 for place in range(out.ndim)])

    part.register_forward_hook(silent)


def test_leaving_hidden_units_out_is_silencing_them() -> None:
    network, spec = large("mlp")
    lots = Lots()
    smaller, tensors = shrink(network, spec, keep=0.5, importance=lots)
    for units, kept in lots.kept:
        name, place = units.name.split(".")
        silence(network.get_submodule(f"{name}.{int(place) + 1}"), kept)
    batch = rows(spec.blocks)
    torch.testing.assert_close(answers(rebuilt(smaller, tensors), batch), answers(network, batch))


@pytest.mark.parametrize("form", ["cnn", "cnn residual"])
def test_leaving_channels_out_is_silencing_them_within_a_stage_and_behind_its_skip(form: str) -> None:
    network, spec = large(form)
    lots = Lots()
    smaller, tensors = shrink(network, spec, keep=0.5, importance=lots)
    for units, kept in lots.kept:
        stage, place = units.name.split(".body.")
        inside = network.get_submodule(f"{stage}.body.{int(place) + 1}")
        silence(inside if place == "0" else network.get_submodule(stage), kept)
    batch = rows(spec.blocks)
    torch.testing.assert_close(answers(rebuilt(smaller, tensors), batch), answers(network, batch))


def test_leaving_perceptron_units_out_is_silencing_them() -> None:
    network, spec = large("transformer mixture")
    lots = Lots()
    smaller, tensors = shrink(network, spec, keep=0.9, importance=lots)
    assert smaller.sizes.width == spec.sizes.width
    for units, kept in lots.kept:
        if units.name.endswith("perceptron"):
            silence(network.get_submodule(f"{units.name}.1"), kept, dim=2)
    batch = rows(spec.blocks)
    torch.testing.assert_close(answers(rebuilt(smaller, tensors), batch), answers(network, batch))


def test_the_places_of_a_smaller_table_are_the_sines_and_cosines_of_the_rates_that_stay() -> None:
    network, spec = large("transformer text")
    lots = Lots(3)
    smaller, tensors = shrink(network, spec, keep=0.6, importance=lots)
    units, kept = lots.kept[0]
    assert units.name == "tokens"
    assert not kept[: units.keep].all(), "not simply the first rates"
    pairs = torch.cat([kept, kept])
    codes = rows(spec.blocks)["text.review"]
    with torch.inference_mode():
        small, whole = rebuilt(smaller, tensors).tokens[0](codes), network.tokens[0](codes)  # type: ignore[index, operator]
    torch.testing.assert_close(small, whole[:, :, pairs])
    fresh = build_network(smaller).double().tokens[0].rate_D  # type: ignore[index, union-attr]
    assert not torch.allclose(tensors["tokens.0.rate_D"], fresh), "what a new network of that width has would be wrong"


def test_a_norm_gives_what_stays_at_the_size_that_it_had() -> None:
    network, spec = large("transformer")
    lots = Lots()
    shrink(network, spec, keep=0.6, importance=lots)
    kill(network, lots.kept)
    _, tensors = shrink(network, spec, keep=0.6, importance=magnitude)
    scale = (48 / 32) ** 0.5
    kept = lots.kept[0][1]
    torch.testing.assert_close(tensors["norm.weight"], scale * network.state_dict()["norm.weight"][kept])
    smaller, plain = shrink(network, spec, keep=0.6, importance=magnitude)
    batch = rows(spec.blocks)
    plain = {name: value / scale if name.endswith("norm.weight") else value for name, value in plain.items()}
    assert (answers(rebuilt(smaller, plain), batch) - answers(network, batch)).abs().max() > 1e-2, "the weights alone would not do"


def test_of_the_sizes_the_share_stays() -> None:
    assert shrink(*large("mlp"), keep=0.5, importance=magnitude)[0].sizes.hidden == (7, 5)
    assert shrink(*large("cnn"), keep=0.5, importance=magnitude)[0].sizes.channels == (3, 5)
    assert shrink(*large("cnn"), keep=0.01, importance=magnitude)[0].sizes.channels == (1, 1)
    smaller = shrink(*large("lstm vectors"), keep=0.4, importance=magnitude)[0]
    assert (smaller.sizes.width, smaller.vectors) == (3, 3)
    smaller = shrink(*large("transformer"), keep=0.3, importance=magnitude)[0]
    assert (smaller.sizes.width, smaller.perceptron) == (HEAD_WIDTH, 29)
    smaller = shrink(*large("transformer"), keep=0.9, importance=magnitude)[0]
    assert (smaller.sizes.width, smaller.perceptron) == (48, 86), "widths are whole heads; the perceptron gives what it can"


def test_parameters_fall_with_the_square_of_the_share_between_layers() -> None:
    spec = NetworkSpec(type="mlp", blocks=(NUMBER,), outputs=2, sizes=Sizes(hidden=(40, 60), channels=(), width=8, depth=1))
    smaller, tensors = shrink(build_network(spec), spec, keep=0.5, importance=magnitude)
    assert sum(value.numel() for value in tensors.values()) == (3 + 1) * 20 + (20 + 1) * 30 + (30 + 1) * 2
    spec = NetworkSpec(type="rnn", blocks=(TEXT,), outputs=2, sizes=SMALL, depth_given=1)
    smaller, _ = shrink(build_network(spec), spec, keep=0.5, importance=magnitude)
    width = 2 * 4
    cells = 2 * (4 * width * (2 * width) + 2 * 4 * width)
    assert count_parameters(build_network(smaller)) == 50 * width + cells + 4 * width + (4 * width + 1) * 2


def test_a_network_that_was_kept_before_there_was_a_perceptron_width_is_read_as_it_was() -> None:
    spec = spec_of("transformer")
    value = json.loads(json.dumps(spec.to_json()))
    del value["perceptron"]
    older = NetworkSpec.from_json(value)
    assert older == spec
    assert build_network(older).state_dict()["layers.0.perceptron.0.weight"].shape == (96, 48)


@pytest.mark.parametrize("keep", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(keep: float) -> None:
    with pytest.raises(RecipeError, match="no share"):
        shrink(*large("mlp"), keep=keep, importance=magnitude)


def test_a_network_without_units_that_could_go_is_refused_by_name() -> None:
    spec = NetworkSpec(type="linear", blocks=(NUMBER, IMAGE), outputs=2, sizes=SMALL)
    with pytest.raises(RecipeError, match="a linear model has no units"):
        shrink(build_network(spec), spec, keep=0.5, importance=magnitude)
    bare = NetworkSpec(type="cnn", blocks=(IMAGE,), outputs=2, sizes=Sizes(hidden=(), channels=(1, 1), width=8, depth=1))
    with pytest.raises(RecipeError, match="at the sizes that it has"):
        shrink(build_network(bare), bare, keep=0.5, importance=magnitude)
    bare = NetworkSpec(type="mlp", blocks=(NUMBER,), outputs=2, sizes=Sizes(hidden=(), channels=(), width=8, depth=1))
    with pytest.raises(RecipeError, match="at the sizes that it has"):
        shrink(build_network(bare), bare, keep=0.5, importance=magnitude)
    with pytest.raises(RecipeError, match="at the sizes that it has"):
        shrink(*large("cnn"), keep=0.99, importance=magnitude)


def test_a_plugin_is_refused_by_name_whatever_it_is_made_of() -> None:
    for network in (nn.Linear(3, 2), large("cnn mixture")[0]):
        with pytest.raises(RecipeError, match="'own'"):
            shrink(network, NetworkSpec(type="own", blocks=(NUMBER,), outputs=2, sizes=SMALL), keep=0.5, importance=magnitude)


def test_a_pretrained_encoder_is_refused_by_its_source(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.unit.pretrained_sources import text_source
    from weighbridge.models.pretrained import describe_source
    from weighbridge.preprocessing import open_source
    from weighbridge.recipe.schema import ModelOptions

    folder = text_source(tmp_path / "source")
    options = ModelOptions(type="pretrained", source=str(folder))
    known = describe_source(open_source(str(folder)), options)
    spec = NetworkSpec(type="pretrained", blocks=(TEXT, NUMBER), outputs=2, sizes=SMALL, pretrained=known)
    with pytest.raises(RecipeError, match="one width"):
        shrink(build_network(spec), spec, keep=0.5, importance=magnitude)


@pytest.mark.parametrize("form", ["transformer mixture", "lstm deep", "gru mixture", "lstm one way"])
def test_layers_that_are_left_out_are_passed_by(form: str) -> None:
    network, spec = large(form)
    batch = rows(spec.blocks)
    smaller, tensors = drop_layers(network, spec, [0])
    assert NetworkSpec.from_json(json.loads(json.dumps(smaller.to_json()))) == smaller
    small = rebuilt(smaller, tensors)
    lists = [part for part in network.modules() if isinstance(part, nn.ModuleList) and len(part)]
    lists = [part for part in lists if isinstance(part[0], Layer | nn.RNNBase)]
    assert lists
    assert (answers(small, batch) - answers(network, batch)).abs().max() > 1e-3
    for part in lists:
        del part[1:]
    torch.testing.assert_close(answers(small, batch), answers(network, batch))


def test_a_block_that_adds_nothing_can_be_dropped_from_the_middle() -> None:
    torch.manual_seed(0)
    sizes = Sizes(hidden=(), channels=(), width=32, depth=4)
    spec = NetworkSpec(type="transformer", blocks=(NUMBER, TEXT), outputs=3, sizes=sizes, depth_given=4)
    network = precise(build_network(spec))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.startswith(("layers.1.project", "layers.1.perceptron.3")):
                value.zero_()
    smaller, tensors = drop_layers(network, spec, [0, 2, 3])
    assert (smaller.sizes.depth, smaller.depth_given) == (3, 3)
    batch = rows(spec.blocks)
    torch.testing.assert_close(answers(rebuilt(smaller, tensors), batch), answers(network, batch))


@pytest.mark.parametrize("layers", [[], [0, 1], [1, 0], [0, 0], [2], [-1], [0, 5]])
def test_layers_that_can_not_be_what_is_left_are_refused(layers: list[int]) -> None:
    with pytest.raises(RecipeError, match="can not be what is left of 2"):
        drop_layers(*large("transformer"), layers)


def test_a_network_without_layers_to_drop_is_refused() -> None:
    with pytest.raises(RecipeError, match="can not be what is left of 2"):
        drop_layers(*large("lstm deep"), [1])
    for form in ("mlp", "cnn mixture"):
        with pytest.raises(RecipeError, match="only transformers and recurrent networks"):
            drop_layers(*large(form), [0])


@pytest.mark.slow
@pytest.mark.parametrize("form", OF_EACH_KIND)
def test_the_graph_of_the_small_network_is_smaller_and_says_what_the_network_says(form: str, tmp_path: Path) -> None:
    import onnxruntime

    from weighbridge.export import export_onnx

    torch.manual_seed(0)
    spec = spec_of(form)
    network = build_network(spec).eval()
    smaller, tensors = shrink(network, spec, keep=0.5, importance=magnitude)
    small = build_network(smaller).eval()
    small.load_state_dict(tensors)
    for name, one in (("large", network), ("small", small)):
        export_onnx(one, spec.blocks, tmp_path / name)  # type: ignore[arg-type]
    assert (tmp_path / "small").stat().st_size < (tmp_path / "large").stat().st_size
    session = onnxruntime.InferenceSession(str(tmp_path / "small"), providers=["CPUExecutionProvider"])
    batch = {name: values.float() if values.is_floating_point() else values for name, values in rows(spec.blocks).items()}
    found = session.run(["output"], {name: values.numpy() for name, values in batch.items()})[0]
    np.testing.assert_allclose(found, answers(small, batch).numpy(), atol=2e-5, rtol=1e-3)
