"""Networks of known habits for the controls of explanations by gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


class Column(nn.Module):
    """Reads numbers with these weights."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, batch: Batch) -> Tensor:
        odds = batch["number"] @ self.weights
        return torch.stack([-odds, odds], dim=1)


class Pixels(nn.Module):
    """Reads pictures with these weights, then bends the sum where `hidden` says so."""

    def __init__(self, weights: Tensor, hidden: nn.Module | None = None) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.hidden = hidden

    def forward(self, batch: Batch) -> Tensor:
        pixels = batch["image.picture"].float().flatten(1) / 255 - 0.5
        if self.hidden is not None:
            out: Tensor = self.hidden(pixels)
            return out
        odds = pixels @ self.weights
        return torch.stack([-odds, odds], dim=1)


class Words(nn.Module):
    """Sums one number a word."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(weights.shape[0], weights.shape[1], _weight=weights.clone())

    def forward(self, batch: Batch) -> Tensor:
        odds = self.table(batch["text.text"]).sum((1, 2))
        return torch.stack([-odds, odds], dim=1)


class Steep(nn.Module):
    """Two layers that are nearly steps."""

    def __init__(self, count: int) -> None:
        super().__init__()
        first = nn.Linear(count, 16)
        with torch.no_grad():
            first.weight.mul_(20)
        self.layers = nn.Sequential(first, nn.Tanh(), nn.Linear(16, 2))

    def forward(self, batch: Batch) -> Tensor:
        out: Tensor = self.layers(batch["number"])
        return out


def column(place: int, count: int) -> nn.Module:
    """Return a network that reads one of `count` columns."""
    return Column(3.0 * (torch.arange(count) == place)).eval()


def nothing(count: int) -> nn.Module:
    """Return a network that reads none."""
    return Column(torch.zeros(count)).eval()


def square(down: int, across: int) -> nn.Module:
    """Return a network that reads one square of 2 x 2 of 16 x 16 pixels."""
    weights = torch.zeros(16, 16)
    weights[2 * down : 2 * down + 2, 2 * across : 2 * across + 2] = 3.0
    return Pixels(weights.flatten()).eval()


def word(code: int, vocabulary: int) -> nn.Module:
    """Return a network that reads one word."""
    return Words(4.0 * (torch.arange(vocabulary) == code).float()[:, None].expand(-1, 3)).eval()


def whole(seed: int) -> nn.Module:
    """Return a small network that reads the whole picture, with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Pixels(torch.zeros(1), nn.Sequential(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 2))).eval()


def steep(count: int, seed: int) -> nn.Module:
    """Return a network of numbers on which few steps of a path are too few."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Steep(count).eval()
