"""What baselines read: the network's own encoded blocks as one flat table; of texts, TF-IDF of the very tokens that the network reads.

TF-IDF is over one to two neighbouring tokens (one to three where a token is a character), sublinear counts, rows of length one:
the standard strong baseline for text (Wang and Manning 2012). Boosting gets its 64 leading directions (latent semantic analysis).
Strings of one length over a small alphabet (a window of DNA) are aligned: there both also read which token stands at which place, without
which a network would be held against baselines that can not see what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.preprocessing import Ragged
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Block, Encoder

BOOSTING_SIDE = 14  # images are averaged to at most this side for boosting
LEAST_ROWS = 2  # rows of the training split that must hold a run of tokens
MOST_TERMS = 300_000
DIRECTIONS = 64
ALIGNED = 0.99  # share of training rows of one length from which places are read
MOST_PLACES, MOST_LETTERS = 512, 64
MOST_CODES = 255  # of a category that boosting splits as one; above, its codes are numbers
FIRST_TOKEN = 3  # codes below are for padding, unseen and hidden tokens


@dataclass(frozen=True, kw_only=True)
class TextTerms:
    """TF-IDF fitted on training rows: `terms` int64 (ascending) are the runs of tokens that count, as numbers in base `vocabulary`."""

    longest_run: int
    vocabulary: int
    terms: np.ndarray
    weigh: Any  # sklearn TfidfTransformer
    directions: Any  # sklearn TruncatedSVD, or None where there are too few terms
    places: int = 0  # tokens of each text where they are aligned, else 0

    def sparse(self, texts: Ragged) -> Any:
        """Return scipy CSR float32 [n, terms]."""
        from scipy.sparse import csr_matrix

        rows, found = _runs(texts, self.longest_run, self.vocabulary)
        place = np.searchsorted(self.terms, found)
        known = (place < len(self.terms)) & (self.terms[np.minimum(place, len(self.terms) - 1)] == found)
        ones = np.ones(int(known.sum()), np.float32)
        return self.weigh.transform(csr_matrix((ones, (rows[known], place[known])), shape=(len(texts), len(self.terms))))

    def aligned(self, texts: Ragged) -> np.ndarray:
        """Return the token at each place, int64 [n, places], 0 behind a text's end."""
        codes = np.zeros((len(texts), self.places), np.int64)
        tokens = np.asarray(texts.tokens[texts.offsets[0] : texts.offsets[-1]])
        place = np.arange(len(tokens)) - np.repeat(texts.offsets[:-1] - texts.offsets[0], texts.lengths)
        row, inside = np.repeat(np.arange(len(texts)), texts.lengths), place < self.places
        codes[row[inside], place[inside]] = tokens[inside]
        return codes

    def dense(self, texts: Ragged) -> np.ndarray:
        """Return float32 [n, at most DIRECTIONS]."""
        if self.directions is None:
            return np.asarray(self.sparse(texts).todense(), np.float32)
        return np.asarray(self.directions.transform(self.sparse(texts)), np.float32)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The two flat forms of encoded rows."""

    encoder: Encoder
    texts: Mapping[str, TextTerms]

    def linear(self, arrays: Arrays, rows: np.ndarray | None = None) -> Any:
        """Return numbers, one column a category value, pixels in 0..1 and TF-IDF: float32 [n, D], CSR where there are texts."""
        from scipy.sparse import csr_matrix, hstack

        parts: list[Any] = []
        for block in self.encoder.blocks:
            if block.kind == "text":
                parts += _of_text(self.texts[block.name], _text(arrays, block, rows))
                continue
            values = _taken(arrays, block, rows)
            if block.kind == "category":
                parts += [np.eye(size, dtype=np.float32)[values[:, place]] for place, size in enumerate(block.cardinalities)]
            else:
                parts.append(values.reshape(len(values), -1).astype(np.float32) / 255 if block.kind == "image" else values)
        if not self.texts:
            return np.concatenate(parts, axis=1)
        return hstack([part if hasattr(part, "tocsr") else csr_matrix(part) for part in parts], format="csr")

    def boosting(self, arrays: Arrays, rows: np.ndarray | None = None) -> np.ndarray:
        """Return numbers, category codes as they are, shrunken pixels and the directions of texts: float32 [n, D]."""
        parts = []
        for block in self.encoder.blocks:
            if block.kind == "text":
                terms, texts = self.texts[block.name], _text(arrays, block, rows)
                parts += [terms.dense(texts), terms.aligned(texts).astype(np.float32)]
            else:
                values = _taken(arrays, block, rows)
                parts.append(_shrunk(values) if block.kind == "image" else values.astype(np.float32))
        return np.concatenate(parts, axis=1)

    def codes(self) -> list[int]:
        """Return of each column of `boosting` how many codes it has, 0 for a number."""
        counts: list[int] = []
        for block in self.encoder.blocks:
            if block.kind == "category":
                counts += block.cardinalities
            elif block.kind == "text":
                terms = self.texts[block.name]
                counts += [0] * (len(terms.terms) if terms.directions is None else int(terms.directions.n_components))
                counts += [terms.vocabulary] * terms.places
            else:
                counts += [0] * (shrunk_width(block.shape) if block.kind == "image" else block.shape[0])
        return counts

    def categorical(self) -> list[bool]:
        """Return which columns of `boosting` are categories that it can split as such (at most MOST_CODES codes)."""
        return [0 < count <= MOST_CODES for count in self.codes()]


def fit_inputs(encoder: Encoder, train: Arrays, rows: np.ndarray, *, seed: int) -> Inputs:
    """Return the flat forms, the terms of texts fitted on these training rows."""
    kinds = {f"text.{feature.column}": getattr(feature, "tokens", "") for feature in encoder.features}
    texts = {
        block.name: _fit_terms(_text(train, block, rows), 3 if kinds[block.name] == "character" else 2, block.cardinalities[0], seed)
        for block in encoder.blocks
        if block.kind == "text"
    }
    return Inputs(encoder=encoder, texts=texts)


def _fit_terms(texts: Ragged, longest_run: int, vocabulary: int, seed: int) -> TextTerms:
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    rows, found = _runs(texts, longest_run, vocabulary)
    pairs = np.unique(np.stack([found, rows]), axis=1) if len(found) else np.empty((2, 0), np.int64)
    terms, held_by = np.unique(pairs[0], return_counts=True)
    if len(terms) > MOST_TERMS:
        least = np.sort(held_by)[-MOST_TERMS]
        terms, held_by = terms[held_by >= least], held_by[held_by >= least]
    terms = terms[held_by >= LEAST_ROWS] if (held_by >= LEAST_ROWS).any() else terms
    if not len(terms):
        terms = np.zeros(1, np.int64)  # all texts are empty: one column of zeros
    blank = TextTerms(longest_run=longest_run, vocabulary=vocabulary, terms=terms, weigh=_Plain(), directions=None)
    counts = blank.sparse(texts)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts if counts.nnz else csr_matrix(np.ones((1, len(terms)), np.float32)))
    directions = None
    if len(terms) > DIRECTIONS and len(texts) > DIRECTIONS:
        directions = TruncatedSVD(DIRECTIONS, random_state=seed31(seed, "directions")).fit(weigh.transform(counts))
    return replace(blank, weigh=weigh, directions=directions, places=_places(texts.lengths, vocabulary))


def _places(lengths: np.ndarray, vocabulary: int) -> int:
    """Return the length that nearly all texts have, 0 where they differ, are long, or have a large alphabet."""
    if not len(lengths) or vocabulary > MOST_LETTERS:
        return 0
    usual = int(np.bincount(lengths).argmax())
    return usual if 1 < usual <= MOST_PLACES and np.mean(lengths == usual) >= ALIGNED else 0


def _of_text(terms: TextTerms, texts: Ragged) -> list[Any]:
    """Return what the linear baseline reads of a text: TF-IDF, and one column a place and token where texts are aligned; CSR each."""
    from scipy.sparse import csr_matrix

    parts = [terms.sparse(texts)]
    if terms.places:
        codes = terms.aligned(texts)
        columns = (codes + np.arange(terms.places) * terms.vocabulary).ravel()
        starts = np.arange(len(texts) + 1) * terms.places
        parts.append(csr_matrix((np.ones(codes.size, np.float32), columns, starts), shape=(len(texts), terms.places * terms.vocabulary)))
    return parts


class _Plain:
    """Counts as they are, while the terms are being found."""

    def transform(self, counts: Any) -> Any:
        return counts


def _runs(texts: Ragged, longest: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (row, run) int64 of every run of one to `longest` neighbouring tokens of a row; a run is a number in base vocabulary + 1."""
    tokens, base = np.asarray(texts.tokens[texts.offsets[0] : texts.offsets[-1]], np.int64), vocabulary + 1
    row = np.repeat(np.arange(len(texts)), texts.lengths)
    rows, found = [], []
    run = np.zeros(len(tokens), np.int64)
    plain = np.ones(len(tokens), bool)
    for size in range(1, longest + 1):
        count = max(0, len(tokens) - size + 1)
        run, plain = run[:count] * base + tokens[size - 1 :] + 1, plain[:count] & (tokens[size - 1 :] >= FIRST_TOKEN)
        whole = plain & (row[:count] == row[size - 1 :]) if count else plain
        rows.append(row[:count][whole])
        found.append(run[whole])
    return np.concatenate(rows), np.concatenate(found)


def shrunk_sizes(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the side of the squares that an image [H, W, C] is averaged over, and how many of them there are down and across."""
    height, width = shape[:2]
    step = max(1, -(-max(height, width) // BOOSTING_SIDE))
    return step, height // step, width // step


def shrunk_width(shape: tuple[int, ...]) -> int:
    """Return how many numbers boosting reads of an image [H, W, C]."""
    _, high, wide = shrunk_sizes(shape)
    return high * wide * shape[2]


def _shrunk(images: np.ndarray) -> np.ndarray:
    """Return images averaged over squares to at most BOOSTING_SIDE a side, flat: float32 [n, D]."""
    count, channels = len(images), images.shape[3]
    step, high, wide = shrunk_sizes(images.shape[1:])
    cut = images[:, : high * step, : wide * step].reshape(count, high, step, wide, step, channels)
    return np.asarray(cut.mean((2, 4), dtype=np.float32)).reshape(count, -1)


def _taken(arrays: Arrays, block: Block, rows: np.ndarray | None) -> np.ndarray:
    values = arrays.blocks[block.name]
    return np.asarray(values) if rows is None else np.asarray(values[rows])


def _text(arrays: Arrays, block: Block, rows: np.ndarray | None) -> Ragged:
    values = arrays.blocks[block.name]
    if not isinstance(values, Ragged):
        raise TypeError(f"{block.name} is not a text")
    return values if rows is None else values.subset(rows)
