"""All columns of a row as the few arrays that a network sees, by the same code in training and in service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from weighbridge.errors import DataError, InputError, PackageError, did_you_mean
from weighbridge.preprocessing.audio import AudioFeature, AudioFit
from weighbridge.preprocessing.category import CategoryFeature, CategoryFit
from weighbridge.preprocessing.date import DateFeature, DateFit
from weighbridge.preprocessing.feature import BlockKind, ColumnLike, Columns, Feature, Fit, SchemaLike, TableLike
from weighbridge.preprocessing.image import ImageFeature, ImageFit
from weighbridge.preprocessing.number import NumberFeature, NumberFit
from weighbridge.preprocessing.pretrained import open_source
from weighbridge.preprocessing.set import SetFeature, SetFit
from weighbridge.preprocessing.target import TargetFeature, TargetFit
from weighbridge.preprocessing.text import HIDDEN, TextFeature, TextFit
from weighbridge.privacy.steps import Step, read_step
from weighbridge.storage.progress import Progress, silent
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.recipe.schema import PreprocessingSection

FORMAT = 2
PLAIN_FORMAT = 1  # of an encoder without steps: as versions before steps wrote and read it
DTYPES: dict[BlockKind, str] = {"number": "float32", "category": "int32", "image": "uint8", "present": "float32", "text": "int32"}
READ: dict[str, Callable[[dict[str, Any]], Feature]] = {
    "number": NumberFeature.from_json,
    "date": DateFeature.from_json,
    "category": CategoryFeature.from_json,
    "image": ImageFeature.from_json,
    "audio": AudioFeature.from_json,
    "set": SetFeature.from_json,
    "text": TextFeature.from_json,
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One array that the network sees, `[n, *shape]`.

    Attributes:
        name: `number`, `category`, `image.<column>`, `audio.<column>`, `present.<column>` (1 where the row has that image
            or clip, else 0) or `text.<column>`.
        shape: of one row; for a text (the most tokens,): its array is `[n, L]`, L the longest row there, 0 behind a row's end.
        columns: the columns it is made of, in order.
        cardinalities: number of codes of each category column, or of a text's tokens.
        names: what each of the D numbers is; the columns for categories.
        mean, std: a channel of an image, in 0..1; the network normalises with them on the device.
        hidden: the code of a text's token that training hides.
    """

    name: str
    kind: BlockKind
    shape: tuple[int, ...]
    dtype: str
    columns: tuple[str, ...]
    cardinalities: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    hidden: int = HIDDEN

    @property
    def of(self) -> str:
        """What a person gave: `audio` where a network reads a clip's spectrogram as it reads an image, else the kind."""
        return self.name.partition(".")[0] if self.kind == "image" else self.kind

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the block of `to_json`."""
        known: dict[str, Any] = {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}
        return cls(**known)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The fitted columns of a table in the order of its schema, and its target (None for a table without one).

    `steps`, by column, make raw values as coarse as the stored rows are (data.anonymize); they leave stored ones as they are.
    """

    features: tuple[Feature, ...]
    target: TargetFeature | None = None
    steps: Mapping[str, Step] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, train: TableLike, schema: SchemaLike, section: PreprocessingSection, *, seed: int = 0, progress: Progress = silent
    ) -> Self:
        """Return the encoder of the training rows, read once in batches.

        Raises DataError for a target that can not be learnt or when no input is left.
        """
        fits = {column.name: start_fit(column, section, seed) for column in schema.inputs if column.type in READ}
        if not fits:
            raise DataError("no input column is left that a network can read", do="check the types with `weigh check`")
        target = _start_target(schema, section, seed)
        done = 0
        for batch in train.batches():
            for name, fit in fits.items():
                fit.add(batch.columns[name], batch.row_ids)
            if target is not None:
                target.add(batch.columns[schema.target.name])
            done += len(batch.row_ids)
            progress("fit columns", done, len(train))
        steps = {column.name: column.step for column in schema.inputs if column.name in fits and column.step is not None}
        return cls(features=_masked(tuple(fit.finish() for fit in fits.values())), target=target.finish() if target else None, steps=steps)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in the order number, category, which rows have which image, images, texts."""
        numbers, categories = self._of("number"), self._of("category")
        blocks = [_number_block(numbers)] if any(feature.names for feature in numbers) else []
        blocks += [_category_block(categories)] if categories else []
        blocks += [_present_block(feature) for feature in self._of("image") if feature.masked]
        blocks += [_image_block(feature) for feature in self._of("image")]
        blocks += [_text_block(feature) for feature in self._of("text")]
        return tuple(blocks)

    @property
    def learnt(self) -> TargetFeature:
        """The target. Raises DataError when the table has none."""
        if self.target is None:
            raise DataError("the table has no target", do="name it with data.target")
        return self.target

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(feature.column for feature in self.features)

    def encode(self, columns: Columns, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return each block's array for canonical columns; each row is encoded alone, so any batch gives the same numbers.

        `rows` are names for errors. Raises InputError when a column is not there, DataError for an unreadable image.
        """
        encoded = [(feature.kind, feature.encode(self._column(columns, feature.column), rows)) for feature in self.features]
        out: dict[str, np.ndarray] = {}
        for block in self.blocks:
            if block.kind in ("image", "text"):
                out[block.name] = encoded[self.columns.index(block.columns[0])][1]
            elif block.kind == "present":
                out[block.name] = _present(self._column(columns, block.columns[0]))
            else:
                out[block.name] = np.concatenate([array for kind, array in encoded if kind == block.kind], axis=1)
        return out

    def encode_target(self, column: np.ndarray, *, unseen: Literal["refuse", "mark"] = "refuse") -> np.ndarray:
        """Return the target's array, see TargetFeature.encode."""
        return self.learnt.encode(column, unseen=unseen)

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as JSON; `from_json` of it encodes identically."""
        state = {
            "format": FORMAT if self.steps else PLAIN_FORMAT,
            "features": [feature.to_json() for feature in self.features],
            "target": self.target.to_json() if self.target else None,
        }
        return {**state, "steps": {name: step.to_json() for name, step in self.steps.items()}} if self.steps else state

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the encoder of a state. Raises PackageError when it is damaged or of a newer format."""
        try:
            if state["format"] > FORMAT:
                what = f"the encoder has format {state['format']}, this Weighbridge reads up to {FORMAT}"
                raise PackageError(what, do="install a newer weighbridge")
            target = TargetFeature.from_json(state["target"]) if state["target"] else None
            features = tuple(READ[feature["type"]](feature) for feature in state["features"])
            if not all(isinstance(feature.column, str) for feature in features) or len({f.column for f in features}) != len(features):
                raise ValueError("columns are not different names")
            return cls(features=features, target=target, steps=_read_steps(state.get("steps", {}), features))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise PackageError(f"the encoder's state is damaged ({type(error).__name__}: {error})", do="make the package again") from None

    def _of(self, kind: BlockKind) -> list[Any]:
        return [feature for feature in self.features if feature.kind == kind]

    def _column(self, columns: Columns, name: str) -> np.ndarray:
        if name not in columns:
            known = ", ".join(self.columns[:20])
            raise InputError(f"column '{name}' is missing{did_you_mean(name, columns)}", do=f"the columns are {known}")
        return self.steps[name].apply(columns[name]) if name in self.steps else columns[name]


def _read_steps(states: Mapping[str, Any], features: tuple[Feature, ...]) -> dict[str, Step]:
    """Return the steps by column. Raises ValueError for one that fits no feature, and what read_step raises."""
    steps = {name: read_step(state) for name, state in states.items()}
    types = {feature.column: feature.type for feature in features}
    for name, step in steps.items():
        if types.get(name) != step.type and (types.get(name), step.way) != ("category", "masked"):
            raise ValueError(f"step {step.way} does not fit column {name!r}")
    return steps


def start_fit(column: ColumnLike, section: PreprocessingSection, seed: int) -> Fit:
    """Return the empty fit of a column by its type and the recipe's options."""
    name, type_ = column.name, column.type
    generator = rng(seed, "preprocessing", name)
    source = open_source(section.pretrained) if section.pretrained and type_ in ("image", "text") else None
    if type_ == "number":
        number = section.number
        return NumberFit(
            name, scale=number.scale, missing=number.missing, indicator=number.indicator, clip=number.clip, generator=generator
        )
    if type_ == "date":
        return DateFit(name, parts=tuple(section.date.parts), generator=generator, pattern=column.pattern)
    if type_ == "category":
        return CategoryFit(name, rare=section.category.rare, most=section.category.most)
    if type_ == "image":
        own = source.image if source else None
        return ImageFit(name, size=section.image.size, channels=section.image.channels, generator=generator, most=own.size if own else None)
    if type_ == "audio":
        audio = section.audio
        return AudioFit(
            name, rate=audio.rate, seconds=audio.seconds, bands=audio.mels, window_s=audio.window, hop_s=audio.hop, generator=generator
        )
    if type_ == "text":
        text = section.text
        return TextFit(
            name, tokens=text.tokens, vocabulary=text.vocabulary, length=text.length, normalize=text.normalize, lowercase=text.lowercase,
            generator=generator, pretrained=source.tokenizer if source else None, longest=source.longest if source else None,
        )  # fmt: skip
    return SetFit(name, separator=section.set.separator, rare=section.set.rare)


def _masked(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Return the features, images and clips that stand beside others marked: a row without one is answered by the others."""
    if len(features) < 2:
        return features
    return tuple(replace(feature, masked=True) if isinstance(feature, ImageFeature | AudioFeature) else feature for feature in features)


def _present(column: np.ndarray) -> np.ndarray:
    """Return float32 [n, 1]: 1 where there is a value, else 0."""
    if column.dtype != object:
        return np.ones((len(column), 1), np.float32)
    return np.fromiter((value is not None for value in column), np.float32, len(column))[:, None]


def _text_block(feature: TextFeature) -> Block:
    return Block(
        name=f"text.{feature.column}", kind="text", shape=(feature.length,), dtype=DTYPES["text"], columns=(feature.column,),
        names=(feature.column,), cardinalities=(feature.vocabulary,), hidden=feature.hidden,
    )  # fmt: skip


def _start_target(schema: SchemaLike, section: PreprocessingSection, seed: int) -> TargetFit | None:
    if schema.target is None:
        return None
    name, kind = schema.target.name, schema.target.type
    if kind not in ("category", "number", "set"):
        raise DataError(f"target '{name}' is a column of type {kind}", do="a target is a category, a number or a set; see data.columns")
    generator = rng(seed, "preprocessing", name)
    return TargetFit(name, kind=kind, separator=section.set.separator, generator=generator, known=tuple(schema.classes))


def _number_block(features: list[Feature]) -> Block:
    names = tuple(name for feature in features for name in feature.names)
    columns = tuple(feature.column for feature in features)
    return Block(name="number", kind="number", shape=(len(names),), dtype=DTYPES["number"], columns=columns, names=names)


def _category_block(features: list[CategoryFeature]) -> Block:
    columns = tuple(feature.column for feature in features)
    sizes = tuple(feature.cardinality for feature in features)
    return Block(
        name="category", kind="category", shape=(len(features),), dtype=DTYPES["category"], columns=columns, names=columns,
        cardinalities=sizes,
    )  # fmt: skip


def _image_block(feature: ImageFeature | AudioFeature) -> Block:
    return Block(
        name=f"{feature.type}.{feature.column}", kind="image", shape=feature.shape, dtype=DTYPES["image"], columns=(feature.column,),
        names=(feature.column,), mean=feature.mean, std=feature.std,
    )  # fmt: skip


def _present_block(feature: ImageFeature | AudioFeature) -> Block:
    return Block(
        name=f"present.{feature.column}", kind="present", shape=(1,), dtype=DTYPES["present"], columns=(feature.column,),
        names=(feature.column,),
    )  # fmt: skip
