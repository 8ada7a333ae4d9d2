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
    "after {length} tokens; the end of {count} training texts is not read": "截断于 {length} 个词元；{count} 条训练文本的末尾未被读取",
    "Median length of the texts of column {column}": "文本列 {column} 的中位长度",
    "half of them have {quarter} to {three} tokens, nine in ten {low} to {high}; the longest has {longest}": "半数文本有 {quarter} 至 {three} 个词元，九成有 {low} 至 {high} 个；最长的有 {longest} 个",
    "Rows without a text in column {column}": "{column} 列没有文本的行",
    "{missing} are missing, {empty} are empty; there the text is masked": "缺失 {missing} 行，空文本 {empty} 行；这些行的文本被遮蔽",
    "tokens": "个词元",
    "Share of what is read of texts that is padding": "所读文本中填充所占比例",
    "texts of like length come in one batch of {size}": "长度相近的文本放在同一批（每批 {size} 行）",
    "counted over all batches of the first epoch": "对首轮的全部批次计数",
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
