"""Which trials are ended early: Hyperband (Li 2018) in its asynchronous form (Li 2020), by the search library's pruner.

The library notes in the storage that a trial has come to a rung before it says whether the trial goes on; a process that is killed between
the two would let it go on next time. Here each decision is made anew from the values that were reported, so it comes out the same.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from weighbridge.optimization.search_space import Direction, Variable
from weighbridge.optimization.search_study import Tried

REDUCTION = 3  # one in so many goes on at a rung
FEWEST = 9  # the shortest trial has the longest one's epochs divided by this: three brackets


def longest_of(variables: Sequence[Variable], epochs: int) -> int:
    """Return the epochs of the longest trial: the recipe's, or the most that the space allows."""
    for variable in variables:
        if variable.key == "training.epochs":
            return max(int(variable.value(label)) for label in variable.labels) if variable.labels else int(variable.high)
    return epochs


def rung_epochs(longest: int) -> list[int]:
    """Return the epochs after which a trial is compared with the others that came as far; the last epoch is none: the work is done."""
    shortest = max(1, longest // FEWEST)
    return [rung for power in range(longest) if (rung := shortest * REDUCTION**power) < longest]


def share_of_epochs(longest: int) -> tuple[float, float]:
    """Return the share of a full training that a trial takes on the ground where it is pruned, and the share of trials that pass it.

    Expected over the brackets, where values fall evenly; while few trials have come to a rung more of them pass than that.
    """
    rungs, shortest = rung_epochs(longest), max(1, longest // FEWEST)
    brackets = math.floor(math.log(longest / shortest, REDUCTION) + 1e-9) + 1
    weights = [math.ceil(brackets * REDUCTION ** (brackets - 1 - first) / (brackets - first)) for first in range(brackets)]
    shares, passing = [], []
    for first in range(brackets):
        alive, epochs, before = 1.0, 0.0, 0
        for rung in rungs[first:]:
            epochs, alive, before = epochs + alive * (rung - before), alive / REDUCTION, rung
        shares.append((epochs + alive * (longest - before)) / longest)
        passing.append(alive)
    return _mean(shares, weights), _mean(passing, weights)


def falls_behind(
    tried: Sequence[Tried], this: int, reports: dict[int, float], *, longest: int, direction: Direction, name: str
) -> tuple[bool, dict[str, float]]:
    """Return whether the trial of number `this` is to end after its last report, and what the pruner notes of it.

    Args:
        tried: all trials in their order, with what was noted of them.
        reports: epochs -> value of this trial.
        name: of the study, on which the bracket of a trial depends.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    pruner = optuna.pruners.HyperbandPruner(min_resource=max(1, longest // FEWEST), max_resource=longest, reduction_factor=REDUCTION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(study_name=name, direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
        noted = {one.number: one.rungs for one in tried if one.number != this}
        for number in range(max([this, *noted]) + 1):
            study.add_trial(create_trial(state=TrialState.RUNNING, system_attrs=noted.get(number, {})))
        trial = optuna.trial.Trial(study, study.get_trials(deepcopy=False)[this]._trial_id)
        behind = False
        for epochs, value in sorted(reports.items()):
            trial.report(value, epochs)
            behind = trial.should_prune()
    return behind, dict(study.get_trials(deepcopy=False)[this].system_attrs)


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
