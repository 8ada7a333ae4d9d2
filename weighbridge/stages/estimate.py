"""What a run will take, from a trial of the real code on the first rows: network, steps, time and memory."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.errors import DataError
from weighbridge.storage.progress import silent

if TYPE_CHECKING:
    from weighbridge.data import Preview
    from weighbridge.preprocessing import Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.training.plan import Plan

TRIAL_ROWS = 2000
TRAINED = ("student", "structured", "magnitude")
STATES = 4  # numbers kept a parameter while training: weight, gradient, two moments


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the first rows showed."""

    network: str
    parameters: int
    all_parameters: int
    plan: Plan
    row_bytes: int


def estimate(recipe: Recipe, found: Preview) -> list[str]:
    """Return lines about rows, network, time and memory; where the first rows can not be trained on, why not."""
    rows = found.n_rows_estimate
    about = "" if found.exact else "about "
    lines = [f"rows       {about}{rows:,}" if rows is not None else "rows       not known before reading"]
    try:
        trial = _trial(recipe)
    except DataError as error:
        return [*lines, f"time       not estimated: the first {TRIAL_ROWS:,} rows can not be trained on ({error.what})"]
    plan = trial.plan
    beside = f" trained of {trial.all_parameters:,}" if trial.all_parameters != trial.parameters else ""
    lines.append(f"network    {trial.network}, {trial.parameters:,} parameters{beside}")
    form = plan.memory_format.replace("_", " ")
    batch = recipe.training.batch_size
    asked = plan.batch_size if batch == "auto" else batch if rows is None else min(batch, rows)  # the trial has its few rows at most
    lines.append(f"step       {asked} rows, {plan.precision}, {form}, {plan.threads} threads on {plan.device}")
    if rows is None:
        return lines
    train = rows if found.splits else round(rows * (1 - recipe.data.split.validation - recipe.data.split.test))
    train = min(train, recipe.data.split.train_rows or train)
    epoch_s = train / plan.rows_per_second
    most = epoch_s * recipe.training.epochs
    capped = min(most, recipe.training.budget * 60) if recipe.training.budget else most
    speed = f"{plan.rows_per_second:,.0f} rows/s measured"
    lines.append(f"time       estimated: {_duration(epoch_s)} an epoch, {_duration(capped)} at most for training ({speed})")
    lines += _repeats(recipe, capped, round(train), rows)
    lines += _optimization(recipe, capped)
    disk = 2 * trial.row_bytes * rows
    memory = STATES * 4 * trial.parameters + 64 * trial.row_bytes * asked
    lines.append(f"memory     estimated: {_size(memory)} beside the libraries; {_size(disk)} on disk for encoded rows, mapped")
    return lines


def _repeats(recipe: Recipe, once_s: float, train: int, rows: int) -> list[str]:
    """Return lines about what more seeds and the learning curve cost; none where the recipe asks for neither."""
    from weighbridge.stages.learning_curve import share_of_training, sizes_of

    lines, total = [], once_s
    seeds, curve = recipe.training.seeds, recipe.evaluation.learning_curve
    if seeds > 1:
        total += (seeds - 1) * once_s
        lines.append(f"seeds      {seeds} trainings, estimated: {_duration(seeds * once_s)} at most for all of them")
    sizes = sizes_of(train, curve.sizes) if curve.enabled else []
    if curve.enabled and not sizes:
        lines.append(f"curve      not measured: {train:,} training rows are too few for {curve.sizes} sizes")
    if sizes:
        share = share_of_training(train, round(rows * recipe.data.split.validation), sizes, curve.repeats)
        most, allowed = share * once_s, curve.budget * 60
        total += min(most, allowed)
        runs = f"{len(sizes) * curve.repeats} trainings on {sizes[0]:,} to {train:,} rows"
        dear = f"; left out where it would take more than {_duration(allowed)}" if most > allowed else ""
        lines.append(f"curve      {runs}, as much as {share:.1f} whole ones, estimated: {_duration(most)} at most{dear}")
    return [*lines, f"together   estimated: {_duration(total)} at most for all trainings"] if lines else []


def _optimization(recipe: Recipe, once_s: float) -> list[str]:
    """Return lines about the trainings of the optimization, as estimated from one of the recipe's own; none where it trains nothing."""
    from weighbridge.optimization.forms import wanted_forms
    from weighbridge.optimization.scale import scale_share
    from weighbridge.optimization.search import search_share
    from weighbridge.recipe.optimization import BASELINES

    section, lines = recipe.optimization, []
    if not section.enabled:
        return []
    grounds = 1 + section.cross_validation.folds
    share = search_share(recipe)
    if share:
        most = min(share * once_s, section.search.budget * 60) if section.search.budget else share * once_s
        lines.append(f"search     as much as {share:.1f} trainings, estimated: {_duration(most)} at most")
    networks = sum(name not in BASELINES for name in section.candidates)
    tuned = section.compression.epochs
    steps = {tuple(one.kind for one in steps if one.kind in TRAINED) for steps in wanted_forms(section.compression)} - {()}
    forms = sum(sum(1.0 if kind == "student" else tuned for kind in kinds) for kinds in steps)
    whole = networks * grounds + (grounds - 1) + forms * grounds + section.ensembles.soup * section.ensembles.soup_epochs
    if whole:
        lines.append(
            f"contest    candidates, folds and forms as much as {whole:.1f} trainings, estimated: {_duration(whole * once_s)} at most"
        )
    if section.scale.enabled:
        lines.append(
            f"scale      as much as {scale_share(recipe):.1f} trainings; left out where it would take over {section.scale.budget:g} min"
        )
    return lines


def _trial(recipe: Recipe) -> Trial:
    """Read, split, encode and train a little on the first rows in a folder that is gone afterwards."""
    from weighbridge import data, preprocessing, training
    from weighbridge.models import count_all, count_parameters
    from weighbridge.recipe import SplitOptions
    from weighbridge.storage import read_json
    from weighbridge.training.stage import describe_network, measure_plan

    limit = min(TRIAL_ROWS, recipe.data.limit or TRIAL_ROWS)
    # The first rows may all be of one given side, and how they are cut changes no speed; but a group stays together, or it would leak.
    sides = SplitOptions(method="hash" if recipe.data.group is None else "group")
    section = recipe.data.model_copy(update={"limit": limit, "split": sides})
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as name:
        folder = Path(name)
        data.prepare(
            section, seed=recipe.seed, folder=folder / "data", command="", progress=silent, separator=recipe.preprocessing.set.separator
        )
        preprocessing.prepare(
            recipe.preprocessing, data=data.open_data(folder / "data"), folder=folder / "arrays", command="", seed=recipe.seed
        )
        train = preprocessing.open_arrays(folder / "arrays" / "train")
        encoder = preprocessing.Encoder.from_json(read_json(folder / "arrays" / "encoder.json"))
        course = training.Course(
            section=recipe.training,
            encoder=encoder,
            train=train,
            validation=train,
            folder=folder / "training",
            seed=recipe.seed,
            data=folder / "data",
        )
        network = course.first_network()
        return Trial(
            network=describe_network(course), parameters=count_parameters(network), all_parameters=count_all(network),
            plan=measure_plan(course), row_bytes=_row_bytes(encoder),
        )  # fmt: skip


def _row_bytes(encoder: Encoder) -> int:
    sizes = {"float32": 4, "int32": 4, "uint8": 1}
    return sum(math.prod(block.shape) * sizes[block.dtype] for block in encoder.blocks)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
