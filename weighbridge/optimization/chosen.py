"""What the run goes on with: optimization/choice.json names the form that is judged and packaged, and the network that it stands in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from weighbridge.errors import RunError
from weighbridge.storage import read_json

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays, Encoder

CHOICE = "choice.json"
RECIPE = "recipe"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A model of the run: its name, its graph and the encoded rows that it reads, both relative to the run folder.

    Attributes:
        graph: an ONNX file; "" where the recipe's network was not exported.
        sha256: of the weights for the recipe's network, else of the graph.
        network: the training folder of the network that its graph was made of, relative too; "" for baselines and averages.
    """

    name: str
    graph: str
    arrays: str
    sha256: str
    network: str = ""

    @property
    def is_recipe(self) -> bool:
        """Whether it is the recipe's own network in full precision, as the training stage left it."""
        return self.name == RECIPE


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The form that was chosen, and the most capable model, which it is held against; the same where nothing lighter was good enough.

    `margin` (in the headline's unit) and `confidence` are what the choice was made with; None where nothing was chosen.
    """

    folder: Path
    form: Kept
    champion: Kept
    margin: float | None = None
    confidence: float | None = None

    @property
    def contender(self) -> str:
        """What competed: the form's name without its steps."""
        return self.form.name.split("+")[0]

    @property
    def hashes(self) -> dict[str, str]:
        """The names of both by their content."""
        return {"form": self.form.sha256, "champion": self.champion.sha256}

    @cached_property
    def encoder(self) -> Encoder:
        """The columns that the form reads."""
        from weighbridge import preprocessing

        return preprocessing.Encoder.from_json(read_json(self.folder / self.form.arrays / "encoder.json"))

    def to_json(self) -> dict[str, Any]:
        return {"form": asdict(self.form), "champion": asdict(self.champion), "margin": self.margin, "confidence": self.confidence}

    @classmethod
    def from_json(cls, folder: Path, value: dict[str, Any]) -> Self:
        return cls(
            folder=folder, form=Kept(**value["form"]), champion=Kept(**value["champion"]),
            margin=value["margin"], confidence=value["confidence"],
        )  # fmt: skip


def read_chosen(folder: Path) -> Chosen:
    """Return what a run goes on with. Raises RunError when it is missing or damaged."""
    path = folder / "optimization" / CHOICE
    try:
        return Chosen.from_json(folder, read_json(path))
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error})", do="run the recipe again") from None


def recipe_network(folder: Path, graph: str = "") -> Kept:
    """Return the recipe's own network as a model of the run."""
    return Kept(
        name=RECIPE,
        graph=graph,
        arrays="preprocessing",
        sha256=str(read_json(folder / "training" / "model.json")["sha256"]),
        network="training",
    )


def answers(folder: Path, kept: Kept, encoder: Encoder) -> Callable[[Arrays], np.ndarray]:
    """Return the function from encoded rows to a model's outputs: the recipe's network in torch, everything else as its graph."""
    if kept.is_recipe:
        from weighbridge import training

        return training.network_answers(folder / "training", encoder)
    from weighbridge.runtime.session import Session

    return Session.open(folder / kept.graph).answer
