"""An attack on texts: one token after the other is swapped for the one that the gradient says does the most harm (HotFlip, Ebrahimi 2018).

Of every place and every token of the vocabulary the gradient foretells what a swap would cost; the CANDIDATES that promise most are tried
on the network, the worst is kept, and the form that is packaged says whether the row is broken. What comes out is a row of real tokens,
which any form can read. It may say something else than before: nothing here knows whether the truth has changed with the word.

Shape suffixes: B rows, L tokens of the longest, D width, V vocabulary, K candidates, C outputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from weighbridge.audit.attack_cascade import Answer, form_harm
from weighbridge.audit.attacks import HARM, LOSSES
from weighbridge.preprocessing.ragged import ragged
from weighbridge.preprocessing.text import FIRST_ID, HIDDEN
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

CANDIDATES = 8
MOST_SCORES = 5_000_000  # of places and tokens, scored at once
_SPECIAL = re.compile(r"[\[<].*[\]>]")


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """The rows after so many swaps: as the form reads them, and what it costs it."""

    swaps: int
    arrays: Arrays
    harm: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Where a network looks the tokens of a text block up: its table, and how much lower its rows lie than the codes."""

    block: str
    table: nn.Embedding
    shift: int
    may_V: Tensor  # bool, codes that a swap may write or take out


@dataclass(frozen=True, kw_only=True)
class Swapper:
    """Attacks rows with texts; `readers` may be fewer than the text blocks."""

    network: nn.Module
    arrays: Arrays
    readers: Sequence[Reader]
    kind: str
    answer: Answer
    scale: Any
    progress: Progress = silent

    def hunt(self, levels: Sequence[int]) -> list[Swapped]:
        """Return the rows after each number of swaps, rising; of each row the swaps that did the form the most harm are kept."""
        for weight in self.network.parameters():
            weight.requires_grad_(False)
        rows = np.arange(len(self.arrays))
        codes = {name: torch.from_numpy(np.array(values[:])) for name, values in self._texts(self.arrays).items()}
        first = {name: values.clone() for name, values in codes.items()}
        kept = {name: values.clone() for name, values in codes.items()}
        harm, made = self.form_harm(codes, rows), list[Swapped]()
        for swap in range(1, max(levels) + 1):
            self.progress("swap words", swap - 1, max(levels))
            going = rows if self.kind != "category" else np.flatnonzero(harm <= 0)
            if len(going):
                self._swap(codes, first, going)
                found = self.form_harm({name: values[going] for name, values in codes.items()}, going)
                better = going[found > harm[going]]
                harm[going] = np.maximum(harm[going], found)
                for name in codes:
                    kept[name][better] = codes[name][better]
            if swap in levels:
                made.append(Swapped(swaps=swap, arrays=self._with(kept, rows), harm=harm.copy()))
        self.progress("swap words", max(levels), max(levels))
        return made

    def form_harm(self, codes: dict[str, Tensor], rows: np.ndarray) -> np.ndarray:
        """Return what the form's answers to these rows cost it, [B]."""
        arrays = self._with(codes, rows)
        return form_harm(self.answer(arrays), np.asarray(arrays.target), self.kind, self.scale)

    def _texts(self, arrays: Arrays) -> dict[str, Any]:
        return {reader.block: arrays.blocks[reader.block] for reader in self.readers}

    def _with(self, codes: dict[str, Tensor], rows: np.ndarray) -> Arrays:
        part = self.arrays.subset(rows)
        return replace(part, blocks={**part.blocks, **{name: ragged(values.numpy()) for name, values in codes.items()}})

    def _swap(self, codes: dict[str, Tensor], first: dict[str, Tensor], rows: np.ndarray) -> None:
        """One more token of each of these rows is another, where there is one to swap; a token is swapped once."""
        widest = sum(codes[reader.block].shape[1] * len(reader.may_V) for reader in self.readers)
        size = max(1, MOST_SCORES // widest)
        for at in range(0, len(rows), size):
            part = rows[at : at + size]
            here = {name: values[part] for name, values in codes.items()}
            block_BK, place_BK, token_BK, promised_BK = self._candidates(here, {name: values[part] for name, values in first.items()}, part)
            best_B = self._worst(here, part, block_BK, place_BK, token_BK, promised_BK)
            at_B = np.arange(len(part))
            for number, reader in enumerate(self.readers):
                mine = (block_BK[at_B, best_B] == number) & np.isfinite(promised_BK[at_B, best_B])
                where = torch.from_numpy(part[mine])
                codes[reader.block][where, torch.from_numpy(place_BK[at_B, best_B][mine])] = torch.from_numpy(token_BK[at_B, best_B][mine])

    def _candidates(self, here: dict[str, Tensor], first: dict[str, Tensor], rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return block, place, token and promised cost of the swaps that promise most, each [B, K]; a cost of -inf where there is none."""
        slopes = self._slopes(here, rows)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for reader in self.readers:
            codes_BL, slope_BLD = here[reader.block], slopes[reader.block]
            table_VD = reader.table.weight.detach()
            may_V = reader.may_V
            codes_V = torch.arange(len(may_V))[may_V]
            gain_BLV = slope_BLD @ table_VD[codes_V - reader.shift].T
            now_BLD = table_VD[(codes_BL - reader.shift).clamp(min=0).long()]
            gain_BLV = gain_BLV - (slope_BLD * now_BLD).sum(-1, keepdim=True)
            fixed_BL = ~may_V[codes_BL.long()] | (codes_BL != first[reader.block])
            gain_BLV = gain_BLV.masked_fill(fixed_BL[:, :, None] | (codes_V[None, None] == codes_BL[:, :, None]), -torch.inf)
            flat_BX = gain_BLV.flatten(1)
            top = flat_BX.topk(min(CANDIDATES, flat_BX.shape[1]), dim=1)
            found.append((top.values, top.indices // len(codes_V), codes_V[top.indices % len(codes_V)]))
        block_BX = np.concatenate([np.full(gain.shape, number) for number, (gain, _, _) in enumerate(found)], axis=1)
        gain_BX, place_BX, token_BX = (torch.cat(parts, dim=1).numpy() for parts in zip(*found, strict=True))
        order_BK = np.argsort(-gain_BX, axis=1, kind="stable")[:, :CANDIDATES]
        block, place, token, gain = (np.take_along_axis(one, order_BK, axis=1) for one in (block_BX, place_BX, token_BX, gain_BX))
        return block, place, token.astype(np.int32), gain

    def _slopes(self, here: dict[str, Tensor], rows: np.ndarray) -> dict[str, Tensor]:
        """Return the gradient of the loss by the vector of each token, [B, L, D] by block."""
        vectors: dict[str, Tensor] = {}

        def watch(name: str) -> Any:
            def hook(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
                vectors[name] = out.detach().requires_grad_(True)
                return vectors[name]

            return hook

        hooks = [reader.table.register_forward_hook(watch(reader.block)) for reader in self.readers]
        try:
            with torch.enable_grad():
                out_BC = self.network(self._batch(here, rows)).float()
                loss = LOSSES[self.kind][-1](out_BC, self._target(rows)).sum()
                slopes = torch.autograd.grad(loss, list(vectors.values()))
        finally:
            for hook in hooks:
                hook.remove()
        return dict(zip(vectors, slopes, strict=True))

    def _worst(
        self,
        here: dict[str, Tensor],
        rows: np.ndarray,
        block_BK: np.ndarray,
        place_BK: np.ndarray,
        token_BK: np.ndarray,
        promised_BK: np.ndarray,
    ) -> np.ndarray:
        """Return which candidate of each row does the network the most harm, int [B]."""
        count, tried = block_BK.shape
        again = np.repeat(np.arange(count), tried)
        codes = {name: values[again].clone() for name, values in here.items()}
        for number, reader in enumerate(self.readers):
            mine = np.flatnonzero((block_BK.ravel() == number) & np.isfinite(promised_BK.ravel()))
            codes[reader.block][torch.from_numpy(mine), torch.from_numpy(place_BK.ravel()[mine])] = torch.from_numpy(token_BK.ravel()[mine])
        with torch.no_grad():
            out_XC = self.network(self._batch(codes, rows[again])).float()
            harm_X = HARM[self.kind](out_XC, self._target(rows[again]))
        return np.asarray(harm_X.reshape(count, tried).numpy().argmax(axis=1))

    def _batch(self, codes: dict[str, Tensor], rows: np.ndarray) -> dict[str, Tensor]:
        others = {name: values for name, values in self.arrays.blocks.items() if name not in codes}
        return {**{name: torch.from_numpy(np.ascontiguousarray(values[rows])) for name, values in others.items()}, **codes}

    def _target(self, rows: np.ndarray) -> Tensor:
        truth = torch.from_numpy(np.asarray(self.arrays.target)[rows])
        return truth if self.kind == "category" else truth.float()


def find_readers(network: nn.Module, arrays: Arrays, encoder: Encoder) -> list[Reader]:
    """Return the table that each text block is looked up in; a block whose table is not found is left out."""
    few = arrays.subset(slice(0, 2))
    batch = {name: torch.from_numpy(np.ascontiguousarray(values[:])) for name, values in few.blocks.items()}
    seen: list[tuple[nn.Embedding, Tensor]] = []
    tables = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    hooks = [table.register_forward_hook(lambda module, given, out: seen.append((module, given[0]))) for table in tables]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for feature in encoder.features:
        if feature.type == "text":
            name = f"text.{feature.column}"
            may_V = _may(feature)
            shifts = ((table, _shift(batch[name], given)) for table, given in seen)
            known = next(
                ((table, shift) for table, shift in shifts if shift is not None and table.num_embeddings + shift >= len(may_V)), None
            )
            if known is not None and bool(may_V.any()):
                found.append(Reader(block=name, table=known[0], shift=known[1], may_V=may_V))
    return found


def _shift(codes_BL: Tensor, given: Tensor) -> int | None:
    """Return how much lower a table's rows lie than these codes, None where it was not asked for them."""
    if given.shape != codes_BL.shape:
        return None
    held_BL = codes_BL != 0
    return next((shift for shift in (0, FIRST_ID) if bool((given.long() + shift == codes_BL.long())[held_BL].all())), None)


def _may(feature: Any) -> Tensor:
    """Return bool [V]: codes of tokens that hold a letter or a digit and are no mark of the tokenizer's own."""
    words = feature.words()
    may = [any(letter.isalnum() for letter in word) and not _SPECIAL.fullmatch(word) for word in words]
    may[: HIDDEN + 1] = [False] * min(len(may), HIDDEN + 1)
    return torch.tensor(may, dtype=torch.bool)
