# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for every template that can reach a report; tests/unit/test_report_words.py fails when one is missing.

`ZH` translates templates. `VALUES` translates strings that are filled into templates, and bare values: words of method and model only, since a
class that a user calls "right" or "data" keeps its name.
"""

from __future__ import annotations

import importlib
import pkgutil

WORDS = {
    "A deep model": "深度模型",
    "This model": "该模型",
    "majority class": "多数类",
    "mean": "均值",
    "trivial": "平凡基线",
    "linear": "线性模型",
    "boosting": "梯度提升",
    "gradient boosting": "梯度提升",
    "a linear model": "线性模型",
    "a constant answer": "恒定答案",
    "logistic regression": "逻辑回归",
    "linear regression": "线性回归",
    "epochs": "轮",
    "repetitions": "次重复",
    "seeds": "个种子",
    "runs": "次运行",
    "sizes": "种规模",
    "columns": "列",
    "classes": "类",
    "accuracy": "准确率",
    "balanced accuracy": "平衡准确率",
    "threshold": "阈值",
    "tolerance": "容差",
}

REPORT = {
    "": "",
    # the page
    "Balance sheet": "优劣对照表",
    "Advantages": "优势",
    "Limitations": "局限",
    "Nothing that was measured counts as an advantage.": "已测项目中没有可称为优势的。",
    "Nothing that was measured counts as a limitation; see below what was not measured.": "已测项目中没有发现局限；未测项目见下文。",
    "none that was measured": "已测项目中没有",
    "Price": "代价",
    "What was mended, and what it cost": "补救措施及其代价",
    "Not measured": "未测项目",
    "Nothing that this run knows of was left unmeasured.": "本次运行所知的项目均已测量。",
    "Evidence": "证据",
    "Worst mistakes": "最严重的错误",
    "The test rows that the model got wrong while it was most sure, or by the most.": "模型最有把握却判错的测试样本，或误差最大的测试样本。",
    "Everything else that was measured": "其余全部测量结果",
    "This run": "本次运行",
    "how it was measured": "测量方法",
    "what": "项目",
    "value": "数值",
    "95 % interval": "95% 区间",
    "n": "n",
    "how": "方法",
    "compared with": "对照",
    "paired difference": "配对差异",
    "source": "出处",
    "measure it again": "重新测量",
    "why": "原因",
    "before → after": "之前 → 之后",
    "truth": "真实",
    "predicted": "预测",
    "stated probability": "所称概率",
    "row": "样本",
    "measured value": "测量值",
    "what it is compared with": "对照值",
    "Safeguards that the recipe switched off": "配方关闭的保护措施",
    "Evidence files that are named but could not be read": "已列出但无法读取的证据文件",
    "evidence": "证据",
    "Every figure is a line of findings.jsonl and can be measured again with the command beside it. This page loads nothing and runs nothing.":
        "每个数字都是 findings.jsonl 中的一行，可用旁边的命令重新测量。本页不加载任何外部内容，也不运行任何代码。",
    "Data": "数据",
    "Preprocessing": "预处理",
    "Training": "训练",
    "Optimization": "优化",
    "Evaluation": "评估",
    "Audit": "审计",
    "Mitigation": "补救",
    "Deployment": "部署",
    "Feedback": "反馈",
    "recipe": "配方",
    "data": "数据",
    "model": "模型",
    "started": "开始时间",
    "machine": "机器",
    "versions": "版本",
    "{n} figures": "{n} 项",
    "{n} cores": "{n} 核",
    "{n} more in findings.jsonl": "另有 {n} 项见 findings.jsonl",
    # drawings
    "right": "判对",
    "wrong; the darker, the larger the share of the row (square root)": "判错；颜色越深，占该行的比例越大（平方根刻度）",
    "the model": "模型",
    "95 % band": "95% 带",
    "exactly as often as it says": "与所称概率完全一致",
    "a test row": "一个测试样本",
    "an exact prediction": "预测完全准确",
    "Training: loss by epoch": "训练：各轮损失",
    "Training: {metric} by epoch": "训练：各轮{metric}",
    "Confusion: each row is a true class, each column a predicted one": "混淆矩阵：行为真实类别，列为预测类别",
    "Reliability: is it right as often as it says?": "可靠性：实际正确率是否与所称概率相符？",
    "Predicted against actual values, test rows": "测试样本的预测值与实际值",
    "Test rows of each class": "各类别的测试样本数",
    "training rows": "训练样本",
    "validation rows": "验证样本",
    "kept: epoch {epoch}": "保留：第 {epoch} 轮",
    "epoch": "轮",
    "share that was right": "判对的比例",
    "rows": "样本数",
    "stated confidence": "所称概率",
    "actual": "实际值",
    # a line
    "({low} to {high})": "（{low} 至 {high}）",
    "95 % interval {interval}": "95% 区间 {interval}",
    "compared with {reference}": "对照 {reference}",
    # the verdict
    "{model} is worth it here: {amount} better than {baseline}, the strongest baseline.": "这里值得使用{model}：比最强的基线（{baseline}）好 {amount}。",
    "{model} is not worth it here: {baseline} is {amount} better.": "这里不值得使用{model}：{baseline}要好 {amount}。",
    "{model} is not shown to be needed here: the data can not tell it from {baseline}.": "尚无证据表明这里需要{model}：现有数据无法分辨它与{baseline}的高下。",
    "{points} points": "{points} 个百分点",
    "{title}: {value} (95 % interval {interval}, n = {n}).": "{title}：{value}（95% 区间 {interval}，n = {n}）。",
    "{title}: {value} (95 % interval {interval}).": "{title}：{value}（95% 区间 {interval}）。",
    "{title}: {value} (no interval).": "{title}：{value}（无区间）。",
    "This run holds no evaluation: how good the model is on unseen rows is not known.": "本次运行没有评估：模型在未见样本上的表现未知。",
    "What was measured shows no limitation; {n} things were not measured.": "已测项目没有显示局限；另有 {n} 项未测。",
    "Do not use it {places}.": "请勿用于{places}。",
    "Mind also: {titles}.": "另请注意：{titles}。",
    "Mind: {titles}.": "请注意：{titles}。",
    "where its probabilities are taken at face value": "需要直接采信其概率的场合",
    "where its ranges are taken at face value": "需要直接采信其预测区间的场合",
    "where rare classes matter": "少数类别很重要的场合",
    "as proof of its score, since the test rows were read too often": "证明其得分（测试样本已被读取过多次）",
    "where the first answer is needed sooner": "需要更快得到首个答案的场合",
    "where the scores on training rows are expected to hold": "期望达到训练样本上得分的场合",
    "where rows must be ranked by their score": "需要按得分排序的场合",
    "where inputs may be tampered with": "输入可能被篡改的场合",
    "where membership in the training data is secret": "训练数据的成员身份须保密的场合",
    "where its groups must be treated alike": "必须平等对待各群体的场合",
    "before the leak between the splits is mended": "数据划分间的泄漏尚未消除的情况",
    "where equal inputs must get equal answers": "相同输入必须得到相同答案的场合",
    "where an answer is needed sooner": "需要更快得到答案的场合",
    "through the package, before its difference from the model is understood": "部署包与模型的差异尚未查明的情况",
    # the terminal, the card, a comparison
    "{n} further figures, the evidence and every command: {path}": "另有 {n} 项数字，连同证据与全部命令：{path}",
    "predicts one of {n} classes of {target}": "从 {n} 个类别中预测 {target}",
    "predicts the number {target}": "预测数值 {target}",
    "predicts which of {n} labels of {target} hold": "预测 {target} 的 {n} 个标签中哪些成立",
    "A model that was measured by Weighbridge.": "经 Weighbridge 测量的模型。",
    "Classes": "类别",
    "Rows like those of the training data; every figure below holds for such rows only.": "适用于与训练数据同类的样本；下列数字仅对此类样本成立。",
    "What it is": "模型说明",
    "Intended use": "预期用途",
    "Results": "结果",
    "Limitations, as measured": "实测局限",
    "How to measure it again": "如何重新测量",
    "The whole run, from its recipe:": "按配方重做整个运行：",
    "Environment": "环境",
    "not measured": "未测",
    "intervals": "区间",
    "apart": "不重叠",
    "overlap": "重叠",
    "recipe key": "配方键",
    "The two runs were given different data: their figures are not about the same rows.": "两次运行的数据不同：它们的数字并非针对相同样本。",
    "Both runs hold the same model, bit for bit.": "两次运行的模型逐位相同。",
    "Intervals that overlap do not make two models equal; where both were judged on the same rows, the paired test decides.":
        "区间重叠并不意味着两个模型相当；若在相同样本上评判，以配对检验为准。",
}  # fmt: skip


def _parts() -> dict[str, str]:
    """Return what the modules catalogue_zh_*.py beside this one hold: what a room says, in `ZH`."""
    import weighbridge.report as room

    names = sorted(found.name for found in pkgutil.iter_modules(room.__path__) if found.name.startswith("catalogue_zh_"))
    parts = [importlib.import_module(f"weighbridge.report.{name}").ZH for name in names]
    return {template: chinese for part in parts for template, chinese in part.items()}


VALUES = {**_parts(), **WORDS}
ZH = {**VALUES, **REPORT}
