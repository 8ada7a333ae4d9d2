"""What every section of the recipe is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Auto = Literal["auto"]


def Key(default: Any, description: str, **rules: Any) -> Any:  # noqa: N802 - reads as a declaration
    """Declare a key with its default (`...` for none), its documentation and its bounds."""
    return Field(default, description=description, **rules)


class Section(BaseModel):
    """A mapping of the recipe: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=False)


def type_only(key: str) -> BeforeValidator:
    """Let `model: mlp` stand for `model: {type: mlp}`."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


switch = BeforeValidator(lambda value: {"enabled": value} if isinstance(value, bool) else value)  # `key: true` for `key: {enabled: true}`
