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
}
