# ruff: noqa: E501 - a template and its translation stand together
"""Chinese of what is said about clips of sound."""

from __future__ import annotations

ZH = {
    "the bytes begin as a clip of sound does": "字节以音频文件的标志开头",
    "the values end as clips of sound do": "取值以音频文件的后缀结尾",
    "bytes that are no image and no clip are not read": "既非图像也非音频的字节不读取",
    "Clips of column {column}: bands, frames": "音频列 {column}：频带数、帧数",
    "all training clips have this rate": "所有训练音频都是这一采样率",
    "{resampled} training clips are brought from another rate to this one": "{resampled} 条训练音频由其他采样率转换而来",
    "{seconds} s at {rate} Hz, channels mixed; log-mel spectrogram of {window} ms windows every {hop} ms, {range} dB in 256 steps": "{seconds} 秒，{rate} Hz，声道混合；对数梅尔频谱，窗长 {window} 毫秒，帧移 {hop} 毫秒，{range} dB 分为 256 级",
    "Clips of column {column} that are cut": "音频列 {column} 中被截断的音频",
    "after {seconds} s; the end of {count} training clips is not heard": "截断于 {seconds} 秒；{count} 条训练音频的末尾未被听取",
    "{missing} training rows have no clip; there it is masked and the other inputs answer": "{missing} 行训练数据没有音频；这些行的音频被遮蔽，由其余输入作答",
    "clips are not attacked: a step of a spectrogram's level is no change that a sound could have": "不攻击音频：频谱级的微小改动并非声音可能有的变化",
    "Images and clips that can not be opened": "无法打开的图像和音频",
    "each file is decoded whole": "逐个文件完整解码",
    "noise in clips": "音频噪声",
    "overdriven clips": "音频削波",
    "clips that begin later": "音频起始延后",
    "quieter clips": "音频音量降低",
    "ratio of signal to noise, in dB": "信噪比（dB）",
    "share of the largest amplitude that is kept": "保留的最大振幅比例",
    "way, as a share of the length": "位移（占长度的比例）",
    "how much quieter, in dB": "音量降低的分贝数",
    "near copies of clips are not looked for: equal files are, as equal rows": "不查找近似的音频；完全相同的文件按相同的行查出",
}
