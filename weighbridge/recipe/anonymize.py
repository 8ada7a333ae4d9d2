"""The section `data.anonymize`: what is taken out of the rows before anything of them is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import model_validator

from weighbridge.recipe.section import Key, Section

Way = Literal["drop", "mask", "pseudonym", "generalize"]
FORBIDDEN = {"target": ("drop", "mask", "pseudonym", "generalize"), "group": ("drop", "mask", "generalize"), "time": ("drop", "mask", "pseudonym"), "protected": ("drop", "mask"), "weight": ("drop", "mask", "pseudonym")}
INSTEAD = {
    "target": "what is predicted stays as it is: leave out rows, or predict something coarser",
    "group": "intervals need to know which rows belong together: a pseudonym tells that and no more",
    "time": "the rows are ordered by it: generalize makes it coarser",
    "weight": "rows count by it: generalize makes it coarser",
    "protected": "fairness is measured between its groups: generalize makes them fewer, pseudonym hides their names",
}


class AnonymizeOptions(Section):
    columns: dict[str, Way] = Key({}, "what is done to a column before anything is written: drop (it reaches nothing), mask (e-mail addresses, phone, card, account and identity numbers in its texts are replaced by their kind), pseudonym (each value becomes a keyed hash), generalize (coarser until data.anonymize.k holds)")
    k: int = Key(5, "training rows that share each combination of the generalized columns, at least (k-anonymity)", ge=2)
    l: int = Key(1, "different values of data.anonymize.sensitive within each combination, at least (l-diversity); 1: not asked for", ge=1)  # noqa: E741 - its name in the field
    sensitive: str | None = Key(None, "the column that l is about; default: the target")
    suppress: float = Key(0.05, "share of the training rows that may be left out where making columns coarser for them would cost all others", ge=0, lt=1)
    parents: dict[str, dict[str, str]] = Key({}, "for a generalized category: the parent of each value (Berlin: Germany), and of the parents where there are more rungs")
    key: str | None = Key(None, "where the key of pseudonyms and row ids is: env:NAME or the path of a file; it is read and never stored")

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        hashed = [name for name, way in self.columns.items() if way == "pseudonym"]
        if hashed and self.key is None:
            raise ValueError(f"data.anonymize.columns.{hashed[0]}: pseudonym needs data.anonymize.key (env:NAME or a file): who has a bare hash finds its value by trying all")
        coarser = {name for name, way in self.columns.items() if way == "generalize"}
        for name in self.parents:
            if name not in coarser:
                raise ValueError(f"data.anonymize.parents names '{name}', which data.anonymize.columns does not generalize")
        if self.l > 1 and not coarser:
            raise ValueError(f"data.anonymize.l: {self.l} needs columns that are generalized: data.anonymize.columns names none")
        return self

    def refuse_roles(self, **roles: Sequence[str | None]) -> None:
        """Raise ValueError where a column that plays a part in the run is treated in a way that this part does not bear."""
        for role, names in roles.items():
            for name in names:
                if name is not None and self.columns.get(name) in FORBIDDEN[role]:
                    raise ValueError(f"data.anonymize.columns.{name}: {self.columns[name]} contradicts data.{role}; {INSTEAD[role]}")
