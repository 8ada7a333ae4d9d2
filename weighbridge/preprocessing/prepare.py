"""The stage: fit on training rows, encode training and validation rows, say what was done to the columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import DataError
from weighbridge.findings import EMPTY, Finding, Message, Verdict
from weighbridge.preprocessing.audio import AudioFeature
from weighbridge.preprocessing.audio_findings import audio_findings
from weighbridge.preprocessing.category import OTHER, CategoryFeature
from weighbridge.preprocessing.date import DateFeature
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import SchemaLike, SplitsLike
from weighbridge.preprocessing.image import ImageFeature
from weighbridge.preprocessing.number import NumberFeature
from weighbridge.preprocessing.ragged import Ragged
from weighbridge.preprocessing.set import SetFeature
from weighbridge.preprocessing.store import Arrays, open_arrays, write_arrays
from weighbridge.preprocessing.text import UNSEEN, TextFeature
from weighbridge.storage import read_json, write_json
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.recipe.schema import PreprocessingSection

MOST_UNSEEN = 0.05
MOST_MISSING = 0.2
MOST_CUT = 0.05
TOKENS = {
    "bpe": Message("pieces of bytes learnt by byte-pair encoding"),
    "word": Message("words between spaces and signs, each Chinese character by itself"),
    "character": Message("one token a character"),
    "pretrained": Message("the tokens of the pretrained model"),
}
SCALES = {
    "standard": Message("scaled to mean 0 and deviation 1"),
    "robust": Message("scaled by median and quartile range"),
    "quantile": Message("mapped to a normal distribution by quantiles"),
    "none": Message("not scaled"),
}


def prepare(
    section: PreprocessingSection, *, data: SplitsLike, folder: Path, command: str, progress: Progress = silent, seed: int = 0
) -> list[Finding]:
    """`folder` holds encoder.json, train/ and validation/ arrays; test rows are not touched.

    Returns findings `preprocessing.*`. Raises DataError for rows that can not be encoded, StorageError for the disk.
    """
    if section.like is None:
        encoder = Encoder.fit(data.train, data.schema, section, seed=seed, progress=progress)
    else:
        encoder = _encoder_of(Path(section.like), data.schema)
    if not encoder.blocks:
        raise DataError("no input is left after rare values were left out", do="lower preprocessing.set.rare")
    write_json(folder / "encoder.json", encoder.to_json())
    write_arrays(folder / "train", data.train, encoder, progress, label="encode training rows")
    write_arrays(folder / "validation", data.validation, encoder, progress, label="encode validation rows")
    validation = open_arrays(folder / "validation")
    codes = validation.blocks.get("category")
    assert not isinstance(codes, Ragged)  # only texts are
    return [
        *_numbers(encoder, section, command),
        *_dates(encoder, command),
        *_categories(encoder, command),
        *_sets(encoder, command),
        *_images(encoder, command),
        *audio_findings(encoder, command),
        *_missing(encoder, command),
        *_unseen(encoder, codes, command),
        *_untrained(encoder, data.schema, command),
        *_texts(encoder, validation, command),
    ]


def _encoder_of(run: Path, schema: SchemaLike) -> Encoder:
    """Return the encoder of another run, for rows of the same columns. Raises RunError, DataError."""
    encoder = Encoder.from_json(read_json(run / "preprocessing" / "encoder.json"))
    ours, theirs = {one.name for one in schema.inputs}, {feature.column for feature in encoder.features}
    if not theirs <= ours:
        raise DataError(
            f"the encoder of {run} reads columns that these rows do not have: {', '.join(sorted(theirs - ours)[:5])}",
            do="leave out preprocessing.like",
        )
    return encoder


def _finding(
    key: str, title: Message, value: float | int | str, *, command: str, method: Message, n: int | None = None, unit: str = "",
    reason: Message = EMPTY, verdict: Verdict = "neutral",
) -> Finding:  # fmt: skip
    return Finding(
        key=f"preprocessing.{key}", title=title, value=value, unit=unit, n=n, reason=reason, method=method, verdict=verdict,
        evidence=("preprocessing/encoder.json",), command=command,
    )  # fmt: skip


def _of(encoder: Encoder, kind: type[Any]) -> list[Any]:
    return [feature for feature in encoder.features if isinstance(feature, kind)]


def _numbers(encoder: Encoder, section: PreprocessingSection, command: str) -> list[Finding]:
    features = _of(encoder, NumberFeature)
    if not features:
        return []
    marked = sum(feature.indicator for feature in features)
    reason = EMPTY
    if marked and section.number.missing == "median":
        reason = Message("{marked} of them have missing values, which are replaced by the median and marked", marked=marked)
    elif marked:
        reason = Message("{marked} of them have missing values, which are replaced by the mean and marked", marked=marked)
    title, method = Message("Columns of numbers"), SCALES[section.number.scale]
    return [_finding("number", title, len(features), unit="columns", n=features[0].rows, reason=reason, method=method, command=command)]


def _dates(encoder: Encoder, command: str) -> list[Finding]:
    features = _of(encoder, DateFeature)
    if not features:
        return []
    method = Message("a trend in days; parts that come round again as sine and cosine; parts that do not vary are left out")
    title = Message("Columns of dates")
    return [_finding("date", title, len(features), unit="columns", n=features[0].rows, method=method, command=command)]


def _categories(encoder: Encoder, command: str) -> list[Finding]:
    features = _of(encoder, CategoryFeature)
    if not features:
        return []
    known, rare = sum(len(feature.values) for feature in features), sum(feature.rare_values for feature in features)
    reason = Message("{known} values have a code of their own; the other {rare} are rare and share one a column", known=known, rare=rare)
    title, method = Message("Columns of categories"), Message("one code a value; unseen values get the code of the rare ones")
    return [_finding("category", title, len(features), unit="columns", n=features[0].rows, reason=reason, method=method, command=command)]


def _sets(encoder: Encoder, command: str) -> list[Finding]:
    features = _of(encoder, SetFeature)
    if not features:
        return []
    known, rare = sum(len(feature.values) for feature in features), sum(feature.rare_values for feature in features)
    reason = Message("{known} values are inputs; the other {rare} are rare and left out", known=known, rare=rare)
    title, method = Message("Columns of sets"), Message("one input a value, 1 where the row has it")
    return [_finding("set", title, len(features), unit="columns", n=features[0].rows, reason=reason, method=method, command=command)]


def _images(encoder: Encoder, command: str) -> list[Finding]:
    features = _of(encoder, ImageFeature)
    method = Message("upright by EXIF, transparency on white, 8 bits a channel")
    found = []
    for feature in features:
        reason = Message("all training images have this size")
        if feature.resized:
            reason = Message("{resized} training images are stretched to this size", resized=feature.resized)
        key = "image" if len(features) == 1 else f"image.{feature.column}"
        size = f"{feature.height} x {feature.width} x {feature.channels}"
        title = Message("Images of column {column}: height, width, channels", column=feature.column)
        found.append(_finding(key, title, size, n=feature.rows, reason=reason, method=method, command=command))
    return found


def _missing(encoder: Encoder, command: str) -> list[Finding]:
    """Return a limitation for each column that lacks over a fifth of its values in training rows; any missing image or clip is stated."""
    found = []
    for feature in _of(encoder, object):
        if isinstance(feature, TextFeature):  # with the empty ones, among what is said of texts
            continue
        share = feature.missing / feature.rows if feature.rows else 0.0
        image, clip = isinstance(feature, ImageFeature), isinstance(feature, AudioFeature)
        if share > (0 if image or clip else MOST_MISSING):
            title = Message("Missing values of {column}", column=feature.column)
            reason = Message("{missing} training rows have no value here; the model reads a stand-in", missing=feature.missing)
            if image:
                reason = Message(
                    "{missing} training rows have no image; there it is masked and the other inputs answer", missing=feature.missing
                )
            if clip:
                reason = Message(
                    "{missing} training rows have no clip; there it is masked and the other inputs answer", missing=feature.missing
                )
            found.append(
                _finding(
                    f"missing.{feature.column}", title, share, unit="share", n=feature.rows, reason=reason,
                    verdict="limitation" if share > MOST_MISSING else "neutral",
                    method=Message("counted on training rows"), command=command,
                )
            )  # fmt: skip
    return found


def _unseen(encoder: Encoder, codes: np.ndarray | None, command: str) -> list[Finding]:
    """Return a limitation for each category column whose validation rows often hold a value without a code of its own."""
    found = []
    for place, feature in enumerate(_of(encoder, CategoryFeature)):
        share = float(np.mean(codes[:, place] == OTHER)) if codes is not None and len(codes) else 0.0
        if codes is not None and share > MOST_UNSEEN:
            title = Message("Unseen or rare values of {column}", column=feature.column)
            reason = Message(
                "the model can not tell these values apart: training rows hold them never or too seldom "
                "({rare} of {rows} training rows have such a value)", rare=feature.rare_rows, rows=feature.rows,
            )  # fmt: skip
            found.append(
                _finding(
                    f"unseen.{feature.column}", title, share, unit="share", n=len(codes), verdict="limitation", reason=reason,
                    method=Message("share of validation rows with the code of rare and unseen values"), command=command,
                )
            )  # fmt: skip
    return found


def _untrained(encoder: Encoder, schema: SchemaLike, command: str) -> list[Finding]:
    """Return a limitation that names the classes or labels which validation or test rows have and no training row."""
    target = encoder.target
    if target is None or not target.untrained:
        return []
    names, rows = ", ".join(target.untrained[:10]), sum(schema.classes.get(name, 0) for name in target.untrained)
    if len(target.untrained) > 10:
        names += f" + {len(target.untrained) - 10}"
    title = Message("Classes that no training row has")
    reason = Message(
        "{names}: the network can not learn them; the {rows} validation and test rows that have them count as errors",
        names=names, rows=rows,
    )  # fmt: skip
    if target.kind == "set":
        title = Message("Labels that no training row has")
        reason = Message(
            "{names}: the network can not learn them; validation and test rows hold them {times} times", names=names, times=rows
        )
    method = Message("classes of all rows, counted on training rows")
    return [
        _finding(
            "untrained_classes", title, len(target.untrained), unit="classes", n=target.rows, verdict="limitation", reason=reason,
            method=method, command=command,
        )
    ]  # fmt: skip


def _texts(encoder: Encoder, validation: Arrays, command: str) -> list[Finding]:
    """Return what each text column is cut into, how long its texts are and in which scripts they are written."""
    found = []
    for feature in _of(encoder, TextFeature):
        several = sum(isinstance(one, TextFeature) for one in encoder.features) > 1
        key = f"text.{feature.column}" if several else "text"
        found += [_tokens(feature, key, command), *_lengths(feature, key, command), _cut(feature, key, command)]
        found += [_empty(feature, key, command), *_scripts(feature, key, command)]
        found += _unseen_tokens(feature, validation, key, command) if feature.tokens in ("word", "character") else []
    return found


def _tokens(feature: TextFeature, key: str, command: str) -> Finding:
    reason = Message("the vocabulary was learnt on {sampled} training rows", sampled=feature.sampled)
    if feature.tokens == "pretrained":
        reason = Message("the vocabulary is the pretrained model's own")
    title = Message("Texts of column {column}: tokens known", column=feature.column)
    return _finding(key, title, feature.vocabulary, n=feature.rows, reason=reason, method=TOKENS[feature.tokens], command=command)


def _lengths(feature: TextFeature, key: str, command: str) -> list[Finding]:
    """Return the median length with the quantiles around it."""
    if not feature.quantiles:
        return []
    low, quarter, median, three, high = (round(one, 1) for one in feature.quantiles)
    title = Message("Median length of the texts of column {column}", column=feature.column)
    reason = Message(
        "half of them have {quarter} to {three} tokens, nine in ten {low} to {high}; the longest has {longest}",
        quarter=quarter, three=three, low=low, high=high, longest=feature.longest,
    )  # fmt: skip
    method = Message("counted on training rows")
    return [_finding(f"{key}.length", title, median, unit="tokens", n=feature.sampled, reason=reason, method=method, command=command)]


def _empty(feature: TextFeature, key: str, command: str) -> Finding:
    count = feature.missing + feature.empty
    share = count / feature.rows if feature.rows else 0.0
    title = Message("Rows without a text in column {column}", column=feature.column)
    reason = Message("{missing} are missing, {empty} are empty; there the text is masked", missing=feature.missing, empty=feature.empty)
    return _finding(
        f"{key}.empty", title, share, unit="share", n=feature.rows, reason=reason,
        verdict="limitation" if share > MOST_MISSING else "neutral", method=Message("counted on training rows"), command=command,
    )  # fmt: skip


def _cut(feature: TextFeature, key: str, command: str) -> Finding:
    share = feature.cut / feature.sampled if feature.sampled else 0.0
    title = Message("Texts of column {column} that are cut", column=feature.column)
    reason = Message(
        "after {length} tokens; the end of {count} training texts is not read", length=feature.length, count=feature.cut
    )  # fmt: skip
    return _finding(
        f"{key}.cut", title, share, unit="share", n=feature.sampled, reason=reason, verdict="limitation" if share > MOST_CUT else "neutral",
        method=Message("counted on training rows"), command=command,
    )  # fmt: skip


def _scripts(feature: TextFeature, key: str, command: str) -> list[Finding]:
    if not feature.scripts:
        return []
    title = Message("Script of column {column}", column=feature.column)
    shown = ", ".join(f"{name} {share:.1%}" for name, share in feature.scripts[:4])
    reason = Message("shares of letters: {shown}", shown=shown)
    method = Message("Unicode names of the letters of up to 2,000 training texts; the language itself is not guessed")
    return [_finding(f"{key}.script", title, feature.scripts[0][0], n=feature.sampled, reason=reason, method=method, command=command)]


def _unseen_tokens(feature: TextFeature, validation: Arrays, key: str, command: str) -> list[Finding]:
    texts = validation.blocks[f"text.{feature.column}"]
    tokens = texts.tokens if isinstance(texts, Ragged) else np.empty(0, np.int32)
    share = float(np.mean(tokens == UNSEEN)) if len(tokens) else 0.0
    title = Message("Tokens of column {column} that training rows do not have", column=feature.column)
    return [
        _finding(
            f"{key}.unseen", title, share, unit="share", n=len(tokens), verdict="limitation" if share > MOST_UNSEEN else "neutral",
            reason=Message("the network sees one and the same token in their place"), method=Message("counted on validation rows"),
            command=command,
        )
    ]  # fmt: skip
