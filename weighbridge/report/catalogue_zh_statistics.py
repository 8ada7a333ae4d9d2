# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the templates of intervals and tests; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "mid-P interval of a rate": "比率的 mid-P 区间",
    "exact or mid-P interval, widened by Bonferroni because the weakest of {classes} classes is picked": "精确区间或 mid-P 区间；因为是从 {classes} 个类别中挑出最弱的一个，区间按 Bonferroni 加宽",
    "Wilson's interval with the effective number of rows by bootstrap over groups, {resamples} resamples": "按有效行数计算的 Wilson 区间，有效行数由按组自助法得出，重抽样 {resamples} 次",
    "Wilson's interval with the effective number of rows by bootstrap over rows, {resamples} resamples": "按有效行数计算的 Wilson 区间，有效行数由按行自助法得出，重抽样 {resamples} 次",
    "Wilson's interval with the effective number of rows by bootstrap over groups, widened by Bonferroni because the weakest of {classes} classes is picked": "按有效行数计算的 Wilson 区间，有效行数由按组自助法得出；因为是从 {classes} 个类别中挑出最弱的一个，区间按 Bonferroni 加宽",
    "studentised bootstrap of the logarithm over groups, {resamples} resamples; a few large errors carry it: should larger ones be yet unseen, it is too short": "按组的对数学生化自助法，重抽样 {resamples} 次；结果由少数大误差主导：若还有更大的误差尚未出现，区间就偏短",
    "studentised bootstrap of the logarithm over rows, {resamples} resamples; a few large errors carry it: should larger ones be yet unseen, it is too short": "按行的对数学生化自助法，重抽样 {resamples} 次；结果由少数大误差主导：若还有更大的误差尚未出现，区间就偏短",
    "debiased over bins of equal mass; interval by inverting the noncentral chi-square test of the sum of squares": "等量分箱并去除偏差；区间由平方和的非中心卡方检验反演得到",
    "BCa bootstrap over rows, {resamples} resamples; DeLong's interval on the logit scale is {low} to {high}": "按行的 BCa 自助法，重抽样 {resamples} 次；logit 尺度上的 DeLong 区间为 {low} 至 {high}",
    "Newcombe's interval (2006, method 5), which fits few rows: the rarer class has {n}": "Newcombe 区间（2006，方法 5），适用于样本少的情形：较少的一类只有 {n} 行",
    "paired permutation test, corrected over baselines by Holm; symmetric studentised interval of the paired bootstrap": "配对置换检验，按 Holm 法对各基线校正；配对自助法的对称学生化区间",
}
