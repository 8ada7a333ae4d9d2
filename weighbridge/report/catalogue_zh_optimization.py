# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for what competes, what forms cost and the drawings of the choice; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    # contenders and ensembles
    "Contender {name}, on the judging rows": "参选模型 {name}（在评判数据上）",
    "{parameters} parameters, {seconds} s to train, {size} KB, one row in {latency} ms": "{parameters} 个参数，训练 {seconds} 秒，{size} KB，单行 {latency} 毫秒",
    "Ensemble {name} against the best single model": "集成 {name} 与最好的单个模型相比",
    "measurably better than {best}; it takes {times} times as long, and {size} times the bytes": "可测出地优于 {best}；耗时为其 {times} 倍，字节数为其 {size} 倍",
    "not measurably better than {best}, so it is not kept; it takes {times} times as long, and {size} times the bytes": "没有可测出地优于 {best}，因此不予保留；耗时为其 {times} 倍，字节数为其 {size} 倍",
    "members chosen on one half of the judging rows, judged on the other; paired test, corrected by Holm": "成员在一半评判数据上选出，在另一半上评判；配对检验，按 Holm 校正",
    "Form that could not be made: {name}": "未能生成的形式：{name}",
    "{why}": "{why}",
    # costs
    "Latency of {name}, one row, median": "{name} 的延迟（单行，中位数）",
    "{times} of the time of {champion} ({low} to {high}); 99 % within {p99} ms; 32 rows {many} ms, 99 % within {p99_many} ms; {speed} rows/s; {size} KB, memory {memory} MB, loaded in {load} ms": "耗时为 {champion} 的 {times} 倍（{low} 至 {high}）；99% 在 {p99} 毫秒以内；32 行 {many} 毫秒，99% 在 {p99_many} 毫秒以内；每秒 {speed} 行；{size} KB，内存 {memory} MB，载入 {load} 毫秒",
    "encoded rows to answers, {threads} thread, {calls} calls in {rounds} rounds; all graphs take turns, loaded anew in each": "从已编码的行到答案，{threads} 个线程，{rounds} 轮共 {calls} 次调用；各计算图轮流进行，每轮重新载入",
    "Integer weights in torch (torchao) against the network itself": "torch 中的整数权重（torchao）与原网络相比",
    "one row in torch {ours} ms for {theirs} ms, {times} of the time ({low} to {high}); it needs torch, so it can not be packaged": "torch 中单行 {ours} 毫秒，原为 {theirs} 毫秒，为其 {times} 倍（{low} 至 {high}）；它需要 torch，因此无法打包",
    "linear layers in int8, inputs scaled at each call; not compiled; one thread, in turns": "线性层用 int8，每次调用时缩放输入；未编译；单线程，轮流进行",
    # the stage
    "the recipe says optimization.enabled: false": "配方设置了 optimization.enabled: false",
    "What more parameters and more rows would buy": "增加参数和数据能换来什么",
    "it would take about {minutes} min, and optimization.scale.budget is {budget}": "约需 {minutes} 分钟，而 optimization.scale.budget 为 {budget}",
    "no recipe key says how wide a network of type {type} is": "没有配方键能规定 {type} 类网络的宽度",
    "the smallest part of the {rows} training rows holds fewer than {least}": "{rows} 行训练数据中最小的一份不足 {least} 行",
    "The model is {baseline}: on the rows that chose it no network was better.": "模型为{baseline}：在用于选择的数据上，没有网络优于它。",
    "What is packaged is {form}, the lightest form tried that is not measurably worse.": "被打包的是 {form}：在试过的形式中，没有可测出地变差且最轻的一个。",
    # drawings
    "Choice: quality against cost": "选择：质量与代价",
    "Ladder: what competed": "阶梯：参选的模型",
    "Scale study: loss by rows, a line for each number of parameters": "规模研究：损失随数据量变化，每种参数量一条线",
    "the form that is packaged": "被打包的形式",
    "the most capable model": "能力最强的模型",
    "another form": "其他形式",
    "another model": "其他模型",
    "a baseline": "基线",
    "measurably worse than the margin": "可测出地差于容许限度",
    "how much worse it may be": "容许变差的限度",
    "a contender with its interval": "参选模型及其区间",
    "the fitted law, its band": "拟合的规律及其区间带",
    "foretold before it was run": "运行之前的预测",
    "median time for one row": "单行中位耗时",
    "median time for 32 rows": "32 行中位耗时",
    "size of the graph": "计算图大小",
    "peak memory": "内存峰值",
    "rows a second": "每秒行数",
    "loss on validation rows": "验证数据上的损失",
}
