"""Word vectors that others learned, read as data: text files of word2vec or GloVe, or `.npy` with its words one a line beside it.

word2vec's text begins with a line `count width`; GloVe's does not. A line is a word and its numbers with spaces between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

import numpy as np

from weighbridge.errors import RecipeError
from weighbridge.storage import sha256_file, sha256_json

KEY = "training.model.vectors"
MOST_WIDTH = 4096
MOST_LINE = 1 << 20  # characters of a line: a file that is no text has none that ends


def vector_width(path: Path) -> int:
    """Return how many numbers a word has. Raises RecipeError for a file that is not there or holds no vectors."""
    if path.suffix == ".npy":
        return int(_array(path)[0].shape[1])
    with _opened(path) as file:
        first, second = file.readline(MOST_LINE), file.readline(MOST_LINE)
    line = second if _is_heading(first) else first
    width = len(line.split()) - 1
    if not 1 <= width <= MOST_WIDTH or _numbers(line, width) is None:
        raise _not_vectors(path, 2 if _is_heading(first) else 1)
    return width


def read_vectors(path: Path, wanted: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return (codes int64 [k], vectors float32 [k, width]) of the wanted words that the file has, the first of equal ones.

    The file is read line by line: what is held are the wanted words only. Raises RecipeError that names the line.
    """
    width = vector_width(path)
    found: dict[int, np.ndarray] = {}
    for word, values in _pairs(path, width):
        code = wanted.get(word)
        if code is not None and code not in found:
            found[code] = values
    codes = np.array(sorted(found), dtype=np.int64)
    vectors = np.stack([found[code] for code in codes.tolist()]) if found else np.empty((0, width), np.float32)
    if not np.isfinite(vectors).all():
        raise RecipeError(f"{KEY}: {path} holds values that are not finite", do="fetch the file again")
    return codes, vectors


def vectors_sha256(path: Path) -> str:
    """Return one hash of all that is read. Raises RecipeError where it can not be."""
    vector_width(path)
    return sha256_json([sha256_file(one) for one in (path, *([path.with_suffix(".txt")] if path.suffix == ".npy" else []))])


def _pairs(path: Path, width: int) -> Iterator[tuple[str, np.ndarray]]:
    if path.suffix == ".npy":
        array, words = _array(path)
        yield from zip(words, np.asarray(array, dtype=np.float32), strict=True)
        return
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_LINE), ""), 1):
            if (number == 1 and _is_heading(line)) or not line.strip():
                continue
            values = _numbers(line, width)
            if values is None:
                raise _not_vectors(path, number)
            yield line.rstrip("\n").rsplit(" ", width)[0] if "\t" not in line else line.split("\t", 1)[0], values


def _numbers(line: str, width: int) -> np.ndarray | None:
    """Return the last `width` values of a line, None where they are not that many numbers behind a word."""
    parts = line.split()
    if len(parts) <= width:
        return None
    try:
        return np.array(parts[-width:], dtype=np.float32)
    except ValueError:
        return None


def _is_heading(line: str) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isdecimal() for part in parts)


def _opened(path: Path) -> TextIO:
    try:
        return open(path, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise RecipeError(f"{KEY}: {path} can not be read ({error.strerror})", do="name a text file of vectors, or a .npy") from None


def _array(path: Path) -> tuple[np.ndarray, list[str]]:
    """Return the mapped array [n, width] of a .npy and its n words, from the file of the same name that ends in .txt."""
    names = path.with_suffix(".txt")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        words = names.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError, EOFError) as error:
        what = f"{KEY}: {path} and its words {names.name} can not be read ({str(error)[:120]})"
        raise RecipeError(what, do="write the array with numpy.save, and one word a line beside it") from None
    if array.ndim != 2 or array.dtype.kind != "f" or not 1 <= array.shape[1] <= MOST_WIDTH or len(words) != len(array):
        what = f"{KEY}: {path} is {array.dtype} {list(array.shape)} for {len(words):,} words in {names.name}"
        raise RecipeError(what, do="give floats [words, width] and as many words")
    return array, words


def _not_vectors(path: Path, line: int) -> RecipeError:
    return RecipeError(f"{KEY}: line {line} of {path} is not a word and its vector", do="give vectors in word2vec's or GloVe's text form")
