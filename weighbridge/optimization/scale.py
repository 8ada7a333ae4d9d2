"""The scale study: the recipe's architecture at several widths and on several parts of the rows, judged by its loss on validation rows.

Each width has its learning rate from a small search on the smallest part (a rate that suits one width need not suit another). A finished
training leaves a small file and nothing else, so a killed study goes on with the next one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.findings import Finding, Message
from weighbridge.optimization.contest import RECIPE
from weighbridge.optimization.networks import spec_of
from weighbridge.recipe import varied
from weighbridge.storage import read_json, sha256_json, write_json
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from weighbridge.evaluation.scale_law import ScaleRun
    from weighbridge.models import NetworkSpec
    from weighbridge.optimization.contest import Contest
    from weighbridge.recipe import Recipe

KEY = "optimization.scale"
TITLE = Message("What more parameters and more rows would buy")
HEADS = 16  # a transformer's width is a multiple of it
LEAST_ROWS = 40


@dataclass(frozen=True, kw_only=True)
class Point:
    """One training of the study."""

    width: float
    rows: int
    repeat: int
    rate: float

    @property
    def name(self) -> str:
        return f"{self.width:g}-{self.rows}-{self.repeat}-{self.rate:g}"


def widened(spec: NetworkSpec, factor: float) -> dict[str, Any]:
    """Return the recipe keys that make the network so many times as wide; {} for a network whose width no key says."""
    sizes = spec.sizes

    def times(widths: tuple[int, ...]) -> list[int]:
        return [max(1, round(factor * width)) for width in widths]

    if spec.type == "cnn":
        return {"training.model.channels": times(sizes.channels)}
    if spec.type == "mlp":
        return {"training.model.hidden": times(sizes.hidden)}
    if spec.type == "transformer":
        return {"training.model.width": max(HEADS, round(factor * sizes.width / HEADS) * HEADS)}
    if spec.type == "rnn":
        return {"training.model.width": max(4, round(factor * sizes.width))}
    return {}


def measure_scale(contest: Contest, command: str) -> list[Finding]:
    """Return the findings of the study and leave `optimization/scale.json`; [] where the recipe does not ask for it.

    Raises TrainingError, Stopped, StorageError; finished trainings are kept.
    """
    options = contest.recipe.optimization.scale
    if not options.enabled:
        return []
    spec = spec_of(contest.folder / "training")
    if not widened(spec, 1.0):
        return [_unmeasured(Message("no recipe key says how wide a network of type {type} is", type=spec.type), command)]
    rows = len(contest.grounds(contest.recipe)[0].train)
    if rows * min(options.fractions) < LEAST_ROWS:
        reason = Message("the smallest part of the {rows} training rows holds fewer than {least}", rows=rows, least=LEAST_ROWS)
        return [_unmeasured(reason, command)]
    minutes = scale_share(contest.recipe) * float(read_json(contest.folder / "training" / "history.json")["seconds"]) / 60
    if minutes > options.budget:
        reason = Message(
            "it would take about {minutes} min, and optimization.scale.budget is {budget}",
            minutes=round(minutes, 1),
            budget=options.budget,
        )
        return [_unmeasured(reason, command)]
    points = _points(contest, rows)
    for number, point in enumerate(points, 1):
        _run(contest, spec, point, f"scale study, training {number} of {len(points)}")
    return findings_of(contest, command)


def findings_of(contest: Contest, command: str) -> list[Finding]:
    """Return the findings of the stored trainings; `optimization/scale.json` is written anew. [] where there are none."""
    from weighbridge.evaluation.scale_law import fit_law
    from weighbridge.evaluation.scale_verdict import scale_findings, scale_json

    runs = list(_stored(contest))
    if not runs:
        return []
    law = fit_law(runs, seed=contest.recipe.seed)
    write_json(contest.place / "scale.json", scale_json(law, runs))
    return scale_findings(law, runs, command=f"{command} --only scale", evidence=("optimization/scale.json",))


def _points(contest: Contest, rows: int) -> list[Point]:
    """Return the trainings in their order: rates first, then the grid, its largest point last: it is foretold before it is run."""
    options = contest.recipe.optimization.scale
    sizes = sorted({max(LEAST_ROWS, round(fraction * rows)) for fraction in options.fractions})
    rates = [Point(width=width, rows=sizes[0], repeat=1, rate=rate) for width in sorted(options.widths) for rate in options.rates]
    for number, point in enumerate(rates, 1):
        _run(contest, spec_of(contest.folder / "training"), point, f"scale study, learning rate {number} of {len(rates)}")
    best = {width: _best_rate(contest, width, sizes[0]) for width in options.widths}
    grid = [
        Point(width=width, rows=size, repeat=repeat, rate=best[width])
        for width in sorted(options.widths)
        for size in sizes
        for repeat in range(1, options.repeats + 1)
    ]
    return sorted(grid, key=lambda point: point.width * point.rows)


def _best_rate(contest: Contest, width: float, rows: int) -> float:
    """Return the rate with the lowest loss on the smallest part."""
    tried = contest.recipe.optimization.scale.rates
    losses = {rate: _read(contest, Point(width=width, rows=rows, repeat=1, rate=rate))["loss"] for rate in tried}
    return min(tried, key=lambda rate: losses[rate])


def _run(contest: Contest, spec: NetworkSpec, point: Point, label: str) -> None:
    """The point's file holds what its training came to; what the training left is removed then."""
    from weighbridge import training

    place = contest.place / "scale"
    kept, folder = place / f"{point.name}.json", place / point.name
    asked = sha256_json([contest.run_key, asdict(point)])
    if not kept.exists() or read_json(kept).get("asked") != asked:
        contest.stop.check("finished trainings of the scale study are kept")
        variant = varied(contest.recipe, widened(spec, point.width))
        ground = contest.grounds(contest.recipe)[0]
        course = contest.course(RECIPE, variant, ground)
        contest.claim(folder, asked)
        seed = seed31(contest.recipe.seed, "scale study", point.repeat)
        group = _groups(contest)
        rows = training.subset_rows(len(ground.train), point.rows, seed=contest.recipe.seed, repeat=point.repeat, group=group)
        base = contest.base_plan
        training.train_on_subset(
            replace(course, folder=folder, seed=seed), rows, label=label, progress=contest.progress, stop=contest.stop,
            plan=replace(base, lr=base.lr * point.rate),
        )  # fmt: skip
        about = {"width": point.width, "part": point.rows, "rows": len(rows), "repeat": point.repeat, "rate": point.rate, "asked": asked}
        write_json(kept, {**_outcome(folder), **about})
    shutil.rmtree(folder, ignore_errors=True)


def _outcome(folder: Path) -> dict[str, float]:
    history, model = read_json(folder / "history.json"), read_json(folder / "model.json")
    best = next(epoch for epoch in history["epochs"] if epoch["epoch"] == history["best_epoch"])
    return {"parameters": model["all_parameters"], "loss": best["validation_loss"], "seconds": history["seconds"]}


def _read(contest: Contest, point: Point) -> dict[str, Any]:
    found: dict[str, Any] = read_json(contest.place / "scale" / f"{point.name}.json")
    return found


def _stored(contest: Contest) -> Iterator[ScaleRun]:
    """Give the runs of the grid: of each width those at its best rate."""
    from weighbridge.evaluation.scale_law import ScaleRun

    known = [one for path in sorted((contest.place / "scale").glob("*.json")) if _is_asked(contest, one := read_json(path))]
    smallest = min((one["part"] for one in known), default=0)
    first = [one for one in known if one["part"] == smallest and one["repeat"] == 1]
    best = {
        width: min((one for one in first if one["width"] == width), key=lambda one: one["loss"])["rate"]
        for width in {one["width"] for one in first}
    }
    for one in known:
        if one["rate"] == best.get(one["width"]):
            yield ScaleRun(parameters=one["parameters"], rows=one["rows"], repeat=one["repeat"], loss=one["loss"], seconds=one["seconds"])


def _is_asked(contest: Contest, stored: dict[str, Any]) -> bool:
    """Whether a stored training is of this run as it is now."""
    point = Point(width=stored["width"], rows=stored["part"], repeat=stored["repeat"], rate=stored["rate"])
    return bool(stored["asked"] == sha256_json([contest.run_key, asdict(point)]))


def _groups(contest: Contest) -> np.ndarray | None:
    from weighbridge import data

    if contest.recipe.data.group is None:
        return None
    return np.asarray(data.open_data(contest.folder / "data").train.column(contest.recipe.data.group)).astype(str)


def scale_share(recipe: Recipe) -> float:
    """Return what the study costs in trainings of the recipe: a network twice as wide takes about four times as long."""
    options = recipe.optimization.scale
    smallest = min(options.fractions)
    grid = sum(max(width, 1.0) ** 2 * fraction for width in options.widths for fraction in options.fractions) * options.repeats
    return grid + sum(max(width, 1.0) ** 2 * smallest for width in options.widths) * len(options.rates)


def _unmeasured(reason: Message, command: str) -> Finding:
    return Finding(key=KEY, title=TITLE, verdict="unmeasured", reason=reason, command=f"{command} --only scale")
