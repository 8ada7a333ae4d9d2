"""The remedy against personal data: what the audit finds is dropped or masked, and what others may know of a person is made coarser.

Which columns is read from the stored training rows by the audit's own search. A column that the run needs as it is (target, group, time,
weights) is left alone: a pseudonym needs a key, and that is for the user to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register

if TYPE_CHECKING:
    from weighbridge.audit.privacy_columns import Held
    from weighbridge.data import Table

WATCHES = ("audit.privacy.personal", "audit.privacy.personal.alone", "audit.privacy.membership*")
NOTHING_ELSE = 0.5  # of the rows hold nothing else than a number or address, from which a category is dropped rather than masked


def ways_of(patient: Patient) -> dict[str, str]:
    """Return what is done to which column of a run: {} where nothing is found and no row stands alone."""
    from weighbridge import data
    from weighbridge.audit.privacy_columns import look
    from weighbridge.audit.privacy_known import known_columns, stand_alone

    section, table = patient.recipe.data, data.open_data(patient.folder / "data").train
    apart = {section.target, section.group, section.time, section.weight}
    ways: dict[str, str] = {}
    for one in look(table, patient.recipe.seed).held:
        if one.found and one.column not in apart:
            ways[one.column] = _way(one, table, ways.get(one.column), protected=one.column in section.protected)
    known = tuple(name for name in known_columns(patient.recipe, table) if name not in ways and name not in apart)
    if known and stand_alone(table, known).alone:
        ways |= dict.fromkeys(known, "generalize")
    return ways


def _way(one: Held, table: Table, before: str | None, *, protected: bool) -> str:
    """Return drop, mask, or for a protected column, whose groups are compared, generalize."""
    kind = table.schema[one.column].type
    if protected:
        return "generalize"
    if before == "drop" or kind not in ("text", "category"):
        return "drop"
    return "drop" if kind == "category" and one.seen.whole > NOTHING_ELSE * one.n else "mask"


def _anonymize(patient: Patient) -> Mapping[str, Any]:
    if patient.recipe.data.anonymize.columns:
        raise RecipeError("the recipe anonymises already (data.anonymize.columns)", do="leave this remedy out")
    ways = ways_of(patient)
    if not ways:
        raise RecipeError(
            "no personal data of a known form is found and no row stands alone: there is nothing to anonymise", do="leave it out"
        )
    return {"data.anonymize.columns": ways}


register(
    Remedy(
        name="anonymize", against="privacy", title=Message("personal data is dropped or masked, what others may know is made coarser"),
        changes=_anonymize, watches=WATCHES, audits=("privacy",), source="Sweeney 2002; Fung 2005",
    )
)  # fmt: skip
