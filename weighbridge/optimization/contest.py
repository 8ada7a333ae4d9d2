"""What competes and where it lies: networks trained on a ground, the graphs they become, and what these say about the judging rows.

    optimization/networks/GROUND/NAME/   a training folder
    optimization/graphs/GROUND/NAME/     model.onnx, and graph.json, written last
    optimization/judged/NAME.parquet     the answers on the judging rows

The recipe's own network on the run's own split is the training stage's; nothing is trained twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.optimization.ground import OWN, Ground, fold_grounds, forget_other_data, own_ground
from weighbridge.storage import fresh_folder, read_json, remove, sha256_file, sha256_json, write_json
from weighbridge.storage.progress import Curve, unwatched
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress
    from weighbridge.training import Course, Plan

RECIPE = "recipe"
GRAPH, ABOUT, ASKED = "model.onnx", "graph.json", "asked.json"


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A graph that answers encoded rows, and what it took.

    Attributes:
        name: contender and steps joined by +, such as `recipe+structured:0.5+int8_static`.
        path: its ONNX file on the run's own split.
        arrays: the folder of encoded rows that it reads (encoder.json, train/, validation/).
        parameters: trained values, those of all members for an ensemble; 0 where there are none.
        seconds: that making it took on the run's own split, training included.
        sha256: names it.
    """

    name: str
    path: Path
    arrays: Path
    parameters: int
    seconds: float
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The run that is optimised: its recipe, its folder, whom to tell and when to leave; `used`: folders that this sitting asked for."""

    recipe: Recipe
    folder: Path
    progress: Progress
    stop: StopRequest
    used: set[Path] = field(default_factory=set)

    @property
    def place(self) -> Path:
        return self.folder / "optimization"

    @cached_property
    def base_plan(self) -> Plan:
        """How the recipe's network was trained on this machine: what resembles it follows, so that nothing is measured twice."""
        from weighbridge.training import Plan

        return Plan.from_json(read_json(self.folder / "training" / "plan.json"))

    def grounds(self, variant: Recipe) -> list[Ground]:
        """Return the run's own split, then the folds, encoded under the variant's preprocessing."""
        heard = self.heard
        return [own_ground(self.recipe, self.folder, variant, heard), *fold_grounds(self.recipe, self.folder, variant, heard)]

    def judging(self, grounds: Sequence[Ground]) -> Sequence[Ground]:
        """Return the grounds whose judging rows are read: the folds where there are some."""
        return grounds[1:] or grounds

    @property
    def heard(self) -> Progress:
        """The listener, which leaves when a stop was asked for: for work that keeps nothing of its own."""
        from weighbridge.storage.control import heeding

        return heeding(self.progress, self.stop)

    def network_folder(self, name: str, ground: Ground, number: int = 1) -> Path:
        """Return where the network of a contender lies that was trained on a ground from seed `number`."""
        from weighbridge.training import seed_folder

        if name == RECIPE and ground.name == OWN:
            return seed_folder(self.folder / "training", number)
        return seed_folder(self.place / "networks" / ground.name / safe(name), number)

    def course(self, name: str, variant: Recipe, ground: Ground, *, number: int = 1) -> Course:
        """Return the training of a contender on a ground from seed `number`, which is not begun by this."""
        from weighbridge.storage.seeds import seed31
        from weighbridge.training import Course

        seed = self.recipe.seed if number == 1 else seed31(self.recipe.seed, "training seed", number)
        return Course(
            section=variant.training, encoder=ground.encoder, train=ground.train, validation=ground.validation,
            folder=self.network_folder(name, ground, number), seed=seed, data=self.folder / "data",
        )  # fmt: skip

    def train(self, course: Course, ground: Ground, label: str, *, curve: Curve = unwatched) -> Path:
        """`course.folder` holds its network; returns the folder.

        Raises TrainingError, RecipeError, Stopped, StorageError, and what `curve` raises.
        """
        from weighbridge import training

        if self.place in course.folder.parents:
            self.claim(course.folder, self.asked(course, ground))
        if not (course.folder / "model.json").exists():
            self.stop.check("finished trainings of the optimization are kept")
            if self._same_features(course, ground):
                course = training.with_features(course, progress=self.progress, stop=self.stop, trained=self.folder / "training")
            plan = self.base_plan if self._resembles(course) else None
            training.train_like(course, plan, label=label, progress=self.progress, stop=self.stop, curve=curve)
        return course.folder

    def asked(self, course: Course, ground: Ground) -> str:
        """Return a hash of all that the network of a course follows from: equal ones mean that it need not be trained again."""
        known = {"section": course.section.model_dump(mode="json"), "seed": course.seed, "begun": course.identity}
        return sha256_json({**known, "ground": ground.identity, "run": self.run_key})

    @cached_property
    def run_key(self) -> str:
        """What names data, code and the recipe's own training, from which everything here begins."""
        return str(read_json(self.folder / "training" / "stage.json")["core"])

    def claim(self, folder: Path, asked: str) -> None:
        """`folder` holds what an earlier sitting trained of this very network, and nothing that was trained of another."""
        path = folder / ASKED
        self.used.add(folder)
        if path.exists() and read_json(path) == asked:
            return
        if any((folder / name).exists() for name in ("plan.json", "model.json")):
            fresh_folder(folder)
        write_json(path, asked)

    def some_rows(self, ground: Ground) -> Arrays:
        """Return training rows by the recipe's seed, as many as quantisation and pruning look at."""
        return calibration_rows(self.recipe, ground.train)

    def _resembles(self, course: Course) -> bool:
        """Whether the recipe's own plan says how this one runs best: the same kind of network, and nothing of the plan set otherwise."""
        known = read_json(self.folder / "training" / "model.json")["spec"]
        ours, theirs = self.recipe.training, course.section
        kept = ("device", "threads", "precision", "memory_format", "compile", "order", "accumulate")
        return known["type"] == course.spec.type and all(getattr(ours, name) == getattr(theirs, name) for name in kept)

    def _same_features(self, course: Course, ground: Ground) -> bool:
        """Whether what a frozen encoder says of the rows is what the training stage has stored."""
        known = read_json(self.folder / "training" / "model.json")["spec"]["pretrained"]
        return known is not None and course.spec.pretrained == known and ground.arrays == self.folder / "preprocessing"


def calibration_rows(recipe: Recipe, train: Arrays) -> Arrays:
    """Return the training rows that quantisation and pruning look at, drawn by the recipe's seed."""
    most = min(recipe.optimization.compression.calibration_rows, len(train))
    return train.subset(np.sort(rng(recipe.seed, "calibration rows").choice(len(train), most, replace=False)))


def safe(name: str) -> str:
    """Return the name as a folder's: `:` stands in no file name of Windows."""
    return name.replace(":", "-")


def build_graph(contest: Contest, name: str, ground: Ground, source: str, make: Callable[[Path], dict[str, Any]]) -> Path:
    """Return the graph of a contender on a ground: made by `make(path)` unless it is there already, made of the same `source`.

    graph.json beside it, written last, holds what `make` says of it (`parameters`, `trained_s`), the seconds it took and its hash.
    Raises what `make` raises.
    """
    folder = graph_folder(contest.folder, name, ground.name)
    path, source = folder / GRAPH, sha256_json({"of": source, "run": contest.run_key})
    contest.used.add(folder)
    if not (folder / ABOUT).exists() or read_json(folder / ABOUT)["source"] != source:
        contest.stop.check("finished forms are kept")
        fresh_folder(folder)
        began = time.monotonic()
        about = {"name": name, "source": source, **make(path), "made_s": round(time.monotonic() - began, 3), "sha256": sha256_file(path)}
        write_json(folder / ABOUT, about)
    return path


def graph_folder(run: Path, name: str, ground: str = OWN) -> Path:
    """Return where the graph of a contender on a ground lies in a run folder."""
    return run / "optimization" / "graphs" / ground / safe(name)


def graph_about(path: Path) -> dict[str, Any]:
    """Return what graph.json says of a graph."""
    about: dict[str, Any] = read_json(path.parent / ABOUT)
    return about


def judged(contest: Contest, name: str, grounds: Sequence[Ground], graph: Callable[[Ground], Path]) -> Predictions:
    """Return what the graphs of a contender say about the judging rows, each row by one that did not see it; kept for another sitting."""
    from weighbridge import evaluation
    from weighbridge.runtime.session import Session

    path = contest.place / "judged" / f"{safe(name)}.parquet"
    graphs = {ground.name: graph(ground) for ground in contest.judging(grounds)}
    hashes = {place: graph_about(one)["sha256"] for place, one in graphs.items()}
    known = path.with_suffix(".json")
    contest.used.update((path, known))
    if known.exists() and path.exists() and read_json(known) == hashes:
        return evaluation.read_predictions(path)
    parts = []
    for ground in contest.judging(grounds):
        output = Session.open(graphs[ground.name]).answer(ground.validation)
        parts.append(
            evaluation.predictions_of(output, ground.validation, ground.encoder, model=name, split="validation", groups=ground.group)
        )
    found = joined(parts)
    known.unlink(missing_ok=True)
    evaluation.write_predictions(path, found)
    write_json(known, hashes)
    return found


def tidy(contest: Contest) -> None:
    """Of networks, graphs and answers only what this sitting asked for is left, of encoded rows those of this data: what another recipe
    wanted is gone.
    """
    forget_other_data(contest.folder)
    for kept in ("networks", "graphs"):
        for path in sorted((contest.place / kept).glob("*/*")):
            if path not in contest.used and not any(path in used.parents for used in contest.used):
                remove(path)
    for path in sorted((contest.place / "judged").glob("*")):
        if path not in contest.used:
            remove(path)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the rows of several predictions as one."""
    first = parts[0]
    group = None if first.group is None else np.concatenate([part.group for part in parts if part.group is not None])
    return replace(
        first,
        row_id=np.concatenate([part.row_id for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        output=np.concatenate([part.output for part in parts]),
        group=group,
    )
