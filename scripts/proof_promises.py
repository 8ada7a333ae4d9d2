"""What is promised, and the figure that was measured for it: from runs of the examples, from benchmarks, from tests that `record`.

A record is a JSON file of the folder that `make proof` empties first and that bench/startup.py, bench/large.py and
`pytest --proof-folder` fill. A promise without its record says that it was not measured.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proof_examples import Runs, line, result, worded
from proof_serving import SERVING

from weighbridge.findings import Finding, by_key
from weighbridge.report.words import Language, duration, number

Records = dict[str, dict[str, Any]]
Measured = tuple[str, str] | None
Measure = Callable[[Runs, Records], Measured]
Words = tuple[str, str]
OF: Words = ("{value:,} of {n:,}", "{n:,} 次中 {value:,} 次")
CONTROLS_HOLD: Words = (
    "{value} of {n} controls hold ([table](docs/calibration.md))",
    "{n} 项对照中 {value} 项成立（[表](docs/calibration.md)）",
)


def read_records(folder: Path) -> Records:
    """Return the records of a folder by name; none where there is no folder. Raises ValueError for one that is no record."""
    found: Records = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("name", path.stem) != path.stem:
            raise ValueError(f"{path} is no record of that name")
        found[path.stem] = record
    return found


def calibration_records(path: Path) -> Records:
    """Return what `weigh calibrate` wrote into docs/calibration.json as records; none where it did not run."""
    if not path.exists():
        return {}
    told = json.loads(path.read_text(encoding="utf-8"))["controls"]
    found: Records = {}
    for kind in ("planted", "clean"):
        of_kind = [one for one in told if one["kind"] == kind]
        found[f"controls.{kind}"] = {"value": sum(one["holds"] for one in of_kind), "n": len(of_kind)}
        leaks = [one for one in of_kind if one["instrument"].startswith("data.leak")]
        found[f"leaks.{kind}"] = {"value": sum(one["right"] for one in leaks), "n": sum(one["n"] for one in leaks)}
        drift = [one for one in of_kind if one["instrument"] == "feedback.drift" and "the usual way" not in one["case"]]
        found[f"drift.{kind}"] = {"value": sum(one["right"] for one in drift), "n": sum(one["n"] for one in drift)}
    covers = [one["measured"] for one in told if one["kind"] == "clean" and one["instrument"].startswith("interval.") and is_coverage(one)]
    inside = sum(0.94 <= rate <= 0.96 for rate in covers)
    ends = {"low": min(covers, default=0), "high": max(covers, default=0)}
    found["intervals.coverage"] = {"value": inside, "n": len(covers), **ends}
    return {name: record for name, record in (found | choice_records(told)).items() if record["n"]}


def choice_records(told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return how often a form at the margin or beyond was kept, at most, and how often an equal one at the rows said for it, at least."""
    worse = [
        1 - one["measured"]
        for one in told
        if one["instrument"] in ("test.noninferiority", "optimization.choice")
        and one["kind"] == "clean"
        and one["stated"][0] == 0.95
        and not any(words in one["case"] for words in ("called", "bound"))
    ]
    equal = [one["measured"] for one in told if one["kind"] == "planted" and "the rows said" in one["case"]]
    return {
        "choice.worse": {"value": max(worse, default=0), "n": len(worse)},
        "choice.equal": {"value": min(equal, default=0), "n": len(equal)},
    }


def is_coverage(one: dict[str, Any]) -> bool:
    """Return whether a control counts how often an interval holds the truth, not how often something is said of it."""
    return not any(words in one["case"] for words in ("or says that", "get no warning"))


def promises(runs: Runs, records: Records, language: Language) -> list[str]:
    """Return the table of promises, each with its measured figure; without one it says so. Raises ValueError for a stray record."""
    if stray := sorted(set(records) - {*RECORDED, *BENCHES}):
        raise ValueError(f"no row of scripts/proof_promises.py shows the record {', '.join(stray)}")
    head = [worded(("promise", "承诺"), language), worded(("measured", "实测"), language)]
    none = worded(("not measured here", "此处未测"), language)
    rows = [[worded(what, language), worded(found, language) if (found := measure(runs, records)) else none] for what, measure in rows_of()]
    return [line(head), line(["---", "---"]), *map(line, rows)]


def rows_of() -> list[tuple[Words, Measure]]:
    """Return every row: what runs and benchmarks show, then what tests record."""
    return [*PROMISES, *((one.says, one.measure) for one in RECORDED.values())]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A promise that a test measures with the fixture `record`; `shows` is filled from the record: value, n, and what it adds."""

    name: str
    says: Words
    shows: Words = OF

    def measure(self, runs: Runs, records: Records) -> Measured:
        """Return the figure in both languages, None without a record. Raises ValueError when the record lacks a number."""
        record = records.get(self.name)
        if record is None:
            return None
        try:
            return self.shows[0].format(**record), self.shows[1].format(**record)
        except KeyError as error:
            raise ValueError(f"the record {self.name} lacks {error}, which its row shows") from None


def _demo(runs: Runs, records: Records) -> Measured:
    run = runs.get("digits")
    if run is None:
        return None
    seconds, cores = float(run.about["seconds"]), run.about["machine"]["cores"]
    return f"{duration(seconds)} on {cores} cores", f"{cores} 核 {duration(seconds, 'zh')}"


def _first_answer(runs: Runs, records: Records) -> Measured:
    values = [value for run in runs.values() if (value := run.value("deployment.first_answer")) is not None]
    if not values:
        return None
    return (
        f"at most {duration(max(values))} (medians of {len(values)} packages)",
        f"最多 {duration(max(values), 'zh')}（{len(values)} 个包的中位数）",
    )


def _parity(runs: Runs, records: Records) -> Measured:
    values = [value for run in runs.values() if (value := run.value("deployment.parity")) is not None]
    if not values:
        return None
    size = number(max(values))
    return f"at most {size} ({len(values)} packages)", f"最多 {size}（{len(values)} 个包）"


def _through_package(runs: Runs, records: Records) -> Measured:
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


def _least_squares(runs: Runs, records: Records) -> Measured:
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
    (weight,) = (tensor for name, tensor in tensors.items() if name != "bias")  # numbers are all that it reads
    learnt = np.concatenate([weight.numpy().ravel(), tensors["bias"].numpy()])
    return float(np.abs(exact - learnt).max())


def _fashion(runs: Runs, records: Records) -> Measured:
    run = runs.get("fashion")
    headline = None if run is None else by_key(run.findings, "evaluation.accuracy")
    if run is None or headline is None:
        return None
    weights = number(int(run.value("training.parameters") or 0))
    results = [result(headline, language) for language in ("en", "zh")]  # type: ignore[arg-type]  # a literal
    return f"{weights} weights, {results[0]}", f"{weights} 个权重，{results[1]}"


def _report_size(runs: Runs, records: Records) -> Measured:
    sizes = [page.stat().st_size for run in runs.values() if (page := run.folder / "report.html").exists()]
    if not sizes:
        return None
    size = number(max(sizes), "bytes")
    return f"at most {size} ({len(sizes)} reports)", f"最多 {size}（{len(sizes)} 份报告）"


def _test_reads(runs: Runs, records: Records) -> Measured:
    ledgers = [run.folder / "data" / "test_ledger.jsonl" for run in runs.values()]
    reads = [len(path.read_text(encoding="utf-8").splitlines()) for path in ledgers if path.exists()]
    if not reads:
        return None
    return f"{max(reads)} reads a run at most, each with its reason", f"每次运行最多读 {max(reads)} 次，每次都有理由"


def _startup(runs: Runs, records: Records) -> Measured:
    if "startup" not in records:
        return None
    times = {name: seconds for name, seconds in records["startup"]["medians"].items() if name != "python -c pass"}
    text = ", ".join(f"`{name}` {seconds:.3f} s" for name, seconds in times.items())
    return text, text.replace(" s", " 秒").replace(", ", "，")


def _large(runs: Runs, records: Records) -> Measured:
    """Each case: how many times larger than the limit its data are, the most that was resident, and the ratio of rows a second."""
    if "large" not in records:
        return None
    parts = []
    for case in records["large"]["cases"]:
        ratios, limit = case["ratios"], case["limit_bytes"]
        middle, times = statistics.median(ratios), case["encoded_bytes"] / limit
        resident = case["held"].get("VmHWM", 0)
        english = f"{times:.0f} times {limit / 1e6:.0f} MB: {middle:.2f} ({min(ratios):.2f} – {max(ratios):.2f}), "
        chinese = f"{limit / 1e6:.0f} MB 的 {times:.0f} 倍：{middle:.2f}（{min(ratios):.2f} – {max(ratios):.2f}），"
        english += f"at most {resident / 1e6:.0f} MB resident"
        chinese += f"常驻内存最多 {resident / 1e6:.0f} MB"
        parts.append((f"{case['case']}, {english}", f"{CASES[case['case']]}，{chinese}"))
    return "; ".join(part[0] for part in parts), "；".join(part[1] for part in parts)


CASES = {"table": "表格", "images": "图像"}
PROMISES: tuple[tuple[Words, Measure], ...] = (
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
    (("the report is one file under 1 MB", "报告是一个小于 1 MB 的文件"), _report_size),
    (("test rows are read for a recorded reason only", "测试行只因有记录的理由而被读取"), _test_reads),
    (
        (
            "encoded data ten times a memory limit train at 0.9 of the rows a second that they have in memory, and stay under the limit",
            "编码后为内存上限十倍的数据，训练速度不低于全部在内存时的 0.9，且不超过上限",
        ),
        _large,
    ),
)
BENCHES = ("startup", "large")
RECORDED = {
    one.name: one
    for one in (
        Recorded(
            name="large.training",
            says=(
                "a training whose encoded data are ten times its memory limit ends; the same with all rows copied into memory does not",
                "编码数据为内存上限十倍的训练能够完成；把所有行复制到内存的同一训练不能",
            ),
            shows=(
                "{value:.0f} times {limit_mb:.0f} MB; most resident {resident_mb:.0f} MB",
                "{limit_mb:.0f} MB 的 {value:.0f} 倍；常驻内存最多 {resident_mb:.0f} MB",
            ),
        ),
        Recorded(
            name="large.baselines",
            says=(
                "rows ten times what a process may take: the baselines learn from a random sample of them and say so",
                "行数据为进程可用内存的十倍时，基线用随机抽样的行来学习并加以说明",
            ),
            shows=(
                "boosting from {value:,} and the linear model from {linear:,} of {rows:,} rows",
                "{rows:,} 行中，梯度提升用 {value:,} 行，线性模型用 {linear:,} 行",
            ),
        ),
        Recorded(
            name="large.files",
            says=(
                "CSV, CSV.gz, Parquet (also in one row group) and JSON lines five times larger than what the process may take are read",
                "比进程可用内存大五倍的 CSV、CSV.gz、Parquet（包括只有一个行组的）和 JSON lines 能读入",
            ),
            shows=("{value} of {n} kinds, at least {times:.1f} times", "{n} 种中 {value} 种，至少 {times:.1f} 倍"),
        ),
        Recorded(
            name="resume.kill",
            says=(
                "killed with `kill -9` at random points of training, run again: weights, optimiser, metrics, findings equal by SHA-256",
                "在训练的随机时刻被 `kill -9` 后重新运行：权重、优化器、指标和发现的 SHA-256 都相同",
            ),
        ),
        Recorded(
            name="resume.signal",
            says=("stopped by SIGTERM or Ctrl-C and run again: the same", "被 SIGTERM 或 Ctrl-C 停止后重新运行：同样如此"),
        ),
        Recorded(
            name="watch.kills",
            says=(
                "`weigh watch` killed with `kill -9`, all of it at once, at random moments: no answer, no label lost, nothing done twice",
                "`weigh watch` 的全部进程在随机时刻同时被 `kill -9`：没有丢失任何回答或标签，也没有任何事做两次",
            ),
        ),
        Recorded(
            name="save.kill",
            says=("killed inside a save: the old artefact or the new one, whole", "在保存途中被杀：旧文件或新文件，必为完整"),
        ),
        Recorded(
            name="disk.faults",
            says=(
                "the n-th disk operation fails (full, EIO, EACCES), for every n: a named error, the previous artefact intact",
                "第 n 次磁盘操作失败（满、EIO、EACCES），对每个 n：给出明确错误，先前的文件完好",
            ),
        ),
        Recorded(
            name="corruption.checkpoints",
            says=("damaged checkpoints are found, and the one before is taken", "损坏的检查点被发现，并改用前一个"),
        ),
        Recorded(name="corruption.packages", says=("damaged packages are refused before use", "损坏的包在使用前被拒绝")),
        Recorded(
            name="race",
            says=("runs that start in one folder at once: one wins", "同时在一个文件夹里启动的运行：只有一个胜出"),
        ),
        Recorded(
            name="leaks.planted",
            says=("planted leaks (duplicates, target, group, time) stop the run", "植入的泄漏（重复行、目标、分组、时间）使运行停止"),
        ),
        Recorded(name="leaks.clean", says=("clean data sets pass the leak gate", "干净的数据集通过泄漏检查")),
        Recorded(
            name="drift.clean",
            says=("200 clean windows, looked at after each row: no alarm of any column", "200 个无变化的窗口，逐行查看：无任何报警"),
        ),
        Recorded(
            name="drift.planted",
            says=("planted shifts (level, spread, unit, missing, mix, late) are found", "植入的偏移（水平、单位、缺失、构成等）被发现"),
        ),
        Recorded(
            name="intervals.coverage",
            says=("a 95 % interval covers in 0.94 to 0.96 of 2,000 simulations", "95 % 区间在 2,000 次模拟中的覆盖率为 0.94 至 0.96"),
            shows=("{value} of {n} controls; all: {low:.3f} to {high:.3f}", "{n} 项对照中 {value} 项；全部：{low:.3f} 至 {high:.3f}"),
        ),
        Recorded(
            name="choice.worse",
            says=(
                "a lighter form that is worse by the margin or more is kept in at most 5 % of simulations",
                "比原模型差达到或超过界值的轻量形式，在模拟中最多有 5 % 被保留",
            ),
            shows=("at most {value:.1%} ({n} controls)", "最多 {value:.1%}（{n} 项对照）"),
        ),
        Recorded(
            name="choice.equal",
            says=(
                "one that is as good is kept in at least 80 %, at the number of rows that Weighbridge asks for",
                "同样好的形式，在 Weighbridge 要求的行数下，至少有 80 % 被保留",
            ),
            shows=("at least {value:.1%} ({n} controls)", "至少 {value:.1%}（{n} 项对照）"),
        ),
        Recorded(
            name="optimization.kill",
            says=(
                "killed with `kill -9` inside search, compression or choice, run again: the same networks, graphs and answers",
                "在搜索、压缩或选择途中被 `kill -9` 后重新运行：网络、计算图和答案都相同",
            ),
        ),
        Recorded(
            name="payloads", says=("model files that carry code are refused, none is executed", "携带代码的模型文件被拒绝，无一被执行")
        ),
        Recorded(name="paths", says=("hostile file names are refused before a byte is written", "恶意文件名在写入任何字节之前被拒绝")),
        Recorded(name="archives", says=("hostile archives are refused before a byte is written", "恶意压缩包在写入任何字节之前被拒绝")),
        *(Recorded(name=name, says=says, shows=shows or OF) for name, says, shows in SERVING),
        Recorded(
            name="ciphertexts",
            says=(
                "ciphertexts with a changed bit are refused or answered with noise, none crashes",
                "改动一位的密文被拒绝或只得到噪声，无一导致崩溃",
            ),
        ),
        Recorded(
            name="controls.planted",
            says=("`weigh calibrate`: planted cases are found at the stated rate", "`weigh calibrate`：植入的缺陷以所述比率被发现"),
            shows=CONTROLS_HOLD,
        ),
        Recorded(
            name="controls.clean",
            says=("`weigh calibrate`: clean cases pass at the stated rate", "`weigh calibrate`：干净的情形以所述比率通过"),
            shows=CONTROLS_HOLD,
        ),
    )
}
