"""Law: in 100 cycles of the real loop on a small model, feedback that lies is never promoted, an equal model is promoted in at most 5 %,
and a worse one that was forced in is taken back.

Each cycle starts from the same released run, with labels of its own: rounds look, decide, train, judge. The policy lets everything happen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Record
from tests.unit.loop_states import NAME, answer, label, recipe, rows
from weighbridge import lifecycle
from weighbridge.deployment import Circle, release, section_of
from weighbridge.deployment.promote import retrainings
from weighbridge.deployment.retrain import origin
from weighbridge.feedback.decisions import Noted
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.findings import Finding, Message
from weighbridge.recipe import parse_recipe
from weighbridge.storage import remove

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
CYCLES, KEYS, LABELS = 100, 5, 600
LIES = (0.05, 0.3)  # share of a lying key's labels that are turned, drawn evenly between these
FALLEN = Finding(key="feedback.quality", title=Message("Accuracy in service"), verdict="limitation", value=0.5)
OTHER = {"up": "down", "down": "up"}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """What takes most of a small run's time and decides nothing is left out: the report's drawings, more than one fresh process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("weighbridge.report.write_report", lambda *_: None)
        patch.setattr("weighbridge.deployment.price.STARTS", 1)
        yield


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released run, and a worse model: it learnt from labels of which two of three are turned."""
    folder = tmp_path_factory.mktemp("cycles")
    told = recipe(folder, retrain={"every_h": 0, "least_labels": 50, "starts": ["scratch"]}).model_dump(mode="json")
    told["training"]["epochs"] = 8
    lines = (folder / "moons.csv").read_text(encoding="utf-8").splitlines()
    turned = [line.replace("up", "?").replace("down", "up").replace("?", "down") if place % 3 else line for place, line in enumerate(lines)]
    (folder / "worse.csv").write_text("\n".join([lines[0], *turned[1:]]) + "\n", encoding="utf-8")
    lifecycle.run(parse_recipe(told), folder / NAME)
    lifecycle.run(parse_recipe({**told, "data": {**told["data"], "source": str(folder / "worse.csv")}}), folder / "worse")
    release(Registry.open(folder / "state", NAME), folder / NAME, "first")
    Log.open(folder / "state").close()
    return folder


@dataclass(kw_only=True)
class Cycle:
    """One loop from its beginning: its registry, its log."""

    registry: Registry
    log: Log

    @classmethod
    def begin(cls, begun: Path, place: Path) -> Cycle:
        shutil.copytree(begun / "state", place)
        return cls(registry=Registry.open(place, NAME), log=Log.open(place))

    def round(self, *findings: Finding) -> Noted:
        circle = Circle(registry=self.registry, log=self.log, section=section_of(self.registry), run=lifecycle.run)
        return lifecycle.go_round(circle, findings)

    def labelled(self, seed: int, n: int, *, lies: float = 0.0, first: int = 0, package: str | None = None) -> None:
        """The model answers n rows; keys label them in turn, and the first of them lies."""
        random, asked = np.random.default_rng([seed, first]), rows(n, 1000 + seed, start=first)
        ids = answer(self.registry, self.log, asked, first=first, package=package)
        told = [
            {**row, "y": OTHER[row["y"]] if place % KEYS == 0 and random.random() < lies else row["y"]} for place, row in enumerate(asked)
        ]
        for key in range(KEYS):
            label(self.log, ids[key::KEYS], told[key::KEYS], f"k{key}")

    def to_the_end(self, seed: int) -> bool:
        """Rounds go on until a challenger is refused, withdrawn or promoted; return whether it was promoted."""
        while self.round(FALLEN).decision.action == "quarantine":
            pass
        (_, _, verdict) = retrainings(self.registry)[0]
        assert verdict is not None
        if not verdict.passed:
            return False
        assert self.round().decision.action == "challenge"
        self.labelled(seed, 150, first=10_000)
        self.labelled(seed, 150, first=20_000, package=verdict.package)
        self.round()
        current = self.registry.current()
        assert current is not None
        return current.champion == verdict.package

    def end(self) -> None:
        self.log.close()
        remove(self.registry.state)


def test_feedback_that_lies_is_never_promoted(begun: Path, tmp_path: Path, record: Record) -> None:
    promoted, shut = 0, 0
    for seed in range(CYCLES):
        cycle = Cycle.begin(begun, tmp_path / f"{seed}")
        cycle.labelled(seed, LABELS, lies=float(np.random.default_rng(seed).uniform(*LIES)))
        ended = cycle.to_the_end(seed)
        quarantined = "k0" in {one["who"] for one in cycle.log.status()["quarantine"]}
        promoted, shut = promoted + (ended and not quarantined), shut + quarantined
        cycle.end()
    print(f"{promoted} promoted of {CYCLES}, the key was in quarantine in {shut}")
    assert promoted == 0
    record("loop.cycles.poisoned", promoted / CYCLES, n=CYCLES, quarantined=shut / CYCLES)


def test_an_equal_model_is_promoted_in_at_most_one_of_twenty(begun: Path, tmp_path: Path, record: Record) -> None:
    promoted, shut = 0, 0
    for seed in range(CYCLES):
        cycle = Cycle.begin(begun, tmp_path / f"{seed}")
        cycle.labelled(500 + seed, LABELS)
        promoted += cycle.to_the_end(500 + seed)
        shut += bool(cycle.log.status()["quarantine"])
        cycle.end()
    print(f"{promoted} promoted of {CYCLES}, a key was in quarantine in {shut}")
    assert promoted <= 5
    record("loop.cycles.equal", promoted / CYCLES, n=CYCLES, quarantined=shut / CYCLES)


def test_a_worse_model_that_was_forced_in_is_taken_back(begun: Path, tmp_path: Path, record: Record) -> None:
    back, labels = 0, []
    for seed in range(CYCLES):
        cycle = Cycle.begin(begun, tmp_path / f"{seed}")
        worse = cycle.registry.install(begun / "worse" / "deployment" / "package", **origin(begun / "worse"))
        cycle.registry.challenge(worse, 0.5, "forced by hand")
        for part in range(10):
            cycle.labelled(900 + seed, 30, first=1000 * part)
            cycle.labelled(900 + seed, 30, first=1000 * part + 500, package=worse)
            if cycle.round().decision.action == "rollback":
                back += 1
                labels.append(60 * (part + 1))
                break
        current = cycle.registry.current()
        assert current is not None
        assert current.champion != worse
        cycle.end()
    print(f"{back} of {CYCLES} taken back, after {np.median(labels):g} labels in the middle")
    assert back == CYCLES
    record("loop.cycles.worse", back / CYCLES, n=CYCLES, labels=float(np.median(labels)))
