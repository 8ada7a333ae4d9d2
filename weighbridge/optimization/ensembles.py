"""Several models as one: the mean of the best, greedy selection (Caruana 2004), and the mean of weights (Wortsman 2022).

Who belongs to an average is chosen on one half of the judging rows and whether it helps is judged on the other half, so that the rows that
chose do not also praise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.optimization.contest import build_graph, graph_about
from weighbridge.optimization.ladder import Entry, network_graph
from weighbridge.optimization.networks import hash_of, seconds_of, soup
from weighbridge.storage import read_json, remove, sha256_json, write_json
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.evaluation import Predictions
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ground import Ground

LEAST_ROWS = 20  # of each half
ADDITIONS = 15  # that greedy selection makes at most; members come more than once


@dataclass(frozen=True, kw_only=True)
class Average:
    """Members with their weights (summing to 1), and the judging rows that did not choose them."""

    name: str
    members: tuple[tuple[Entry, float], ...]
    judges: np.ndarray


def averages(contest: Contest, entries: Sequence[Entry]) -> list[Average]:
    """Return the average of the best and the greedy selection, of entries that read the same encoded rows; [] where there are too few."""
    base = entries[0]
    fitting = [entry for entry in entries if entry.own.arrays == base.own.arrays and len(entry.grounds) == len(base.grounds)]
    if len(fitting) < 2:
        return []
    said = {entry.name: entry.judged(contest) for entry in fitting}
    chooses, judges = _halves(said[base.name], contest.recipe.seed)
    if min(len(chooses), len(judges)) < LEAST_ROWS:
        return []
    on_half = {name: rows_of(one, chooses) for name, one in said.items()}
    best = sorted(fitting, key=lambda entry: -_score(on_half[entry.name]))[: contest.recipe.optimization.ensembles.most]
    found = [Average(name="average", members=tuple((entry, 1 / len(best)) for entry in best), judges=judges)]
    greedy = select_greedily(on_half, most=contest.recipe.optimization.ensembles.most)
    if len(greedy) > 1:
        by_name = {entry.name: entry for entry in fitting}
        found.append(Average(name="greedy", members=tuple((by_name[name], weight) for name, weight in greedy.items()), judges=judges))
    return found


def select_greedily(said: dict[str, Predictions], *, most: int) -> dict[str, float]:
    """Return weights of members that were added one by one, each time the one after which the mean is best, until none helps."""
    names, chosen = list(said), Counter[str]()
    total: np.ndarray | None = None
    reached = -np.inf
    for count in range(1, ADDITIONS + 1):
        allowed = names if len(chosen) < most else list(chosen)
        sums = {name: said[name].output if total is None else total + said[name].output for name in allowed}
        scores = {name: _score(replace(said[name], output=summed / count)) for name, summed in sums.items()}
        best = max(allowed, key=lambda name: scores[name])
        if scores[best] <= reached:
            break
        reached, total = scores[best], sums[best]
        chosen[best] += 1
    return {name: number / chosen.total() for name, number in chosen.items()}


def average_entry(contest: Contest, average: Average) -> Entry:
    """Return an average as one graph that reads its members' rows once."""
    first = average.members[0][0]

    def make(ground: Ground, path: Path) -> dict[str, Any]:
        from weighbridge.export.merge import merge

        graphs = [entry.graph(ground) for entry, _ in average.members]
        merge(graphs, path, weights=[weight for _, weight in average.members])
        known = [graph_about(graph) for graph in graphs]
        return {"parameters": sum(one["parameters"] for one in known), "trained_s": round(sum(one["trained_s"] for one in known), 3)}

    return Entry(
        name=average.name, role="ensemble", variant=first.variant, grounds=first.grounds,
        graph=lambda ground: build_graph(contest, average.name, ground, _source(average, ground), partial(make, ground)),
        teacher=partial(_mean_teacher, average) if all(entry.network for entry, _ in average.members) else None,
    )  # fmt: skip


def _source(average: Average, ground: Ground) -> str:
    return sha256_json([[graph_about(entry.graph(ground))["sha256"], weight] for entry, weight in average.members])


def soup_entry(contest: Contest, best: Entry) -> Entry:
    """Return the soup of a network: the mean of its weights and of those that went on from it, each from another seed."""
    name = "soup"

    def network(ground: Ground) -> Path:
        from weighbridge.storage.tensors import digest_tensors, save_tensors

        assert best.network is not None
        begun, folder = best.network(ground), contest.network_folder(name, ground)
        options = contest.recipe.optimization.ensembles
        contest.claim(folder, sha256_json([hash_of(begun), options.soup, options.soup_epochs, contest.recipe.optimization.compression.lr]))
        if not (folder / "model.json").exists():
            spec, tensors = soup(contest, name, best.variant, begun, ground)
            spent = seconds_of(begun) + sum(seconds_of(path.parent) for path in sorted(folder.parent.glob(f"{name}-*/history.json")))
            digest = digest_tensors(tensors)
            save_tensors(folder / "model.safetensors", tensors, meta={"step": 0, "sha256": digest})
            write_json(folder / "history.json", {"epochs": [], "seconds": spent})
            write_json(folder / "plan.json", read_json(begun / "plan.json"))
            known = read_json(begun / "model.json")
            write_json(folder / "model.json", {**known, "spec": spec.to_json(), "sha256": digest})
        for member in sorted(folder.parent.glob(f"{name}-*")):  # they have gone into the soup
            remove(member)
        return folder

    return Entry(
        name=name, role="network", variant=best.variant, grounds=best.grounds, network=network,
        graph=lambda ground: network_graph(contest, name, ground, network(ground)),
    )  # fmt: skip


def _mean_teacher(average: Average, ground: Ground) -> nn.Module:
    """Return a network whose raw outputs are the weighted mean of the members': a teacher of students."""
    import torch
    from torch import nn

    from weighbridge.training import load_network

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList(load_network(entry.network(ground)) for entry, _ in average.members if entry.network)
            self.weights = [weight for _, weight in average.members]

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            parts = [weight * member(batch).float() for member, weight in zip(self.members, self.weights, strict=True)]
            return torch.stack(parts).sum(0)

    return Mean()


def _halves(said: Predictions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers of two halves of the judging rows, whole groups in one half."""
    unit = np.arange(len(said)) if said.group is None else np.unique(said.group, return_inverse=True)[1]
    first = rng(seed, "ensemble halves").random(int(unit.max()) + 1)[unit] < 0.5
    return np.flatnonzero(first), np.flatnonzero(~first)


def rows_of(said: Predictions, rows: np.ndarray) -> Predictions:
    """Return these rows of predictions."""
    group = None if said.group is None else said.group[rows]
    return replace(said, row_id=said.row_id[rows], target=said.target[rows], output=said.output[rows], group=group)


def _score(said: Predictions) -> float:
    """Return the headline, higher is better, equal ones ordered by how far the outputs are from the truth."""
    from weighbridge.evaluation import HEADLINES

    headline = HEADLINES[said.kind]
    if said.kind == "number":
        return headline.sign * headline.value(said)
    truth = np.eye(len(said.classes))[said.target] if said.kind == "category" else said.target
    return headline.sign * headline.value(said) - 1e-6 * float(((said.output - truth) ** 2).mean())
