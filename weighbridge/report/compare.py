"""Two runs side by side: the same findings of both, whether their intervals lie apart, and the recipe keys that differ.

This is a reading aid, not a test: two runs judged on the same rows are compared by the paired test of evaluation, which finds differences
that intervals that overlap can hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RunError
from weighbridge.findings import Finding, Message
from weighbridge.report.evidence import Run, read_run
from weighbridge.report.line import line
from weighbridge.report.sheet import is_price
from weighbridge.report.verdict import AGAINST
from weighbridge.report.whisker import as_number
from weighbridge.report.words import Language, plain, speaker, spoken_language

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same finding of both runs; `apart` is True where both have intervals and these do not overlap, None where it can not be said."""

    key: str
    title: Message
    a: Finding | None
    b: Finding | None
    apart: bool | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs beside each other; `recipe` holds (key, value in a, value in b) where they differ, None where a key is absent."""

    names: tuple[str, str]
    language: str
    same_data: bool | None
    same_model: bool | None
    pairs: tuple[Pair, ...]
    recipe: tuple[tuple[str, str | None, str | None], ...]


def compare_runs(a: Path, b: Path) -> Comparison:
    """Return runs `a` and `b` side by side. Raises RunError when one is not a run or is damaged; a recipe may be missing."""
    first, second = read_run(a), read_run(b)
    names = (first.name, second.name) if first.name != second.name else (str(a), str(b))
    return Comparison(
        names=(plain(names[0], 60), plain(names[1], 60)),
        language=spoken_language(None, first.about),
        same_data=_same(first, second, "data_sha256"),
        same_model=_same(first, second, "model_sha256"),
        pairs=tuple(_pairs(first, second)),
        recipe=tuple(_differing(_recipe(a), _recipe(b))),
    )


def print_comparison(comparison: Comparison, console: Console, language: str | None = None) -> None:
    """`console` shows the comparison: findings, then recipe keys. Text of the runs is never read as markup."""
    from rich.text import Text

    spoken = spoken_language(language or comparison.language, {})
    say = speaker(spoken)
    if comparison.same_data is False:
        warning = say(Message("The two runs were given different data: their figures are not about the same rows."))
        console.print(Text(warning, "bold dark_orange"), highlight=False)
    if comparison.same_model:
        console.print(Text(say(Message("Both runs hold the same model, bit for bit.")), "dim"), highlight=False)
    console.print(_findings_table(comparison, spoken), highlight=False)
    note = Message("Intervals that overlap do not make two models equal; where both were judged on the same rows, the paired test decides.")
    console.print(Text(say(note), "dim"), highlight=False)
    if comparison.recipe:
        console.print(_recipe_table(comparison, spoken), highlight=False)


def _findings_table(comparison: Comparison, language: Language) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    say = speaker(language)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in comparison.names:
        table.add_column(Text(name), justify="right")
    table.add_column(Text(say(Message("intervals"))))
    for pair in comparison.pairs:
        apart = {True: Message("apart"), False: Message("overlap"), None: Message("")}[pair.apart]
        table.add_row(
            Text(say(pair.title)), _cell(pair.a, language), _cell(pair.b, language), Text(say(apart), "bold" if pair.apart else "dim")
        )
    return table


def _recipe_table(comparison: Comparison, language: Language) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(speaker(language)(Message("recipe key"))))
    for name in comparison.names:
        table.add_column(Text(name))
    for key, left, right in comparison.recipe:
        table.add_row(Text(key), Text(plain(left or "")), Text(plain(right or "")))
    return table


def _cell(finding: Finding | None, language: Language) -> Any:
    from rich.text import Text

    if finding is None:
        return Text("")
    if finding.verdict == "unmeasured":
        return Text(speaker(language)(Message("not measured")), "dim")
    item = line(finding, language)
    return Text.assemble((item.value, "bold" if finding.headline else ""), (f"\n{item.interval}" if item.interval else "", "dim"))


def _pairs(first: Run, second: Run) -> Iterator[Pair]:
    """Yield headlines, then the evaluation, then the price; what only one run has is beside nothing."""
    left, right = ({finding.key: finding for finding in run.findings if _is_compared(finding)} for run in (first, second))
    keys = list(dict.fromkeys([*left, *right]))
    for key in sorted(keys, key=lambda key: (not _headline(left.get(key), right.get(key)), is_price(key))):
        a, b = left.get(key), right.get(key)
        title = (a or right[key]).title
        yield Pair(key=key, title=title, a=a, b=b, apart=_apart(a, b))


def _is_compared(finding: Finding) -> bool:
    if finding.key.startswith(AGAINST):
        return False
    measured = as_number(finding.value) is not None or finding.verdict == "unmeasured"
    return measured and (finding.headline or finding.stage == "evaluation" or is_price(finding.key))


def _headline(a: Finding | None, b: Finding | None) -> bool:
    return any(finding is not None and finding.headline for finding in (a, b))


def _apart(a: Finding | None, b: Finding | None) -> bool | None:
    if a is None or b is None or a.interval is None or b.interval is None or a.unit != b.unit:
        return None
    return a.interval[1] < b.interval[0] or b.interval[1] < a.interval[0]


def _same(first: Run, second: Run, key: str) -> bool | None:
    a, b = first.about.get(key), second.about.get(key)
    return None if not a or not b else a == b


def _recipe(folder: Path) -> dict[str, str]:
    """Return the run's recipe as flat keys; {} where it has none. Raises RunError when it is not YAML."""
    import yaml

    try:
        values = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{folder / 'recipe.yaml'} can not be read ({error})", do="give the folder of a run that is not damaged") from None
    return dict(_flat("", values)) if isinstance(values, Mapping) else {}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    else:
        yield prefix, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _differing(left: Mapping[str, str], right: Mapping[str, str]) -> Iterator[tuple[str, str | None, str | None]]:
    for key in dict.fromkeys([*left, *right]):
        if left.get(key) != right.get(key):
            yield key, left.get(key), right.get(key)
