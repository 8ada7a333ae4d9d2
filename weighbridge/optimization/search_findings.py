"""What a search found, in findings and in the file that the report draws; and how much each key matters."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Finding, Message, Reference
from weighbridge.optimization.search_sitting import BEHIND, BUDGET, Sitting
from weighbridge.optimization.search_space import Variable, changes_of, value_at
from weighbridge.optimization.search_study import Tried, best_of
from weighbridge.storage import read_json, write_json
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions

KEY = "optimization.search"
EVIDENCE = "optimization/search.json"
LEAST_COMPARED = 10  # trials, for the importance of keys: a forest on fewer shows noise
TITLES = {
    "accuracy": Message("Accuracy of the best trial, on the rows that chose it"),
    "rmse": Message("Root mean squared error of the best trial, on the rows that chose it"),
    "f1_micro": Message("F1 of the best trial, on the rows that chose it"),
}
UNKNOWN = Message("What the search found")
OWN_VALUES = Message("the recipe's own values")


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Key -> its share of the variance between `trials`, largest first; of their values after `epochs`, or of those of finished ones."""

    shares: dict[str, float]
    trials: int
    epochs: int | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the best trial's networks and the recipe's own say of the same judging rows."""

    best: Predictions
    recipe: Predictions


def findings_of(
    sitting: Sitting,
    tried: Sequence[Tried],
    best: Tried | None,
    judged: Judged | None,
    matters: Importance | None,
    command: str,
    *,
    reason: str,
) -> list[Finding]:
    """Return the best value beside the recipe's own, what was chosen, how the trials ended, what mattered, and how long it took.

    Args: matters, of `importance`; reason, why the best trial's network is not there although a trial ended well.
    """
    if best is None or judged is None:
        found = [_nothing(tried, reason, command)]
    elif _budget_ended_it(sitting, tried):
        found = [_too_dear(sitting, command)]
    else:
        found = [_value(sitting, tried, best, judged, command), _chosen(sitting, best, command)]
    return [*found, _trials(tried, command), *_importance(sitting, tried, matters, command), _seconds(tried, command)]


def write_evidence(sitting: Sitting, tried: Sequence[Tried], best: Tried | None, matters: Importance | None) -> None:
    """`optimization/search.json` holds every trial with its values, the best so far after each, and the importance of the keys."""
    contest = sitting.contest
    shown: dict[str, Any] = {
        "metric": _metric(sitting),
        "direction": sitting.direction,
        "best": None if best is None else best.number,
        "keys": [_key_json(variable) for variable in sitting.variables],
        "importances": None if matters is None else matters.shares,
        "trials": [_trial_json(sitting, one) for one in tried],
        "best_so_far": [_best_number(tried[: place + 1], sitting) for place in range(len(tried))],
    }
    write_json(contest.folder / EVIDENCE, shown)


def importance(sitting: Sitting, tried: Sequence[Tried]) -> Importance | None:
    """Return how much of the variance between trials each key explains alone (fANOVA, Hutter 2014); None where too few can be compared.

    The finished trials are compared, or where these are fewer than ten all that came to the first rung, by their values there. A range on a
    logarithmic scale counts on that.
    """
    if len(sitting.variables) < 2:
        return None
    finished = [(one, one.value) for one in tried if one.state == "finished"]
    first = sitting.rungs[0] if sitting.rungs else None
    early = [(one, one.reports[first]) for one in tried if first in one.reports]
    for pairs, epochs in ((finished, None), (early, first)):
        compared = [(one, value) for one, value in pairs if value is not None and math.isfinite(value)]
        if len(compared) >= LEAST_COMPARED and len({value for _, value in compared}) > 1:
            return Importance(shares=_shares(sitting, compared), trials=len(compared), epochs=epochs)
    return None


def _shares(sitting: Sitting, compared: Sequence[tuple[Tried, float]]) -> dict[str, float]:
    import optuna

    study = optuna.create_study(direction=sitting.direction, sampler=optuna.samplers.RandomSampler(seed=0))
    distributions = {variable.key: _scaled(variable).distribution for variable in sitting.variables}
    for one, value in compared:
        params = {each.key: math.log(one.params[each.key]) if each.log else one.params[each.key] for each in sitting.variables}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    forest = optuna.importance.FanovaImportanceEvaluator(seed=seed31(sitting.contest.recipe.seed, "search importance"))
    return {key: round(float(share), 6) for key, share in optuna.importance.get_param_importances(study, evaluator=forest).items()}


def in_words(changes: dict[str, Any]) -> str:
    """Return recipe keys with their values as a recipe would write them."""
    return ", ".join(f"{key}: {_word(value)}" for key, value in changes.items())


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _metric(sitting: Sitting) -> str:
    from weighbridge import preprocessing
    from weighbridge.evaluation import HEADLINES

    if sitting.options.metric == "loss":
        return "loss"
    encoder = preprocessing.Encoder.from_json(read_json(sitting.contest.folder / "preprocessing" / "encoder.json"))
    return HEADLINES[encoder.learnt.kind].name


def _value(sitting: Sitting, tried: Sequence[Tried], best: Tried, judged: Judged, command: str) -> Finding:
    from weighbridge.evaluation import HEADLINES, resampling_of
    from weighbridge.evaluation.comparison import compare
    from weighbridge.evaluation.verdicts import p_words
    from weighbridge.evaluation.wording import WORDS

    recipe, headline = sitting.contest.recipe, HEADLINES[judged.best.kind]
    against = compare(judged.best, judged.recipe, resampling_of(recipe.evaluation.resamples, recipe.seed))
    words: dict[str, Any] = {"trials": len(tried), "p": p_words(against.p_value)}
    if best.own:
        why = Message("none of {trials} trials is better on these rows than the recipe's own values", trials=len(tried))
    elif sitting.options.metric == "loss":
        why = Message(
            "the lowest loss of {trials} trials, chosen on these very rows, so it looks better than it is; the paired test against the "
            "recipe's own values gives p {p} before that choice is counted", **words,
        )  # fmt: skip
    else:
        why = Message(
            "the best of {trials} trials, chosen on these very rows, so it looks better than it is; the paired test against the recipe's "
            "own values gives p {p} before that choice is counted", **words,
        )  # fmt: skip
    return Finding(
        key=KEY,
        title=TITLES[headline.name],
        value=headline.value(judged.best),
        unit=WORDS[headline.name].unit,
        n=len(judged.best),
        reference=Reference(
            name=OWN_VALUES, value=headline.value(judged.recipe), difference=against.difference,
            difference_interval=against.interval, p_value=against.p_value,
        ),
        reason=why,
        method=_method(sitting),
        source=_source(sitting),
        evidence=(EVIDENCE,),
        command=f"{command} --only search",
    )  # fmt: skip


def _method(sitting: Sitting) -> Message:
    methods = {"tpe": "tree-structured Parzen estimator", "random": "random search", "grid": "grid search"}
    words: dict[str, Any] = {"method": methods[sitting.options.method], "folds": sitting.contest.recipe.optimization.cross_validation.folds}
    if words["folds"] and sitting.rungs:
        return Message("{method}; Hyperband on the first of {folds} folds; judged on rows that each fold's network did not see", **words)
    if words["folds"]:
        return Message("{method}; judged on rows that each of {folds} folds' networks did not see", **words)
    if sitting.rungs:
        return Message("{method}; Hyperband; judged on the validation rows", method=words["method"])
    return Message("{method}; judged on the validation rows", method=words["method"])


def _source(sitting: Sitting) -> str:
    sources = {"tpe": "Bergstra 2011", "random": "Bergstra and Bengio 2012", "grid": ""}[sitting.options.method]
    return "; ".join(part for part in (sources, "Li 2018; Li 2020" if sitting.rungs else "") if part)


def _chosen(sitting: Sitting, best: Tried, command: str) -> Finding:
    values = sitting.contest.recipe.model_dump(mode="json")
    own = {variable.key: value_at(values, variable.key) for variable in sitting.variables}
    return Finding(
        key=f"{KEY}.values",
        title=Message("Values that the search chose"),
        value=in_words(changes_of(sitting.variables, best.params)),
        reference=Reference(name=Message("the recipe has {values}", values=in_words(own))),
        reason=Message("they are the recipe's own") if best.own else Message("trial {number}", number=best.number + 1),
        evidence=(EVIDENCE,),
        command=f"{command} --only search.values",
    )


def _trials(tried: Sequence[Tried], command: str) -> Finding:
    failed = [one for one in tried if one.state == "failed"]
    words: dict[str, Any] = {
        "finished": sum(one.state == "finished" for one in tried),
        "behind": sum(one.state == "pruned" and one.reason == BEHIND for one in tried),
        "budget": sum(one.state == "pruned" and one.reason == BUDGET for one in tried),
        "failed": len(failed),
    }
    reason = Message("{finished} finished, {behind} ended early because they fell behind, {budget} because the budget ended", **words)
    if failed:
        reason = Message(
            "{finished} finished, {behind} ended early because they fell behind, {budget} because the budget ended; {failed} failed, the "
            "first one: {first}", first=failed[0].reason, **words,
        )  # fmt: skip
    return Finding(
        key=f"{KEY}.trials",
        title=Message("Trials of the search"),
        value=len(tried),
        unit="runs",
        reason=reason,
        evidence=(EVIDENCE,),
        command=f"{command} --only search.trials",
    )


def _importance(sitting: Sitting, tried: Sequence[Tried], matters: Importance | None, command: str) -> list[Finding]:
    if len(sitting.variables) < 2:
        return []
    if matters is None:
        title, last = Message("How much each key of the search matters"), "importance"
        finished = sum(one.state == "finished" for one in tried)
        reason = Message("{finished} trials finished; {least} with different values are needed", finished=finished, least=LEAST_COMPARED)
        return [Finding(key=f"{KEY}.{last}", title=title, verdict="unmeasured", reason=reason, command=f"{command} --only search.{last}")]
    method = Message("variance of a random forest over the finished trials, marginal in each key; those ended early are left out")
    if matters.epochs is not None:
        method = Message(
            "variance of a random forest over the values of all trials after {epochs} epochs, marginal in each key: too few finished",
            epochs=matters.epochs,
        )
    return [
        Finding(
            key=f"{KEY}.importance.{key}",
            title=Message("How much {key} matters", key=key),
            value=share,
            unit="share",
            n=matters.trials,
            n_of="runs",
            reason=Message("its share of what the keys explain one by one of the differences between trials"),
            method=method,
            source="Hutter 2014",
            evidence=(EVIDENCE,),
            command=f"{command} --only search.importance.{key}",
        )
        for key, share in matters.shares.items()
    ]


def _seconds(tried: Sequence[Tried], command: str) -> Finding:
    return Finding(
        key=f"{KEY}.seconds",
        title=Message("Time of the search"),
        value=round(sum(one.seconds for one in tried), 3),
        unit="s",
        n=len(tried),
        n_of="runs",
        method=Message("wall clock of each trial, added up over all sittings and workers"),
        command=f"{command} --only search.seconds",
    )


def _nothing(tried: Sequence[Tried], reason: str, command: str) -> Finding:
    failed = [one.reason for one in tried if one.state == "failed"]
    if reason:
        why = Message("the network of the best trial could not be trained on the run's own split: {reason}", reason=reason)
    elif failed:
        why = Message("none of {trials} trials could be trained; the first one: {reason}", trials=len(tried), reason=failed[0])
    else:
        why = Message("none of {trials} trials could end within optimization.search.budget", trials=len(tried))
    return Finding(key=KEY, title=UNKNOWN, verdict="unmeasured", reason=why, evidence=(EVIDENCE,), command=f"{command} --only search")


def _budget_ended_it(sitting: Sitting, tried: Sequence[Tried]) -> bool:
    """Whether nothing but the recipe's own values was judged because the budget was used up."""
    others = [one for one in tried if not one.own]
    return sitting.spent() and not any(one.state == "finished" or one.reason == BEHIND for one in others)


def _too_dear(sitting: Sitting, command: str) -> Finding:
    contest = sitting.contest
    once_s = float(read_json(contest.folder / "training" / "history.json")["seconds"])
    minutes = once_s * max(1, contest.recipe.optimization.cross_validation.folds) / 60
    why = Message(
        "a trial takes about {minutes} min and optimization.search.budget is {budget}: none beside the recipe's own values could end",
        minutes=round(minutes, 2),
        budget=sitting.options.budget,
    )
    return Finding(key=KEY, title=UNKNOWN, verdict="unmeasured", reason=why, evidence=(EVIDENCE,), command=f"{command} --only search")


def _trial_json(sitting: Sitting, one: Tried) -> dict[str, Any]:
    last = max(one.reports, default=None)
    return {
        "number": one.number,
        "state": one.state,
        "own": one.own,
        "value": one.value,
        "loss": one.loss,
        "params": changes_of(sitting.variables, one.params),
        "reason": one.reason,
        "reports": {str(epochs): value for epochs, value in sorted(one.reports.items()) if math.isfinite(value)},
        "last": None if last is None or not math.isfinite(one.reports[last]) else one.reports[last],
        "seconds": one.seconds,
    }


def _key_json(variable: Variable) -> dict[str, Any]:
    if variable.labels:
        return {"key": variable.key, "values": [json.loads(label) for label in variable.labels]}
    return {"key": variable.key, "low": variable.low, "high": variable.high, "log": variable.log, "whole": variable.whole}


def _best_number(tried: Sequence[Tried], sitting: Sitting) -> int | None:
    best = best_of(tried, sitting.direction)
    return None if best is None else best.number


def _scaled(variable: Variable) -> Variable:
    if not variable.log:
        return variable
    return Variable(key=variable.key, low=math.log(variable.low), high=math.log(variable.high))
