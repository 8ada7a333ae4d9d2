"""Names of persons have no form: a model of language finds them, where one is installed (spaCy, a pipeline with named entities)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PERSON = ("PERSON", "PER")
MOST_TEXTS = 500
MOST_LENGTH = 2_000  # characters of a text
CHINESE = ("\u4e00", "\u9fff")


@dataclass(frozen=True, kw_only=True)
class Named:
    """In how many of n texts a pipeline named a person."""

    pipeline: str
    rows: int
    n: int


def pipeline_for(texts: Sequence[str]) -> str | None:
    """Return the name of an installed pipeline for the language of the texts, Chinese or one with spaces; None where there is none."""
    if importlib.util.find_spec("spacy") is None:
        return None
    import spacy

    installed = sorted(spacy.util.get_installed_models())
    letters = "".join(texts[:100])
    chinese = sum(CHINESE[0] <= letter <= CHINESE[1] for letter in letters) > 0.2 * max(1, len(letters))
    wanted = ("zh_", "xx_ent") if chinese else ("en_", "xx_ent")
    return next((name for start in wanted for name in installed if name.startswith(start)), None)


def name_persons(texts: Sequence[str], pipeline: str) -> Named:
    """Return in how many of the first MOST_TEXTS texts the pipeline names a person."""
    import spacy

    reader: Any = spacy.load(pipeline)
    read = [text[:MOST_LENGTH] for text in texts[:MOST_TEXTS]]
    rows = sum(any(entity.label_ in PERSON for entity in document.ents) for document in reader.pipe(read))
    return Named(pipeline=pipeline, rows=rows, n=len(read))
