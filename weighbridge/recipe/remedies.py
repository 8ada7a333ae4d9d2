"""Keys of the section `training` that work against a limitation; each is off unless a recipe or a remedy asks for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import field_validator, model_validator

from weighbridge.recipe.section import Key, Section

MOST_EPSILON = 1000.0


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


class PrivacyOptions(Section):
    epsilon: float | None = Key(None, "what the weights may tell of any one training row at most: differential privacy by clipped, noised gradients of rows drawn by chance (Abadi 2016); the noise follows from it, and where the recipe names no optimizer it is momentum; null: no promise")
    delta: float | None = Key(None, "chance with which the promise may fail; below 1 / training rows; default: 1e-5, or 1 / (n ln n) where that is less", gt=0, lt=1)
    clip: float = Key(1.0, "largest norm of a row's gradient; longer ones are shortened to it", gt=0)
    secret: str | None = Key(None, "where a secret is that the noise is drawn from beside the seed: env:NAME or the path of a file; without one, who knows the seed can take the noise away again")

    @property
    def enabled(self) -> bool:
        """Whether the training makes a promise."""
        return self.epsilon is not None

    @field_validator("epsilon")
    @classmethod
    def _something_is_learnt(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value <= MOST_EPSILON:
            why = "nothing could be learnt from the rows at all" if value <= 0 else "a promise so weak is none"
            raise ValueError(f"training.privacy.epsilon: {value:g}: {why}; it is above 0 and at most {MOST_EPSILON:g}, usual are 1 to 8, and null switches it off")
        return value

    @model_validator(mode="after")
    def _epsilon_first(self) -> Self:
        named = [name for name in ("delta", "clip", "secret") if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default]
        if named and not self.enabled:
            raise ValueError(f"training.privacy.{named[0]} without training.privacy.epsilon promises nothing; set epsilon, too")
        return self


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
        if getattr(self, "privacy").enabled:  # noqa: B009
            self._refuse_beside_privacy()
            if "optimizer" not in self.model_fields_set:  # adaptive rules scale the noise up where gradients are small
                object.__setattr__(self, "optimizer", getattr(self, "optimizer").model_copy(update={"type": "momentum"}))  # noqa: B009
        if reweigh and loss in ("mse", "huber"):
            raise ValueError(f"training.reweigh and training.loss: {loss} contradict each other; it is for classes")
        return self

    def _refuse_beside_privacy(self) -> None:
        """Raise ValueError for a key that lets one row move another's gradient, or reads the rows beside the noise."""
        kept = {name: getattr(self, name) for name in ("accumulate", "class_weights", "balance", "reweigh", "order", "precision", "compile", "debias", "constrain", "adversarial", "augment")}
        reasons = {
            "accumulate": (kept["accumulate"] != 1, "a step is one draw of rows: set batch_size instead"),
            "class_weights": (kept["class_weights"] == "balanced", "they are counted from the rows; name the weights yourself"),
            "balance": (kept["balance"] != "none", "rows are drawn by equal chance, as the promise counts them"),
            "reweigh": (bool(kept["reweigh"]), "the weights are counted from the rows"),
            "order": (kept["order"] == "blocks", "rows are drawn by equal chance, as the promise counts them"),
            "precision": (kept["precision"] == "bf16", "gradients of rows are made in fp32"),
            "compile": (kept["compile"] is True, "gradients of rows are made by another way"),
            "debias": (bool(kept["debias"].columns), "its adversary sees rows without noise"),
            "constrain": (bool(kept["constrain"].columns), "its rates are of rows without noise"),
            "adversarial": (kept["adversarial"].enabled, "the two are not tried together"),
            "augment.mixup": (kept["augment"].mixup > 0, "a row's gradient must be of that row alone"),
            "augment.cutmix": (kept["augment"].cutmix > 0, "a row's gradient must be of that row alone"),
        }
        for name, (wrong, why) in reasons.items():
            if wrong:
                raise ValueError(f"training.privacy and training.{name} contradict each other; {why}")
