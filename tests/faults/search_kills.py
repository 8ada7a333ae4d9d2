"""Kill a search at random points, start it again until it ends, and compare it with the search that was never killed.

    python -m tests.faults.search_kills pruned|folds|writes --points 10 --seed 0

A program of its own, started by the tests: torch is imported once, before any thread runs, and every search is a fork. Prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults import resume, small_runs
from tests.faults.kill_points import Points, Where, in_child
from weighbridge import lifecycle
from weighbridge.optimization import search_sitting, search_space
from weighbridge.optimization.contest import Contest
from weighbridge.optimization.search import search
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import sha256_file, sha256_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.storage.seeds import rng

RUN = Path("run")
SQL = "deployment"  # the points of statements and commits: nothing is deployed here, so the kind is free
WEIGHTS = {"step": 0.3, "validation": 0.1, "edge": 0.15, "run": 0.2, SQL: 0.25}
MOST_STARTS = 6
SPACE: dict[str, Any] = {"training.optimizer.lr": {"low": 1e-3, "high": 0.1, "log": True}, "training.model.hidden": [[8], [16, 8], None]}
SEARCHES: dict[str, dict[str, Any]] = {
    "pruned": {"search": {"space": SPACE, "trials": 7}},
    "folds": {"search": {"space": SPACE, "trials": 3, "method": "random", "pruning": "none"}, "cross_validation": {"folds": 2}},
}


def recipe_of(name: str, home: Path) -> Recipe:
    """Return the recipe of a search over a small table."""
    values = small_runs.table(home).model_dump(mode="json")
    values["training"]["epochs"] = 4
    return parse_recipe({**values, "optimization": SEARCHES[name]})


def import_libraries() -> None:
    """Every library that a search needs is imported, and none has started a thread."""
    import optuna.importance
    import sklearn.ensemble
    import sklearn.model_selection
    import sqlalchemy.dialects.sqlite

    import weighbridge.evaluation.comparison
    import weighbridge.optimization.search_findings
    import weighbridge.optimization.search_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert all((optuna.importance, sklearn.ensemble, sklearn.model_selection, sqlalchemy.dialects.sqlite, weighbridge.optimization))
    resume.import_all()


def search_naively(what: str) -> None:
    """From now on a search that goes on does what the usual ways do: the harness must see that."""
    if what == "sampler":  # seeded once in each process
        numbers = itertools.count()
        search_space.seed31 = lambda *_: next(numbers)  # type: ignore[assignment]
    else:  # what was under way has failed
        taken: Any = search_sitting.Sitting.next
        begun: set[int] = set()

        def fail_first(sitting: Any) -> Any:
            for one in sitting.store.tried():
                if one.state == "under way" and one.number not in begun:
                    sitting.store.fail(one.number, reason="was under way", seconds=0.0)
            one = taken(sitting)
            begun.update(() if one is None else (one.number,))
            return one

        sitting_class: Any = search_sitting.Sitting
        sitting_class.next = fail_first


def hook_statements(points: Points) -> None:
    """From now on this process passes a point after each statement and before each commit."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "after_cursor_execute", lambda *_: points.passed(SQL))
    event.listen(Engine, "commit", lambda *_: points.passed(SQL))


def what_must_be_equal(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the trials, what the report draws, and the weights of the best on each ground."""
    evidence = json.loads((folder / "optimization" / "search.json").read_text(encoding="utf-8"))
    found = {f"trial {one['number']}": sha256_json({**one, "seconds": 0}) for one in evidence["trials"]}
    found["evidence"] = sha256_json({name: value for name, value in evidence.items() if name != "trials"})
    found["findings"] = sha256_json(json.loads((folder / "found.json").read_text(encoding="utf-8")))
    for path in sorted((folder / "optimization" / "networks").rglob("model.safetensors")):
        found[f"weights {path.parent.parent.name}/{path.parent.name}"] = sha256_file(path)
    return found


class Harness:
    """A search, the run of it that was never killed, and trials that start where the recipe's own network is trained."""

    def equal(self, folder: Path) -> dict[str, str]:
        """Return name -> SHA-256 of what must be equal, however often it was killed."""
        return what_must_be_equal(folder)

    def __init__(self, home: Path, recipe: Recipe) -> None:
        self.home, self.recipe, self.points, self.log = home, recipe, Points(), home / "log.txt"
        (home / "prepared").mkdir()
        assert self._in(home / "prepared", self._prepare, None) == 0, self.log.read_text(encoding="utf-8")
        self.whole = self._copy("whole")
        self.seconds = -time.monotonic()
        assert self._in(self.whole, self._search, None) == 0, self.log.read_text(encoding="utf-8")
        self.seconds += time.monotonic()
        self.counts = self.points.counts
        self.expected = self.equal(self.whole / RUN)

    def _prepare(self) -> None:
        lifecycle.run(self.recipe, RUN, until="training")

    def _search(self) -> None:
        hook_statements(self.points)
        found = search(
            Contest(recipe=self.recipe, folder=RUN, progress=silent, stop=StopRequest()), command="weigh optimize run", key="key"
        )
        assert found is not None
        timeless = [finding.to_json() for finding in found.findings if not finding.key.endswith("seconds")]
        (RUN / "found.json").write_text(json.dumps([found.changes, found.number, timeless]), encoding="utf-8")

    def _copy(self, name: str) -> Path:
        shutil.copytree(self.home / "prepared", self.home / name)
        return self.home / name

    def _in(self, place: Path, work: Any, where: Where | None, after_s: float | None = None) -> int:
        self.points.aim(where)
        before = os.getcwd()
        os.chdir(place)
        try:
            return in_child(work, self.points, self.log, kill_after_s=after_s)
        finally:
            os.chdir(before)

    def _draw(self, random: np.random.Generator) -> Where:
        kinds = {kind: weight for kind, weight in WEIGHTS.items() if self.counts[kind]}
        kind = str(random.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values())))
        return Where(kind=kind, n=int(random.integers(1, self.counts[kind] + 1)))

    def _killed_by_another(self, place: Path, random: np.random.Generator) -> int:
        """Kill the child from here at a random moment; once more from the start, and sooner, where it had ended before that."""
        seconds, code = self.seconds, 0
        while code == 0:
            shutil.rmtree(place)
            shutil.copytree(self.home / "prepared", place)
            code = self._in(place, self._search, None, after_s=float(random.uniform(0.1, 0.6)) * seconds)
            seconds /= 2
        return code

    def killed(self, number: int, random: np.random.Generator) -> dict[str, Any]:
        """One search, killed at a random point, every third one again while it goes on, every fourth at a random moment instead."""
        place, deaths = self._copy(f"trial-{number}"), []
        if number % 4 == 3:
            codes, deaths = [self._killed_by_another(place, random)], ["any moment"]
        else:
            where = self._draw(random)
            codes, deaths = [self._in(place, self._search, where)], [where.kind]
        if number % 3 == 0 and codes[-1] != 0:
            where = Where(kind=str(random.choice(["step", SQL, "run"])), n=int(random.integers(1, 30)))
            codes.append(self._in(place, self._search, where))
            deaths += [where.kind] if codes[-1] == -signal.SIGKILL else []
        while codes[-1] != 0 and len(codes) < MOST_STARTS:
            codes.append(self._in(place, self._search, None))
        found = self.equal(place / RUN) if codes[-1] == 0 else {}
        differs = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        left = [str(path) for path in (place / RUN / "optimization" / "search" / "trials").glob("*")]
        shutil.rmtree(place)
        return {"deaths": deaths, "codes": codes, "differs": differs, "left": left}


def killed_while_writing(home: Path, random: np.random.Generator, points: int) -> list[dict[str, Any]]:
    """Kill processes that write to a study as fast as they can; return what each had confirmed, and what of it is not there."""
    from weighbridge.optimization.search_space import Variable
    from weighbridge.optimization.search_study import open_store

    held = Variable(key="training.epochs", low=1.0, high=1e6, whole=True)
    results = []
    for number in range(points):
        place, confirmed = home / f"writes-{number}", home / f"confirmed-{number}"

        def write(place: Path = place, confirmed: Path = confirmed) -> None:
            store = open_store(place, url=None, name="writes", direction="maximize")
            with open(confirmed, "a", encoding="utf-8") as told:
                for step in itertools.count(1):
                    one = store.begin({held.key: step}, {held.key: held.distribution}, own=False, most=10**6)
                    assert one is not None
                    store.report(one.number, 1, float(step))
                    store.finish(one.number, value=float(step), loss=0.0, seconds=0.0)
                    told.write(f"{step}\n")
                    told.flush()

        open_store(place, url=None, name="writes", direction="maximize").close()
        code = in_child(write, Points(), home / "log.txt", light=True, kill_after_s=float(random.uniform(0.3, 1.5)))
        done = confirmed.read_text(encoding="utf-8").split() if confirmed.exists() else []
        journal = (place / "study.db-journal").exists()
        store = open_store(place, url=None, name="writes", direction="maximize")
        kept = {one.value for one in store.tried() if one.state == "finished"}
        with store.study._storage._backend.engine.connect() as connection:  # type: ignore[attr-defined]
            whole = connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        store.close()
        lost = [step for step in done if float(step) not in kept]
        results.append({"code": code, "confirmed": len(done), "lost": lost, "whole": whole, "journal": journal})
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("search", choices=[*SEARCHES, "writes"])
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--naive", choices=["sampler", "failed"], help="go on as the usual ways do: a control")
    given = parser.parse_args()
    import_libraries()
    search_space.STARTUP = 3  # so that the model of TPE takes part in a short search
    if given.naive:
        search_naively(given.naive)
        WEIGHTS.update({"step": 1.0} | dict.fromkeys(("validation", "edge", "run", SQL), 0.0))
    random = rng(given.seed, "faults", "search", given.search)
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
        if given.search == "writes":
            print(json.dumps({"trials": killed_while_writing(Path(folder), random, given.points)}))
            return
        harness = Harness(Path(folder), recipe_of(given.search, Path(folder)))
        trials = [harness.killed(number, random) for number in range(given.points)]
        said = harness.log.read_text(encoding="utf-8")
    bad = [each for each in trials if each["differs"] or each["codes"][-1] != 0]
    print(json.dumps({
        "counts": harness.counts, "compared": sorted(harness.expected), "trials": trials, "seconds_a_search": round(harness.seconds, 2),
        "deaths": Counter(kind for each in trials for kind in each["deaths"]), "log": said[-3000:] if bad else "",
    }))  # fmt: skip


if __name__ == "__main__":
    main()
