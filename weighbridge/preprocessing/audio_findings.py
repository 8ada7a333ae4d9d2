"""What is said of columns of clips: the spectrogram that a network reads, and how many clips are cut."""

from __future__ import annotations

from weighbridge.findings import EMPTY, Finding, Message
from weighbridge.preprocessing.audio import RANGE_DB, AudioFeature
from weighbridge.preprocessing.encoder import Encoder

MOST_CUT = 0.1


def audio_findings(encoder: Encoder, command: str) -> list[Finding]:
    """Return two findings for each column of clips: its form, and the share that is cut, a limitation above a tenth."""
    features = [feature for feature in encoder.features if isinstance(feature, AudioFeature)]
    found = []
    for feature in features:
        key = "audio" if len(features) == 1 else f"audio.{feature.column}"
        found += [_form(feature, key, command), _cut(feature, key, command)]
    return found


def _form(feature: AudioFeature, key: str, command: str) -> Finding:
    reason = Message("all training clips have this rate")
    if feature.resampled:
        reason = Message("{resampled} training clips are brought from another rate to this one", resampled=feature.resampled)
    return Finding(
        key=f"preprocessing.{key}", title=Message("Clips of column {column}: bands, frames", column=feature.column),
        value=f"{feature.shape[0]} x {feature.shape[1]}", n=feature.rows - feature.missing, reason=reason,
        method=Message(
            "{seconds} s at {rate} Hz, channels mixed; log-mel spectrogram of {window} ms windows every {hop} ms, {range} dB in 256 steps",
            seconds=round(feature.seconds, 2), rate=feature.rate, window=round(1000 * feature.window / feature.rate, 1),
            hop=round(1000 * feature.hop / feature.rate, 1), range=round(RANGE_DB),
        ),
        source="Davis and Mermelstein 1980", evidence=("preprocessing/encoder.json",), command=command,
    )  # fmt: skip


def _cut(feature: AudioFeature, key: str, command: str) -> Finding:
    known = feature.rows - feature.missing
    share = feature.cut / known if known else 0.0
    reason = EMPTY
    if feature.cut:
        reason = Message(
            "after {seconds} s; the end of {count} training clips is not heard", seconds=round(feature.seconds, 2), count=feature.cut
        )
    return Finding(
        key=f"preprocessing.{key}.cut", title=Message("Clips of column {column} that are cut", column=feature.column), value=share,
        unit="share", n=known, reason=reason, verdict="limitation" if share > MOST_CUT else "neutral",
        method=Message("counted on training rows"), evidence=("preprocessing/encoder.json",), command=command,
    )  # fmt: skip
