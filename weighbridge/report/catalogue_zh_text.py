# ruff: noqa: E501 - a template and its translation stand together
"""Chinese of what is said about texts."""

from __future__ import annotations

ZH = {
    "Texts of column {column}: tokens known": "文本列 {column}：词表中的词元数",
    "the vocabulary was learnt on {sampled} training rows": "词表从 {sampled} 行训练数据中学得",
    "the vocabulary is the pretrained model's own": "词表来自预训练模型",
    "pieces of bytes learnt by byte-pair encoding": "由字节对编码（BPE）学得的字节片段",
    "words between spaces and signs, each Chinese character by itself": "以空格和标点分开的单词，每个汉字自成一词",
    "one token a character": "每个字符为一个词元",
    "the tokens of the pretrained model": "预训练模型的词元",
    "Texts of column {column} that are cut": "文本列 {column} 中被截断的文本",
    "after {length} tokens; the median text has {median} and the longest {longest}; {empty} training rows have an empty text": "截断于 {length} 个词元；中位长度为 {median}，最长为 {longest}；{empty} 行训练数据的文本为空",
    "Script of column {column}": "文本列 {column} 的文字",
    "shares of letters: {shown}": "各文字所占比例：{shown}",
    "Unicode names of the letters of up to 2,000 training texts; the language itself is not guessed": "依据至多 2,000 条训练文本中字母的 Unicode 名称；不猜测具体语言",
    "Tokens of column {column} that training rows do not have": "文本列 {column} 中训练数据未出现的词元",
    "the network sees one and the same token in their place": "网络在这些位置看到的是同一个词元",
    "What numbers and categories are worth to the model": "数值与类别列对模型的价值",
    "What column {column} is worth to the model": "{column} 列对模型的价值",
    "the same model without it": "隐去该输入的同一模型",
    "hidden, it changes nothing that these rows can show (corrected p {p})": "隐去后，这些样本上看不出变化（校正后 p {p}）",
    "without it the model is worse by the paired test (corrected p {p})": "配对检验表明，缺少它模型更差（校正后 p {p}）",
    "without it the model is better by the paired test (corrected p {p}): it misleads": "配对检验表明，缺少它模型反而更好（校正后 p {p}）：它有误导作用",
    "{missing} training rows have no image; there it is masked and the other inputs answer": "{missing} 个训练行没有图像；这些行的图像被遮蔽，由其余输入作答",
    "counted on validation rows": "在验证行上计数",
}
