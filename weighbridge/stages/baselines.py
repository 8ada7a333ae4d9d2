"""The baselines beside the model: fitted once, by the optimization where it made graphs of them, else here; their test answers are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.evaluation.answers import predictions_of
from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

ROOM = 0.5  # share of the free memory that fitting a baseline may take


def answer_baselines(
    recipe: Recipe, folder: Path, encoder: Encoder, arrays: dict[str, Arrays], model: Predictions, progress: Progress, stop: StopRequest
) -> None:
    """`evaluation/baseline-NAME.parquet` holds what each baseline says about the test rows, baselines.json on how many rows it learnt.

    `arrays`: train, validation and test rows under the recipe's own preprocessing; `model`: whose rows and groups they share.
    """
    from weighbridge import evaluation

    names, tuned = recipe.evaluation.baselines, {}
    for place, name in enumerate(names):
        progress("answer by baselines", place, len(names), name)
        with stop.at_once():
            answer, tuned[name] = _kept(folder, name) or _fitted(recipe, name, encoder, arrays)
        answers = predictions_of(answer(arrays["test"]), arrays["test"], encoder, model=name, split="test")
        groups = model.group  # rows are sorted by id in both
        evaluation.write_predictions(folder / "evaluation" / f"baseline-{name}.parquet", replace(answers, group=groups))
    progress("answer by baselines", len(names), len(names))
    write_json(folder / "evaluation" / "baselines.json", tuned)


def _kept(folder: Path, name: str) -> tuple[Callable[[Arrays], np.ndarray], dict[str, Any]] | None:
    """Return the baseline that the optimization fitted on the run's training rows, None where it did not."""
    from weighbridge.optimization.ladder import baseline_about, baseline_graph
    from weighbridge.runtime.session import Session

    graph = baseline_graph(folder, name)
    return None if graph is None else (Session.open(graph).answer, baseline_about(graph))


def _fitted(
    recipe: Recipe, name: str, encoder: Encoder, arrays: dict[str, Arrays]
) -> tuple[Callable[[Arrays], np.ndarray], dict[str, Any]]:
    from weighbridge.models.baselines import fit_baseline
    from weighbridge.training.memory import free_bytes

    room = int(ROOM * free_bytes())
    fitted = fit_baseline(name, encoder, arrays["train"], arrays["validation"], seed=recipe.seed, room_bytes=room)
    return fitted.predict, {"rows": fitted.rows, "of": len(arrays["train"]), "chosen": fitted.tuned}


def baseline_rows(place: Path, names: Sequence[str], command: str) -> list[Finding]:
    """Return on how many training rows the baselines were fitted that did not learn from all; nothing where all did."""
    fitted = read_json(place / "baselines.json") if (place / "baselines.json").exists() else {}
    fewer = {name: one for name, one in fitted.items() if name in names and one["rows"] < one.get("of", one["rows"])}
    if not fewer:
        return []
    least = min(one["rows"] for one in fewer.values())
    return [
        Finding(
            key="evaluation.baseline_rows",
            title=Message("Training rows that a baseline learnt from"),
            value=least,
            unit="rows",
            n=max(one["of"] for one in fewer.values()),
            reason=Message("{names} learnt from a random sample: more rows take too much memory or time", names=", ".join(fewer)),
            method=Message("a random sample without replacement, its size chosen by the free memory"),
            evidence=("evaluation/baselines.json",),
            command=f"{command} --only baseline_rows",
        )
    ]
