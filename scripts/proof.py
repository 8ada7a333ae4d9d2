"""README.md, README.zh-CN.md and docs/examples.md show what was measured, between their markers.

From the run folders (proof_examples.py), and from the records of benchmarks and tests (proof_promises.py). `make proof` makes both.

    python scripts/proof.py                     rewrites the pages from runs/ and bench/results/proof/
    python scripts/proof.py --runs FOLDER       from another folder of runs
    python scripts/proof.py --measured FOLDER   from another folder of records
    python scripts/proof.py --check             exit 1 when a page is not what it would write

A run counts only when it is of the recipe in examples/ as it stands now; else its row says that it was not measured.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from proof_examples import Run, Runs, finished_runs, real_data, worded
from proof_promises import Records, calibration_records, promises, read_records

from weighbridge.errors import WeighbridgeError
from weighbridge.report import print_sheet
from weighbridge.report.words import Language

ROOT = Path(__file__).resolve().parent.parent
PAGES: dict[str, Language] = {"README.md": "en", "README.zh-CN.md": "zh", "docs/examples.md": "en"}
SCREEN_LINES = 30


def where(runs: Runs, language: Language) -> str:
    """Return the sentence that says on which machine and with which versions the figures were made."""
    if not runs:
        return worded(
            ("No run of these recipes was found: `make proof` makes them.", "没有找到这些配方的运行：`make proof` 会生成它们。"), language
        )
    places = sorted({f"{run.about['machine']['cores']} x {run.about['machine']['cpu']}" for run in runs.values()})
    used = sorted({f"Python {run.about['versions']['python']}, torch {run.about['versions']['torch']}" for run in runs.values()})
    days = sorted({str(run.about["started"])[:10] for run in runs.values()})
    day = days[0] if len(days) == 1 else f"{days[0]} – {days[-1]}"
    made = f"{'; '.join(places)}; {'; '.join(used)}; {day}"
    return worded(
        (f"From runs of these recipes as they stand in `examples/` ({made}).", f"来自 `examples/` 中现有配方的运行（{made}）。"), language
    )


def proof(runs: Runs, records: Records, page: str, language: Language) -> str:
    """Return what stands between the markers `proof` of a page."""
    table = real_data(runs, language)
    if page.startswith("docs/"):
        return "\n".join([where(runs, language), "", *table])
    titles = (
        worded(("### What is promised and what was measured", "### 承诺了什么，测得什么"), language),
        worded(("### Real data", "### 真实数据"), language),
    )
    return "\n".join([where(runs, language), "", titles[0], "", *promises(runs, records, language), "", titles[1], "", *table])


def screen(folder: Path, language: Language) -> str:
    """Return the balance sheet of a run as the terminal shows it at 80 columns, down to its price."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, color_system=None, legacy_windows=False)
    print_sheet(folder, console, language)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    kept = lines[
        : next((place for place, line in enumerate(lines) if any(f" {price} " in line for price in ("Price", "代价"))), len(lines))
    ]
    return "\n".join(kept[:SCREEN_LINES]).rstrip()


def output(run: Run, language: Language) -> str:
    """Return the block between the markers `output`: the command and what it printed."""
    wish = "" if language == "en" else f" --set report.language={language}"
    return f"```console\n$ weigh run examples/{run.folder.name}.yaml{wish}\n...\n{screen(run.folder, language)}\n...\n```"


def renewed(text: str, name: str, content: str) -> str:
    """Return `text` with what stands between the markers `name` replaced. Raises ValueError when a marker is missing."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"the markers {start} and {end} do not stand once each, in this order")
    return f"{text[: text.index(start)]}{start}\n\n{content}\n\n{text[text.index(end) :]}"


def pages(runs: Path, measured: Path, root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Give each page with its new text."""
    found = finished_runs(runs, root / "examples")
    records = read_records(measured) | calibration_records(root / "docs" / "calibration.json")
    for name, language in PAGES.items():
        text = renewed((root / name).read_text(encoding="utf-8"), "proof", proof(found, records, name, language))
        if "digits" in found and not name.startswith("docs/"):
            text = renewed(text, "output", output(found["digits"], "en"))  # both pages have the same commands
        yield root / name, text


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write or check the pages. Exit code 1 when one is not current, 2 when it can not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=root / "runs", help="folder of the run folders")
    parser.add_argument("--measured", type=Path, default=root / "bench" / "results" / "proof", help="folder of the records")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not current")
    wishes = parser.parse_args(arguments)
    try:
        made = list(pages(wishes.runs, wishes.measured, root))
    except (OSError, ValueError, WeighbridgeError) as error:
        print(f"proof: {error}", file=sys.stderr)
        return 2
    stale = [path.name for path, text in made if path.read_text(encoding="utf-8") != text]
    if wishes.check:
        if stale:
            print(f"proof: not current: {', '.join(stale)}: run `python scripts/proof.py`", file=sys.stderr)
        return int(bool(stale))
    for path, text in made:
        path.write_text(text, encoding="utf-8")
    print(f"proof: renewed {', '.join(stale) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
