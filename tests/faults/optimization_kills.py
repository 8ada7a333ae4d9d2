"""Kill the optimization stage at random points, start it again until it ends, and compare it with the one that was never killed.

    python -m tests.faults.optimization_kills --points 10 --seed 0

Compared are the weights, the graphs and what they say of the judging rows; what each form costs is a matter of the clock. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults import search_kills, small_runs
from tests.faults.search_kills import RUN, Harness
from weighbridge import lifecycle
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import read_json, sha256_file, sha256_json
from weighbridge.storage.seeds import rng


def recipe_of(home: Path, *, folds: int) -> Recipe:
    """Return a recipe with a candidate, an average, a soup, and forms of each kind over a small table."""
    values = small_runs.table(home).model_dump(mode="json")
    values["training"] |= {"epochs": 3, "seeds": 1 if folds else 2}
    forms = ["half", "structured", "student"] if folds else ["half", "int8_weights", "structured+half", "student", "magnitude:0.5"]
    optimization = {
        "candidates": {"other": {"training.model.hidden": [16], "preprocessing.number.scale": "quantile"}},
        "ensembles": {"soup": 0 if folds else 2},
        "cross_validation": {"folds": folds},
        "compression": {"forms": forms, "student": {"training.model.hidden": [6]}, "features": 0.2},
        "choice": {"margin": 0.1},
    }
    return parse_recipe({**values, "optimization": optimization})


class StageHarness(Harness):
    """The whole stage instead of its search."""

    def _search(self) -> None:
        from weighbridge.optimization import cost

        module: Any = cost
        module.measure_costs = partial(cost.measure_costs, seconds=0.02, rounds=6)
        lifecycle.run(self.recipe, RUN, until="optimization")

    def equal(self, folder: Path) -> dict[str, str]:
        place = folder / "optimization"
        found = {}
        for path in sorted((place / "networks").rglob("model.safetensors")):
            found[f"weights {path.relative_to(place)}"] = sha256_file(path)
        for path in sorted((place / "graphs").rglob("model.onnx")):
            found[f"graph {path.relative_to(place)}"] = sha256_file(path)
        for path in sorted((place / "judged").glob("*.parquet")):
            found[f"answers {path.stem}"] = sha256_file(path)
        drawn = read_json(place / "frontier.json")
        found["scores"] = sha256_json({one["name"]: [one["value"], one["low"], one["high"]] for one in drawn["models"]})
        found["most capable"] = drawn["champion"]
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=8)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    search_kills.import_libraries()
    random = rng(given.seed, "optimization kills", given.folds)
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as name:
        home = Path(name)
        harness = StageHarness(home, recipe_of(home, folds=given.folds))
        trials = [harness.killed(number, random) for number in range(given.points)]
        equal = len(harness.expected)
    print(json.dumps({"trials": trials, "kinds": Counter(kind for one in trials for kind in one["deaths"]), "equal": equal}))


if __name__ == "__main__":
    main()
