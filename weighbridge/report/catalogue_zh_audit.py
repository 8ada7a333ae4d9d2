# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the stages of audit and mitigation themselves; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "it would take about {seconds} s, and {left} s of audit.budget are left": "约需 {seconds} 秒，而 audit.budget 只剩 {left} 秒",
    "the recipe says audit.enabled: false": "配方中写明 audit.enabled: false",
    "the recipe says audit.{name}: false": "配方中写明 audit.{name}: false",
    "no gradients: {name} is no single network": "没有梯度：{name} 不是单个网络",
    "before": "之前",
    "it was not measured after the remedy": "采取措施后未再测量",
    "nothing of what it is to mend was measured, neither before nor after": "它要改善的各项在之前和之后都没有测量",
    "mended, beyond what the rows leave open; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}": "已改善，超出样本所能留下的不确定性；代价：{metric} {difference}（{low} 至 {high}），训练 {seconds} 秒；改动 {keys}",
    "made worse, beyond what the rows leave open; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}": "变差，超出样本所能留下的不确定性；代价：{metric} {difference}（{low} 至 {high}），训练 {seconds} 秒；改动 {keys}",
    "no change that the rows can tell; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}": "样本看不出变化；代价：{metric} {difference}（{low} 至 {high}），训练 {seconds} 秒；改动 {keys}",
    "before the remedy it was not measured; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}": "采取措施前未测量；代价：{metric} {difference}（{low} 至 {high}），训练 {seconds} 秒；改动 {keys}",
}
