"""Small real runs for the fault harnesses: their recipes, and what of a run must be equal bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.findings import read_findings
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import sha256_file, sha256_json
from weighbridge.storage.tensors import digest_tensors, load_tensors

# Wall-clock time by its nature; and how often the test rows were read, which a killed evaluation honestly does twice.
NOT_EQUAL = {
    "training.seconds": ("value",),
    "training.speed": ("value",),
    "training.further_seeds": ("value",),
    "evaluation.test_reads": ("n",),
}
# one audit, which takes no time: the sweeps meet the stage's own files, and its figures do not hang on how busy the machine is
AUDIT = {
    name: name == "fairness"
    for name in ("cost", "security", "quality", "fairness", "calibration", "generalization", "robustness", "explanation", "privacy")
}
FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False}


def digits() -> Recipe:
    """Real images: a channels_last network with dropout and batch normalisation, averaged weights, augmentation, mixup."""
    return parse_recipe(
        {
            "name": "run",
            "data": {"source": "sklearn://digits", "target": "target", "limit": 300},
            "training": {
                **FIXED,
                "model": {"type": "cnn", "size": "xs", "dropout": 0.2, "convolutions": 1},
                "memory_format": "channels_last",
                "epochs": 4,
                "ema": 0.8,
                "augment": {"crop": 1, "mixup": 0.2},
                "checkpoint_s": 4,
            },
            "optimization": False,  # its own harness: tests/faults/test_optimization.py
            "audit": AUDIT,
            "deployment": {"load": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial"]},
        }
    )


def table(folder: Path, *, seeds: int = 1) -> Recipe:
    """A table of numbers with gaps and a category: two batches an update, a schedule, early stopping."""
    source = folder / "table.csv"
    if not source.exists():
        source.write_text(rows(), encoding="utf-8")
    return parse_recipe(
        {
            "name": "run",
            "data": {"source": source.as_posix(), "target": "label"},
            "training": {
                **FIXED,
                "model": {"type": "mlp", "size": "xs", "dropout": 0.2},
                "memory_format": "contiguous",
                "epochs": 6,
                "accumulate": 2,
                "augment": {"noise": 0.1},
                "early_stopping": {"patience": 2},
                "seeds": seeds,
                "checkpoint_s": 4,
            },
            "optimization": False,
            "audit": AUDIT,
            "deployment": {"load": False},
            "evaluation": {"resamples": 200, "baselines": ["trivial", "linear"]},
        }
    )


def rows(count: int = 400) -> str:
    rng = np.random.default_rng(5)
    x, z = rng.normal(size=count), rng.normal(size=count)
    colour = rng.choice(["red", "绿", "blue"], count)
    label = np.where(x + 0.8 * (colour == "red") + 0.3 * rng.normal(size=count) > 0.2, "yes", "no")
    lines = [f"{'' if i % 37 == 0 else round(x[i], 5)},{z[i]:.5f},{colour[i]},{label[i]}" for i in range(count)]
    return "\n".join(["x,z,colour,label", *lines]) + "\n"


def changed(recipe: Recipe, section: str, **keys: Any) -> Recipe:
    """Return the recipe with other values under one section."""
    part = getattr(recipe, section)
    return recipe.model_copy(update={section: type(part).model_validate({**part.model_dump(), **keys})})


NO_STATE = "no checkpoint"


def what_must_be_equal(folder: Path, *, commands: bool = True) -> dict[str, str]:
    """Return name -> SHA-256 of weights, last state, metrics, plan, predictions, findings and rows, as far as the run has them.

    Without `commands` those of the findings are left out: they name the run's folder, and a copy stands in another.
    """
    found = {}
    training = folder / "training"
    if (training / "model.safetensors").exists():
        found["weights"] = sha256_file(training / "model.safetensors")
        found["state"] = last_state(training / "checkpoints")
        found["metrics"] = _without(training / "history.json", "seconds")
        found["plan"] = _without(training / "plan.json", "trial", "rows_per_second")
    for seed in sorted((training / "seeds").glob("*")):
        found[f"weights of seed {seed.name}"] = sha256_file(seed / "model.safetensors")
        found[f"state of seed {seed.name}"] = last_state(seed / "checkpoints")
        found[f"metrics of seed {seed.name}"] = _without(seed / "history.json", "seconds")
    for path in sorted((folder / "evaluation").glob("*.parquet")):
        found[f"predictions {path.stem}"] = sha256_file(path)
    for name in ("data", "preprocessing", "training", "evaluation"):
        if (folder / name / "stage.json").exists():
            found[f"findings {name}"] = sha256_json(
                [_timeless(finding.to_json(), commands) for finding in read_findings(folder / name / "findings.jsonl")]
            )
    for path in sorted((folder / "data").glob("*.arrow")):
        found[f"rows {path.stem}"] = sha256_file(path)
    return found


def last_state(folder: Path) -> str:
    """Return the SHA-256 of the newest checkpoint: network, average, optimiser and progress, without the seconds; NO_STATE without one."""
    if not (newest := max(folder.glob("step-*.safetensors"), default=None)):
        return NO_STATE
    tensors, meta = load_tensors(newest)
    return sha256_json([digest_tensors(tensors), {key: value for key, value in meta.items() if key != "elapsed_s"}])


def _without(path: Path, *keys: str) -> str:
    value = json.loads(path.read_text(encoding="utf-8"))
    return sha256_json({key: each for key, each in value.items() if key not in keys})


def _timeless(finding: dict[str, Any], commands: bool) -> dict[str, Any]:
    left_out = (*NOT_EQUAL.get(finding["key"], ()), *(() if commands else ("command",)))
    return {key: value for key, value in finding.items() if key not in left_out}
