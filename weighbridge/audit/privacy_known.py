"""How many training rows stand alone in what others may know of a person: age, sex, place, schooling (quasi-identifiers).

The columns are those that the recipe makes coarser (data.anonymize), else its protected ones and those whose names speak of such things.
Counted on the rows as they are stored: what the recipe promised is counted again here by another way.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.privacy import named_kind

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.recipe import Recipe

TYPES = ("number", "category", "date")
KNOWN = (  # what a neighbour, an employer or a public register may know
    "age", "sex", "gender", "race", "ethnicity", "ethnic", "nationality", "country", "city", "state", "county", "region", "religion",
    "marital", "relationship", "education", "occupation", "job", "profession", "birth", "born", "birthplace",
    "年龄", "性别", "民族", "国籍", "籍贯", "婚姻", "学历", "职业", "城市", "地区", "出生",
)  # fmt: skip
SMALL = 5  # rows; smaller classes are at risk where nothing else was asked for (a common rule of statistical offices)


@dataclass(frozen=True, kw_only=True)
class Alone:
    """n rows by the combinations of the columns: the smallest class, how many rows are alone, and in classes of fewer than `small`."""

    columns: tuple[str, ...]
    k: int
    alone: int
    few: int
    small: int
    n: int


def known_columns(recipe: Recipe, table: Table) -> tuple[str, ...]:
    """Return the names of the stored columns that others may know of a person, without the target."""
    anonymize = recipe.data.anonymize
    coarse = tuple(name for name, way in anonymize.columns.items() if way == "generalize" and name in table.names)
    if coarse:
        return coarse
    apart = {recipe.data.target, recipe.data.group, recipe.data.weight}
    return tuple(
        name
        for name in table.names
        if name not in apart and table.schema[name].type in TYPES and (name in recipe.data.protected or speaks_of_a_person(name))
    )


def speaks_of_a_person(column: str) -> bool:
    """Say whether a column's name is that of something that others may know of a person."""
    if named_kind(column) in ("birth", "postcode"):
        return True
    words = re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column).casefold()).split()
    return any(word in words if word.isascii() else word in column for word in KNOWN)


def stand_alone(table: Table, columns: tuple[str, ...], small: int = SMALL) -> Alone:
    """Return how many rows share their combination of the columns with how few others."""
    values = [_hashable(table.column(name)) for name in columns]
    combinations = Counter(zip(*values, strict=True))
    sizes = np.array(list(combinations.values()))
    return Alone(
        columns=columns, k=int(sizes.min()), alone=int((sizes == 1).sum()), few=int(sizes[sizes < small].sum()), small=small,
        n=int(sizes.sum()),
    )  # fmt: skip


def _hashable(column: np.ndarray) -> list[object]:
    """Return the values of a canonical column, all missing ones alike."""
    if column.dtype.kind == "f":
        return [None if value != value else value for value in column.tolist()]
    if column.dtype.kind == "M":
        return list(column.astype(np.int64).tolist())  # all missing dates are one number
    return list(column.tolist())
