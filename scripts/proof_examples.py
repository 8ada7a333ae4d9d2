"""The examples of examples/, their finished runs, and the table of what they measured on real data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.report.words import Language, difference, interval, number

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
        name="fashion_choice",
        asks=(
            "the same: the most capable network of a search of 30 minutes, then its lightest form",
            "同上：30 分钟搜索得到最强的网络，再取其最轻的形式",
        ),
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
    Example(
        name="compas",
        asks=("charged again within two years, race and sex protected", "两年内是否再次被起诉，种族和性别受保护"),
        published=("0.65, COMPAS itself; 0.67, two columns in a linear model", "0.65，COMPAS 本身；0.67，两列的线性模型"),
    ),
    Example(name="diabetes", asks=("progress of diabetes after a year", "一年后糖尿病的进展")),
    Example(name="linear_regression", asks=("the same, by a linear model and gradient descent", "同上，用线性模型和梯度下降")),
    Example(
        name="two_features",
        asks=("passed or not, from two numbers; the rows are made by a program", "由两个数判断是否通过；数据由程序生成"),
    ),
    Example(
        name="reviews",
        asks=("Chinese reviews, good or bad, by an LSTM", "中文评论是好评还是差评，用 LSTM"),
        published=("0.856, TF-IDF and a linear model", "0.856，TF-IDF 加线性模型"),
    ),
    Example(
        name="movies",
        asks=("snippets of film reviews, liked or not, by a transformer", "影评片段是喜欢还是不喜欢，用 Transformer"),
        published=("0.774, TF-IDF and a linear model", "0.774，TF-IDF 加线性模型"),
    ),
    Example(name="spam", asks=("mails without headers, spam or ham, by a transformer", "去掉邮件头的邮件是否垃圾邮件，用 Transformer")),
    Example(name="spam_pretrained", asks=("the same, by a frozen pretrained encoder", "同上，用冻结的预训练编码器")),
    Example(
        name="emoji", asks=("category of an emoji, from its picture, its name and three numbers", "由图像、名称和三个数判断表情符号的类别")
    ),
    Example(name="dna", asks=("kind of splice site, from 60 letters of DNA", "由 60 个 DNA 字母判断剪接位点的类别")),
    Example(
        name="freesolv",
        asks=("free energy of hydration of a molecule, from its SMILES string", "由 SMILES 字符串预测分子的水合自由能"),
        published=("RMSE 1.1 to 2.0", "RMSE 1.1 至 2.0"),
    ),
    Example(name="voices", asks=("tone of a Mandarin syllable, from its clip", "由录音判断一个汉语音节的声调")),
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
    head = [worded(words, language) for words in HEADS]
    rows = [_row(example, runs.get(example.name), language) for example in EXAMPLES]
    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def _row(example: Example, run: Run | None, language: Language) -> list[str]:
    start = [f"`{example.name}`", worded(example.asks, language)]
    published = worded(example.published, language) or "–"
    headline = None if run is None else next((one for one in run.findings if one.headline and one.stage == "evaluation"), None)
    if run is None or headline is None:
        return [*start, worded(("not measured here", "此处未测"), language), *["–"] * 4, published, *["–"] * 3]
    split = by_key(run.findings, "data.split")
    return [
        *start,
        str(split.value) if split else "–",
        result(headline, language),
        *_compared(run, headline, language),
        published,
        *(
            _shown(run, key, unit, language)
            for key, unit in (("training.seconds", "s"), ("deployment.size", "bytes"), ("deployment.latency", "s"))
        ),
    ]


def result(headline: Finding, language: Language) -> str:
    """Return the headline with its interval."""
    spread = headline.interval[1] - headline.interval[0] if headline.interval else None
    name = METRICS.get(headline.key.split(".")[1], (headline.key, headline.key))
    text = f"{worded(name, language)} {number(headline.value, headline.unit, language, spread=spread)}"
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
    name = f"{worded(BASELINES.get(word, (word, word)), language)} {number(best.value, unit, language, spread=width)}"
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
    other = worded(BASELINES.get(name, (name, name)), language)
    best = headline.reference
    if headline.verdict == "advantage":
        return worded((f"better than {other}", f"优于{other}"), language)
    lost = best is not None and best.difference_interval is not None and best.difference_interval[1] < 0 and (best.p_value or 0.0) < 0.05
    if lost:
        return worded((f"{other} wins", f"{other}胜出"), language)
    return worded((f"no difference from {other} shown", f"未显示与{other}有差别"), language)


def _shown(run: Run, key: str, unit: str, language: Language) -> str:
    value = run.value(key)
    return "–" if value is None else number(value, unit, language)


def worded(words: tuple[str, str], language: Language) -> str:
    """Return the words in the language."""
    return words[1] if language == "zh" else words[0]


def line(cells: list[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
