"""Which pretrained weights a network began with, and how much of it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message
from weighbridge.models.vectors import vectors_of
from weighbridge.preprocessing.text import TextFeature
from weighbridge.storage import sha256_file

if TYPE_CHECKING:
    from weighbridge.models import NetworkSpec
    from weighbridge.preprocessing import Encoder
    from weighbridge.recipe import ModelOptions

WAYS = {
    "frozen": Message("nothing of the encoder is trained: the head learns from what it says"),
    "last": Message("the last blocks of the encoder and the head are trained"),
    "all": Message("the whole encoder and the head are trained"),
    "lora": Message("low-rank additions to the encoder and the head are trained; the additions were then added into its weights"),
    "scratch": Message("the encoder's weights were drawn anew and not read from the source: a network of the same form from scratch"),
}


def vector_findings(options: ModelOptions, encoder: Encoder, command: str) -> list[Finding]:
    """Return how much of each text column's vocabulary the file of word vectors has; nothing without such a file."""
    if options.vectors is None:
        return []
    path, found = Path(options.vectors), []
    for feature in (one for one in encoder.features if isinstance(one, TextFeature)):
        codes, vectors, words = vectors_of(feature, path)
        key = f"training.vectors.{feature.column}"
        found.append(
            Finding(
                key=key, title=Message("Tokens of column {column} that begin with a word vector", column=feature.column),
                value=round(len(codes) / max(1, words), 6), unit="share", n=words, n_of="tokens",
                reason=Message(
                    "of {file}, {width} numbers a word; the other tokens begin at random", file=path.name, width=vectors.shape[1]
                ),
                method=Message("counted; SHA-256 of the file {sha256}", sha256=sha256_file(path)),
                evidence=("training/model.json",), command=f"{command} --only {key.removeprefix('training.')}",
            )
        )  # fmt: skip
    return found


def source_findings(spec: NetworkSpec, options: ModelOptions, counts: tuple[int, int], command: str) -> list[Finding]:
    """Return where the first weights came from, with hash and licence, and the share that was trained; nothing for other networks."""
    known = spec.pretrained
    if known is None:
        return []
    trained, whole = counts
    share = Finding(
        key="training.pretrained.share",
        title=Message("Share of the network's weights that was trained"),
        value=round(trained / whole, 6),
        unit="share",
        n=whole,
        n_of="parameters",
        reason=WAYS[options.tune],
        method=Message("counted; {trained} of {whole} weights", trained=trained, whole=whole),
        evidence=("training/model.json",),
        command=f"{command} --only pretrained.share",
    )
    licence = known["licence"]
    origin = Finding(
        key="training.pretrained.source",
        title=Message("Source of the pretrained encoder"),
        value=known["source"],
        reason=Message("its card states the licence {licence}", licence=licence) if licence else Message("its card states no licence"),
        verdict="neutral" if licence else "limitation",
        method=Message("{kind}; SHA-256 of its weights {sha256}", kind=known["config"]["model_type"], sha256=known["weights_sha256"]),
        evidence=("training/model.json",),
        command=f"{command} --only pretrained.source",
    )
    return [share, origin]
