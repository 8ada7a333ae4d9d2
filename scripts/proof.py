"""README.md, README.zh-CN.md and docs/examples.md show what was measured, between their markers.

From the run folders, and for two promises from bench/README.md (start-up) and docs/calibration.json (coverage).

    python scripts/proof.py                 rewrites the pages from runs/
    python scripts/proof.py --runs FOLDER   from another folder of runs
    python scripts/proof.py --check         exit 1 when a page is not what it would write

A run counts only when it is of the recipe in examples/ as it stands now; else its row says that it was not measured.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.errors import WeighbridgeError
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.report import print_sheet
from weighbridge.report.words import Language, difference, duration, interval, number

ROOT = Path(__file__).resolve().parent.parent
PAGES: dict[str, Language] = {"README.md": "en", "README.zh-CN.md": "zh", "docs/examples.md": "en"}
SCREEN_LINES = 30
NO_INTERVAL = ("or says that", "get no warning")  # what they count is not coverage
STARTUP = re.compile(r"^\| `(import weighbridge|weigh --help)` \| ([\d.]+) ", re.MULTILINE)
BASELINES = {"trivial": ("constant answer", "恒定答案"), "linear": ("linear model", "线性模型"), "boosting": ("boosting", "梯度提升")}
METRICS = {"accuracy": ("accuracy", "准确率"), "rmse": ("RMSE", "RMSE"), "f1_micro": ("micro F1", "微平均 F1")}
HEADS = (
    ("example", "示例"), ("question", "问题"), ("rows: train / validation / test", "行数：训练 / 验证 / 测试"),
    ("result (95 % interval)", "结果（95 % 区间）"), ("best baseline", "最好的基线"), ("better by (95 % interval)", "领先（95 % 区间）"),
    ("in words", "结论"), ("published", "已发表的结果"), ("time to train", "训练用时"), ("package", "包大小"), ("one answer", "单行应答"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Example:
    """A recipe of examples/, what it asks in English and Chinese, and what others published for it (PEERS.md and DATA.md)."""

    name: str
    asks: tuple[str, str]
    published: tuple[str, str] = ("", "")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run of an example."""

    folder: Path
    about: Mapping[str, Any]
    findings: list[Finding]

    def value(self, key: str) -> float | None:
        """Return the number that a finding holds, or None."""
        found = by_key(self.findings, key)
        return float(found.value) if found is not None and isinstance(found.value, int | float) else None


Runs = dict[str, Run]
EXAMPLES = (
    Example(name="digits", asks=("which of ten digits, 8 x 8 pixels", "十个数字中的哪一个，8 x 8 像素")),
    Example(
        name="fashion",
        asks=("which of ten pieces of clothing, 28 x 28 pixels, official test split", "十种服饰中的哪一种，28 x 28 像素，官方测试集"),
        published=("0.925, small CNN", "0.925，小型 CNN"),
    ),
    Example(
        name="adult_mlp",
        asks=("income above 50K or not, by a plain network, official test split", "收入是否超过 50K，用普通网络，官方测试集"),
        published=("0.852, tuned MLP; about 0.872, boosting", "0.852，调优的 MLP；约 0.872，梯度提升"),
    ),
    Example(
        name="adult_transformer",
        asks=("the same, by a transformer over the columns", "同上，用以列为词元的 Transformer"),
        published=("0.852, tuned MLP; about 0.872, boosting", "0.852，调优的 MLP；约 0.872，梯度提升"),
    ),
    Example(name="diabetes", asks=("progress of diabetes after a year", "一年后糖尿病的进展")),
    Example(name="linear_regression", asks=("the same, by a linear model and gradient descent", "同上，用线性模型和梯度下降")),
    Example(
        name="two_features",
        asks=("passed or not, from two numbers; the rows are made by a program", "由两个数判断是否通过；数据由程序生成"),
    ),
)


def finished(folder: Path, recipe: Path) -> Run | None:
    """Return the run of this recipe in `folder`; None when there is none, it did not end, or it is of a recipe that was changed since."""
    from weighbridge.recipe import load_recipe
    from weighbridge.stages.station import recipe_hash

    if not (folder / "run.json").exists() or not (folder / "findings.jsonl").exists():
        return None
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if about.get("recipe_sha256") != recipe_hash(load_recipe(recipe)):
        return None
    return Run(folder=folder, about=about, findings=read_findings(folder / "findings.jsonl"))


def finished_runs(runs: Path, recipes: Path) -> Runs:
    """Return the finished runs of the examples by name."""
    found = {example.name: finished(runs / example.name, recipes / f"{example.name}.yaml") for example in EXAMPLES}
    return {name: run for name, run in found.items() if run is not None}


def real_data(runs: Runs, language: Language) -> list[str]:
    """Return the table with one row an example, measured or not."""
    head = [_in(words, language) for words in HEADS]
    rows = [_row(example, runs.get(example.name), language) for example in EXAMPLES]
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def _row(example: Example, run: Run | None, language: Language) -> list[str]:
    start = [f"`{example.name}`", _in(example.asks, language)]
    published = _in(example.published, language) or "–"
    headline = None if run is None else next((one for one in run.findings if one.headline and one.stage == "evaluation"), None)
    if run is None or headline is None:
        return [*start, _in(("not measured here", "此处未测"), language), *["–"] * 4, published, *["–"] * 3]
    split = by_key(run.findings, "data.split")
    return [
        *start,
        str(split.value) if split else "–",
        _result(headline, language),
        *_compared(run, headline, language),
        published,
        *(
            _shown(run, key, unit, language)
            for key, unit in (("training.seconds", "s"), ("deployment.size", "bytes"), ("deployment.latency", "s"))
        ),
    ]


def _result(headline: Finding, language: Language) -> str:
    spread = headline.interval[1] - headline.interval[0] if headline.interval else None
    name = METRICS.get(headline.key.split(".")[1], (headline.key, headline.key))
    text = f"{_in(name, language)} {number(headline.value, headline.unit, language, spread=spread)}"
    if headline.interval is None:
        return text
    return f"{text} ({interval(*headline.interval, headline.value, headline.unit, language)})"


def _compared(run: Run, headline: Finding, language: Language) -> list[str]:
    """Return the best baseline with its value, the paired difference with its interval, and who wins."""
    best, unit = headline.reference, headline.unit
    if best is None or best.difference is None:
        return ["–", "–", "–"]
    word = opponent(run, headline)
    width = headline.interval[1] - headline.interval[0] if headline.interval else None
    name = f"{_in(BASELINES.get(word, (word, word)), language)} {number(best.value, unit, language, spread=width)}"
    ends = best.difference_interval
    spread = ends[1] - ends[0] if ends else None
    size = difference(best.difference, unit, language, spread=spread)
    if ends:
        low, high = (difference(end, unit, language, spread=spread) for end in ends)
        size += f"（{low} 至 {high}）" if language == "zh" else f" ({low} to {high})"
    return [name, size, verdict_words(headline, word, language)]


def opponent(run: Run, headline: Finding) -> str:
    """Return the key word of the baseline that the headline is held against: trivial, linear or boosting."""
    for finding in run.findings:
        same = finding.key.startswith("evaluation.against.") and finding.reference == headline.reference
        if same:
            return finding.key.removeprefix("evaluation.against.")
    return ""


def verdict_words(headline: Finding, name: str, language: Language) -> str:
    """Return who wins by the paired test: the network, the baseline, or nobody that the data could name."""
    other = _in(BASELINES.get(name, (name, name)), language)
    best = headline.reference
    if headline.verdict == "advantage":
        return _in((f"better than {other}", f"优于{other}"), language)
    lost = best is not None and best.difference is not None and best.difference < 0 and best.p_value is not None and best.p_value < 0.05
    if lost:
        return _in((f"{other} wins", f"{other}胜出"), language)
    return _in((f"no difference from {other} shown", f"未显示与{other}有差别"), language)


def _shown(run: Run, key: str, unit: str, language: Language) -> str:
    value = run.value(key)
    return "–" if value is None else number(value, unit, language)


def promises(runs: Runs, root: Path, language: Language) -> list[str]:
    """Return the table of promises, each with its measured figure; without one it says so."""
    head = [_in(("promise", "承诺"), language), _in(("measured", "实测"), language)]
    none = _in(("not measured here", "此处未测"), language)
    rows = [[_in(what, language), _in(found, language) if (found := measure(runs, root)) else none] for what, measure in PROMISES]
    return [_line(head), _line(["---", "---"]), *map(_line, rows)]


Measured = tuple[str, str] | None


def _demo(runs: Runs, root: Path) -> Measured:
    run = runs.get("digits")
    if run is None:
        return None
    seconds, cores = float(run.about["seconds"]), run.about["machine"]["cores"]
    return f"{duration(seconds)} on {cores} cores", f"{cores} 核 {duration(seconds, 'zh')}"


def _first_answer(runs: Runs, root: Path) -> Measured:
    values = [value for run in runs.values() if (value := run.value("deployment.first_answer")) is not None]
    if not values:
        return None
    return (
        f"at most {duration(max(values))} (medians of {len(values)} packages)",
        f"最多 {duration(max(values), 'zh')}（{len(values)} 个包的中位数）",
    )


def _parity(runs: Runs, root: Path) -> Measured:
    values = [value for run in runs.values() if (value := run.value("deployment.parity")) is not None]
    if not values:
        return None
    size = number(max(values))
    return f"at most {size} ({len(values)} packages)", f"最多 {size}（{len(values)} 个包）"


def _through_package(runs: Runs, root: Path) -> Measured:
    found = [one for run in runs.values() if (one := by_key(run.findings, "deployment.metric")) is not None and one.reference is not None]
    losses = [loss for one in found if (loss := _loss(one)) is not None]
    if not losses:
        return None
    size = number(max(0.0, *losses))
    return f"largest loss {size} ({len(losses)} packages)", f"最大损失 {size}（{len(losses)} 个包）"


def _loss(metric: Finding) -> float | None:
    """Return how much worse the package is than the network: as a share for errors (no unit), else in the metric itself."""
    other = metric.reference.value if metric.reference else None
    if other is None or not isinstance(metric.value, int | float):
        return None
    return (metric.value - other) / max(other, 1e-12) if metric.unit == "" else other - metric.value


def _least_squares(runs: Runs, root: Path) -> Measured:
    run = runs.get("linear_regression")
    if run is None:
        return None
    size = number(distance_to_least_squares(run.folder))
    return f"weights apart by at most {size}", f"权重相差最多 {size}"


def distance_to_least_squares(folder: Path) -> float:
    """Return the largest difference between a linear run's weights and those of the normal equations on its own encoded rows."""
    import numpy as np

    from weighbridge.preprocessing import open_arrays
    from weighbridge.storage.tensors import load_tensors

    arrays = open_arrays(folder / "preprocessing" / "train")
    tensors, _ = load_tensors(folder / "training" / "model.safetensors")
    inputs = np.column_stack([np.asarray(arrays.blocks["number"], dtype=np.float64), np.ones(len(arrays))])
    exact = np.linalg.lstsq(inputs, np.asarray(arrays.target, dtype=np.float64), rcond=None)[0]
    learnt = np.concatenate([tensors["numbers.number.weight"].numpy().ravel(), tensors["bias"].numpy()])
    return float(np.abs(exact - learnt).max())


def _fashion(runs: Runs, root: Path) -> Measured:
    run = runs.get("fashion")
    headline = None if run is None else by_key(run.findings, "evaluation.accuracy")
    if run is None or headline is None:
        return None
    weights = number(int(run.value("training.parameters") or 0))
    results = [_result(headline, language) for language in ("en", "zh")]  # type: ignore[arg-type]  # a literal
    return f"{weights} weights, {results[0]}", f"{weights} 个权重，{results[1]}"


def _coverage(runs: Runs, root: Path) -> Measured:
    """How far the measured coverage of docs/calibration.json reaches, and in how many of its clean controls of intervals it is in range."""
    path = root / "docs" / "calibration.json"
    told = json.loads(path.read_text(encoding="utf-8"))["controls"] if path.exists() else []
    clean = [one for one in told if one["kind"] == "clean" and one["instrument"].startswith("interval.")]
    rates = [float(one["measured"]) for one in clean if not any(words in one["case"] for words in NO_INTERVAL)]
    if not rates:
        return None
    inside = sum(0.94 <= rate <= 0.96 for rate in rates)
    ends = f"{min(rates):.3f}", f"{max(rates):.3f}"
    return (
        f"{inside} of {len(rates)} controls; all: {ends[0]} to {ends[1]} ([table](docs/calibration.md))",
        f"{len(rates)} 项对照中 {inside} 项；全部：{ends[0]} 至 {ends[1]}（[表](docs/calibration.md)）",
    )


def _report_size(runs: Runs, root: Path) -> Measured:
    sizes = [page.stat().st_size for run in runs.values() if (page := run.folder / "report.html").exists()]
    if not sizes:
        return None
    size = number(max(sizes), "bytes")
    return f"at most {size} ({len(sizes)} reports)", f"最多 {size}（{len(sizes)} 份报告）"


def _test_reads(runs: Runs, root: Path) -> Measured:
    ledgers = [run.folder / "data" / "test_ledger.jsonl" for run in runs.values()]
    reads = [len(path.read_text(encoding="utf-8").splitlines()) for path in ledgers if path.exists()]
    if not reads:
        return None
    return f"{max(reads)} reads a run at most, each with its reason", f"每次运行最多读 {max(reads)} 次，每次都有理由"


def _startup(runs: Runs, root: Path) -> Measured:
    page = root / "bench" / "README.md"
    times = dict(STARTUP.findall(page.read_text(encoding="utf-8"))) if page.exists() else {}
    if not times:
        return None
    text = ", ".join(f"`{name}` {seconds} s" for name, seconds in times.items())
    return text, text.replace(" s", " 秒").replace(", ", "，")


PROMISES: tuple[tuple[tuple[str, str], Callable[[Runs, Path], Measured]], ...] = (
    (("`make demo` takes under 3 minutes on 2 cores, after the install", "安装之后，`make demo` 在 2 核上不到 3 分钟"), _demo),
    (("`weigh --help` and `import weighbridge` take under 0.2 s each", "`weigh --help` 和 `import weighbridge` 各不到 0.2 秒"), _startup),
    (
        ("a package loads and gives its first answer in under 1 s, without torch", "包在 1 秒内加载并给出第一个答案，不需要 torch"),
        _first_answer,
    ),
    (("a package answers as its network does, within 0.001", "包与其网络的答案相差不超过 0.001"), _parity),
    (("the task metric through the package falls by at most 0.005", "经过包之后，任务指标最多下降 0.005"), _through_package),
    (("gradient descent arrives at the least-squares weights, to 1e-4", "梯度下降到达最小二乘的权重，误差 1e-4 以内"), _least_squares),
    (
        ("Fashion-MNIST by a network under 100,000 weights; aim 0.93", "用不到 100,000 个权重的网络做 Fashion-MNIST，目标 0.93"),
        _fashion,
    ),
    (("a 95 % interval covers in 0.94 to 0.96 of simulations", "95 % 区间在模拟中的覆盖率为 0.94 至 0.96"), _coverage),
    (("the report is one file under 1 MB", "报告是一个小于 1 MB 的文件"), _report_size),
    (("test rows are read for a recorded reason only", "测试行只因有记录的理由而被读取"), _test_reads),
)


def where(runs: Runs, language: Language) -> str:
    """Return the sentence that says on which machine and with which versions the figures were made."""
    if not runs:
        return _in(
            ("No run of these recipes was found: `make proof` makes them.", "没有找到这些配方的运行：`make proof` 会生成它们。"), language
        )
    places = sorted({f"{run.about['machine']['cores']} x {run.about['machine']['cpu']}" for run in runs.values()})
    used = sorted({f"Python {run.about['versions']['python']}, torch {run.about['versions']['torch']}" for run in runs.values()})
    days = sorted({str(run.about["started"])[:10] for run in runs.values()})
    day = days[0] if len(days) == 1 else f"{days[0]} – {days[-1]}"
    said = f"{'; '.join(places)}; {'; '.join(used)}; {day}"
    return _in(
        (f"From runs of these recipes as they stand in `examples/` ({said}).", f"来自 `examples/` 中现有配方的运行（{said}）。"), language
    )


def proof(runs: Runs, root: Path, page: str, language: Language) -> str:
    """Return what stands between the markers `proof` of a page."""
    table = real_data(runs, language)
    if page.startswith("docs/"):
        return "\n".join([where(runs, language), "", *table])
    titles = (
        _in(("### What is promised and what was measured", "### 承诺了什么，测得什么"), language),
        _in(("### Real data", "### 真实数据"), language),
    )
    return "\n".join([where(runs, language), "", titles[0], "", *promises(runs, root, language), "", titles[1], "", *table])


def screen(folder: Path) -> str:
    """Return the balance sheet of a run as the terminal shows it at 80 columns, down to its price."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, color_system=None, legacy_windows=False)
    print_sheet(folder, console, "en")
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    kept = lines[: next((place for place, line in enumerate(lines) if " Price " in line), len(lines))]
    return "\n".join(kept[:SCREEN_LINES]).rstrip()


def output(run: Run) -> str:
    """Return the block between the markers `output`: the command and what it printed."""
    return f"```console\n$ weigh run examples/{run.folder.name}.yaml\n...\n{screen(run.folder)}\n...\n```"


def renewed(text: str, name: str, content: str) -> str:
    """Return `text` with what stands between the markers `name` replaced. Raises ValueError when a marker is missing."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"the markers {start} and {end} do not stand once each, in this order")
    return f"{text[: text.index(start)]}{start}\n\n{content}\n\n{text[text.index(end) :]}"


def pages(runs: Path, root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Give each page with its new text."""
    found = finished_runs(runs, root / "examples")
    for name, language in PAGES.items():
        text = renewed((root / name).read_text(encoding="utf-8"), "proof", proof(found, root, name, language))
        if "digits" in found and not name.startswith("docs/"):
            text = renewed(text, "output", output(found["digits"]))
        yield root / name, text


def _in(words: tuple[str, str], language: Language) -> str:
    return words[1] if language == "zh" else words[0]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> int:
    """Write or check the pages. Exit code 1 when one is not current, 2 when it can not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="folder of the run folders")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is not current")
    wishes = parser.parse_args(arguments)
    try:
        made = list(pages(wishes.runs))
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
