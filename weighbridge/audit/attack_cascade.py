"""One attack after the other, each on the rows that those before it left, at rising epsilon; and whether the gradients can be trusted.

The way is found on the network's gradients; whether a row is broken is asked of the form that is packaged, which may have none. A row
that is broken at one epsilon is broken at every larger one: its point lies in the larger ball too. So a stronger attack is never weaker.

Signs of masked gradients (Carlini 2019; Athalye 2018; Zimmermann 2022): a blind search breaks rows that the gradients did not, twice the
steps break rows that the steps did not, or an attack without bounds leaves rows unbroken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from weighbridge.audit.attack_search import random_search
from weighbridge.audit.attack_space import Space
from weighbridge.audit.attacks import APGD_STEPS, LOSSES, Kept, Loss, Prey, apgd, fgsm, pgd
from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

BATCH = 128
STAGES = ("FGSM", "PGD", "APGD", "APGD-DLR", "search")
UNBOUNDED = 1e4
FREE_STEPS = 20  # of an attack without bounds
TINY = 1e-12
Answer = Callable[["Arrays"], np.ndarray]


def form_harm(said: np.ndarray, truth: np.ndarray, kind: str, scale: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what answers (probabilities or values) cost, [n]: of classes above 0 where the answer is wrong, else 0 or less."""
    said = np.asarray(said, dtype=np.float64)
    if kind == "number":
        return np.asarray((scale(said) - truth) ** 2)
    if kind == "set":
        return np.asarray(-np.log(np.clip(np.where(truth > 0.5, said, 1 - said), TINY, 1)).mean(axis=1))
    logs, at = np.log(np.clip(said, TINY, None)), np.arange(len(said))
    others = logs.copy()
    others[at, truth] = -np.inf
    apart = others.max(axis=1) - logs[at, truth]
    return np.asarray(np.where(said.argmax(axis=1) == truth, np.minimum(apart, 0), np.maximum(apart, TINY)))


@dataclass(frozen=True, kw_only=True)
class Level:
    """The rows after the attacks at one epsilon.

    Attributes:
        point_ND: where each row has been moved to.
        whole: bool [n], for classes: rows that the form still answers rightly; for others all True.
        left: how many were left whole after each stage.
        by_search: rows that the blind search broke and the gradients did not.
    """

    epsilon: float
    point_ND: torch.Tensor
    whole: np.ndarray
    left: dict[str, int]
    by_search: int = 0


@dataclass(frozen=True, kw_only=True)
class Hunt:
    """All levels, and the checks of the gradients; for targets that are no classes there are no checks.

    Attributes:
        by_steps: rows that twice the steps broke at the epsilon of `checked`.
        unbounded: rows left whole by an attack without bounds; None where other inputs than the attacked ones may decide.
    """

    levels: tuple[Level, ...]
    checked: float | None = None
    by_steps: int | None = None
    unbounded: int | None = None

    @property
    def by_search(self) -> int:
        return max(level.by_search for level in self.levels)


@dataclass
class Hunter:
    """Attacks rows; keeps of each the point that did the most harm to the form.

    Attributes:
        answer: what the form says of encoded rows: probabilities, or values.
        truth: class codes | scaled values | labels, of the rows of the space; `scale` turns values to scaled ones.
    """

    prey: Prey
    answer: Answer
    scale: Callable[[np.ndarray], np.ndarray]
    seed: int
    progress: Progress = silent
    point_ND: torch.Tensor = field(init=False)
    harm_N: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.point_ND = self.space.start_ND.clone()
        self.harm_N = self.harm(self.point_ND, np.arange(len(self.space)))

    @property
    def space(self) -> Space:
        return self.prey.space

    @property
    def classes(self) -> bool:
        return self.prey.kind == "category"

    @property
    def whole(self) -> np.ndarray:
        """bool [n]: rows that are not broken."""
        return self.harm_N <= 0 if self.classes else np.ones(len(self.harm_N), dtype=bool)

    def harm(self, point_BD: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        """Return what the form's answers at these points cost it, [B]; of classes above 0 where the answer is wrong."""
        truth = np.asarray(self.space.arrays.target)[rows]
        return form_harm(self.answer(self.space.sent(point_BD, rows)), truth, self.prey.kind, self.scale)

    def hunt(self, epsilons: Sequence[float], *, check: float | None, alone: bool) -> Hunt:
        """Return the levels in rising order; `check`: the epsilon at which the gradients are checked, `alone`: no other input decides."""
        levels, by_steps = [], None
        for place, epsilon in enumerate(epsilons):
            self.progress("attack", place, len(epsilons), f"epsilon {epsilon:g}")
            levels.append(self._level(epsilon))
            if epsilon == check and self.classes:
                by_steps = self._more_steps(epsilon)
        self.progress("attack", len(epsilons), len(epsilons))
        unbounded = self._unbounded() if alone and self.classes else None
        return Hunt(levels=tuple(levels), checked=check, by_steps=by_steps, unbounded=unbounded)

    def _level(self, epsilon: float) -> Level:
        left: dict[str, int] = {}
        losses, kind = LOSSES[self.prey.kind], self.prey.kind
        self._strike(lambda rows: fgsm(self.prey, rows, epsilon, losses[0]))
        left["FGSM"] = int(self.whole.sum())
        self._strike(lambda rows: pgd(self.prey, rows, epsilon, losses[0], self._generator("pgd", epsilon)))
        left["PGD"] = int(self.whole.sum())
        for name, loss in zip(("APGD", "APGD-DLR"), losses, strict=False):
            generator = self._generator(name, epsilon)
            self._strike(partial(self._follow, epsilon=epsilon, loss=loss, generator=generator))
            left[name] = int(self.whole.sum())
        before = int(self.whole.sum())
        if kind == "category":
            self._search(epsilon)
            left["search"] = int(self.whole.sum())
        point_ND = self.point_ND.clone()
        return Level(epsilon=epsilon, point_ND=point_ND, whole=self.whole, left=left, by_search=before - int(self.whole.sum()))

    def _strike(self, attack: Callable[[np.ndarray], Kept]) -> None:
        """The attack has been tried on every whole row; points that do the form more harm are kept."""
        going = np.flatnonzero(self.whole)
        for at in range(0, len(going), BATCH):
            rows = going[at : at + BATCH]
            self._keep(self.space.settled(attack(rows).point_BD), rows)

    def _follow(self, rows: np.ndarray, *, epsilon: float, loss: Loss, generator: torch.Generator, steps: int = APGD_STEPS) -> Kept:
        return apgd(self.prey, rows, epsilon, loss, generator, steps)

    def _keep(self, point_BD: torch.Tensor, rows: np.ndarray) -> None:
        found = self.harm(point_BD, rows)
        better = found > self.harm_N[rows]
        self.point_ND[torch.from_numpy(rows[better])] = point_BD[torch.from_numpy(better)]
        self.harm_N[rows[better]] = found[better]

    def _search(self, epsilon: float) -> None:
        rows = np.flatnonzero(self.whole)
        if len(rows):
            random = rng(self.seed, "attack", "search", str(epsilon))
            self._keep(random_search(self.space, rows, epsilon, self.harm, random), rows)

    def _more_steps(self, epsilon: float) -> int:
        """Return how many rows twice the steps of APGD break that were whole; they count as broken from then on."""
        before, loss = int(self.whole.sum()), LOSSES[self.prey.kind][-1]
        generator = self._generator("more steps", epsilon)
        self._strike(lambda rows: apgd(self.prey, rows, epsilon, loss, generator, 2 * APGD_STEPS))
        return before - int(self.whole.sum())

    def _unbounded(self) -> int:
        """Return how many rows an attack leaves whole that may go anywhere within the bounds of the inputs."""
        whole, point_ND, harm_N = self.whole, self.point_ND.clone(), self.harm_N.copy()
        reach = float((self.space.high_D - self.space.low_D).max().clamp(max=UNBOUNDED))
        for loss in LOSSES[self.prey.kind]:
            self._strike(partial(self._follow, epsilon=reach, loss=loss, generator=self._generator("unbounded", reach), steps=FREE_STEPS))
        left = int((whole & self.whole).sum())
        self.point_ND, self.harm_N = point_ND, harm_N
        return left

    def _generator(self, name: str, epsilon: float) -> torch.Generator:
        return torch.Generator().manual_seed(seed31(self.seed, "attack", name, str(epsilon)))
