"""One sitting of a search: which trial is next, whether it goes on, how it ended, and what of it stays on the disk.

Nothing that decides is held in the process alone: a sitting that is killed is followed by one that goes on as it would have gone on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.optimization.contest import Contest
from weighbridge.optimization.search_pruning import falls_behind, longest_of, rung_epochs
from weighbridge.optimization.search_space import Params, changes_of, own_params, propose, size_of, variables_of
from weighbridge.optimization.search_study import Lost, TrialStore, Tried, best_of, open_store
from weighbridge.storage import sha256_json

if TYPE_CHECKING:
    from weighbridge.optimization.search_trial import Attempt, Watch
    from weighbridge.storage.progress import Progress

KEPT = "finished trials of the search are kept"
BEHIND, BUDGET, LOST = "behind", "budget", "lost"  # why a trial is ended early
NOTE_S = 5.0  # between two notes of how long a trial took so far; a budget counts what was noted
SIGN_S, STALE_S, POLL_S = 15.0, 600.0, 1.0  # signs of life in a shared study, and when another machine is taken for dead


def study_name(contest: Contest, key: str) -> str:
    """Return the name of the study: a hash of what decides the results, and not of how long or where it is sought."""
    section = contest.recipe.optimization
    told = section.search.model_dump(mode="json", include={"space", "method", "pruning", "metric"})
    return f"weighbridge-{sha256_json({'key': key, 'folds': section.cross_validation.folds, **told})[:24]}"


class Sitting:
    """One sitting of a search: its study, its space, and the trials that this process holds."""

    def __init__(self, contest: Contest, key: str) -> None:
        from weighbridge.optimization.search_trial import chosen_by_auto, direction_of

        options = contest.recipe.optimization.search
        self.contest, self.options = contest, options
        self.place = contest.place / "search"
        self.direction = direction_of(contest)
        self.variables = variables_of(contest.recipe)
        self.own = own_params(contest.recipe, self.variables, chosen_by_auto(contest))
        self.longest = longest_of(self.variables, contest.recipe.training.epochs)
        self.rungs = rung_epochs(self.longest) if options.pruning == "hyperband" else []
        self.store: TrialStore = open_store(self.place, url=options.storage, name=study_name(contest, key), direction=self.direction)
        ours = [one for one in self.store.tried() if one.owner == self.store.owner]
        self._used = sum(one.seconds for one in ours if one.state != "under way")
        self._held: dict[int, float] = {}  # number -> moment at which it would have begun, had it run in one sitting
        self._noted, self._signed, self._signs = 0.0, 0.0, 0

    @property
    def living(self) -> Progress:
        """The listener, which also shows other machines that this one lives."""

        def tell(label: str, done: int, total: int | None, note: str = "") -> None:
            self.sign()
            self.contest.progress(label, done, total, note)

        return tell

    def trials(self) -> Iterator[Tried]:
        """Give each trial to be done, until there is none."""
        while (one := self.next()) is not None:
            yield one

    def next(self) -> Tried | None:
        """Return a trial that was under way when this run was killed, else a new one; None where there is none to begin."""
        self.contest.stop.check(KEPT)
        tried = self.store.tried()
        for one in tried:
            if one.state == "under way" and one.owner == self.store.owner and one.number not in self._held:
                return self.hold(one)
        while len(tried) < self.options.trials:
            first = self.own is not None and not any(one.own for one in tried)
            if not first and self.spent():
                return None
            params = self.own if first else self._proposed()
            if params is None:
                return None
            drawn = {variable.key: variable.distribution for variable in self.variables}
            if (begun := self.store.begin(params, drawn, own=first, most=self.options.trials)) is not None:
                return self.hold(begun)
            tried = self.store.tried()
        return None

    def watch(self, one: Tried) -> Watch:
        """Return who decides at the end of each epoch whether the trial goes on. The recipe's own values are never ended early."""
        reports, asked = dict(one.reports), max(one.reports, default=0)
        most = changes_of(self.variables, one.params).get("training.epochs", self.contest.recipe.training.epochs)

        def watch(position: int, epochs: int, value: float) -> str | None:
            try:
                self.sign()
                self._note_seconds(one)
                if position == 0 and asked <= epochs < most and epochs in self.rungs and self._behind(one, reports, epochs, value):
                    return None if one.own else BEHIND
            except Lost:
                return LOST
            return BUDGET if self.spent() and not one.own else None

        return watch

    def settle(self, one: Tried, ended: Attempt) -> None:
        """How the trial ended is stored, and only what is needed of its networks is left on the disk."""
        seconds = round(self._elapsed(one.number), 3)
        try:
            if ended.kind == "finished":
                self.store.finish(one.number, value=ended.value, loss=ended.loss, seconds=seconds)
            elif ended.kind == "pruned":
                self.store.prune(one.number, reason=ended.reason, seconds=seconds)
            else:
                self.store.fail(one.number, reason=ended.reason, seconds=seconds)
        except Lost:
            self.contest.progress(f"{self.label_of(one)}: another machine took this one for dead and has ended it", 0, None)
        self._used += seconds
        self.let_go(one)
        self.tidy()

    def hold(self, one: Tried) -> Tried:
        """The trial is this process's, and its clock runs."""
        self._held[one.number] = time.monotonic() - one.seconds
        return one

    def let_go(self, one: Tried) -> None:
        """The trial is no longer held by this process."""
        self._held.pop(one.number, None)

    def tidy(self) -> None:
        """Of the trials' folders those of the best so far and of those under way are left."""
        from weighbridge.optimization.search_trial import tidy

        tried = self.store.tried()
        best = best_of(tried, self.direction)
        under_way = {one.number for one in tried if one.state == "under way" and one.owner == self.store.owner}
        tidy(self.place / "trials", under_way | ({best.number} if best else set()))

    def spent(self) -> bool:
        """Whether the budget is used up, counted over all sittings; with several workers by the clock on the wall, about."""
        if self.options.budget is None:
            return False
        running = sum(self._elapsed(number) for number in self._held)
        return (self._used + running) / self.options.workers >= self.options.budget * 60

    def sign(self) -> None:
        """Other machines that share the study can see that this one lives."""
        now = time.monotonic()
        if not self.store.shared or now - self._signed < SIGN_S:
            return
        self._signed, self._signs = now, self._signs + 1
        for number in self._held:
            with contextlib.suppress(Lost):
                self.store.note(number, "signs", self._signs)

    def wait_for_others(self) -> None:
        """No trial is under way on another machine; one that gives no sign of life for ten minutes has failed. Not beyond the budget."""
        seen: dict[int, tuple[tuple[int, int], float]] = {}
        while self.store.shared and not self.spent():
            others = [one for one in self.store.tried() if one.state == "under way" and one.owner != self.store.owner]
            if not others:
                return
            self.contest.stop.check(KEPT)
            for one in others:
                shows = (one.signs, len(one.reports))
                if one.number not in seen or seen[one.number][0] != shows:
                    seen[one.number] = shows, time.monotonic()
                elif time.monotonic() - seen[one.number][1] > STALE_S:
                    machine = one.owner.partition(":")[0]
                    self.store.fail(one.number, reason=f"{machine}, which began it, gives no sign of life", seconds=one.seconds)
            self.contest.progress("search", 0, len(others), f"waiting for {len(others)} trials of other machines")
            time.sleep(POLL_S)

    def place_of(self, one: Tried) -> Path:
        """Return the folder of a trial."""
        return self.place / "trials" / str(one.number)

    def mark_of(self, one: Tried) -> dict[str, Any]:
        """Return what names a trial among all studies."""
        return {"study": self.store.name, "trial": one.number}

    def label_of(self, one: Tried) -> str:
        """Return what the trial is called on the screen."""
        return f"search, trial {one.number + 1} of {self.most}"

    @property
    def most(self) -> int:
        """How many trials there can be."""
        size = size_of(self.variables)
        return self.options.trials if size is None else min(self.options.trials, size)

    def _elapsed(self, number: int) -> float:
        return time.monotonic() - self._held[number]

    def _note_seconds(self, one: Tried) -> None:
        """How long the trial took so far is stored at times, so that a killed run gets no new budget."""
        now = time.monotonic()
        if self.options.budget is not None and now - self._noted >= NOTE_S:
            self._noted = now
            self.store.note(one.number, "seconds", round(self._elapsed(one.number), 3))

    def _behind(self, one: Tried, reports: dict[int, float], epochs: int, value: float) -> bool:
        """Whether the trial falls behind at this rung; what the pruner notes of it is stored."""
        if epochs not in reports:
            self.store.report(one.number, epochs, value)
            reports[epochs] = value
        behind, rungs = falls_behind(
            self.store.tried(), one.number, reports, longest=self.longest, direction=self.direction, name=self.store.name
        )
        self.store.note(one.number, "rungs", rungs)
        return behind

    def _proposed(self) -> Params | None:
        return propose(
            self.variables,
            self.store.past(),
            method=self.options.method,
            direction=self.direction,
            seed=self.contest.recipe.seed,
            names=(self.store.owner,) if self.store.shared else (),
        )
