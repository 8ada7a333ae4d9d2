"""Units of a network that stay or go together, how much each of them matters, and the tensors that are left when some of them go.

A unit is a hidden unit of a perceptron, a channel of a convolution, a hidden value of a recurrent layer, a dimension of a transformer's
tokens, a head of its attention. All the places that belong to it in all the tensors are listed once, so that no selection can leave parts
that do not fit (the groups of DepGraph, Fang 2023, written by hand for the networks that there are).

Shape suffixes: U units, P places of one unit along a dimension, N values of one unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Role = Literal["in", "out", "along"]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Member:
    """The places of each unit in one tensor.

    Attributes:
        tensor: its name in the network's state.
        dim: the dimension that the units lie along.
        places_UP: int64, the places of each unit along it.
        role: `in` writes the unit's value, `out` reads it, `along` goes with it and says nothing of how much it matters.
    """

    tensor: str
    dim: int
    places_UP: Tensor
    role: Role


@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of which `keep` stay, each with its places in every member."""

    name: str
    keep: int
    members: tuple[Member, ...]

    @property
    def count(self) -> int:
        return len(self.members[0].places_UP)


Importance = Callable[[Units, Tensors, Tensors], Tensor]  # units, values, gradients -> float [U]: the higher, the more a unit matters


def magnitude(units: Units, values: Tensors, gradients: Tensors) -> Tensor:
    """Return float [U]: the length (L2) of the weights that write a unit's value times that of those that read it (Li 2017).

    A unit that nothing writes or nothing reads is worth 0. Where batch normalisation follows a convolution, its scale and shift are what
    writes: the size of the kernel before it says nothing (Liu 2017).
    """
    return (_squares(units, values, "in") * _squares(units, values, "out")).sqrt()


def taylor(units: Units, values: Tensors, gradients: Tensors) -> Tensor:
    """Return float [U]: the length (L2) of weight x gradient over the weights that write or read a unit: how much the answers change, to
    first order, when it is left out (Molchanov 2019).

    Raises ValueError when the network has no gradients (hold_gradients).
    """
    known = [one for one in units.members if one.role != "along" and one.tensor in gradients]
    if not known:
        raise ValueError(f"{units.name}: how much its units matter is read from gradients, and the network has none")
    changes = [values_of(values[one.tensor] * gradients[one.tensor], one).square().sum(1) for one in known]
    return torch.stack(changes).sum(0).sqrt()


IMPORTANCES: dict[str, Importance] = {"magnitude": magnitude, "taylor": taylor}


def chosen(units: Units, importance: Importance, values: Tensors, gradients: Tensors) -> Tensor:
    """Return bool [U]: the units that stay, those that matter most; of equal ones the first."""
    scores_U = importance(units, values, gradients)
    kept_U = torch.zeros(units.count, dtype=torch.bool)
    kept_U[scores_U.cpu().argsort(descending=True, stable=True)[: units.keep]] = True
    return kept_U


def left(values: Tensors, selections: Iterable[tuple[Units, Tensor]]) -> dict[str, Tensor]:
    """Return copies of all tensors without the places of the units that go; what stays keeps its order."""
    stay: dict[tuple[str, int], Tensor] = {}
    for units, kept_U in selections:
        for member in units.members:
            whole = torch.ones(values[member.tensor].shape[member.dim], dtype=torch.bool)
            stay.setdefault((member.tensor, member.dim), whole)[member.places_UP[~kept_U].flatten()] = False
    found = {name: value.detach().clone() for name, value in values.items()}
    for (name, dim), mask in stay.items():
        found[name] = found[name].index_select(dim, mask.nonzero().squeeze(1).to(found[name].device))
    return found


def values_of(tensor: Tensor, member: Member) -> Tensor:
    """Return float [U, N]: what the tensor holds at each unit's places."""
    return tensor.movedim(member.dim, 0)[member.places_UP].flatten(1)


def stays(count: int, keep: float, step: int = 1) -> int:
    """Return how many of `count` stay: the multiple of `step` nearest to the share `keep`, at least one step."""
    return step * max(1, int(keep * count / step + 0.5))


def one_each(count: int, start: int = 0) -> Tensor:
    """Return int64 [U, 1]: each unit has one place, the first unit `start`."""
    return torch.arange(start, start + count).unsqueeze(1)


def repeated(places_UP: Tensor, offsets: Iterable[int]) -> Tensor:
    """Return int64 [U, offsets times P]: the places of each unit behind each of the offsets."""
    return torch.cat([places_UP + offset for offset in offsets], dim=1)


def member(tensor: str, dim: int, places_UP: Tensor, role: Role) -> Member:
    """Return the places in a tensor."""
    return Member(tensor=tensor, dim=dim, places_UP=places_UP, role=role)


def written(layer: str, places_UP: Tensor, tensors: Iterable[str] = ("weight", "bias"), role: Role = "in") -> list[Member]:
    """Return the rows of a layer's tensors: what writes the units."""
    return [member(f"{layer}.{tensor}", 0, places_UP, role) for tensor in tensors]


def read(layer: str, places_UP: Tensor) -> Member:
    """Return the columns of a layer's weight: what reads the units."""
    return member(f"{layer}.weight", 1, places_UP, "out")


def _squares(units: Units, values: Tensors, role: Role) -> Tensor:
    sums = [values_of(values[one.tensor], one).square().sum(1) for one in units.members if one.role == role]
    return torch.stack(sums).sum(0)
