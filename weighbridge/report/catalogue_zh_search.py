# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the search; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "Accuracy of the best trial, on the rows that chose it": "最佳试验的准确率（在据以选出它的样本上）",
    "Root mean squared error of the best trial, on the rows that chose it": "最佳试验的均方根误差（在据以选出它的样本上）",
    "F1 of the best trial, on the rows that chose it": "最佳试验的 F1（在据以选出它的样本上）",
    "What the search found": "搜索的结果",
    "the recipe's own values": "配方自身的取值",
    "none of {trials} trials is better on these rows than the recipe's own values": "在这些样本上，{trials} 次试验中没有一次优于配方自身的取值",
    "the lowest loss of {trials} trials, chosen on these very rows, so it looks better than it is; the paired test against the recipe's own values gives p {p} before that choice is counted": "{trials} 次试验中损失最低的一次，正是在这些样本上选出的，因此看起来比实际更好；与配方自身取值的配对检验给出 p {p}（未计入这一挑选）",
    "the best of {trials} trials, chosen on these very rows, so it looks better than it is; the paired test against the recipe's own values gives p {p} before that choice is counted": "{trials} 次试验中最好的一次，正是在这些样本上选出的，因此看起来比实际更好；与配方自身取值的配对检验给出 p {p}（未计入这一挑选）",
    "{method}; Hyperband on the first of {folds} folds; judged on rows that each fold's network did not see": "{method}；在 {folds} 折的第一折上用 Hyperband 提前终止；在各折网络未见过的样本上评判",
    "{method}; judged on rows that each of {folds} folds' networks did not see": "{method}；在 {folds} 折各自网络未见过的样本上评判",
    "{method}; Hyperband; judged on the validation rows": "{method}；用 Hyperband 提前终止；在验证数据上评判",
    "{method}; judged on the validation rows": "{method}；在验证数据上评判",
    "Values that the search chose": "搜索选定的取值",
    "the recipe has {values}": "配方为 {values}",
    "they are the recipe's own": "即配方自身的取值",
    "trial {number}": "第 {number} 次试验",
    "Trials of the search": "搜索的试验次数",
    "{finished} finished, {behind} ended early because they fell behind, {budget} because the budget ended": "{finished} 次完成，{behind} 次因落后而提前终止，{budget} 次因预算用尽而终止",
    "{finished} finished, {behind} ended early because they fell behind, {budget} because the budget ended; {failed} failed, the first one: {first}": "{finished} 次完成，{behind} 次因落后而提前终止，{budget} 次因预算用尽而终止；{failed} 次失败，其中第一次：{first}",
    "How much each key of the search matters": "搜索中各个键的重要性",
    "{finished} trials finished; {least} with different values are needed": "完成了 {finished} 次试验；至少需要 {least} 次且取值结果不全相同",
    "How much {key} matters": "{key} 的重要性",
    "its share of what the keys explain one by one of the differences between trials": "在各键单独解释的试验间差异中所占的份额",
    "variance of a random forest over the finished trials, marginal in each key; those ended early are left out": "对完成的试验拟合随机森林，取各键的边际方差；提前终止的试验不计入",
    "variance of a random forest over the values of all trials after {epochs} epochs, marginal in each key: too few finished": "对全部试验在第 {epochs} 轮后的结果拟合随机森林，取各键的边际方差：完成的试验太少",
    "Time of the search": "搜索用时",
    "wall clock of each trial, added up over all sittings and workers": "各次试验的实际用时，对全部运行时段和工作进程求和",
    "the network of the best trial could not be trained on the run's own split: {reason}": "最佳试验的网络无法在本次运行自身的划分上训练：{reason}",
    "none of {trials} trials could be trained; the first one: {reason}": "{trials} 次试验均无法训练；第一次的原因：{reason}",
    "none of {trials} trials could end within optimization.search.budget": "{trials} 次试验均未能在 optimization.search.budget 之内结束",
    "a trial takes about {minutes} min and optimization.search.budget is {budget}: none beside the recipe's own values could end": "一次试验约需 {minutes} 分钟，而 optimization.search.budget 为 {budget}：除配方自身取值外没有试验能够结束",
    # the drawings
    "accuracy on the judging rows": "评判样本上的准确率",
    "RMSE on the judging rows": "评判样本上的均方根误差",
    "F1 on the judging rows": "评判样本上的 F1",
    "loss on the judging rows": "评判样本上的损失",
    "trial": "试验",
    "share of the differences between trials": "在试验间差异中所占的份额",
    "Search: the value of each trial": "搜索：每次试验的结果",
    "Search: which keys matter": "搜索：哪些键重要",
    "Search: the values of each trial, the best ones thick": "搜索：每次试验的取值（最好的以粗线表示）",
    "a finished trial": "完成的试验",
    "the best trial": "最佳试验",
    "the best so far": "迄今最好",
    "ended early, at its last value": "提前终止的试验（位于其最后的值）",
    "one that failed": "失败的试验",
}

VALUES: dict[str, str] = {
    "tree-structured Parzen estimator": "树状 Parzen 估计器",
    "random search": "随机搜索",
    "grid search": "网格搜索",
}
