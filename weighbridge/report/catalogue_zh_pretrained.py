# ruff: noqa: E501 - a template and its translation stand together
"""Chinese of what is said about pretrained encoders."""

from __future__ import annotations

ZH = {
    "Share of the network's weights that was trained": "参与训练的权重占比",
    "counted; {trained} of {whole} weights": "计数得出：{whole} 个权重中训练了 {trained} 个",
    "nothing of the encoder is trained: the head learns from what it says": "编码器完全冻结：只有输出头在其特征上学习",
    "the last blocks of the encoder and the head are trained": "训练编码器的最后几层和输出头",
    "the whole encoder and the head are trained": "训练整个编码器和输出头",
    "low-rank additions to the encoder and the head are trained; the additions were then added into its weights": "训练编码器的低秩增量（LoRA）和输出头；训练后增量已并入编码器权重",
    "the encoder's weights were drawn anew and not read from the source: a network of the same form from scratch": "编码器权重重新随机初始化，未读取来源的权重：同样结构的网络从零训练",
    "Source of the pretrained encoder": "预训练编码器的来源",
    "its card states the licence {licence}": "其模型卡注明许可证为 {licence}",
    "its card states no licence": "其模型卡未注明许可证",
    "Training rows that the recipe leaves out": "配方未采用的训练行",
    "data.split.train_rows keeps {rows} of them, chosen at random": "data.split.train_rows 从中随机保留 {rows} 行",
    "{kind}; SHA-256 of its weights {sha256}": "{kind}；权重的 SHA-256 为 {sha256}",
}
