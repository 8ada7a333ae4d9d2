"""Keys of the section `training` that work against a limitation; each is off unless a recipe or a remedy asks for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

from weighbridge.recipe.section import Key, Section


def once_each(columns: list[str], key: str) -> list[str]:
    """Return the columns. Raises ValueError for one that is named twice."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ValueError(f"{key} names '{twice[0]}' twice")
    return columns


class AdversarialOptions(Section):
    images: float = Key(0.0, "images: by how many of 255 levels each pixel may be moved against the network before it learns from the row (Madry 2018 took 8 for small photographs); 0: not at all", ge=0, le=255)
    numbers: float = Key(0.0, "numbers: by how many standard deviations each value may be moved so; 0: not at all", ge=0, le=10)
    steps: int = Key(7, "steps of the attack on each batch; each costs about as much as an update without it", ge=1, le=100)

    @property
    def enabled(self) -> bool:
        """Whether any input is attacked."""
        return self.images > 0 or self.numbers > 0


class DebiasOptions(Section):
    columns: list[str] = Key([], "columns of which the network's answers must not tell: an adversary tries to read them from the answers while the network learns (Zhang 2018); empty: none")
    weight: float = Key(1.0, "how much the adversary's success counts against the answers' own loss", gt=0, le=1000)
    criterion: Literal["parity", "odds"] = Key("parity", "parity: answers tell nothing of the columns; odds: nothing beyond what the truth tells (equal error rates)")

    @field_validator("columns")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        return once_each(value, "training.debias.columns")


class ConstrainOptions(Section):
    columns: list[str] = Key([], "columns between whose groups the network's rates are held alike while it learns, by multipliers that grow where they are not (Agarwal 2018); two classes; empty: none")
    alike: Literal["parity", "odds"] = Key("parity", "parity: how often the second class is answered; odds: the same among the rows of each class (equal error rates)")
    allowed: float = Key(0.02, "distance of a group's rate from that of all rows that is let be", ge=0, lt=1)
    bound: float = Key(2.0, "what the multipliers are together at most, against a loss that counts 1", gt=0, le=1000)

    @field_validator("columns")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        return once_each(value, "training.constrain.columns")


class Mended(Section):
    """Rules that hold between these keys and the others of the section; what they name is declared there."""

    @field_validator("reweigh", check_fields=False)
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        return once_each(value, "training.reweigh")

    @model_validator(mode="after")
    def _no_contradiction_of_remedies(self) -> Self:
        balance, weights, order, loss, reweigh = (
            getattr(self, name) for name in ("balance", "class_weights", "order", "loss", "reweigh")
        )
        if balance != "none" and weights != "none":
            raise ValueError(f"training.balance: {balance} and training.class_weights contradict each other; one of them mends an imbalance, both turn it round")
        if balance != "none" and order == "blocks":
            raise ValueError(f"training.balance: {balance} and training.order: blocks contradict each other; rows of a class lie anywhere")
        if balance != "none" and reweigh:
            raise ValueError(f"training.balance: {balance} and training.reweigh contradict each other; the weights are for rows that come as often as they are there")
        if getattr(self, "compile") is True and getattr(self, "debias").columns:  # noqa: B009 - declared in the section that inherits
            raise ValueError("training.compile: true and training.debias contradict each other; a compiled network gives its gradients once, and the adversary takes them, too")
        if getattr(self, "compile") is True and getattr(self, "constrain").columns:  # noqa: B009
            raise ValueError("training.compile: true and training.constrain contradict each other; a compiled network gives its gradients once, and the multipliers take them, too")
        if reweigh and loss in ("mse", "huber"):
            raise ValueError(f"training.reweigh and training.loss: {loss} contradict each other; it is for classes")
        return self
