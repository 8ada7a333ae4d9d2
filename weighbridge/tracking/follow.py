"""Every tracker that the recipe names follows the run; one that fails is left behind, in one line, and the run goes on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from weighbridge.errors import DependencyError, RunError, Stopped
from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json, sha256_json, write_json
from weighbridge.storage.progress import Progress
from weighbridge.tracking.record import PLACE, Epochs, Outcome, Record, Tracker, parameters

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

MEMORY = "memory.json"
NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
MOST_WORDS = 200


def follow(recipe: Recipe, folder: Path, *, progress: Progress) -> Trackers:
    """Return the recipe's trackers, none of them open yet. Raises DependencyError with the pip line when a library is missing."""
    names = [name for name in NAMES if getattr(recipe.tracking, name).enabled]
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise DependencyError(
                f"the recipe says tracking: {name}, and {NAMES[name]} is not installed", do=f"pip install 'weighbridge[{name}]'"
            )
    return Trackers(recipe, folder, names, progress)


class Trackers:
    """What the lifecycle tells while it runs. A tracker is opened when there is something to tell that it does not know yet."""

    def __init__(self, recipe: Recipe, folder: Path, names: list[str], progress: Progress) -> None:
        self._recipe, self._folder, self._names, self._progress = recipe, folder, names, progress
        self._open: dict[str, Tracker] = {}
        self._failed: dict[str, str] = {}
        self._memory: dict[str, dict[str, str]] = {}
        self._identity = ""

    def begin(self, identity: str, *, again: bool) -> None:
        """Go on with the records that an earlier sitting of the same run began; those of another recipe, data or code are left alone.

        Args:
            identity: hash of the keys of all stages.
            again: a stage is done again on purpose: that is a new record.
        """
        self._identity = identity
        if not self._names:
            return
        try:
            known = read_json(self._folder / PLACE / MEMORY)
        except RunError:
            known = {}
        same = isinstance(known, dict) and known.get("identity") == identity and not again
        self._memory = {name: dict(known.get(name, {})) if same else {} for name in self._names}

    def curve(self, epochs: Epochs) -> None:
        """Each tracker shows all finished epochs."""
        for name in self._live():
            self._try(name, lambda tracker: tracker.curve(epochs))

    def deliver(self, findings: list[Finding]) -> list[Finding]:
        """Each tracker has curves, parameters, findings and report; returns a statement for each one that failed."""
        mark = sha256_json([finding.to_json() for finding in findings])
        for name in self._live():
            if self._memory[name].get("delivered") == mark and name not in self._open:
                continue
            self._try(name, lambda tracker: self._tell(tracker, findings))
            if name not in self._failed:
                self._memory[name]["delivered"] = mark
        self._remember()
        return [_lost(name, why) for name, why in self._failed.items()]

    def _tell(self, tracker: Tracker, findings: list[Finding]) -> None:
        history = self._folder / "training" / "history.json"
        if history.exists():
            tracker.curve(read_json(history)["epochs"])
        tracker.deliver(self._record(findings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        outcome: Outcome = "finished" if error is None else "stopped" if stopped else "failed"
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.close(outcome))
        self._open = {}

    def _live(self) -> Iterator[str]:
        return (name for name in self._names if name not in self._failed)

    def _try(self, name: str, act: Callable[[Tracker], None]) -> None:
        """Let the tracker act, opened first where it is not; a failure is shown in one line and ends the tracker."""
        failure = Failure()
        with failure:
            if name not in self._open:
                self._open[name] = self._opened(name)
                self._remember()
            act(self._open[name])
        if failure.words:
            self._open.pop(name, None)
            self._failed[name] = failure.words
            self._progress(f"tracking: {NAMES[name]}", 0, None, f"failed, the run goes on without it: {failure.words}")

    def _opened(self, name: str) -> Tracker:
        record = self._record([])
        if name == "tensorboard":
            from weighbridge.tracking.tensorboard import Tensorboard

            return Tensorboard(record)
        if name == "mlflow":
            from weighbridge.tracking.mlflow import Mlflow

            return Mlflow(self._recipe, record, self._memory[name])
        from weighbridge.tracking.wandb import Wandb

        return Wandb(self._recipe, record, self._memory[name])

    def _record(self, findings: list[Finding]) -> Record:
        package = self._folder / "deployment" / "package"
        return Record(
            name=self._recipe.name or self._folder.name,
            folder=self._folder,
            parameters=parameters(self._recipe),
            findings=findings,
            package=package if self._recipe.tracking.package and package.is_dir() else None,
        )

    def _remember(self) -> None:
        """Keep which records are this run's, for the next sitting."""
        if self._names:
            write_json(self._folder / PLACE / MEMORY, {"identity": self._identity, **self._memory})


class Failure:
    """Holds what went wrong in its block and lets the run go on. Each library has errors of its own (W&B's have no common parent but
    Exception), and none of them may stop a run that they only listen to. A request to stop is let through.
    """

    def __init__(self) -> None:
        self.words = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception) or isinstance(error, Stopped):
            return False
        self.words = " ".join(str(error).split())[:MOST_WORDS] or type(error).__name__
        return True


def _lost(name: str, why: str) -> Finding:
    """Return the statement that a tracker did not take the run."""
    return Finding(
        key=f"tracking.{name}",
        title=Message("Record of this run in {tracker}", tracker=NAMES[name]),
        verdict="unmeasured",
        reason=Message("the tracker failed, and the run went on without it: {error}", error=why),
    )
