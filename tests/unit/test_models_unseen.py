"""Law: a value that no training row has is answered alike for every seed: its code adds nothing that chance put there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weighbridge.models.layers import Embeddings
from weighbridge.models.transformer import CategoryTokens
from weighbridge.preprocessing import TargetFeature
from weighbridge.recipe import TrainingSection
from weighbridge.training.losses import class_weights, make_loss

CPU = torch.device("cpu")
SIZES = (5, 3, 40)


@pytest.mark.parametrize("code", [0, 1])
def test_the_vectors_of_rare_and_missing_values_start_at_zero_and_others_do_not(code: int) -> None:
    table = Embeddings(SIZES)
    assert not table(torch.full((2, 3), code)).any()
    assert (table(torch.full((1, 3), 2)) != 0).all()


@pytest.mark.parametrize("code", [0, 1])
def test_the_token_of_an_unseen_value_is_its_columns_own_bias(code: int) -> None:
    tokens = CategoryTokens(SIZES, 16)
    found = tokens(torch.full((2, 3), code))
    assert torch.equal(found, tokens.bias_KD.expand(2, -1, -1))
    assert not torch.equal(tokens(torch.full((2, 3), 2)), found)


def test_training_on_other_values_does_not_move_the_vector_of_an_unseen_one() -> None:
    torch.manual_seed(0)
    table = Embeddings(SIZES)
    optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        table(torch.tensor([[2, 2, 7], [3, 2, 9]])).square().sum().backward()
        optimizer.step()
    assert not table(torch.zeros(1, 3, dtype=torch.int64)).any()


def test_balanced_weights_have_mean_one_over_rows_and_leave_a_class_without_rows_alone() -> None:
    section = TrainingSection.model_validate({"class_weights": "balanced"})
    counts = np.array([60, 0, 20])
    weights = class_weights(section, ("a", "b", "c"), counts, CPU)
    assert weights is not None
    assert (weights.numpy() * counts).sum() / counts.sum() == pytest.approx(1)
    assert weights.tolist() == pytest.approx([2 / 3, 1.0, 2.0])


def test_label_smoothing_pulls_no_harder_towards_a_class_without_rows() -> None:
    section = TrainingSection.model_validate({"class_weights": "balanced", "label_smoothing": 0.1})
    target = TargetFeature(kind="category", column="y", classes=("a", "b", "c"), counts=(600, 0, 200), rows=800)
    loss = make_loss(section, target, np.array(target.counts), CPU)
    out = torch.zeros(4, 3, requires_grad=True)
    loss(out, torch.tensor([0, 0, 0, 2])).backward()
    assert out.grad is not None
    assert (out.grad[:, 1] > 0).all()  # the step goes down
    only_untrained = loss(torch.zeros(1, 3), torch.tensor([1]))  # a last batch of validation rows
    assert torch.isfinite(only_untrained)
