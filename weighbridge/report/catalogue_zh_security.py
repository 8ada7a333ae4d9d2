# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the audit of security; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "What could harm its user": "什么会伤害使用者",
    "Files that could run code, or are not what they are called": "可能运行代码或名不副实的文件",
    "the graph holds {operators} standard operators and its own weights; every file is of a form that can hold no code": "计算图只含 {operators} 个标准算子和自身权重；每个文件的格式都不能携带代码",
    "{shown}; {n} in all": "{shown}；共 {n} 个",
    "every file of the package and of the run: its name, its form, and the forms in which code travels; no sample": "检查包和本次运行的每个文件：名称、格式，以及代码常藏身的形式；未抽样",
    "Known vulnerabilities of what it runs on": "其运行依赖中的已知漏洞",
    "no list of known vulnerabilities is given (audit.security.advisories); {n} versions are in {file}, {serving} serve": "未给出已知漏洞清单（audit.security.advisories）；{n} 个版本记录在 {file} 中，其中 {serving} 个用于服务",
    "{file} holds no record of a Python package": "{file} 中没有 Python 包的记录",
    "{file} can not be read ({why})": "{file} 无法读取（{why}）",
    "{shown}; {serving} of them are needed to answer": "{shown}；其中 {serving} 个是回答所必需的",
    "none of these versions is in {records} records, the newest of {newest}": "{records} 条记录中没有这些版本，最新一条为 {newest}",
    "installed versions compared with the records of {file}; what no record says is not known": "已安装版本与 {file} 的记录逐一比对；记录中没有的便不得而知",
    "Strange inputs that it neither answers nor refuses": "既不回答也不拒绝的异常输入",
    "{shown}; {rest} more": "{shown}；另有 {rest} 例",
    "{answered} answered, {refused} refused in one line each; at most {memory} MB of memory, for {name}": "回答 {answered} 例，各用一行拒绝 {refused} 例；内存最多 {memory} MB（{name}）",
    "the package in a process of its own is given one case after the other, and a good row after each; failed: another error than a refusal in one line, {cpu} s of the processor, {memory} MB of memory, death, silence; interval as of cases drawn like these": "包在独立进程中逐例接受输入，每例之后再给一行正常样本；失败指：不是一行拒绝的其他错误、处理器时间 {cpu} 秒、内存 {memory} MB、进程死亡或无响应；区间按同类抽取的用例计算",
    "the package does not answer in a process of its own": "包在独立进程中没有回答",
    "Planted trigger in pictures": "图像中被植入的触发器",
    "no column holds pictures": "没有图像列",
    "no row holds a picture": "没有一行含有图像",
    "the target is no class": "目标不是类别",
    "{n} classes are too few to tell one from the others; at least {least}": "{n} 个类别太少，无法区分出异常者；至少需要 {least} 个",
    "a change of {pixels} of {all} pixels turns {held} ({low} to {high}) of {n} test rows into {name}, far less than other classes need: a trigger may have been planted in the training rows; look at audit/backdoor.json": "只改动 {all} 个像素中的 {pixels} 个，就把 {n} 行测试样本中的 {held}（{low} 至 {high}）变成 {name}，远少于其他类别所需：训练样本中可能被植入了触发器；请查看 audit/backdoor.json",
    "the smallest change, {pixels} of {all} pixels for {name}, is not far below what the other classes need": "最小的改动是把 {all} 个像素中的 {pixels} 个改为 {name}，并不远低于其他类别所需",
    "suspected above": "高于此值即可疑",
    "the smallest change that turns {turned} of {rows} rows into a class is sought for each by its gradients; the value is how many median deviations of the logarithm the smallest one is below the median, which has no interval": "用梯度为每个类别寻找把 {rows} 行中 {turned} 变成该类的最小改动；数值为最小者的对数低于中位数多少个中位差，它没有区间",
    "largest share of rows that one patch turns into one class: {name}": "单个图块变为同一类别的最大样本比例：{name}",
    "black box: black, white and checked patches of a quarter of the side at nine places; other triggers are not found": "黑盒：在九个位置放置边长四分之一的黑、白、棋盘图块；其他触发器发现不了",
    "pixels of the smallest change that leads into the class": "进入该类别的最小改动（像素）",
    "Triggers: the smallest change of a picture that leads into each class, and the smallest of them": "触发器：进入每个类别的最小图像改动，以及其中最小者",
    "a class": "一个类别",
    "a class left of it is suspected": "位于其左侧的类别可疑",
}
