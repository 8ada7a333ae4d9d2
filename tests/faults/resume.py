"""Kill a run at random points, start it again until it ends, and compare it with the run that was never killed.

    python -m tests.faults.resume digits|table kill|signal --points 25 --seed 0

A program of its own, started by the tests: torch is imported once, before any thread runs, and every run is a fork. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import weighbridge.report
from tests.faults import small_runs
from tests.faults.kill_points import Points, Where, in_child
from weighbridge import lifecycle
from weighbridge.recipe import Recipe, resolved_yaml
from weighbridge.storage.seeds import rng

MOST_STARTS = 6
WEIGHTS = {"step": 0.30, "save": 0.30, "validation": 0.16, "edge": 0.12, "evaluation": 0.12}
RUN = Path("run")  # relative: the commands in the findings name the run's folder


def import_all() -> None:
    """Every library that a run needs is imported, and none has started a thread."""
    import pyarrow.parquet
    import scipy.stats
    import sklearn.linear_model
    import torch
    import torch._dynamo

    import weighbridge.cli
    import weighbridge.data
    import weighbridge.deployment
    import weighbridge.evaluation
    import weighbridge.models.baselines
    import weighbridge.preprocessing
    import weighbridge.report
    import weighbridge.stages.evaluation
    import weighbridge.training

    loaded = (pyarrow.parquet, scipy.stats, sklearn.linear_model, torch, weighbridge)
    names = [path.read_text(encoding="utf-8").strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = [name for name in names[1:] if not name.startswith("jemalloc")]  # Arrow's allocator stops its own around a fork
    assert all(loaded), "imported"
    assert not others, f"threads run before the fork: {others}"


def resume_naively(what: str) -> None:
    """From now on a resumed training leaves out one thing that it needs: the harness must see that."""
    from weighbridge.training import checkpoint, optimizers

    left_out: dict[str, Any] = {
        "optimizer": (checkpoint, "load_state_tensors", lambda *_: None),
        "strides": (optimizers, "_laid_out_like", lambda _, value: value),
    }
    place, name, instead = left_out[what]
    setattr(place, name, instead)


class Harness:
    """A recipe, the run of it that was never killed, and trials that start where its data are prepared."""

    def __init__(self, home: Path, recipe: Recipe, until: str) -> None:
        self.home, self.recipe, self.until, self.points = home, recipe, until, Points()
        (home / "run.yaml").write_text(resolved_yaml(recipe), encoding="utf-8")
        self.log = home / "log.txt"
        self.prepared = self._place("prepared")
        self._in(self.prepared, self._run_until("preprocessing"), None)
        self.whole = self._copy("whole")
        self.seconds = -time.monotonic()
        code = self._in(self.whole, self._run, None)
        self.seconds += time.monotonic()
        assert code == 0, self.log.read_text()
        self.counts = self.points.counts
        self.expected = small_runs.what_must_be_equal(self.whole / RUN)

    def _place(self, name: str) -> Path:
        place = self.home / name
        place.mkdir()
        return place

    def _copy(self, name: str) -> Path:
        shutil.copytree(self.prepared, self.home / name)
        return self.home / name

    def _run_until(self, until: str) -> Any:
        return lambda: lifecycle.run(self.recipe, RUN, until=until)

    def _run(self) -> None:
        weighbridge.report.write_report = lambda *_: None  # type: ignore[assignment]  # two seconds of drawing a start, compared with nothing
        lifecycle.run(self.recipe, RUN, until=self.until)

    def _weigh(self) -> None:
        from weighbridge.cli import main

        weighbridge.report.write_report = lambda *_: None  # type: ignore[assignment]
        weighbridge.report.print_sheet = lambda *_: None  # type: ignore[assignment]
        sys.argv = ["weigh", "run", str(self.home / "run.yaml"), "--runs", ".", "--until", self.until]
        main()

    def _in(self, place: Path, work: Any, where: Where | None, sent: int = signal.SIGKILL, after_s: float | None = None) -> int:
        self.points.aim(where, sent)
        before = os.getcwd()
        os.chdir(place)
        try:
            return in_child(work, self.points, self.log, kill_after_s=after_s)
        finally:
            os.chdir(before)

    def draw(self, random: np.random.Generator) -> Where:
        kinds = {kind: weight for kind, weight in WEIGHTS.items() if self.counts[kind]}
        kind = str(random.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
        return Where(kind=kind, n=int(random.integers(1, self.counts[kind] + 1)))

    def killed(self, number: int, random: np.random.Generator) -> dict[str, Any]:
        """One run, killed at a random point, every third one killed again while it goes on, every eighth at a random moment instead."""
        place = self._copy(f"trial-{number}")
        deaths, codes = [], []
        asynchronous = number % 8 == 7
        if asynchronous:
            place, code = self._killed_by_another(place, random)
        else:
            code = self._in(place, self._run, self.draw(random))
        codes.append(code)
        deaths.append(self.points.last)
        second = place / RUN / "training" / "seeds" / "2"
        later = second.exists() and not (second / "model.json").exists()
        if number % 3 == 0:
            again = Where(kind=str(random.choice(["step", "save", "evaluation"])), n=int(random.integers(1, 9)))
            codes.append(self._in(place, self._run, again))
            if codes[-1] == -signal.SIGKILL:
                deaths.append(self.points.last)
        return {**self._ended(place, deaths, codes, self._run), "asynchronous": asynchronous, "in_second_seed": later}

    def _killed_by_another(self, place: Path, random: np.random.Generator) -> tuple[Path, int]:
        """Kill the child from here at a random moment; once more from the start, and sooner, where it had ended before that."""
        seconds, code = self.seconds, 0
        while code == 0:
            shutil.rmtree(place)
            shutil.copytree(self.prepared, place)
            code = self._in(place, self._run, None, after_s=float(random.uniform(0.05, 0.8)) * seconds)
            seconds /= 2
        return place, code

    def stopped(self, number: int, random: np.random.Generator) -> dict[str, Any]:
        """One `weigh run` that gets SIGTERM or SIGINT at a random point."""
        place = self._copy(f"trial-{number}")
        sent = signal.SIGTERM if number % 2 else signal.SIGINT
        where = self.draw(random)
        code = self._in(place, self._weigh, where, sent)
        result = self._ended(place, [where.kind], [code], self._weigh)
        return {**result, "signal": int(sent)}

    def _ended(self, place: Path, deaths: list[str], codes: list[int], work: Any) -> dict[str, Any]:
        """Start again until the run ends, and say what differs from the run that was never killed."""
        while codes[-1] != 0 and len(codes) < MOST_STARTS:
            codes.append(self._in(place, work, None))
        found = small_runs.what_must_be_equal(place / RUN)
        differs = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        left = [str(path) for path in place.rglob("*.part")]
        shutil.rmtree(place)
        return {"deaths": deaths, "codes": codes, "differs": differs, "left": left}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", choices=["digits", "table"])
    parser.add_argument("fault", choices=["kill", "signal"])
    parser.add_argument("--points", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--naive", choices=["optimizer", "strides"], help="leave this out when training is taken up: a control")
    given = parser.parse_args()
    import_all()
    if given.naive:
        resume_naively(given.naive)
        WEIGHTS.update({"step": 1.0, "save": 0.0, "validation": 0.0, "edge": 0.0, "evaluation": 0.0})
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
        home = Path(folder)
        recipe = small_runs.digits() if given.recipe == "digits" else small_runs.table(home, seeds=2)
        harness = Harness(home, recipe, "evaluation" if given.fault == "kill" else "training")
        random = rng(given.seed, "faults", given.recipe, given.fault)
        trial = harness.killed if given.fault == "kill" else harness.stopped
        trials = [trial(number, random) for number in range(given.points)]
        bad = [each for each in trials if each["differs"] or each["codes"][-1] != 0]
        said = harness.log.read_text(encoding="utf-8")
    deaths = Counter(kind for each in trials for kind in each["deaths"])
    print(json.dumps({
        "recipe": given.recipe, "counts": harness.counts, "compared": sorted(harness.expected), "trials": trials, "deaths": deaths,
        "seconds_a_run": round(harness.seconds, 2), "seconds": round(time.monotonic() - started, 1), "log": said[-3000:] if bad else "",
    }))  # fmt: skip


if __name__ == "__main__":
    main()
