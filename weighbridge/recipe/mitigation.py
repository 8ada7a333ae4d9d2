"""The section `mitigation`: which remedies are tried, each measured against the run that it is to mend."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, field_validator

from weighbridge.recipe.section import Key, Section

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def _listed(value: Any) -> Any:
    """Let `mitigation: privacy` and `mitigation: [privacy, fairness]` stand for its remedies."""
    value = [value] if isinstance(value, str) else value
    return {"remedies": value} if isinstance(value, list) else value


class MitigationSection(Section):
    remedies: list[str] = Key([], "names of remedies, or of limitations for all remedies against them; each is the recipe with some keys changed, run beside it, and judged by the same measures on the same test rows")

    @field_validator("remedies")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"'{name}' names no remedy; see weigh mitigate --list")
        return value


Mitigation = Annotated[MitigationSection, BeforeValidator(_listed)]
