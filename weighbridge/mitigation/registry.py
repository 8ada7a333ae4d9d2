"""Which remedies there are: a file each. A remedy is a change of recipe, so that who wants it writes the keys that it names and runs again.

register(Remedy(name="temperature", against="calibration", changes=..., watches=("evaluation.calibration_error",), title=...))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RecipeError, did_you_mean
from weighbridge.findings import Finding, Message

if TYPE_CHECKING:
    from pathlib import Path

    from weighbridge.recipe import Recipe

PLACES: tuple[str, ...] = (
    "weighbridge.mitigation.imbalance",
    "weighbridge.mitigation.overfitting",
    "weighbridge.mitigation.labels",
    "weighbridge.mitigation.robustness",
    "weighbridge.mitigation.adversarial",
    "weighbridge.mitigation.debias",
    "weighbridge.mitigation.fairness",
    "weighbridge.mitigation.calibration",
    "weighbridge.mitigation.privacy_data",
    "weighbridge.mitigation.privacy",
)
_REMEDIES: dict[str, Remedy] = {}


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A run that is to be mended: its recipe, its folder and what was found of it."""

    recipe: Recipe
    folder: Path
    findings: Sequence[Finding]

    @property
    def kind(self) -> str:
        """The target's: `category`, `number` or `set`."""
        return str(self._encoder["target"]["kind"])

    @property
    def types(self) -> set[str]:
        """Of the input columns: `number`, `image`, `text`, ..."""
        return {str(feature["type"]) for feature in self._encoder["features"]}

    @property
    def _encoder(self) -> dict[str, Any]:
        from weighbridge.storage import read_json

        content: dict[str, Any] = read_json(self.folder / "preprocessing" / "encoder.json")
        return content


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What is changed, and what is looked at before and after.

    Attributes:
        name: as a recipe writes it.
        against: the audit (or `calibration`, `overfitting`, `imbalance`, `cost`, ...) whose limitation it mends.
        title: what is done, in a few words ("temperature scaling").
        changes: returns dotted recipe keys with their values; raises RecipeError where it does not fit the run, with the reason.
        watches: keys of findings that are compared, in this order; `*` stands for any letters (`audit.fairness.*.selected`).
        less: of the watched values, less is better; where that hangs on the target's kind, a function of it.
        audits: the audits that are made again for it.
        source: paper or standard.
    """

    name: str
    against: str
    title: Message
    changes: Callable[[Patient], Mapping[str, Any]]
    watches: tuple[str, ...]
    less: bool | Callable[[str], bool] = True
    audits: tuple[str, ...] = ()
    source: str = ""


def register(remedy: Remedy) -> Remedy:
    """The remedy can be asked for. Raises ValueError when its name is taken."""
    if remedy.name in _REMEDIES:
        raise ValueError(f"two remedies are named {remedy.name}")
    _REMEDIES[remedy.name] = remedy
    return remedy


def remedies() -> dict[str, Remedy]:
    """Return every remedy by name, in the order of their files."""
    for place in PLACES:
        importlib.import_module(place)
    return dict(_REMEDIES)


def chosen(names: Sequence[str]) -> list[Remedy]:
    """Return the remedies of these names, or all against a limitation of that name. Raises RecipeError with the nearest known name."""
    known = remedies()
    limitations = {remedy.against for remedy in known.values()}
    found: dict[str, Remedy] = {}
    for name in names:
        if name not in known and name not in limitations:
            words = sorted({*known, *limitations})
            raise RecipeError(
                f"mitigation: there is no remedy or limitation '{name}'{did_you_mean(name, words)}", do=f"known: {', '.join(words)}"
            )
        found |= {one.name: one for one in known.values() if name in (one.name, one.against)}
    return list(found.values())
