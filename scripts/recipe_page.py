"""`docs/recipe.md` lists every key of the recipe with its default and meaning, taken from the pydantic model itself.

python scripts/recipe_page.py           writes the page
python scripts/recipe_page.py --check   exit 1 when the page is not what it would write
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from weighbridge.recipe import Recipe, load_recipe

PAGE = Path(__file__).parent.parent / "docs" / "recipe.md"
HEAD = """\
# The recipe

<!-- scripts/recipe_page.py writes this page from weighbridge/recipe/schema.py; do not edit it by hand -->

One YAML file says what a run does. The smallest one names the data and the column to predict:

```yaml
data:
  source: reviews.csv
  target: sentiment
```

Every key below has a default that an expert would accept. An unknown key is refused, with the nearest known one named.
`weigh check RECIPE` prints all defaults resolved, `weigh schema` the JSON Schema for editors, and `--set training.epochs=3`
overrides a key from the command line.
"""
TABLE = ("| key | values | default | meaning |", "| --- | --- | --- | --- |")


def keys(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Give every key of the recipe with its dotted path: a section's plain keys, then each section in it with what it holds."""
    fields = section.model_fields.items()
    yield from ((f"{path}{name}", info) for name, info in fields if section_of(info.annotation) is None)
    for name, info in fields:
        inner = section_of(info.annotation)
        if inner is not None:
            yield f"{path}{name}", info
            yield from keys(inner, f"{path}{name}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an annotation stands for, or None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def words(annotation: Any) -> str:
    """Return a type as a person writes it: `number`, `a | b`, `list of text`."""
    plain = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "any"}
    if annotation in plain:
        return plain[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return words(inner[0])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " \\| ".join(words(part) for part in inner)
    if origin is list:
        return f"list of {words(inner[0])}"
    if origin is tuple:
        return " and ".join(words(part) for part in inner)
    if origin is dict:
        return f"mapping of ({words(inner[0])}) to ({words(inner[1])})"
    return f"mapping of {', '.join(annotation.model_fields)}" if section_of(annotation) else "section"


def default(info: FieldInfo) -> str:
    """Return a key's default as YAML would show it."""
    if info.default is PydanticUndefined:
        return "**required**"
    text = json.dumps(info.default, ensure_ascii=False)
    return f"`{text[1:-1] if isinstance(info.default, str) and info.default else text}`"


def page() -> str:
    """Return the whole page."""
    top = ["## The top", "", *TABLE]
    for path, info in keys(Recipe):
        meaning = (info.description or "").replace("|", "\\|")
        if section_of(info.annotation) is not None:
            mark = "##" if "." not in path else "###"
            top += ["", f"{mark} `{path}`", "", f"{meaning[:1].upper()}{meaning[1:]}.", "", *TABLE]
        else:
            top.append(f"| `{path}` | {words(info.annotation)} | {default(info)} | {meaning} |")
    return "\n".join([HEAD, *_without_empty_tables(top)]).rstrip("\n") + "\n" + _examples()


def _without_empty_tables(lines: list[str]) -> Iterator[str]:
    """Drop the heads of tables without a row: a section that holds only sections."""
    for place, line in enumerate(lines):
        is_head = line.startswith("| key |") and not (place + 2 < len(lines) and lines[place + 2].startswith("| `"))
        is_rule = line.startswith("| --- |") and not (place + 1 < len(lines) and lines[place + 1].startswith("| `"))
        if not is_head and not is_rule:
            yield line


def _examples() -> str:
    folder = PAGE.parent.parent / "examples"
    lines = ["", "## Examples", ""]
    for path in sorted(folder.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- `examples/{path.name}` ({load_recipe(path).training.model.type}): {first}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    text = page()
    if "--check" in arguments:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != text:
            print("docs/recipe.md is not current: run `python scripts/recipe_page.py`", file=sys.stderr)
        return int(current != text)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
