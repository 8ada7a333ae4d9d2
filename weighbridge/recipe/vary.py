"""Recipes that differ from one in named keys: what a search, a candidate and a student are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from weighbridge.recipe.schema import Recipe

VARIED = ("training", "preprocessing")


def varied(recipe: Recipe, changes: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Return the recipe with these dotted keys changed and nothing to optimise. Raises RecipeError that names key, value and rule."""
    from weighbridge.recipe.load import parse_recipe

    values = recipe.model_dump(mode="json")
    values["optimization"] = {"enabled": False}
    if "training.model.source" in changes:  # it also stands in preprocessing, whose tokens it names
        values["preprocessing"]["pretrained"] = None
    for key, value in changes.items():
        _check_key(key, where)
        _put(values, key.split("."), value)
    return parse_recipe(values, where=where)


def changed(recipe: Recipe, changes: Mapping[str, Any], sections: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Return the recipe with these dotted keys, of any section, and whole sections changed. Raises RecipeError for an unknown key."""
    from weighbridge.recipe.load import known_keys, parse_recipe

    values, known = recipe.model_dump(mode="json") | dict(sections), known_keys()
    for key, value in changes.items():
        if key not in known and not any(key.startswith(f"{name}.") for name, is_open in known.items() if is_open):
            raise RecipeError(f"{where}: there is no recipe key '{key}'{did_you_mean(key, known)}", do="see docs/recipe.md for every key")
        _put(values, key.split("."), value)
    return parse_recipe(values, where=where)


def check_varied(recipe: Recipe, where: str) -> None:
    """Raise RecipeError unless every key and value that the section optimization varies gives a recipe of its own."""
    section = recipe.optimization
    for place, changes in _changes(recipe):
        varied(recipe, changes, where=f"{where}: optimization.{place}")
    if len(section.search.space) and section.search.storage and "://" not in section.search.storage:
        raise RecipeError(
            f"{where}: optimization.search.storage: {section.search.storage} is no database URL",
            do="write postgresql://USER@HOST/NAME, or leave it out for SQLite in the run folder",
        )


def _changes(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each set of keys that is tried, by the place in the section where it stands; of a range, its ends."""
    from weighbridge.recipe.optimization import Range

    section = recipe.optimization
    for name, changes in section.candidates.items():
        yield f"candidates.{name}", changes
    if section.compression.student:
        yield "compression.student", section.compression.student
    for key, values in section.search.space.items():
        for value in range_ends(values) if isinstance(values, Range) else values:
            yield f"search.space.{key}", {key: value}


def range_ends(values: Any) -> tuple[float | int, float | int]:
    """Return the ends of a range, whole where its values are."""
    return (int(values.low), int(values.high)) if values.whole else (values.low, values.high)


def _check_key(key: str, where: str) -> None:
    """Raise RecipeError for a key that no recipe has, or that decides which rows judge."""
    from weighbridge.recipe.load import known_keys

    known = known_keys()
    if key not in known and not any(key.startswith(f"{name}.") for name, is_open in known.items() if is_open):
        raise RecipeError(f"{where}: there is no recipe key '{key}'{did_you_mean(key, known)}", do="see docs/recipe.md for every key")
    section = key.split(".")[0]
    if section not in VARIED:
        raise RecipeError(
            f"{where}: {key} can not be varied: results under different values of {section}.* could not be compared",
            do=f"vary keys of {' and '.join(VARIED)}",
        )


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        inner = values.get(name)
        values[name] = inner = inner if isinstance(inner, dict) else {}
        values = inner
    if last in ("model", "optimizer", "schedule") and isinstance(value, str):
        value = {**values.get(last, {}), "type": value}
    values[last] = value
