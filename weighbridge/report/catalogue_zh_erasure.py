# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for rows that were erased; see catalogue_zh.py."""

ZH = {
    "BLAKE2b of the row id, keyed with a secret of the run": "以本次运行的密钥对样本标识做 BLAKE2b 哈希",
    "Erased rows": "已删除的样本",
    "every file of the run searched for the rows' ids, values and encoded bytes": "在运行的每个文件中搜索这些样本的标识、取值与编码字节",
    "kept out by a list of keyed hashes; the source still held {left} of its rows": "由带密钥的哈希列表排除在外；数据源中仍有其中 {left} 行",
    "taken out of the run's files; no model saw them": "已从运行的文件中移除；没有模型见过它们",
    "taken out of the run's files; {models} models saw them and answer as before until they are trained again: weigh data erase RUN --retrain": "已从运行的文件中移除；{models} 个模型见过它们，重新训练前其应答不变：weigh data erase RUN --retrain",
}
