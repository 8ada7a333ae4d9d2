"""What pretraining is worth: one recipe from scratch and from the pretrained weights, at several numbers of training rows, as one table.

    python scripts/transfer.py RECIPE [--scratch RECIPE] [--sizes 100,1000,all] [--tune frozen] [--runs runs] [--set KEY=VALUE ...]
                                      [--write docs/transfer.md]

The recipe's `training.model.type` is `pretrained`. The network from scratch is that of `--scratch`, a recipe with the same data, or has the
same form (`tune: scratch`). Smaller parts of the training rows lie within larger ones (`data.split.train_rows`), and all networks are
judged on the same test rows: differences are paired.
Each network is a run of its own under --runs, taken up again where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weighbridge import lifecycle
from weighbridge.errors import RecipeError, RunError, WeighbridgeError
from weighbridge.evaluation.comparison import holm
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.recipe import Recipe, load_recipe
from weighbridge.report.words import difference, interval, number
from weighbridge.stages.comparison import paired
from weighbridge.storage import read_json, write_text

SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One size: the run from scratch, the run from pretrained weights, and the paired difference of the two."""

    rows: int
    tune: str
    scratch: Finding
    pretrained: Finding
    linear: Finding | None
    gain: Finding
    p_value: float = 1.0


def measure(
    path: Path, sizes: Sequence[int | None], tunes: Sequence[str], runs: Path, overrides: Sequence[str], other: Path | None = None
) -> list[Row]:
    """Return a row for each way of tuning and each size (None: all rows), its p-value corrected by Holm over all of them."""
    found = []
    for size in sizes:
        scratch = _run(path, size, SCRATCH, runs, overrides) if other is None else _run(other, size, None, runs, overrides)
        for tune in tunes:
            own = _run(path, size, tune, runs, overrides)
            found.append(_row(own, scratch, tune))
    corrected = holm([_p(row.gain) for row in found])
    return [Row(**{**vars(row), "p_value": p}) for row, p in zip(found, corrected, strict=True)]


def _run(path: Path, size: int | None, tune: str | None, runs: Path, overrides: Sequence[str]) -> Path:
    """Run a recipe at a size up to its evaluation and return its folder; `tune` None: the recipe as it stands."""
    name = f"{path.stem}-{tune or SCRATCH}-{size or 'all'}"
    changes = [*overrides, f"name={name}", "evaluation.baselines=[linear]", *([f"training.model.tune={tune}"] if tune else [])]
    recipe = load_recipe(path, [*changes, f"data.split.train_rows={size}"] if size else changes)
    if tune:
        _check(recipe)
    print(f"{name} ...", file=sys.stderr, flush=True)
    lifecycle.run(recipe, runs / name, until="evaluation")
    return runs / name


def _check(recipe: Recipe) -> None:
    if recipe.training.model.type != "pretrained":
        raise RecipeError(f"training.model.type is {recipe.training.model.type}", do="the table needs a recipe of type pretrained")


def _row(own: Path, scratch: Path, tune: str) -> Row:
    ours, theirs = (read_findings(run / "findings.jsonl") for run in (own, scratch))
    gains = paired(own, scratch)
    if not gains:
        raise RunError(f"{own} and {scratch} were not judged on the same test rows", do="remove both and run again")
    rows = str(_known(ours, "data.split").value).split("/")[0].replace(",", "")
    return Row(
        rows=int(rows), tune=tune, scratch=_headline(theirs), pretrained=_headline(ours),
        linear=by_key(ours, "evaluation.baseline.linear"), gain=gains[0],
    )  # fmt: skip


def _headline(findings: list[Finding]) -> Finding:
    return next(found for found in findings if found.headline and found.key.startswith("evaluation."))


def _known(findings: list[Finding], key: str) -> Finding:
    found = by_key(findings, key)
    if found is None:
        raise RunError(f"the run has no finding {key}", do="remove it and run again")
    return found


def _p(gain: Finding) -> float:
    return gain.reference.p_value if gain.reference is not None and gain.reference.p_value is not None else 1.0


HEADS = ("training rows", "tuned", "from scratch (95 % interval)", "pretrained (95 % interval)", "linear on TF-IDF",
         "pretraining is worth (95 % interval, paired)", "p (Holm)")  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| " + " | ".join(HEADS) + " |", "| " + " | ".join(["---"] * len(HEADS)) + " |"]
    for row in rows:
        scores = (_shown(row.scratch), _shown(row.pretrained), _shown(row.linear))
        cells = (f"{row.rows:,}", row.tune, *scores, _gain(row.gain), f"{row.p_value:.2g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


PAGE = """# What pretraining is worth

The same question asked of a network whose weights are drawn anew and of one that begins with pretrained weights, at several numbers of
training rows. All are judged on the same {test} test rows; the last but one column is the paired difference, positive where pretraining
is better, and its p-value is corrected for the number of rows of the table.

{table}

From scratch: {scratch}. Pretrained: {pretrained}. "Linear on TF-IDF" reads the tokens of the pretrained recipe.

Measured on {date} ({machine}) with:

```sh
{command}
```
"""


def page(rows: Sequence[Row], runs: Sequence[Path], command: str) -> str:
    """Return the table with what it was measured on, as a Markdown page; `runs` are one from scratch and one pretrained."""
    facts = [read_json(run / "run.json") for run in runs]
    machine = facts[-1]["machine"]
    where = f"{machine['cores']} x {machine['cpu']}, PyTorch {facts[-1]['versions']['torch']}"
    words = [_network(run) for run in runs]
    return PAGE.format(
        table=table(rows), scratch=words[0], pretrained=words[1], date=time.strftime("%Y-%m-%d"), machine=where, command=command,
        test=f"{rows[0].pretrained.n:,}",
    )  # fmt: skip


def _network(run: Path) -> str:
    known = read_json(run / "training" / "model.json")
    spec = known["spec"]
    name = f"{spec['type']} {Path(spec['pretrained']['source']).name}" if spec["pretrained"] else f"{spec['type']}"
    return f"{name}, {known['parameters']:,} of {known['all_parameters']:,} weights trained"


def _shown(finding: Finding | None) -> str:
    if finding is None or not isinstance(finding.value, int | float):
        return "not measured"
    if finding.interval is None:
        return number(finding.value, finding.unit)
    low, high = finding.interval
    return f"{number(finding.value, finding.unit, spread=high - low)} ({interval(low, high, finding.value, finding.unit)})"


def _gain(finding: Finding) -> str:
    reference = finding.reference
    if reference is None or reference.difference is None or reference.difference_interval is None:
        return "not measured"
    low, high = reference.difference_interval
    ends = f"{difference(low, finding.unit, spread=high - low)} to {difference(high, finding.unit, spread=high - low)}"
    return f"{difference(reference.difference, finding.unit, spread=high - low)} ({ends})"


def _sizes(text: str) -> list[int | None]:
    return [None if part.strip() == "all" else int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. Exit code of the error, with one line, where it can not be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--scratch", type=Path, help="recipe of the network from scratch; default: the same form, weights drawn anew")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown page, too")
    parser.add_argument("--sizes", type=_sizes, default=[100, 1000, None], help="training rows, `all` for all of them")
    parser.add_argument("--tune", default="frozen", help="ways of tuning, with commas between them")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        tunes = options.tune.split(",")
        rows = measure(options.recipe, options.sizes, tunes, options.runs, options.overrides, options.scratch)
        if options.write:
            size, other = options.sizes[-1] or "all", options.scratch or options.recipe
            runs = [options.runs / f"{other.stem}-{SCRATCH}-{size}", options.runs / f"{options.recipe.stem}-{tunes[-1]}-{size}"]
            given = sys.argv[1:] if arguments is None else arguments
            write_text(options.write, page(rows, runs, f"python scripts/transfer.py {' '.join(given)}"))
    except WeighbridgeError as error:
        print(f"transfer: {error}", file=sys.stderr)
        return error.exit_code
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
