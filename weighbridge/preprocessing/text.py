"""Text: cleaned, normalised, cut into tokens of a vocabulary that was learnt on training rows, by the `tokenizers` library.

Three vocabularies. `bpe`: pieces of bytes (Sennrich 2016, byte-level as in Radford 2019): no text is foreign to it, and Chinese needs no
segmenter, since a piece may be a character or a whole word. `character`: one token a character, for strings that are not prose (DNA,
SMILES) and for little data. `word`: words between spaces and signs, each Chinese character by itself; of texts in a script that puts
spaces between words it is the better of the two where few words come once only (docs/text.md has the figures).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from weighbridge.errors import DependencyError, RecipeError
from weighbridge.preprocessing.feature import BlockKind, objects
from weighbridge.preprocessing.ragged import PAD, lengths_of
from weighbridge.preprocessing.sample import ItemSample

if TYPE_CHECKING:
    from collections.abc import Iterable

TokenKind = Literal["bpe", "word", "character", "pretrained"]
# Control characters are taken out of every text before these names are looked for, so no text can spell one.
SPECIAL = ("\x00pad", "\x00unseen", "\x00hidden")
UNSEEN, HIDDEN = 1, 2
FIRST_ID = 1  # code of a pretrained tokenizer's id 0
MASKS = ("[MASK]", "<mask>", "[UNK]", "<unk>")  # what stands for a hidden token, the first that a pretrained tokenizer has
SAMPLE_TEXTS = 50_000
SAMPLE_CHARACTERS = 4_000  # of one text, for the vocabulary
MOST_AUTO_LENGTH = 512
LENGTH_SHARE = 0.99  # of training rows are not cut when the length is chosen by itself
CHARACTERS_A_TOKEN = 16  # a text is cut to this many characters a token before it is tokenised: a megabyte costs no more than a page
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW_CHARACTERS = 64
MOST_RARE = 0.15  # share of words that come once only, above which texts are cut into pieces of bytes
VOCABULARY = {"bpe": 8_000, "word": 30_000, "character": 8_000}  # at most, where the recipe says auto
SPACED = ("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Korean")  # scripts with spaces between words
_NOISE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_WORDS = re.compile(r"\w+")
_SURROGATES = re.compile("[\ud800-\udfff]")
SCRIPTS = {"LATIN": "Latin", "CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean", "CYRILLIC": "Cyrillic",
           "ARABIC": "Arabic", "HEBREW": "Hebrew", "GREEK": "Greek", "DEVANAGARI": "Devanagari", "THAI": "Thai"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TextFeature:
    """A fitted text column. `tokenizer` is the state of the `tokenizers` library as JSON text; `length` the most tokens of a row.

    `cut` training rows of the sample were longer, `empty` had no character, `scripts` are the shares of letters by script; `quantiles` are
    the lengths in tokens below which QUANTILES of the sample lie.
    """

    type: ClassVar[str] = "text"
    kind: ClassVar[BlockKind] = "text"

    column: str
    tokens: TokenKind
    tokenizer: str
    vocabulary: int
    length: int
    rows: int
    missing: int
    empty: int
    sampled: int
    cut: int
    median_length: float
    longest: int
    scripts: tuple[tuple[str, float], ...] = ()
    quantiles: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def hidden(self) -> int:
        """The code that stands for a token which training hides."""
        if self.tokens != "pretrained":
            return HIDDEN
        known = (self._library.token_to_id(token) for token in MASKS)
        return next((one + FIRST_ID for one in known if one is not None), HIDDEN)

    def encode(self, column: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return int32 [n, L] codes in [1, vocabulary), 0 behind the end of each text; L is the longest here, at least 1.

        A missing or empty text is a row of zeros. Longer texts are cut to `length` tokens. A pretrained tokenizer adds the tokens
        that its model expects around a text, and its ids are kept one higher: 0 is a token to some of them, and no token here.
        """
        most, own = self.length * CHARACTERS_A_TOKEN, self.tokens == "pretrained"
        texts = [plain_text(value, most) for value in column.tolist()]
        found = self._library.encode_batch_fast(texts, add_special_tokens=own)
        ids = [[one + FIRST_ID for one in part.ids] if own else part.ids for part in found]
        ids = [row if text.strip() or not own else [] for row, text in zip(ids, texts, strict=True)]
        padded = np.full((len(ids), max(1, max(map(len, ids), default=0))), PAD, dtype=np.int32)
        for place, row in enumerate(ids):
            padded[place, : len(row)] = row
        return padded

    def spans(self, value: Any) -> tuple[str, list[tuple[int, int]]]:
        """Return a text as `encode` reads it, and where in it each of its tokens begins and ends; (0, 0) for one that the model adds."""
        own = self.tokens == "pretrained"
        text = plain_text(value, self.length * CHARACTERS_A_TOKEN)
        found = self._library.encode(text, add_special_tokens=own)
        return text, [(int(start), int(stop)) for start, stop in found.offsets] if text.strip() or not own else []

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Return object [n]: the text of each row's tokens (as far as the vocabulary keeps it), None for a row without one."""
        lengths = lengths_of(array)
        joined = "" if self.tokens == "character" else " "
        found = []
        for row, length in zip(array, lengths, strict=True):
            ids = row[:length].tolist()
            if self.tokens == "pretrained":
                found.append(self._library.decode([one - FIRST_ID for one in ids]) if ids else None)
            elif self.tokens == "bpe":
                found.append(self._library.decode(ids) if ids else None)
            else:
                found.append(joined.join(self._library.id_to_token(one) or "" for one in ids) if ids else None)
        return objects(found)

    def words(self) -> list[str]:
        """Return what each code stands for as text, without the sign of a space before it; empty for those that stand for none."""
        codes = range(self.vocabulary)
        if self.tokens == "bpe":
            return [self._library.decode([code]).strip() for code in codes]
        shift = FIRST_ID if self.tokens == "pretrained" else 0
        names = (self._library.id_to_token(code - shift) if code >= shift else None for code in codes)
        return ["" if name is None or name in SPECIAL else name for name in names]

    def to_json(self) -> dict[str, Any]:
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"type": self.type, **state, "scripts": [list(pair) for pair in self.scripts], "quantiles": list(self.quantiles)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Self:
        """Return the feature. Raises ValueError, TypeError or KeyError for a state that is not one, or whose tokenizer does not fit."""
        known = {**state, "scripts": tuple((str(name), float(share)) for name, share in state["scripts"])}
        known["quantiles"] = tuple(map(float, state.get("quantiles", ())))
        known.pop("type")
        feature = cls(**known)
        if not isinstance(feature.length, int) or not 1 <= feature.length <= 1 << 20:
            raise ValueError(f"text column {feature.column!r} has the length {feature.length!r}")
        found = codes_of(feature._library, feature.tokens)
        if found != feature.vocabulary:
            raise ValueError(f"the tokenizer of text column {feature.column!r} has {found} tokens where {feature.vocabulary} are stated")
        return feature

    @cached_property
    def _library(self) -> Any:
        tokenizer = read_tokenizer(self.tokenizer)
        with _Refused():
            tokenizer.enable_truncation(self.length)
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = self.tokens == "pretrained"  # a text that spells [SEP] gets its letters, not the token
        return tokenizer


class TextFit:
    """Streams a text column; holds a uniform sample of at most 50,000 texts for the vocabulary and the lengths."""

    def __init__(
        self,
        column: str,
        *,
        tokens: str,
        vocabulary: int | None,
        length: int | None,
        normalize: str,
        lowercase: bool,
        generator: np.random.Generator,
        pretrained: str | None = None,
        longest: int | None = None,
    ) -> None:
        self._column, self._tokens, self._vocabulary, self._length = column, tokens, vocabulary, length
        self._normalize, self._lowercase = normalize, lowercase
        self._pretrained, self._longest = pretrained, longest
        self._sample = ItemSample(generator, SAMPLE_TEXTS)
        self._rows = self._missing = self._empty = 0

    def add(self, column: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._rows += len(column)
        texts = [plain_text(value, SAMPLE_CHARACTERS) for value in column.tolist() if value is not None]
        self._missing += len(column) - len(texts)
        self._empty += sum(not text.strip() for text in texts)
        self._sample.add(texts)

    def finish(self) -> TextFeature:
        """Return the feature with its vocabulary learnt; equal rows and recipe give the same vocabulary."""
        texts = [text for text in self._sample.items() if text.strip()]
        kind = self._kind(texts)
        tokenizer = self._pretrained if kind == "pretrained" and self._pretrained else self._learnt(kind, texts)
        made = read_tokenizer(tokenizer)
        own = kind == "pretrained"
        lengths = np.array([len(found.ids) for found in made.encode_batch_fast(texts, add_special_tokens=own)] or [0])
        most = self._longest if own and self._longest else None
        length = self._length or min(_rounded(float(np.quantile(lengths, LENGTH_SHARE))), most or MOST_AUTO_LENGTH)
        if most and length > most:
            what = f"preprocessing.text.length: {length} is more than the {most} tokens that the pretrained model has places for"
            raise RecipeError(what, do=f"lower it to {most}, or leave it out")
        if own and length <= made.num_special_tokens_to_add(False):
            raise RecipeError(f"preprocessing.text.length: {length} leaves no room beside the model's own tokens", do="raise it")
        return TextFeature(
            column=self._column, tokens=kind, tokenizer=tokenizer, vocabulary=codes_of(made, kind), length=length,
            rows=self._rows, missing=self._missing, empty=self._empty, sampled=len(texts), cut=int((lengths > length).sum()),
            median_length=float(np.median(lengths)), longest=int(lengths.max()), scripts=script_shares(texts[:2000]),
            quantiles=tuple(np.quantile(lengths, QUANTILES).tolist()),
        )  # fmt: skip

    def _kind(self, texts: list[str]) -> TokenKind:
        if self._tokens != "auto":
            return self._tokens  # type: ignore[return-value]  # the recipe allows no other words
        if self._pretrained:
            return "pretrained"
        if _are_codes(texts):
            return "character"
        return "word" if _are_words(texts) else "bpe"

    def _learnt(self, kind: TokenKind, texts: list[str]) -> str:
        return learn_tokenizer(
            kind,
            texts,
            vocabulary=self._vocabulary or VOCABULARY[kind],
            normalize=self._normalize,
            lowercase=self._lowercase and kind != "character",
        )


def plain_text(value: Any, most: int | None = None) -> str:
    """Return the text, cut to `most` characters, without control characters and unpaired surrogates; empty for None."""
    if value is None:
        return ""
    text = str(value)[:most]
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", _NOISE.sub(" ", text))


def learn_tokenizer(kind: TokenKind, texts: Iterable[str], *, vocabulary: int, normalize: str, lowercase: bool) -> str:
    """Return the JSON of a tokenizer whose vocabulary of at most `vocabulary` tokens was learnt from the texts."""
    made = library()
    steps = [getattr(made.normalizers, normalize.upper())()] if normalize != "none" else []
    steps += [made.normalizers.Lowercase()] if lowercase else []
    settings: dict[str, Any] = {"vocab_size": vocabulary, "special_tokens": list(SPECIAL), "show_progress": False}
    if kind == "bpe":
        tokenizer = made.Tokenizer(made.models.BPE())
        tokenizer.pre_tokenizer = made.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = made.decoders.ByteLevel()
        alphabet = sorted(made.pre_tokenizers.ByteLevel.alphabet())
        trainer = made.trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=2, **settings)
    else:
        tokenizer = made.Tokenizer(made.models.WordLevel(unk_token=SPECIAL[UNSEEN]))
        trainer = made.trainers.WordLevelTrainer(min_frequency=2, **settings)
        if kind == "character":
            tokenizer.pre_tokenizer = made.pre_tokenizers.Split(made.Regex(r"[\s\S]"), "isolated")
        else:
            steps.append(made.normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False))
            tokenizer.pre_tokenizer = made.pre_tokenizers.BertPreTokenizer()
    if steps:
        tokenizer.normalizer = made.normalizers.Sequence(steps)
    tokenizer.train_from_iterator(texts, trainer)
    return canonical(tokenizer.to_str())


def codes_of(tokenizer: Any, kind: TokenKind) -> int:
    """Return how many codes there are, 0 included: one more than the highest id of a pretrained tokenizer needs."""
    if kind != "pretrained":
        return int(tokenizer.get_vocab_size(with_added_tokens=True))
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1 + FIRST_ID


def canonical(tokenizer: str) -> str:
    """Return a tokenizer's JSON in one spelling: equal tokenizers are equal texts."""
    return json.dumps(json.loads(tokenizer), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read_tokenizer(text: str) -> Any:
    """Return the library's tokenizer of a JSON text. Raises ValueError when it is not one, DependencyError without the library."""
    if not isinstance(text, str):
        raise ValueError("a tokenizer is a JSON text")
    with _Refused():
        return library().Tokenizer.from_str(text)


def script_shares(texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Return the share of letters by script, largest first: what language the column may be, as far as letters show it."""
    letters = Counter(letter for text in texts for letter in text[:400] if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], "other")] += count
    total = scripts.total()
    return tuple((name, round(count / total, 4)) for name, count in scripts.most_common()) if total else ()


def _are_codes(texts: list[str]) -> bool:
    """Whether the texts are strings of a small alphabet without spaces (DNA, SMILES), not prose."""
    shown = texts[:1000]
    characters = Counter(character for text in shown for character in text)
    spaces = sum(count for character, count in characters.items() if character.isspace())
    plain = all(character.isascii() for character in characters)
    return bool(characters) and plain and len(characters) <= FEW_CHARACTERS and spaces <= 0.01 * characters.total()


def _are_words(texts: list[str]) -> bool:
    """Whether the texts are mostly of scripts with spaces between words, and few of their words come once only."""
    spaced = sum(share for name, share in script_shares(texts[:2000]) if name in SPACED)
    words = Counter(word for text in texts[:20_000] for word in _WORDS.findall(text.lower()))
    once = sum(count == 1 for count in words.values())
    return spaced > 0.5 and once <= MOST_RARE * words.total()


def _rounded(length: float) -> int:
    return min(MOST_AUTO_LENGTH, max(8, 8 * -(-int(np.ceil(length)) // 8)))


def library() -> Any:
    """Return the `tokenizers` library with its rooms. Raises DependencyError where it is not installed."""
    try:
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: F401 - they become attributes
    except ImportError:
        raise DependencyError("columns of text need the tokenizers library", do="pip install tokenizers") from None
    return tokenizers


class _Refused:
    """Turns what the library raises for a JSON that is no tokenizer (plain Exception, and nothing narrower) into a ValueError."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and (type(error) is Exception or type(error).__name__ == "PanicException"):
            raise ValueError(f"the tokenizer can not be read ({str(error)[:200]})") from None
