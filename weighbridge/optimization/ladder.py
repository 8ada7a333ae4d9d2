"""The rungs: what stands in the contest, from the majority class through the linear model and boosting to the networks.

An Entry knows how its graph comes about on a ground; nothing is made before it is asked for, and nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weighbridge.optimization.contest import ABOUT, GRAPH, RECIPE, build_graph, graph_about, graph_folder, judged
from weighbridge.optimization.networks import hash_of, parameters_of, seconds_of

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.evaluation import Predictions
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ground import Ground
    from weighbridge.recipe import Recipe

Role = Literal["baseline", "network", "ensemble"]
ROOM = 0.5  # share of the free memory that fitting a baseline may take


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What competes, or a form of it.

    Attributes:
        name: `recipe`, `boosting`, `recipe+int8_static`, ...
        variant: the recipe whose preprocessing it reads and, for networks, whose training made it.
        grounds: the run's own split, then the folds.
        graph: returns its ONNX graph on a ground, made when it is first asked for.
        network: returns the folder of its network on a ground; None where it is none.
        begun: returns the folder of the network that its graph was made of, where that is not `network`.
        teacher: returns what a student of it learns from on a ground; None: its network, where there is one.
    """

    name: str
    role: Role
    variant: Recipe
    grounds: Sequence[Ground]
    graph: Callable[[Ground], Path]
    network: Callable[[Ground], Path] | None = None
    begun: Callable[[Ground], Path] | None = None
    teacher: Callable[[Ground], nn.Module] | None = None

    @property
    def origin(self) -> Callable[[Ground], Path] | None:
        """Returns the folder of the network behind the graph on a ground; None for baselines and averages."""
        return self.network or self.begun

    @property
    def own(self) -> Ground:
        return self.grounds[0]

    def about(self) -> dict[str, Any]:
        """Return what is known of its graph on the run's own split: parameters, trained_s, made_s, sha256."""
        return graph_about(self.graph(self.own))

    def judged(self, contest: Contest) -> Predictions:
        """Return its answers on the judging rows."""
        return judged(contest, self.name, self.grounds, self.graph)


def network_entry(contest: Contest, name: str, variant: Recipe) -> Entry:
    """Return a network of the contest, trained when it is first asked for from the recipe's first seed."""
    grounds = contest.grounds(variant)

    def network(ground: Ground) -> Path:
        return contest.train(contest.course(name, variant, ground), ground, _label(name, ground))

    return Entry(
        name=name, role="network", variant=variant, grounds=grounds, network=network,
        graph=lambda ground: network_graph(contest, name, ground, network(ground)),
    )  # fmt: skip


def network_graph(contest: Contest, name: str, ground: Ground, folder: Path) -> Path:
    """Return the graph of the network in a training folder. Raises RefusedArtefact, RunError."""
    return build_graph(contest, name, ground, hash_of(folder), lambda path: export_network(folder, ground, path))


def export_network(folder: Path, ground: Ground, path: Path) -> dict[str, Any]:
    """`path` is the graph of the network in a training folder; returns what graph.json says of it. Raises RefusedArtefact, RunError."""
    from weighbridge import export, training

    target = ground.encoder.learnt
    export.export_onnx(training.Deployable(training.load_network(folder), target), ground.encoder.blocks, path)
    return {"parameters": parameters_of(folder), "trained_s": seconds_of(folder)}


def baseline_entry(contest: Contest, name: str) -> Entry:
    """Return a baseline of the contest, fitted when it is first asked for."""
    return Entry(
        name=name, role="baseline", variant=contest.recipe, grounds=contest.grounds(contest.recipe),
        graph=lambda ground: build_graph(contest, name, ground, ground.identity, lambda path: _fit(contest, name, ground, path)),
    )  # fmt: skip


def _fit(contest: Contest, name: str, ground: Ground, path: Path) -> dict[str, Any]:
    import time

    from weighbridge.export.baselines import count_values, export_baseline
    from weighbridge.models.baselines import fit_baseline
    from weighbridge.training.memory import free_bytes

    contest.progress("fit baselines", 0, None, f"{name}, {ground.name}")
    began = time.monotonic()
    with contest.stop.at_once("finished trainings of the optimization are kept"):
        fitted = fit_baseline(
            name, ground.encoder, ground.train, ground.validation, seed=contest.recipe.seed, room_bytes=int(ROOM * free_bytes())
        )
    seconds = round(time.monotonic() - began, 3)
    export_baseline(fitted, ground.encoder, path)
    return {
        "parameters": count_values(fitted), "trained_s": seconds, "rows": fitted.rows, "of": len(ground.train), "chosen": fitted.tuned,
    }  # fmt: skip


def baseline_graph(run: Path, name: str) -> Path | None:
    """Return the graph of a baseline that was fitted on a run's training rows, None where there is none."""
    folder = graph_folder(run, name)
    return folder / GRAPH if (folder / ABOUT).exists() else None


def baseline_about(graph: Path) -> dict[str, Any]:
    """Return on how many rows of how many a baseline was fitted, and its dial."""
    about = graph_about(graph)
    return {name: about[name] for name in ("rows", "of", "chosen")}


def seed_entries(contest: Contest) -> list[Entry]:
    """Return the recipe's network from each further seed that the training stage trained; on the run's own split only."""
    grounds = contest.grounds(contest.recipe)[:1]

    def entry(number: int) -> Entry:
        name = f"seed-{number}"
        folder = contest.network_folder(RECIPE, grounds[0], number)
        return Entry(
            name=name, role="network", variant=contest.recipe, grounds=grounds, network=lambda ground: folder,
            graph=lambda ground: network_graph(contest, name, ground, folder),
        )  # fmt: skip

    return [entry(number) for number in range(2, contest.recipe.training.seeds + 1)]


def _label(name: str, ground: Ground) -> str:
    return f"training, {name}" if ground.name == "own" else f"training, {name}, {ground.name}"
