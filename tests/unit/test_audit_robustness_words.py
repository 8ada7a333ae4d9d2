"""Law: no more words are swapped than are said, only for words, once a place; more swaps never do less, and the form decides."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weighbridge.audit.attack_tokens import Swapper, find_readers
from weighbridge.audit.controls_robustness_words import swapped
from weighbridge.models import build_network
from weighbridge.preprocessing import Arrays, arrays_of
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.number import NumberFit
from weighbridge.preprocessing.target import TargetFeature
from weighbridge.preprocessing.text import TextFit
from weighbridge.recipe import TrainingSection
from weighbridge.training import network_spec

RANDOM = np.random.default_rng(0)
WORDS = "good bad fine poor 好 差 ! . ,".split()
RAW = {
    "t": objects([" ".join(RANDOM.choice(WORDS, RANDOM.integers(1, 7))) for _ in range(30)]),
    "x": RANDOM.normal(size=30),
}


def encoder_of(kind: str = "word") -> Encoder:
    text = TextFit("t", tokens=kind, vocabulary=None, length=8, normalize="nfc", lowercase=True, generator=RANDOM)
    number = NumberFit("x", scale="standard", generator=RANDOM)
    text.add(RAW["t"])
    number.add(RAW["x"])
    target = TargetFeature(column="y", kind="category", classes=("no", "yes"), counts=(9, 9), rows=18)
    return Encoder(features=(text.finish(), number.finish()), target=target)


def network_of(encoder: Encoder, kind: str) -> nn.Module:
    torch.manual_seed(0)
    section = TrainingSection.model_validate({"model": {"type": kind, "size": "xs"}})
    network = build_network(network_spec(section, encoder)).eval()
    for weight in network.parameters():
        if not weight.abs().sum():
            nn.init.normal_(weight)  # the linear model begins with zeros
    return network


def rows_of(encoder: Encoder, network: nn.Module) -> tuple[Arrays, Any]:
    plain = arrays_of(encoder, RAW)

    def answer(arrays: Arrays) -> np.ndarray:
        with torch.no_grad():
            made: np.ndarray = (
                network({name: torch.from_numpy(np.array(values[:])) for name, values in arrays.blocks.items()}).softmax(1).numpy()
            )
        return made

    arrays = Arrays(blocks=plain.blocks, target=answer(plain).argmax(axis=1), stored_ids=np.arange(30).astype("S4"))
    return arrays, answer


@pytest.mark.parametrize("kind", ["mlp", "rnn", "transformer", "linear"])
def test_words_are_swapped_for_words_once_a_place_and_only_so_many(kind: str) -> None:
    encoder = encoder_of()
    network = network_of(encoder, kind)
    arrays, answer = rows_of(encoder, network)
    readers = find_readers(network, arrays, encoder)
    assert [reader.block for reader in readers] == ["text.t"]
    swapper = Swapper(network=network, arrays=arrays, readers=readers, kind="category", answer=answer, scale=lambda said: said)
    levels = swapper.hunt((1, 2, 4))
    before = arrays.blocks["text.t"][:]
    text: Any = encoder.features[0]
    words = text.words()
    for level in levels:
        after = level.arrays.blocks["text.t"][:]
        assert after.shape == before.shape, "no row becomes longer or shorter"
        changed = after != before
        assert changed.sum(axis=1).max() <= level.swaps
        assert all(any(letter.isalnum() for letter in words[code]) for code in after[changed])
        assert all(any(letter.isalnum() for letter in words[code]) for code in before[changed])
        assert np.array_equal(level.arrays.blocks["number"], arrays.blocks["number"])
        assert list(level.arrays.row_ids) == list(arrays.row_ids)
        wrong = answer(level.arrays).argmax(axis=1) != arrays.target
        assert ((level.harm > 0) == wrong).all()
    assert all((later.harm >= earlier.harm).all() for earlier, later in pairwise(levels))


def test_pieces_of_bytes_are_swapped_too() -> None:
    encoder = encoder_of("bpe")
    network = network_of(encoder, "mlp")
    arrays, answer = rows_of(encoder, network)
    readers = find_readers(network, arrays, encoder)
    swapper = Swapper(network=network, arrays=arrays, readers=readers, kind="category", answer=answer, scale=lambda said: said)
    assert (
        swapper.hunt((8,))[0].harm.max() > swapper.form_harm({"text.t": torch.from_numpy(arrays.blocks["text.t"][:])}, np.arange(30)).max()
    )


def test_a_form_that_never_answers_otherwise_is_never_broken() -> None:
    encoder = encoder_of()
    network = network_of(encoder, "mlp")
    arrays, _ = rows_of(encoder, network)
    truth = np.asarray(arrays.target)

    def stubborn(rows: Arrays) -> np.ndarray:
        return np.asarray(np.eye(2)[truth[rows.row_ids.astype(int)]])

    readers = find_readers(network, arrays, encoder)
    swapper = Swapper(network=network, arrays=arrays, readers=readers, kind="category", answer=stubborn, scale=lambda said: said)
    level = swapper.hunt((4,))[0]
    assert (level.harm <= 0).all()
    assert np.array_equal(level.arrays.blocks["text.t"][:], arrays.blocks["text.t"][:]), "what does no harm is not kept"


def test_ids_that_lie_one_lower_than_the_codes_are_found() -> None:
    """As a pretrained encoder looks its tokens up."""
    encoder = encoder_of()
    size = next(block.cardinalities[0] for block in encoder.blocks if block.kind == "text")

    class Pretrained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.places = nn.Embedding(size - 1, 4), nn.Embedding(64, 4)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            codes = batch["text.t"]
            ids = torch.where(codes != 0, codes - 1, 0).long()
            read = self.table(ids) + self.places(torch.arange(codes.shape[1]))
            out: torch.Tensor = (read * (codes != 0)[..., None]).sum(1)[:, :2]
            return out

    network = Pretrained()
    readers = find_readers(network, arrays_of(encoder, RAW), encoder)
    assert [(reader.table is network.table, reader.shift) for reader in readers] == [(True, 1)]


def test_a_network_that_looks_nothing_up_has_no_readers() -> None:
    class Counting(nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return (batch["text.t"] != 0).sum(1, keepdim=True).float().repeat(1, 2)

    encoder = encoder_of()
    assert find_readers(Counting(), arrays_of(encoder, RAW), encoder) == []


def test_what_a_sum_of_words_stands_is_found_exactly() -> None:
    falls, broken = swapped(3)
    assert (falls == broken).all()
