# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for private training; see catalogue_zh.py."""

from __future__ import annotations

_SPENT = "delta {delta}; {steps} steps, each of {rows} rows in each with chance {rate}, cut to norm {clip}, noise of {noise} times that. The promise is of the weights of this training: it does not cover what preprocessing reads of the rows (means, vocabularies), early stopping and choices by validation rows, other trainings of a search, nor figures of training rows in the report; "
_SPENT_ZH = "delta 为 {delta}；共 {steps} 步，{rows} 行中每行以概率 {rate} 进入每一步，梯度裁剪到范数 {clip}，噪声为其 {noise} 倍。该保证只针对本次训练的权重：不包括预处理从数据中读取的统计量（均值、词表）、依据验证数据的提前停止与选择、搜索中的其他训练，以及报告中关于训练数据的数字；"

ZH: dict[str, str] = {
    "Epsilon: what the weights tell of any one training row, at most": "Epsilon：权重至多透露任意一行训练数据的程度",
    _SPENT
    + "and it holds against who does not know the seed: for a model that is given away draw the noise from training.privacy.secret": _SPENT_ZH
    + "且只对不知道随机种子的人成立：若要公开模型，请用 training.privacy.secret 产生噪声",
    _SPENT + "the noise is drawn from a secret that is not stored": _SPENT_ZH + "噪声由未存储的秘密产生",
    "an upper bound: Renyi divergences of the sampled Gaussian mechanism, added up over all steps (Opacus)": "是上界：抽样高斯机制的 Rényi 散度，逐步累加（Opacus）",
    "private training, epsilon {epsilon}": "差分隐私训练，epsilon 为 {epsilon}",
}
