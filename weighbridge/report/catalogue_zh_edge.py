# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for targets for devices and the smallest installation; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "{target}, a target for devices": "设备端目标 {target}",
    "kept: its answers are the network's, within {tolerance}": "保留：其回答与网络一致，误差在 {tolerance} 以内",
    "not kept: an answer differs from the network's by {largest}, and the tolerance is {tolerance}": "不保留：某个回答与网络相差 {largest}，容差为 {tolerance}",
    "not kept: worse than the package by more than {margin} points (corrected p {p})": "不保留：比模型包差超过 {margin} 个百分点（校正后 p {p}）",
    "not kept: worse than the package by more than {margin} (corrected p {p})": "不保留：比模型包差超过 {margin}（校正后 p {p}）",
    "kept: not worse than the package by more than {margin} points (corrected p {p})": "保留：不比模型包差超过 {margin} 个百分点（校正后 p {p}）",
    "kept: not worse than the package by more than {margin} (corrected p {p})": "保留：不比模型包差超过 {margin}（校正后 p {p}）",
    "not kept: on the test rows it falls by more than {margin} points": "不保留：在测试行上下降超过 {margin} 个百分点",
    "not kept: on the test rows its error grows by more than {margin}": "不保留：在测试行上误差增大超过 {margin}",
    "not kept: the data can not decide whether it is worse by more than {margin} points (p {p})": "不保留：数据无法判定它是否差超过 {margin} 个百分点（p {p}）",
    "not kept: the data can not decide whether it is worse by more than {margin} (p {p})": "不保留：数据无法判定它是否差超过 {margin}（p {p}）",
    "not kept: the data can not decide whether it is worse by more than {margin} points (p {p}); about {more} more rows would": "不保留：数据无法判定它是否差超过 {margin} 个百分点（p {p}）；大约再有 {more} 行便可判定",
    "not kept: the data can not decide whether it is worse by more than {margin} (p {p}); about {more} more rows would": "不保留：数据无法判定它是否差超过 {margin}（p {p}）；大约再有 {more} 行便可判定",
    "Largest difference between {target} and the network": "{target} 与网络之间的最大差异",
    "integers round; what that does to the metric decides": "整数运算有舍入；由它对指标的影响来决定",
    "Size of {target}": "{target} 的大小",
    "its graph {own} KB, that of the package {other} KB": "其计算图 {own} KB，模型包的计算图 {other} KB",
    "Latency of {target}, one row, 99 % within": "{target} 回答一行的延迟，99% 不超过",
    "{times} of the time of the package ({low} to {high})": "所用时间为模型包的 {times} 倍（{low} 至 {high}）",
    "one encoded row to its answer, one thread, {calls} calls in {rounds} rounds; all take turns, loaded anew in each": "从一行编码后的样本到回答，单线程，{rounds} 轮共 {calls} 次调用；各目标轮流进行，每轮重新载入",
    "quantile of all calls, taken as independent": "全部调用的分位数，视为相互独立",
    "Memory of {target}": "{target} 的内存",
    "the whole process {whole} MB, that of the package {other} MB: Python and the libraries that answer it here are in that": "整个进程 {whole} MB，模型包的进程 {other} MB：其中包括 Python 和在此回答所用的库",
    "peak of a fresh process that loads it and answers its golden rows, beyond Python with its libraries; one thread": "新进程载入并回答其参考行时的峰值，扣除 Python 及其库；单线程",
    "Smallest installation that answers the package": "能回答该模型包的最小安装",
    "{names}, and weighbridge with {own} MB, each without what else it asks for": "{names}，以及 {own} MB 的 weighbridge，均不含其另外要求的依赖",
    "sum of the files of these libraries, bytecode aside; a fresh process that can import nothing else has answered the golden rows": "这些库的文件大小之和，不计字节码；一个只能导入这些库的新进程已回答参考行",
    "the package": "模型包",
    "calls": "次调用",
    "libraries": "个库",
    "not enough": "不足",
}
