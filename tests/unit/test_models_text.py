"""Law: a network reads a text by its tokens alone: padding, other rows and what is missing change nothing; and ONNX says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from weighbridge.models.registry import DIAL, NetworkSpec, build_network
from weighbridge.models.text import masked_max, masked_mean
from weighbridge.preprocessing import Arrays, Block, Ragged
from weighbridge.preprocessing.ragged import ragged
from weighbridge.preprocessing.text import HIDDEN
from weighbridge.training.augment import hide_spans, hide_tokens
from weighbridge.training.batches import Batches, each_once

TEXT = Block(name="text.review", kind="text", shape=(40,), dtype="int32", columns=("review",), cardinalities=(50,))
NUMBER = Block(name="number", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"))
IMAGE = Block(name="image.photo", kind="image", shape=(8, 8, 3), dtype="uint8", columns=("photo",), mean=(0.5,) * 3, std=(0.2,) * 3)
NETWORKS = {
    "linear": ((TEXT, NUMBER), {}), "mlp": ((TEXT, NUMBER), {}), "transformer": ((NUMBER, IMAGE, TEXT), {}),
    "rnn": ((NUMBER, IMAGE, TEXT), {"cell": "gru"}), "cnn": ((NUMBER, IMAGE, TEXT), {}),
}  # fmt: skip


def network(kind: str, blocks: tuple[Block, ...] = (TEXT,), **more: object) -> torch.nn.Module:
    torch.manual_seed(1)
    made = build_network(NetworkSpec(type=kind, blocks=blocks, outputs=3, sizes=DIAL["s"], **more)).eval()  # type: ignore[arg-type]
    with torch.no_grad():  # what starts at zero shall matter here
        for weight in made.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        for table in (part for part in made.modules() if isinstance(part, torch.nn.Embedding) and part.padding_idx == 0):
            table.weight[0].zero_()
    return made


def rows(count: int, blocks: tuple[Block, ...], seed: int = 0) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(seed)
    codes = random.integers(1, 50, (count, 12)).astype(np.int32)
    for place, length in enumerate(random.integers(0, 13, count)):
        codes[place, length:] = 0
    made = {
        "text.review": torch.from_numpy(codes), "number": torch.from_numpy(random.normal(size=(count, 3)).astype(np.float32)),
        "image.photo": torch.from_numpy(random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)),
    }  # fmt: skip
    return {block.name: made[block.name] for block in blocks}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_row_is_answered_the_same_alone_and_in_any_padding(kind: str) -> None:
    blocks, more = NETWORKS[kind]
    made, batch = network(kind, blocks, **more), rows(9, blocks)
    with torch.inference_mode():
        together = made(batch)
        wider = made({**batch, "text.review": torch.nn.functional.pad(batch["text.review"], (0, 21))})
        torch.testing.assert_close(wider, together, atol=2e-5, rtol=1e-4)
        for place in range(9):
            length = max(1, int((batch["text.review"][place] != 0).sum()))
            one = {name: values[place : place + 1] for name, values in batch.items()}
            alone = made({**one, "text.review": one["text.review"][:, :length]})
            torch.testing.assert_close(alone, together[place : place + 1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_order_matters_to_those_that_read_it(kind: str) -> None:
    made = network(kind)
    forwards = torch.arange(1, 11, dtype=torch.int32)[None]
    with torch.inference_mode():
        assert not torch.allclose(made({"text.review": forwards}), made({"text.review": forwards.flip(1)}), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_graph_says_what_the_network_says_at_any_number_of_rows_and_any_length(kind: str, tmp_path: Path) -> None:
    import onnxruntime

    from weighbridge.export import export_onnx

    blocks, more = NETWORKS[kind]
    made = network(kind, blocks, **more)
    export_onnx(made, blocks, tmp_path / "model.onnx")  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count, extra in ((1, 0), (7, 0), (3, 60)):
        batch = rows(count, blocks, seed=count)
        batch["text.review"] = torch.nn.functional.pad(batch["text.review"], (0, extra))
        found = session.run(["output"], {name: values.numpy() for name, values in batch.items()})[0]
        with torch.inference_mode():
            np.testing.assert_allclose(found, made(batch).numpy(), atol=2e-4, rtol=1e-3)


def test_mean_and_maximum_of_no_token_are_zero() -> None:
    values, codes = torch.randn(2, 4, 3), torch.tensor([[1, 2, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(masked_mean(values, codes)[0], values[0, :2].mean(0))
    torch.testing.assert_close(masked_max(values, codes)[0], values[0, :2].amax(0))
    assert not masked_mean(values, codes)[1].any()
    assert not masked_max(values, codes)[1].any()


def arrays(count: int, seed: int = 0, longest: int = 60) -> Arrays:
    random = np.random.default_rng(seed)
    codes = random.integers(3, 50, (count, longest)).astype(np.int32)
    for place, length in enumerate(random.geometric(0.08, count)):
        codes[place, min(length, longest) :] = 0
    return Arrays(blocks={"text.review": ragged(codes)}, target=np.arange(count), stored_ids=np.arange(count).astype("S8"))


def test_batches_hold_texts_of_like_length_and_every_row_once() -> None:
    given = arrays(4096)
    batches = Batches(arrays=given, batch_size=32, seed=5, device=torch.device("cpu"))
    seen, real, padded, lengths = [], 0, 0, []
    for batch, target, numbers in batches.epoch(0):
        codes = batch["text.review"]
        np.testing.assert_array_equal(codes.numpy(), np.asarray(given.blocks["text.review"])[numbers][:, : codes.shape[1]])
        seen += target.tolist()
        real, padded = real + int((codes != 0).sum()), padded + codes.numel()
        lengths.append(codes.shape[1])
    assert sorted(seen) == list(range(4096))
    assert real / padded > 0.9, "padding is under a tenth"
    assert np.abs(np.corrcoef(np.arange(len(lengths)), lengths)[0, 1]) < 0.3, "short and long batches come mixed"
    first, again, second = (np.concatenate(list(batches.windows(epoch))).tolist() for epoch in (0, 0, 1))
    assert first == again != second


def test_rows_in_a_random_order_would_be_padded_far_more() -> None:
    given = arrays(4096)
    lengths = np.asarray(given.blocks["text.review"].lengths)  # type: ignore[union-attr]
    order = np.random.default_rng(0).permutation(4096).reshape(-1, 32)
    assert lengths.sum() / (lengths[order].max(axis=1) * 32).sum() < 0.6


def test_an_epoch_taken_up_in_the_middle_goes_on_with_the_same_batches() -> None:
    batches = Batches(arrays=arrays(500), batch_size=16, seed=1, device=torch.device("cpu"))
    whole = [numbers.tolist() for *_, numbers in batches.epoch(3)]
    assert [numbers.tolist() for *_, numbers in batches.epoch(3, start=7)] == whole[7:]


def test_every_row_is_judged_once() -> None:
    given = arrays(300)
    found = np.concatenate([numbers for _, numbers in each_once(given, torch.device("cpu"))])
    assert sorted(found.tolist()) == list(range(300))


@pytest.mark.parametrize("hide", [hide_tokens, hide_spans])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_about_the_share_asked_for_is_hidden_and_no_padding(hide: object, share: float) -> None:
    codes = torch.from_numpy(np.asarray(arrays(400).blocks["text.review"]))
    found = hide(codes, share, torch.Generator().manual_seed(0))  # type: ignore[operator]
    held = codes != 0
    assert not found[~held].any()
    assert abs(float((found[held] == HIDDEN).float().mean()) - share) < 0.02
    assert (found[held & (found != HIDDEN)] == codes[held & (found != HIDDEN)]).all()


def test_ragged_is_what_arrays_of_text_are() -> None:
    assert isinstance(arrays(3).blocks["text.review"], Ragged)


def test_the_padding_that_is_stated_is_that_of_the_batches() -> None:
    from weighbridge.training.padding import count_padding, padding_findings

    for given in (arrays(4096), arrays(300, seed=3)):
        batches = Batches(arrays=given, batch_size=32, seed=5, device=torch.device("cpu"))
        seen = [batch["text.review"] for batch, _, _ in batches.epoch(0)]
        assert count_padding(batches) == (sum(int((codes != 0).sum()) for codes in seen), sum(codes.numel() for codes in seen))
    (found,) = padding_findings(Batches(arrays=arrays(4096), batch_size=32, seed=5, device=torch.device("cpu")), "weigh train run")
    assert 0 < float(found.value or 0) < 0.1
    assert found.verdict == "neutral"
    whole = Batches(arrays=arrays(4), batch_size=4, seed=5, device=torch.device("cpu"))
    assert padding_findings(whole, "weigh train run")[0].verdict == "limitation", "four rows can not be sorted apart"
