# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for encrypted rows; see catalogue_zh.py."""

from __future__ import annotations

ZH: dict[str, str] = {
    "Encrypted rows": "加密行",
    "a network of type {type} is not computed on ciphertexts here: linear and mlp are": "此处不能在密文上计算 {type} 类型的网络：只支持 linear 和 mlp",
    "the text '{column}' is looked up token by token, which a ciphertext does not allow": "文本“{column}”要逐个词元查表，密文做不到",
    "{layers} hidden layers need more multiplications in a row than the parameters allow: one is computed": "{layers} 个隐藏层需要的连续乘法超出参数所允许的次数：只支持一层",
    "{features} features and {units} units are more than the slots of one ciphertext": "{features} 个特征和 {units} 个单元超出一个密文的槽数",
    "Task metric on encrypted rows": "加密行上的任务指标",
    "{metric}: {state} than the network on the same rows; {beyond} of the unit values lie beyond the range of the fit": "{metric}：与同样行上的网络相比{state}；单元取值中有 {beyond} 的比例超出拟合范围",
    "worse": "更差",
    "not shown to be worse": "未显示更差",
    "encrypted, computed on, decrypted, row by row; ring of degree {degree}, modulus of {bits} bits (128 bits safe up to {most})": "逐行加密、计算、解密；环的次数为 {degree}，模数为 {bits} 位（128 位安全的上限为 {most} 位）",
    "Largest error by encryption of a raw output": "加密给原始输出带来的最大误差",
    "decrypted outputs against the same maps in the clear": "解密的输出与明文中同样映射的输出相比",
    "Largest change of an answer by polynomials and encryption": "多项式和加密给回答带来的最大变化",
    "decrypted answers against those of the network": "解密的回答与网络的回答相比",
    "Server's time for an encrypted row, median": "服务器处理一个加密行的时间，中位数",
    "Client's time for an encrypted row, median": "客户端处理一个加密行的时间，中位数",
    "each row once, on this machine; evaluation keys were loaded before": "每行一次，在本机上；运算密钥已事先载入",
    "Size of an encrypted row": "一个加密行的大小",
    "{features} features in one ciphertext": "一个密文中有 {features} 个特征",
    "Size of an encrypted answer": "一个加密回答的大小",
    "at the last level of the modulus": "在模数的最后一层",
    "Size of a client's evaluation keys": "一个客户端的运算密钥的大小",
    "sent once; they open nothing": "只发送一次；它们打不开任何东西",
}
