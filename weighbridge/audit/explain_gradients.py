"""Explanations by the gradients of a network: integrated gradients (Sundararajan 2017, by Captum) and gradient times input.

Gradients need continuous inputs: numbers and pixels are, and of codes (categories, tokens) the vector that the network looks up. Such
look-ups are recorded once and then given to the network from outside, so that one path leads from the empty row to the row over all inputs
together. The empty row: mean numbers and the commonest codes of the background rows, mean colours, hidden tokens.

Shape suffixes: B batch, L tokens, D width, K category columns, N numbers, C channels or classes, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.errors import DependencyError
from weighbridge.preprocessing import Ragged
from weighbridge.runtime.parts import blank

if TYPE_CHECKING:
    from weighbridge.preprocessing import Block
    from weighbridge.runtime.explained import Explained
    from weighbridge.runtime.occlusion import Attributions

PATH_STEPS = 32  # of the integral; the completeness error says whether they suffice
FEWER_STEPS = 16  # for networks whose weights were drawn anew
AT_ONCE = 256  # rows and steps together that the network reads at a time
Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """A call of an embedding whose vectors stand for an input: the how manieth call, the block, and its column (None for all at once)."""

    call: int
    block: str
    column: int | None


class Lookups:
    """The embeddings of a network under hooks: `seen` holds codes and vectors of each call, `given` takes the place of vectors."""

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.given: dict[int, Tensor] = {}
        self.calls = 0

    def hook(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        call, self.calls = self.calls, self.calls + 1
        if call in self.given:
            return self.given[call]
        self.seen.append((inputs[0], output.detach()))
        return None

    def start(self, given: dict[int, Tensor]) -> None:
        self.seen, self.given, self.calls = [], given, 0


@contextmanager
def hooked(network: nn.Module) -> Iterator[Lookups]:
    """Give the look-ups of a network; its hooks are off afterwards."""
    found = Lookups()
    handles = [part.register_forward_hook(found.hook) for part in network.modules() if isinstance(part, nn.Embedding)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """What the two methods say of every row, and of integrated gradients (sum of attributions, what they should sum to) float64 [n]."""

    integrated: Attributions
    times_input: Attributions
    summed: np.ndarray
    wanted: np.ndarray


def gradients(network: nn.Module, rows: Explained, *, steps: int = PATH_STEPS) -> Gradients:
    """Return both explanations of the log odds of the explained class or label, or of a number in deviations of the target.

    Raises DependencyError where captum is not installed.
    """
    library = captum()
    network.eval()  # lest statistics of a batch stand in for those of training
    blocks = {block.name: block for block in rows.encoder.blocks}
    batch = _batch(rows)
    empty = _empty(rows, batch, blocks)
    with hooked(network) as lookups:
        known, inputs = _leaves(network, lookups, batch, blocks)
        _, baselines = _leaves(network, lookups, empty, blocks, like=(known, batch))
        answer = _Answer(network, lookups, batch, blocks, known, rows)
        fixed = (*batch.values(), torch.from_numpy(rows.choice), torch.from_numpy(rows.sign).float())
        by = library.attr.IntegratedGradients(answer)
        path = by.attribute(inputs, baselines, additional_forward_args=fixed, n_steps=steps, internal_batch_size=AT_ONCE)
        leaves = tuple(leaf.detach().clone().requires_grad_() for leaf in inputs)
        slopes = torch.autograd.grad(answer(*leaves, *fixed).sum(), leaves)
        with torch.no_grad():
            wanted = (answer(*inputs, *fixed) - answer(*baselines, *fixed)).double().numpy()
    times = [slope * (leaf - base) for slope, leaf, base in zip(slopes, inputs, baselines, strict=True)]
    names: list[str | Lookup] = [*_floats(blocks), *known]
    summed = sum((part.detach().double().flatten(1).sum(1) for part in path), torch.zeros(len(rows), dtype=torch.float64)).numpy()
    return Gradients(integrated=_shared(rows, names, path), times_input=_shared(rows, names, times), summed=summed, wanted=wanted)


def redrawn(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network whose weights were all drawn anew: layers as their kind starts, other parameters shuffled."""
    made = copy.deepcopy(network)
    own: set[int] = set()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in made.modules():
            start = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(start):
                start()
                own |= {id(parameter) for parameter in part.parameters(recurse=False)}
        for parameter in made.parameters():
            if id(parameter) not in own:
                parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
    return made.eval()


def captum() -> Any:
    """Return the library. Raises DependencyError with the pip line where it is not installed."""
    try:
        import captum
        import captum.attr
    except ImportError:
        raise DependencyError("explanations by gradients need captum", do="pip install 'weighbridge[audit]'") from None
    return captum


class _Answer:
    """Continuous inputs, then the blocks as they are, choice and sign -> what is explained, float [B]; Captum's forward function."""

    def __init__(
        self, network: nn.Module, lookups: Lookups, batch: Batch, blocks: dict[str, Block], known: list[Lookup], rows: Explained
    ) -> None:
        self.network, self.lookups, self.names, self.known = network, lookups, list(batch), known
        self.floats, self.kind = _floats(blocks), rows.encoder.learnt.kind

    def __call__(self, *values: Tensor) -> Tensor:
        leaves, fixed = values[: len(self.floats) + len(self.known)], values[len(self.floats) + len(self.known) :]
        choice, sign = fixed[-2], fixed[-1]
        batch = dict(zip(self.names, fixed[:-2], strict=True)) | dict(zip(self.floats, leaves, strict=False))
        self.lookups.start({one.call: leaf for one, leaf in zip(self.known, leaves[len(self.floats) :], strict=True)})
        out_BC = self.network(batch).float()
        if self.kind == "number":
            signed: Tensor = sign * out_BC[:, 0]
            return signed
        chosen: Tensor = out_BC.gather(1, choice[:, None])[:, 0]
        if self.kind == "set":
            return chosen
        others_BC = out_BC.scatter(1, choice[:, None], -torch.inf)
        odds: Tensor = chosen - others_BC.logsumexp(1)
        return odds


def _batch(rows: Explained) -> Batch:
    """Return the rows' blocks as tensors, pixels as float."""
    made = {}
    for name, values in rows.arrays.blocks.items():
        array = values[:] if isinstance(values, Ragged) else np.asarray(values)
        tensor = torch.from_numpy(np.array(array))
        made[name] = tensor.float() if tensor.dtype == torch.uint8 else tensor
    return made


def _empty(rows: Explained, batch: Batch, blocks: dict[str, Block]) -> Batch:
    """Return the row without any part beside every row."""
    made = {}
    for name, tensor in batch.items():
        block = blocks[name]
        if block.kind == "number":
            made[name] = torch.from_numpy(rows.background[name].mean(0)).to(tensor.dtype).expand_as(tensor).clone()
        elif block.kind == "category":
            usual = [int(np.bincount(column).argmax()) for column in rows.background[name].T]
            made[name] = torch.tensor(usual, dtype=tensor.dtype).expand_as(tensor).clone()
        elif block.kind == "image":
            made[name] = torch.from_numpy(blank(block)).float().expand_as(tensor).clone()
        else:
            made[name] = torch.where(tensor != 0, block.hidden, 0).to(tensor.dtype) if block.kind == "text" else tensor
    return made


def _floats(blocks: dict[str, Block]) -> list[str]:
    return [name for name, block in blocks.items() if block.kind in ("number", "image")]


def _leaves(
    network: nn.Module, lookups: Lookups, batch: Batch, blocks: dict[str, Block], like: tuple[list[Lookup], Batch] | None = None
) -> tuple[list[Lookup], tuple[Tensor, ...]]:
    """Return which look-ups stand for inputs, and the continuous inputs: float blocks, then the vectors of these look-ups.

    `like`: look-ups that are known from other codes.
    """
    lookups.start({})
    with torch.no_grad():
        network(batch)
    known = _recognised(lookups, batch, blocks) if like is None else like[0]
    return known, (*(batch[name] for name in _floats(blocks)), *(lookups.seen[one.call][1] for one in known))


def _recognised(lookups: Lookups, batch: Batch, blocks: dict[str, Block]) -> list[Lookup]:
    """Return the calls whose codes are those of an input: a column's [B], all columns' [B, K] moved by a number each, a text's [B, L]."""
    columns = [(name, place) for name, block in blocks.items() if block.kind == "category" for place in range(block.shape[0])]
    texts = [name for name, block in blocks.items() if block.kind == "text"]
    found: list[Lookup] = []
    for call, (codes, vectors) in enumerate(lookups.seen):
        if vectors.shape[0] != codes.shape[0]:
            continue
        if codes.ndim == 1:
            match = next(((name, place) for name, place in columns if torch.equal(batch[name][:, place].long(), codes.long())), None)
            if match is not None:
                columns.remove(match)
                found.append(Lookup(call=call, block=match[0], column=match[1]))
            continue
        table = next((name for name, _ in columns if _moved(batch[name], codes)), None)
        text = next((name for name in texts if _is_text(batch[name], codes)), None)
        if table is not None:
            columns = [one for one in columns if one[0] != table]
            found.append(Lookup(call=call, block=table, column=None))
        elif text is not None:
            texts.remove(text)
            found.append(Lookup(call=call, block=text, column=None))
    return found


def _moved(block_BK: Tensor, codes: Tensor) -> bool:
    """Whether codes are the block's, each column moved by a number of its own."""
    if block_BK.shape != codes.shape:
        return False
    apart = codes.long() - block_BK.long()
    return bool((apart == apart[:1]).all())


def _is_text(block_BL: Tensor, codes: Tensor) -> bool:
    """Whether codes are a text's, or one less where a pretrained tokenizer counts from 0; behind a row's end anything may stand."""
    if block_BL.shape != codes.shape:
        return False
    held, apart = block_BL != 0, block_BL.long() - codes.long()
    return bool(held.any()) and any(bool((apart[held] == shift).all()) for shift in (0, 1))


def _shared(rows: Explained, names: list[str | Lookup], parts: Any) -> Attributions:
    """Return attributions of continuous inputs, summed within each part of each row."""
    found = [np.zeros(len(layout)) for layout in rows.layouts]
    for name, part in zip(names, parts, strict=True):
        values = part.detach().double().numpy()
        block = name.block if isinstance(name, Lookup) else name
        for place, layout in enumerate(rows.layouts):
            owner = layout.owner[block]
            if isinstance(name, Lookup) and name.column is not None:
                found[place][owner[name.column]] += values[place].sum()
                continue
            entries = values[place] if values[place].ndim == owner.ndim else values[place].sum(-1)
            entries = entries[: len(owner)] if isinstance(name, Lookup) else entries  # behind a text's end
            np.add.at(found[place], owner, entries)
    return found
