# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the remedies that live in training; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    # imbalance
    "How often a row of the rarest class comes in an epoch": "最少类别的一行在一轮训练中出现的次数",
    "{rarest}: {share} of an epoch, {before} of the training rows; {largest}: {share_largest}, {before_largest}": "{rarest}：占一轮的 {share}，占训练数据的 {before}；{largest}：分别为 {share_largest} 与 {before_largest}",
    "counted over the first epoch; rows of a class differ by one at most in how often they come": "按第一轮计数；同一类别各行的出现次数最多相差一次",
    "rows of rare classes count more in the loss": "提高少数类别在损失函数中的权重",
    # weights of rows
    "Training rows that the weighted ones are worth": "加权后的训练数据相当于多少行",
    "weights from {least} to {largest}, {mean} on average; by {sources}": "权重从 {least} 到 {largest}，平均 {mean}；依据 {sources}",
    "the square of the sum of the weights over the sum of their squares": "权重之和的平方除以权重平方之和",
    # remedies
    "rows of rare classes come more often": "让少数类别的数据更常出现（重采样）",
    "learns from inputs that are moved against it": "从针对它改动过的输入中学习（对抗训练）",
    "learns answers that do not tell the protected columns": "学习不透露受保护列的答案（对抗去偏）",
    # adversarial training
    "Accuracy under the attack that it learnt from": "在训练所用攻击下的准确率",
    "inputs moved by up to {bound} in {steps} steps; stronger attacks are the audit's": "输入最多改动 {bound}，分 {steps} 步；更强的攻击见审计",
    "projected gradient descent from a random start on validation rows; mid-P interval, exact at the edges": "在验证数据上从随机起点做投影梯度下降；mid-P 区间，边缘处用精确区间",
    # adversarial debiasing
    "What the answers tell of {columns}": "答案透露了多少关于 {columns} 的信息",
    "beyond what the truth tells": "超出真实标签所透露的部分",
    "in all": "总计",
    "mutual information of groups and answers on validation rows, less its bias (Miller 1955); the most of any column": "验证数据上群体与答案的互信息，已减去偏差（Miller 1955）；取各列中最大者",
}
