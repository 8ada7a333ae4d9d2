"""What a search varies: recipe keys with the values that each may take, as the search library's distributions, and what is tried next.

A proposal follows from the recipe's seed, the number of the trial and the trials before it, and from nothing that a process holds: so a
search that was killed proposes what it would have proposed. A combination is tried once.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from weighbridge.errors import RecipeError
from weighbridge.recipe.vary import varied
from weighbridge.storage.hashes import canonical_json
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from weighbridge.recipe import Recipe

Params = dict[str, Any]  # what the search library holds: a number of a range, or the canonical JSON of a value of a list
Direction = Literal["minimize", "maximize"]
REDRAWS = 50  # of a combination that was tried; then all but a few of them were
MANY = 1_000_000  # combinations that are counted out one by one; of more, draws do not meet
STARTUP = 10  # trials drawn at random before TPE takes over (Bergstra 2011)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A recipe key and what it may be: `labels` are the canonical JSON of a list's values; a range has none and its ends instead.

    Attributes:
        step: distance between values; None: any number (a whole one where `whole`).
    """

    key: str
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def distribution(self) -> BaseDistribution:
        """How the search library draws it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.labels:
            return CategoricalDistribution(self.labels)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=1 if self.step is None else int(self.step))
        high = self.high if self.step is None else round(self.high, 12)  # 1.7000000000000002 is no multiple of 0.1 to Optuna, 1.7 is
        return FloatDistribution(self.low, high, log=self.log, step=self.step)

    @property
    def count(self) -> int | None:
        """How many values there are; None where a range has any number."""
        if self.labels:
            return len(self.labels)
        step = 1.0 if self.whole and self.step is None else self.step
        return None if step is None else round((self.high - self.low) / step) + 1

    def at(self, place: int) -> Any:
        """Return the value at a place in [0, count) as the search library holds it."""
        if self.labels:
            return self.labels[place]
        value = round(self.low + place * (1.0 if self.step is None else self.step), 12)
        return round(value) if self.whole else value

    def holds(self, value: Any) -> bool:
        """Whether a number of the recipe lies in the range, on a step of it."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        step = 1.0 if self.whole and self.step is None else self.step
        return step is None or abs((value - self.low) / step - round((value - self.low) / step)) < 1e-9

    def value(self, held: Any) -> Any:
        """Return what the recipe is given."""
        return json.loads(held) if self.labels else held


def variables_of(recipe: Recipe) -> list[Variable]:
    """Return what the recipe's search varies, in its order. Raises RecipeError for a value that JSON can not hold."""
    from weighbridge.recipe.optimization import Range

    space = recipe.optimization.search.space
    return [_range(recipe, key, values) if isinstance(values, Range) else _list(key, values) for key, values in space.items()]


def changes_of(variables: Sequence[Variable], params: Params) -> dict[str, Any]:
    """Return recipe key -> value of a proposal."""
    return {variable.key: variable.value(params[variable.key]) for variable in variables}


def size_of(variables: Sequence[Variable]) -> int | None:
    """Return how many combinations there are; None where a range has any number."""
    counts = [variable.count for variable in variables]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key of a recipe as a mapping, None where there is none."""
    found: Any = values
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def own_params(recipe: Recipe, variables: Sequence[Variable], chosen: Mapping[str, Any]) -> Params | None:
    """Return the recipe's own values as a proposal; None where one of them lies outside the space.

    Args:
        chosen: key -> value that the training stage took where the recipe says auto.
    """
    plain, values = varied(recipe, {}), recipe.model_dump(mode="json")
    params: Params = {}
    for variable in variables:
        own = value_at(values, variable.key)
        own = chosen.get(variable.key, own) if own in ("auto", None) or isinstance(own, dict) else own
        if not variable.labels and variable.holds(own):
            params[variable.key] = int(own) if variable.whole else float(own)
        elif variable.labels:
            same = [label for label in variable.labels if _is_own(recipe, plain, variable.key, json.loads(label), own)]
            params |= {variable.key: same[0]} if same else {}
    return params if len(params) == len(variables) else None


def propose(
    variables: Sequence[Variable],
    past: Sequence[FrozenTrial],
    *,
    method: Literal["tpe", "random", "grid"],
    direction: Direction,
    seed: int,
    names: Sequence[str | int],
) -> Params | None:
    """Return a combination that no trial of `past` has; None where the space was gone through.

    Args:
        past: the trials so far in their order, those under way among them; the number of the next one is their count.
        names: of the draw, beside the number of the trial.
    """
    tried = {canonical_json(trial.params) for trial in past if trial.params}
    size = size_of(variables)
    if size is not None and len(tried) >= size:
        return None
    if method == "grid":
        return _next_of_grid(variables, tried, seed, names)
    for again in range(REDRAWS):
        params = _drawn(variables, past, method, direction, seed31(seed, "search", *names, len(past), again))
        if canonical_json(params) not in tried:
            return params
    return None if size is None or size > MANY else _next_of_grid(variables, tried, seed, names)


def _drawn(variables: Sequence[Variable], past: Sequence[FrozenTrial], method: str, direction: Direction, seed: int) -> Params:
    """Return what a fresh sampler draws that knows the trials so far. Every trial counts for it, whatever bracket it is pruned in."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of a joint model of the keys, before optuna 5
        sampler: optuna.samplers.BaseSampler
        if method == "tpe":
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner(), direction=direction)
        study.add_trials(past)
        return dict(study.ask({variable.key: variable.distribution for variable in variables}).params)


def _next_of_grid(variables: Sequence[Variable], tried: Collection[str], seed: int, names: Sequence[str | int]) -> Params | None:
    """Return the first combination in the shuffled order of all of them that was not tried.

    The library's own grid sampler tries a combination again that was given to it, and stops a study that is asked from outside.
    """
    size = size_of(variables)
    assert size is not None
    random = rng(seed, "search grid", *names)
    order = random.permutation(size) if size <= MANY else random.choice(size, len(tried) + 1, replace=False)
    for place in order:
        params = _combination(variables, int(place))
        if canonical_json(params) not in tried:
            return params
    return None


def _combination(variables: Sequence[Variable], place: int) -> Params:
    """Return one combination of all, counted with the last variable running fastest."""
    params: Params = {}
    for variable in reversed(variables):
        assert variable.count is not None
        place, own = divmod(place, variable.count)
        params[variable.key] = variable.at(own)
    return {variable.key: params[variable.key] for variable in variables}


def _list(key: str, values: Sequence[Any]) -> Variable:
    try:
        return Variable(key=key, labels=tuple(dict.fromkeys(canonical_json(value) for value in values)))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"optimization.search.space.{key}: {list(values)!r} holds what JSON can not ({error})", do="give numbers, words, lists or null"
        ) from None


def _range(recipe: Recipe, key: str, given: Any) -> Variable:
    """Return a range; whole numbers where it says so, or where the key takes no others (1 to 2 layers)."""
    ends_whole = float(given.low).is_integer() and float(given.high).is_integer() and (given.step is None or float(given.step).is_integer())
    whole = given.whole or (ends_whole and not _takes_fractions(recipe, key, given))
    high = given.high if given.step is None else given.low + given.step * math.floor((given.high - given.low) / given.step + 1e-9)
    return Variable(key=key, low=float(given.low), high=float(high), log=given.log, step=given.step, whole=whole)


def _takes_fractions(recipe: Recipe, key: str, given: Any) -> bool:
    try:
        varied(recipe, {key: (given.low + given.high) / 2 + 0.25 * (given.high - given.low)})
    except RecipeError:
        return False
    return True


def _is_own(recipe: Recipe, plain: Recipe, key: str, value: Any, own: Any) -> bool:
    """Whether a value of a list gives the recipe as it is: by its own words, or by what auto became."""
    if np.isscalar(own) and type(value) is type(own) and value == own:
        return True
    try:
        return varied(recipe, {key: value}) == plain
    except RecipeError:
        return False
