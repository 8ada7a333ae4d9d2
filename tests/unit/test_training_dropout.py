"""The quick dropout is dropout: the share hidden, the mean kept, the gradient by the same mask, attention as torch's own without it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from weighbridge.training.dropout import QuickDropout, attention_weights

ELEMENTS = 200_000


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_hidden_and_the_mean_is_kept(p: float) -> None:
    with QuickDropout():
        out = functional.dropout(torch.ones(ELEMENTS), p)
    hidden = float((out == 0).float().mean())
    assert abs(hidden - p) < 5 * math.sqrt(p * (1 - p) / ELEMENTS)
    assert set(out.unique().tolist()) == {0.0, out.max().item()}
    assert out.max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if p == 0.01 else 1e-3)


def test_neighbours_are_hidden_independently() -> None:
    """Four elements share one draw of 64 bits: each pair of places within it is hidden together as often as chance says."""
    quick = QuickDropout()
    kept = (quick.thin(torch.ones(ELEMENTS), 0.3) != 0).numpy().reshape(-1, 4).astype(float)
    apart = np.corrcoef(kept, rowvar=False)[np.triu_indices(4, 1)]
    assert np.abs(apart).max() < 5 / math.sqrt(len(kept))
    assert abs(np.corrcoef(kept[:-1, 3], kept[1:, 0])[0, 1]) < 5 / math.sqrt(len(kept))


def test_the_gradient_goes_where_the_value_went() -> None:
    x = torch.randn(50, 40, requires_grad=True)
    with QuickDropout():
        out = nn.Dropout(0.25).train()(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
    assert torch.allclose(out, x * x.grad)


def test_equal_seeds_hide_the_same_and_others_do_not() -> None:
    found = []
    for seed in (7, 7, 8):
        quick = QuickDropout()
        quick.seed(seed)
        with quick:
            found.append(functional.dropout(torch.ones(1000), 0.5))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_what_is_evaluated_or_done_in_place_is_left_to_torch() -> None:
    x = torch.randn(8)
    with QuickDropout():
        assert torch.equal(functional.dropout(x, 0.5, training=False), x)
        assert torch.equal(nn.Dropout(0.5).eval()(x), x)
        same = functional.dropout(x, 0.5, inplace=True)
    assert same.data_ptr() == x.data_ptr()


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 3), heads=st.integers(1, 3), length=st.integers(1, 9), wide=st.booleans(), seed=st.integers(0, 99))
def test_attention_weighs_as_torch_does(rows: int, heads: int, length: int, wide: bool, seed: int) -> None:
    torch.manual_seed(seed)
    query, key, value = (torch.randn(rows, heads, length, 4) for _ in range(3))
    mask = torch.rand(rows, 1, length if wide else 1, length) < 0.6
    mask[..., 0] = True
    expected = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(attention_weights(query / 2, key, mask) @ value, expected, atol=1e-5)
    added = torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    assert torch.allclose(attention_weights(query / 2, key, added) @ value, expected, atol=1e-5)


def test_attention_with_dropout_has_the_mean_of_attention_without() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 4) for _ in range(3))
    expected = functional.scaled_dot_product_attention(query, key, value)
    with QuickDropout():
        many = functional.scaled_dot_product_attention(*(part.repeat(20_000, 1, 1, 1) for part in (query, key, value)), dropout_p=0.3)
    assert (many.mean(0) - expected[0]).abs().max() < 0.05
    assert many.std(0).min() > 0.05  # something was hidden


def test_a_row_whose_places_are_all_hidden_gives_numbers() -> None:
    x = torch.randn(1, 1, 3, 4)
    with QuickDropout():
        out = functional.scaled_dot_product_attention(x, x, x, attn_mask=torch.zeros(1, 1, 3, 3, dtype=torch.bool), dropout_p=0.1)
    assert torch.isfinite(out).all()


def test_both_halves_of_precision_are_thinned() -> None:
    x = torch.ones(ELEMENTS, dtype=torch.bfloat16, requires_grad=True)
    with QuickDropout():
        out = functional.dropout(x, 0.1)
    assert out.dtype == torch.bfloat16
    assert abs(float((out == 0).float().mean()) - 0.1) < 0.01
