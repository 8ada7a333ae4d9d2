"""The networks of the further seeds answer validation and test rows; nothing is chosen by what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.evaluation.answers import predictions_of
from weighbridge.findings import Finding
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.data import Splits
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe


def answer_seeds(
    recipe: Recipe, folder: Path, encoder: Encoder, splits: Splits, arrays: dict[str, Arrays], first: dict[str, Predictions], command: str
) -> None:
    """`folder/evaluation/seeds` holds N-validation.parquet and N-test.parquet for each seed N from 2 on.

    The test rows' second use is recorded with its reason; `first` are the answers of the run's own seed.
    """
    from dataclasses import replace

    from weighbridge import evaluation, training

    numbers = range(2, recipe.training.seeds + 1)
    if not numbers:
        return
    models = [training.model_hash(training.seed_folder(folder / "training", number))[:12] for number in numbers]
    splits.test(f"spread over {recipe.training.seeds} training seeds (models {', '.join(models)}): none of them is chosen by it", command)
    for number in numbers:
        answer = training.network_answers(training.seed_folder(folder / "training", number), encoder)
        for split, rows in arrays.items():
            made = predictions_of(answer(rows), rows, encoder, model=f"seed {number}", split=split)
            grouped = replace(made, group=first[split].group)  # rows are sorted by id in both
            evaluation.write_predictions(folder / "evaluation" / "seeds" / f"{number}-{split}.parquet", grouped)


def seed_findings(recipe: Recipe, folder: Path, command: str) -> list[Finding]:
    """Return `evaluation.seeds` from the stored answers and leave `seeds.json`; [] where one seed was trained."""
    from weighbridge import evaluation
    from weighbridge.evaluation.seeds import LEAST_SEEDS, seeds_finding, seeds_json

    if recipe.training.seeds == 1:
        return []
    models, how = _read(recipe, folder, "test"), evaluation.resampling_of(recipe.evaluation.resamples, recipe.seed)
    baselines = [evaluation.read_predictions(folder / "evaluation" / f"baseline-{name}.parquet") for name in recipe.evaluation.baselines]
    if len(models) >= LEAST_SEEDS:
        write_json(folder / "evaluation" / "seeds.json", seeds_json(models, _read(recipe, folder, "validation"), baselines, how))
    return [seeds_finding(models, baselines, how, command)]


def with_spread(recipe: Recipe, folder: Path, findings: list[Finding]) -> list[Finding]:
    """Return the findings; those about a baseline say so where the spread from seed to seed is larger than the difference."""
    from weighbridge.evaluation.seeds import mention_spread

    return findings if recipe.training.seeds == 1 else mention_spread(findings, _read(recipe, folder, "test"))


def _read(recipe: Recipe, folder: Path, split: str) -> list[Predictions]:
    from weighbridge import evaluation

    place = folder / "evaluation"
    further = [place / "seeds" / f"{number}-{split}.parquet" for number in range(2, recipe.training.seeds + 1)]
    first = place / "seeds" / f"1-{split}.parquet"  # where the model is not the recipe's own network
    return [evaluation.read_predictions(path) for path in (first if first.exists() else place / f"{split}.parquet", *further)]
