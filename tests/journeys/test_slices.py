"""Law: weak slices are looked for in what pictures and texts show too: how bright, how much contrast, how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weighbridge import lifecycle
from weighbridge.findings import by_key
from weighbridge.recipe import parse_recipe

pytestmark = pytest.mark.slow
ROWS = 1200
SPLIT = {"validation": 0.25, "test": 0.35}


def weakest(folder: Path, data: dict[str, Any], training: dict[str, Any]) -> str:
    """Run the recipe and return the words of its weakest slice."""
    values = {
        "name": "t",
        "data": {**data, "split": SPLIT},
        "training": {"batch_size": 32, "threads": 1, "precision": "fp32", **training},
        "evaluation": {"resamples": 200, "baselines": ["trivial"]},
        "deployment": {"enabled": False},
    }
    found = by_key(lifecycle.run(parse_recipe(values), folder / "run"), "evaluation.slices")
    assert found is not None
    assert found.verdict == "limitation", "no slice was found"
    return str(found.title)


def test_dark_pictures_that_can_not_be_told_apart_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for row in range(ROWS):
        side, dark = random.random() < 0.5, random.random() < 0.25
        pixels = random.integers(0, 30, (8, 8)) if dark else random.integers(60, 120, (8, 8))
        if not dark:
            pixels[:, :4] += 100 * side
            pixels[:, 4:] += 100 * (not side)
        folder = tmp_path / "pictures" / ("left" if side else "right")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
    assert "image.brightness" in weakest(tmp_path, {"source": str(tmp_path / "pictures")}, {"model": "mlp", "epochs": 8})


def test_short_texts_that_say_nothing_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["text,label"]
    for row in range(ROWS):
        good, short = random.random() < 0.5, random.random() < 0.25
        words = random.choice(["it", "was", "that", "then", "so"], 3 if short else 14).tolist()
        if not short:
            words[int(random.integers(14))] = "splendid" if good else "dreadful"
        lines.append(f"{' '.join(words)} n{row},{'good' if good else 'bad'}")
    (tmp_path / "texts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = {
        "source": str(tmp_path / "texts.csv"),
        "target": "label",
        "columns": {"text": "text"},
        "allow": ["duplicates", "near_duplicates"],
    }
    assert "text.characters" in weakest(tmp_path, data, {"model": "mlp", "epochs": 12})
