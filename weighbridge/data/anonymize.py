"""What is taken out of the rows before anything of them is written: columns dropped, masked, hashed under a key, made coarser.

Sides and row ids are settled before, from the rows as they came, so a row keeps its side. What is made coarser is learnt from training rows
alone and rides as a step in the schema, the encoder and the package: raw rows in service meet what training met.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.data.convert import canonical_field, convert
from weighbridge.data.plan import Plan
from weighbridge.data.rows import Rows
from weighbridge.data.split import TRAIN
from weighbridge.data.spool import SPLIT, Spool
from weighbridge.data.table import Column, canonical
from weighbridge.errors import DataError
from weighbridge.privacy.anonymity import Anonymity, climb, measure, violating
from weighbridge.privacy.coarsening import codes_of, ladder_of
from weighbridge.privacy.steps import Masked, Step

if TYPE_CHECKING:
    from weighbridge.recipe.anonymize import AnonymizeOptions
    from weighbridge.recipe.schema import DataSection

LEAST_KEY_BYTES = 16
TENTHS = 10
HEX = 32  # digits of a pseudonym: 128 bits
LADDERS = ("number", "date", "category")


@dataclass(frozen=True, kw_only=True)
class Coarse:
    """What making columns coarser came to, on training rows.

    Attributes:
        columns: their names, in the order of `rungs` and `bits`.
        rungs, of: the rung that each column stands on, counted from 0 (as it came), and how many rungs it has.
        bits: share of each column's bits that is left.
        before, after: the training rows as they came, and those that are left, made coarser.
        elsewhere, elsewhere_n: validation and test rows whose class holds fewer than k rows of the whole run, and all of them.
    """

    columns: tuple[str, ...]
    rungs: tuple[int, ...]
    of: tuple[int, ...]
    bits: tuple[float, ...]
    before: Anonymity
    after: Anonymity
    suppressed: int
    elsewhere: int
    elsewhere_n: int


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What is done to each row on its way to the disk.

    Attributes:
        ways: what the recipe says of each column.
        steps: by column; of inputs, they are also the encoder's.
        hashed: columns of which each value becomes a keyed hash.
        key: None where none was named.
        side: int8 [n], -1 also for rows that are left out.
        coarse: None where no column is made coarser.
    """

    ways: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    hashed: tuple[str, ...] = ()
    key: bytes | None = field(default=None, repr=False)
    side: np.ndarray
    coarse: Coarse | None = None

    def plan(self, plan: Plan) -> Plan:
        """Return the plan whose schema holds the steps."""
        columns = [replace(column, step=self.steps.get(column.name)) for column in plan.schema.columns]
        return replace(plan, schema=replace(plan.schema, columns=tuple(columns)))

    def column(self, name: str, values: Any, arrow_field: Any, kind: str) -> Any:
        """Return a canonical Arrow column after its treatment; of the same type, a pseudonym as text."""
        import pyarrow as pa

        if name in self.hashed:
            assert self.key is not None
            encoded = values.dictionary_encode()
            known = [pseudonym(self.key, name, value) for value in encoded.dictionary.to_pylist()]
            return pa.array(known, values.type).take(encoded.indices)
        if name not in self.steps:
            return values
        return pa.array(self.steps[name].apply(canonical(values, arrow_field, kind)), values.type)


def treat(section: DataSection, raw: Spool, plan: Plan, rows: Rows, side: np.ndarray) -> Treatment:
    """Return what is done to the rows that have a side. Raises DataError where the recipe can not be followed."""
    options = section.anonymize
    if not options.columns:
        return Treatment(side=side)
    known = {column.name: column for column in plan.schema.columns}
    kept = {name: way for name, way in options.columns.items() if name in plan.stored}
    for name, way in kept.items():
        _check(known[name], way)
    key = None if options.key is None else read_key(options.key)
    steps: dict[str, Step] = {name: Masked() for name, way in kept.items() if way == "mask"}
    hashed = tuple(name for name, way in kept.items() if way == "pseudonym")
    wanted = tuple(name for name, way in kept.items() if way == "generalize")
    made = Treatment(ways=options.columns, steps=steps, hashed=hashed, key=key, side=side)
    return _coarser(made, wanted, options, raw, plan, rows) if wanted else made


def written_ids(options: AnonymizeOptions, ids: np.ndarray) -> np.ndarray:
    """Return the row ids as they are written: where anything is treated, keyed hashes, or without a key the rows' numbers.

    The id of a row is a hash of its values as they came: who knows all of them but one would find that one by trying.
    """
    if not options.columns:
        return ids
    if options.key is None:
        width = len(str(len(ids)))
        return np.array([f"{number:0{width}}" for number in range(1, len(ids) + 1)], dtype=np.str_)
    key = read_key(options.key)
    return np.array([pseudonym(key, "row id", str(name)) for name in ids], dtype=np.str_)


def pseudonym(key: bytes, purpose: str, value: str | None) -> str | None:
    """Return HMAC-SHA256 (RFC 2104) of a value for one purpose, HEX digits: equal values of a column have equal ones, of others others."""
    if value is None:
        return None
    return hmac.new(key, f"{purpose}\x1f{value}".encode(), sha256).hexdigest()[:HEX]


def read_key(where: str, name: str = "data.anonymize.key") -> bytes:
    """Return the key that env:NAME or a file holds, without white space around; `name` is the recipe key that says where.

    Raises DataError where it is missing, or short enough to be found by trying.
    """
    if where.startswith("env:"):
        found = os.environ.get(where[4:], "").encode()
        if not found:
            what = f"{name}: the environment has no {where[4:]}"
            raise DataError(what, do=f"set it to at least {LEAST_KEY_BYTES} random bytes")
    else:
        try:
            found = Path(where).expanduser().read_bytes()
        except OSError as error:
            raise DataError(f"{name}: {where} can not be read ({error.strerror})", do="name a file, or env:NAME") from None
    key = found.strip()
    if len(key) < LEAST_KEY_BYTES:
        raise DataError(
            f"{name} has {len(key)} bytes; at least {LEAST_KEY_BYTES} are needed, else it can be found by trying",
            do="make one: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return key


def _check(column: Column, way: str) -> None:
    """Raise DataError where the way does not fit the column's type or part."""
    name = f"data.anonymize.columns.{column.name}: {way}"
    if way == "generalize" and column.type not in LADDERS:
        raise DataError(f"{name} does not fit a column of type {column.type}", do="it is for numbers, dates and categories; see drop, mask")
    if way == "mask" and column.type not in ("text", "category"):
        raise DataError(f"{name} does not fit a column of type {column.type}", do="it is for texts and categories; see drop, generalize")
    if way == "pseudonym" and column.role == "input":
        raise DataError(
            f"{name}: the model reads this column, and in service its package would need the key",
            do=f"drop or generalize it, or leave it out of the inputs with data.columns.{column.name}: ignore",
        )
    if way == "pseudonym" and column.type not in ("category", "text", "id"):
        raise DataError(f"{name} does not fit a column of type {column.type}", do=f"set data.columns.{column.name}: category")


def _coarser(made: Treatment, names: tuple[str, ...], options: AnonymizeOptions, raw: Spool, plan: Plan, rows: Rows) -> Treatment:
    """Return the treatment with a step for each of the columns, and the sides without the rows that are left out."""
    side, train = made.side, made.side == TRAIN
    columns = {name: _canonical(raw, plan, name) for name in names}
    types = {column.name: column.type for column in plan.schema.columns}
    ladders = {name: ladder_of(types[name], columns[name][train], options.k, options.parents.get(name)) for name in names}
    sensitive = _sensitive(options, raw, plan, rows)
    codes = [codes_of(columns[name][train], ladders[name]) for name in names]
    told = None if sensitive is None else sensitive[train]
    climbed = climb(codes, told, k=options.k, diversity=options.l, most_suppressed=options.suppress, answer=_answer(raw, plan, rows, train))
    if climbed is None:
        raise _out_of_reach(options, int(train.sum()), told)
    steps = {name: ladders[name][rung] for name, rung in zip(names, climbed.rungs, strict=True)}
    chosen = [ladder[rung] for ladder, rung in zip(codes, climbed.rungs, strict=True)]
    side = side.copy()
    side[np.flatnonzero(train)[climbed.suppressed]] = -1
    left = ~climbed.suppressed
    if not left.any():
        raise _out_of_reach(options, int(train.sum()), told)
    whole = [codes_of(columns[name], [step])[0] for name, step in steps.items()]
    small, judged = _in_small_classes(whole, side, options.k)
    coarse = Coarse(
        columns=names, rungs=climbed.rungs, of=tuple(len(ladders[name]) for name in names), bits=climbed.kept_bits,
        before=measure([ladder[0] for ladder in codes], told, options.k),
        after=measure([one[left] for one in chosen], None if told is None else told[left], options.k),
        suppressed=int(climbed.suppressed.sum()), elsewhere=small, elsewhere_n=judged,
    )  # fmt: skip
    taken: dict[str, Step] = {name: step for name, step in steps.items() if step is not None}
    return replace(made, steps={**made.steps, **taken}, side=side, coarse=coarse)


def _in_small_classes(columns: list[np.ndarray], side: np.ndarray, k: int) -> tuple[int, int]:
    """Return how many validation and test rows share their class with fewer than k rows of the run, and how many there are."""
    held = side >= 0
    bad = violating([column[held] for column in columns], None, k, 1)
    judged = side[held] != TRAIN
    return int((bad & judged).sum()), int(judged.sum())


def _out_of_reach(options: AnonymizeOptions, rows: int, told: np.ndarray | None) -> DataError:
    values = 0 if told is None else len(np.unique(told))
    if options.l > values > 0:
        return DataError(f"data.anonymize.l: {options.l} is more than the {values} values of the sensitive column", do="ask for fewer")
    return DataError(
        f"data.anonymize: {rows} training rows can not be put into classes of {options.k} even where all columns are alike",
        do="give more rows, or ask for a smaller k",
    )


def _sensitive(options: AnonymizeOptions, raw: Spool, plan: Plan, rows: Rows) -> np.ndarray | None:
    """Return the sensitive column as codes int64 [n]; None for a number, of which neighbouring values tell the same."""
    name = options.sensitive or plan.schema.target.name
    kind = plan.schema[name].type
    if kind not in ("category", "set", "id", "text"):
        if options.l > 1:
            what = f"data.anonymize.l counts different values, and '{name}' is of type {kind}"
            raise DataError(what, do="name a category as data.anonymize.sensitive")
        return None
    if name == plan.schema.target.name:
        return np.unique(rows.targets, return_inverse=True)[1].astype(np.int64)
    values = _canonical(raw, plan, name)
    return codes_of(values, [None])[0]


def _answer(raw: Spool, plan: Plan, rows: Rows, train: np.ndarray) -> np.ndarray | None:
    """Return the target of the training rows as codes int64 [n], a number by its tenth; None for a set."""
    target = plan.schema.target
    if target.type == "set":
        return None
    if target.type == "category":
        return np.unique(rows.targets[train], return_inverse=True)[1].astype(np.int64)
    values = _canonical(raw, plan, target.name)[train]
    return np.asarray(np.searchsorted(np.nanquantile(values, np.arange(1, TENTHS) / TENTHS), values, side="right"), dtype=np.int64)


def _canonical(raw: Spool, plan: Plan, name: str) -> np.ndarray:
    """Return a column of all rows in its canonical form."""
    kind = plan.schema[name].type
    arrow_field = canonical_field(raw.schema.field(name), kind)
    parts, row = [], 0
    for batch in raw.batches():
        splits = batch.column(SPLIT) if SPLIT in batch.schema.names else None
        parts.append(canonical(convert(batch.column(name), plan.conversions[name], row=row, splits=splits), arrow_field, kind))
        row += len(batch)
    return np.concatenate(parts)


def as_json(made: Treatment, options: AnonymizeOptions) -> dict[str, Any]:
    """Return what is kept of a treatment beside the rows: no value, no key."""
    found: dict[str, Any] = {"columns": dict(made.ways), "steps": {name: step.to_json() for name, step in made.steps.items()}}
    if made.coarse is not None:
        one = made.coarse
        found |= {"k": options.k, "l": options.l, "suppressed": one.suppressed, "before": vars(one.before), "after": vars(one.after)}
        found["rungs"] = {
            name: {"rung": rung, "of": of, "bits": round(bits, 6)}
            for name, rung, of, bits in zip(one.columns, one.rungs, one.of, one.bits, strict=True)
        }
    return found
