"""What a run was made of and on which machine: run.json."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.stages.station import recipe_hash
from weighbridge.storage import read_json, sha256_file, sha256_json

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

LIBRARIES = ("weighbridge", "torch", "numpy", "scikit-learn", "pyarrow", "onnx", "onnxruntime", "pillow")


def describe_run(recipe: Recipe, folder: Path, done: dict[str, dict[str, Any]], started: str) -> dict[str, Any]:
    """Return the content of run.json."""
    model = folder / "training" / "model.json"
    return {
        "format": 1,
        "name": recipe.name or folder.name,
        "started": started,
        "seconds": round(sum(stage["seconds"] for stage in done.values()), 3),
        "task": _task(folder),
        "recipe_sha256": recipe_hash(recipe),
        "data_sha256": data_hash(folder),
        "model_sha256": read_json(model)["sha256"] if "training" in done else None,
        "machine": machine(),
        "versions": versions(),
        "safeguards_off": safeguards_off(recipe),
        "stages": {name: {"seconds": stage["seconds"], "key": stage["key"]} for name, stage in done.items()},
        "language": recipe.report.language,
    }


def data_hash(folder: Path) -> str:
    """Return the SHA-256 over the three split files: the very rows that were used."""
    return sha256_json({name: sha256_file(folder / "data" / f"{name}.arrow") for name in ("train", "validation", "test")})


def machine() -> dict[str, Any]:
    """Return cores, processor, memory, operating system and accelerator of this machine."""
    import psutil
    import torch

    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _processor(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": f"{platform.system()} {platform.release()}",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def safeguards_off(recipe: Recipe) -> list[str]:
    """Return the recipe keys by which a safeguard was switched off."""
    off = {
        "training.early_stopping.enabled: false": not recipe.training.early_stopping.enabled,
        "evaluation.baselines: []": not recipe.evaluation.baselines,
        "data.clean.duplicates: keep": recipe.data.clean.duplicates == "keep",
        "data.clean.unreadable: skip": recipe.data.clean.unreadable == "skip",
        "evaluation.slices: false": not recipe.evaluation.slices,
        "deployment.enabled: false": not recipe.deployment.enabled,
    }
    return [key for key, is_off in off.items() if is_off]


def _task(folder: Path) -> dict[str, Any] | None:
    path = folder / "preprocessing" / "encoder.json"
    if not path.exists():
        return None
    target = read_json(path)["target"]
    return {"kind": target["kind"], "target": target["column"], "classes": target["classes"]}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
