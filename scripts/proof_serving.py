"""What serving and feedback promise, in English and Chinese: name of the record, promise, and how its figure is said (None: "k of n")."""

from __future__ import annotations

Words = tuple[str, str]
WRONG = ("{value} (of {n})", "{value}（共 {n}）")
FAILED = ("{value} failures in {n:,}", "{n:,} 次中失败 {value} 次")

SERVING: tuple[tuple[str, Words, Words | None], ...] = (
    (
        "serving.kill",
        ("requests answered while 50 workers are killed with `kill -9`", "50 个工作进程被 `kill -9` 期间得到回答的请求"),
        None,
    ),
    (
        "serving.swap",
        (
            "requests answered over 20 swaps of the package under load, each by the old model or the new one, which it names",
            "负载下更换 20 次模型包期间得到回答的请求，每个都由旧模型或新模型作答并注明其名",
        ),
        None,
    ),
    (
        "serving.restarts",
        ("accepted requests lost over restarts of the server under load", "负载下重启服务器期间丢失的已接受请求"),
        ("{value} lost in {n} restarts ({answered:,} answered)", "{n} 次重启丢失 {value} 个（回答 {answered:,} 个）"),
    ),
    (
        "serving.overload",
        (
            "five times the capacity is offered: the 99th percentile of the accepted, against 0.8 of the capacity",
            "请求量为容量的五倍时，被接受请求的第 99 百分位延迟与 0.8 容量时之比",
        ),
        (
            "{value:.2f} times; goodput {goodput:.2f} of the capacity; the rest refused in {refusal_ms:.2f} ms (99th percentile)",
            "{value:.2f} 倍；有效吞吐为容量的 {goodput:.2f}；其余在 {refusal_ms:.2f} 毫秒内（第 99 百分位）被拒绝",
        ),
    ),
    (
        "serving.malformed.schema",
        (
            "requests made from the server's own document, valid and not: a 5xx, or another shape of error",
            "依据服务器自身文档生成的合法与非法请求：出现 5xx 或别种错误形式",
        ),
        FAILED,
    ),
    ("serving.malformed.raw", ("valid requests mutated: the same", "由合法请求变异而来的请求：同上"), FAILED),
    ("serving.malformed.bytes", ("bytes on the socket that are no request: the same", "套接字上不成请求的字节：同上"), FAILED),
    (
        "access.decisions",
        (
            "route, method and caller: each has a decision, and only those with the role pass",
            "路由、方法与调用者：各有判定，仅具备角色者通过",
        ),
        None,
    ),
    (
        "access.decide_us",
        ("a decision about a known key takes under 20 microseconds", "对已知密钥的判定耗时低于 20 微秒"),
        ("{value:.1f} µs of processor time (n = {n:,})", "处理器时间 {value:.1f} 微秒（n = {n:,}）"),
    ),
    (
        "oidc.known_us",
        ("the same for a token that was seen before", "对先前见过的令牌的判定"),
        ("{value:.1f} µs (n = {n:,})", "{value:.1f} 微秒（n = {n:,}）"),
    ),
    ("oidc.forgeries", ("forged, expired or foreign tokens are refused", "伪造、过期或他处签发的令牌被拒绝"), None),
    (
        "hosts.spellings",
        ("spellings of the Host header are told apart (DNS rebinding)", "Host 标头的各种写法被正确区分（DNS 重绑定）"),
        None,
    ),
    (
        "secrets.canaries",
        ("planted secrets found in logs, metrics, errors, answers or the trail", "在日志、指标、错误、回答或审计链中发现的植入机密"),
        WRONG,
    ),
    (
        "trail.tampered",
        (
            "an audit trail edited, cut, swapped or added to: found, line named",
            "审计链被改动、删减、调换或添加时被发现并指出行号",
        ),
        None,
    ),
    (
        "trail.rewritten",
        ("the same, all hashes made anew: found by the anchor", "全部哈希重算后的篡改：由导出的锚点发现"),
        None,
    ),
    ("vault.flipped", ("a sealed value with one bit changed is refused", "密封值被改动一个比特即被拒绝"), None),
    (
        "feedback.kills",
        (
            "the log's move into its database killed with `kill -9`: every answer is there once",
            "日志移入数据库途中被 `kill -9`：每个回答恰好留存一次",
        ),
        None,
    ),
    (
        "feedback.disk",
        (
            "the n-th disk operation of the feedback log fails, for every n: nothing is lost",
            "反馈日志的第 n 次磁盘操作失败（对每个 n）：无一丢失",
        ),
        None,
    ),
    (
        "loop.equal",
        ("retraining: an equal challenger is promoted in at most 5 % of cycles", "再训练：同等的挑战者被提升的轮次不超过 5 %"),
        ("{value:.0%} of {n} cycles", "{n} 轮中的 {value:.0%}"),
    ),
    (
        "loop.poisoned",
        ("retraining: a challenger that learnt from poisoned labels is never promoted", "再训练：从被投毒的标签学得的挑战者绝不被提升"),
        ("{value:.0%} of {n} cycles", "{n} 轮中的 {value:.0%}"),
    ),
    (
        "loop.cycles.equal",
        (
            "100 cycles of the real loop on a small model: an equal challenger is promoted in at most 5 %",
            "真实闭环在小模型上运行 100 轮：同等的挑战者被提升的轮次不超过 5 %",
        ),
        ("{value:.0%} of {n} cycles", "{n} 轮中的 {value:.0%}"),
    ),
    (
        "loop.cycles.poisoned",
        (
            "100 cycles, one key of five turns 5 to 30 % of its labels: what learnt from it is never promoted",
            "100 轮，五个密钥之一翻转其 5 % 至 30 % 的标签：由此学得的模型绝不被提升",
        ),
        (
            "{value:.0%} of {n} cycles; the key was in quarantine in {quarantined:.0%}",
            "{n} 轮中的 {value:.0%}；其中 {quarantined:.0%} 该密钥被隔离",
        ),
    ),
    (
        "loop.cycles.worse",
        (
            "100 cycles, a worse model is forced into the canary: it is taken back",
            "100 轮，强行让更差的模型承担部分流量：它被撤回",
        ),
        ("{value:.0%} of {n} cycles, after {labels:.0f} labels in the middle", "{n} 轮中的 {value:.0%}，中位数为 {labels:.0f} 个标签之后"),
    ),
    (
        "loop.kills",
        (
            "retraining and promotion killed with `kill -9`, or a disk operation failed: the switch is old or new",
            "再训练与提升途中被 `kill -9` 或磁盘操作失败：开关非旧即新",
        ),
        None,
    ),
    (
        "erase.kills",
        (
            "an erasure killed with `kill -9`: the same command ends it, the row's bytes are in no file, every other row is as it was",
            "删除途中被 `kill -9`：同一命令将其完成，该行的字节不在任何文件中，其余各行不变",
        ),
        None,
    ),
    (
        "erase.disk",
        (
            "an erasure whose n-th disk operation fails, all along it: the same",
            "删除途中第 n 次磁盘操作失败（遍布全程）：同上",
        ),
        None,
    ),
    (
        "erase.rows",
        (
            "erased rows of which bytes stand in a file of the run; trained again, the model is by SHA-256 the one that never saw them",
            "运行的文件中仍留有字节的已删除行；重新训练后，模型的 SHA-256 与从未见过它们的模型相同",
        ),
        WRONG,
    ),
    (
        "serving.explained",
        (
            "why a served model answers so: the one column of ten that it reads ranks first",
            "服务中的模型为何如此回答：十列中它所读的那一列排在首位",
        ),
        None,
    ),
    (
        "attacks.page",
        (
            "hostile names of columns and classes, values and texts become active nodes on the page",
            "恶意的列名、类名、取值和文本在网页上成为可执行节点",
        ),
        ("{value} ({n} looks at the page)", "{value}（检查网页 {n} 次）"),
    ),
)
