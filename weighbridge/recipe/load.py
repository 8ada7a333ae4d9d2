"""A YAML file becomes a Recipe, or one line that says which key is wrong and which was meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from weighbridge.errors import DataError, RecipeError, did_you_mean
from weighbridge.recipe.feedback import FeedbackSection
from weighbridge.recipe.vary import check_varied

if TYPE_CHECKING:
    from pydantic import ValidationError

    from weighbridge.recipe.schema import Recipe


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a YAML file with `a.b=c` overrides applied; relative sources stay relative to the working folder.

    The run's name defaults to the file's name without its ending. Raises RecipeError with one line.
    """
    values = _read_yaml(path)
    for text in overrides:
        _override(values, text)
    if values.get("name") is None:
        values["name"] = path.stem
    return parse_recipe(values, where=str(path))


def parse_recipe(values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Return the validated recipe. Raises RecipeError that names the key, its value, the rule and the nearest known key."""
    from pydantic import ValidationError

    from weighbridge.recipe.schema import RECIPE_VERSION, Recipe

    version = values.get("version", RECIPE_VERSION)
    if isinstance(version, int) and version > RECIPE_VERSION:
        raise RecipeError(f"{where} has version {version}, this Weighbridge reads up to {RECIPE_VERSION}", do="install a newer weighbridge")
    try:
        recipe = Recipe.model_validate(dict(values))
    except ValidationError as error:
        raise _one_line(error, where) from None
    if recipe.optimization.enabled:
        check_varied(recipe, where)
    return recipe


def resolved_yaml(recipe: Recipe) -> str:
    """Return the recipe with every default written out, as YAML that loads to an equal recipe."""
    import yaml

    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a recipe, for editors."""
    from weighbridge.recipe.schema import Recipe

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"there is no recipe {path}", do="give the path of a YAML file, or make one with `weigh init DATA --target COLUMN`"
        ) from None
    except IsADirectoryError:
        raise RecipeError(f"{path} is a folder", do="give the path of a recipe, a YAML file") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text (byte {error.start})", do="save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise RecipeError(f"{path} nests its values too deep", do="a recipe has four levels at most") from None
    except ValueError as error:  # a date such as 2024-99-99, a whole number of 5,000 digits
        raise RecipeError(f"{path} holds a value that is none: {error}", do="quote it, or mend it") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no keys", do="a recipe needs at least data.source and data.target")
    return values


def _override(values: dict[str, Any], text: str) -> None:
    """Apply `a.b=c`; the value is read as YAML."""
    import yaml

    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {text} has no '='", do="write it as --set training.epochs=3")
    *parents, last = key.strip().split(".")
    place = values
    for name in parents:
        inner = place.get(name)
        if isinstance(inner, str) and name in ("model", "optimizer", "schedule"):
            inner = {"type": inner}
        place[name] = dict(inner) if isinstance(inner, dict) else {}
        place = place[name]
    try:
        place[last] = yaml.safe_load(raw)
    except yaml.YAMLError:
        raise RecipeError(f"--set {text}: the value is not valid YAML", do="quote it") from None


def _one_line(error: ValidationError, where: str) -> RecipeError:
    """Return the first problem as one line; further ones are counted."""
    problems = error.errors()
    first = sorted(problems, key=lambda problem: problem["type"] != "extra_forbidden")[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        return RecipeError(
            f"{where}: unknown key '{key}'{did_you_mean(str(first['loc'][-1]), known)}{more}", do=f"known here: {', '.join(sorted(known))}"
        )
    if first["type"] == "missing":
        return RecipeError(f"{where}: '{key}' is missing{more}", do=f"add {key}: to the recipe")
    message = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] == "value_error" else f", not {first['input']!r}"
    return RecipeError(f"{where}: {key + ': ' if key else ''}{message}{value}{more}", do="see `weigh schema` or docs/recipe.md")


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at `location` knows."""
    from pydantic import BaseModel

    from weighbridge.recipe.schema import Recipe

    section: type[BaseModel] = Recipe
    for part in location:
        if part not in section.model_fields:
            continue
        annotation = section.model_fields[part].annotation
        choices = (annotation, *get_args(annotation))
        found = [kind for kind in choices if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            return []
        section = found[0]
    return list(section.model_fields)


def known_keys() -> dict[str, bool]:
    """Return every dotted key that a recipe may have, and whether it is a mapping whose own keys are free."""
    from weighbridge.recipe.schema import Recipe

    return dict(_dotted(Recipe))


def _dotted(section: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    from pydantic import BaseModel

    for name, info in section.model_fields.items():
        yield f"{path}{name}", getattr(info.annotation, "__origin__", None) is dict
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _dotted(info.annotation, f"{path}{name}.")


def check_known(word: str, known: Sequence[str], what: str) -> None:
    """Raise DataError with the nearest known word unless `word` is known."""
    if word not in known:
        shown = ", ".join(list(known)[:12]) + (" ..." if len(known) > 12 else "")
        raise DataError(f"there is no {what} '{word}'{did_you_mean(word, known)}", do=f"known: {shown}")


def changed_feedback(section: FeedbackSection, changes: Sequence[str]) -> FeedbackSection:
    """Return the section with keys set, each as `policy.promote=auto`. Raises RecipeError with the nearest known key."""
    from pydantic import ValidationError

    values = section.model_dump(mode="json")
    for text in changes:
        _override(values, text)
    try:
        return FeedbackSection.model_validate(values)
    except ValidationError as error:
        raise _one_line(error, "feedback") from None
