"""What evaluation promised at release, as it travels in a package (contract.json): what feedback later holds the served model to.

Quality, calibration, class mix and the output's distribution are those of test rows; input sketches are those of validation rows. The
edges of every histogram were laid by other rows than those counted (training rows for inputs, validation rows for outputs), so that a new
row's rank among the counted ones is uniform while nothing has changed: the ground of a conformal test. The model was fitted to none of the
counted rows, so its confidence on them is honest. No figure is a single row's: bins and names with 1 to 4 rows are merged into others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.runtime.json_file import parse_json
from weighbridge.runtime.package import open_package

FORMAT = 2  # 1 knew no embedding
FILE = "contract.json"
ROW_F1 = "f1_rows"  # among the metrics of labels: the mean over rows of each row's F1
FEWEST = 5  # rows that a count stands for, or none


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A value with its two-sided 95 % interval (None where there is none) and the number of rows or repeats that it rests on."""

    value: float
    interval: tuple[float, float] | None = None
    n: int


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Test rows with about the same stated probability: its mean, the share that came true with its interval, and the rows."""

    stated: float
    seen: float
    interval: tuple[float, float]
    n: int


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of rows between rising edges: bin i holds edges[i-1] < value <= edges[i]; the first and last bin are open.

    Without edges there is one bin. A count is 0 or at least 5.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)

    @property
    def n(self) -> int:
        return sum(self.counts)

    def places(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value, int64 of the same shape; NaN has none and must be left out before."""
        return np.searchsorted(self.edges, values, side="left").astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """How many rows have each of some values, at least 5 each; `other` rows have a value that is not named."""

    counts: Mapping[str, int] = field(default_factory=dict)
    other: int = 0


@dataclass(frozen=True, kw_only=True)
class ColumnSketch:
    """An input column over `rows` held-out rows, `missing` of which have no value.

    `traits`: a histogram of each number that runtime.traits makes of a value (the value itself, a text's length, an image's brightness);
    `values`: frequencies of a category's values or a set's labels (a row then counts once for each of its labels).
    """

    name: str
    type: str
    rows: int
    missing: int
    traits: Mapping[str, Histogram] = field(default_factory=dict)
    values: Frequencies | None = None


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How the embedding of a row, D values that the network holds before its last layer, is watched (runtime.inner).

    `tensor`: its name in the graph. `column`: what it is an embedding of; "" where the network reads more than one column.
    `mean` [D] and `axes` [K, D] (orthonormal) are those of training rows; `traits`: histograms of held-out rows along them, and off them.
    """

    tensor: str
    column: str
    mean: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    traits: Mapping[str, Histogram] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """The limit under which a new row's score lies with probability `level`, from `rows` validation rows (split conformal prediction).

    The score of a category's row is 1 minus the probability of its true class, that of a number's row its absolute error.
    """

    level: float
    limit: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an answer cost where the package was built: one row's latency, speed in batches, load and first answer; the machine in words."""

    latency_s: Measured
    rows_per_s: Measured
    first_answer_s: Measured
    machine: Mapping[str, str | int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a server of this package carried: requests of one row, rows in requests of `rows`; the latency at `share` of the former."""

    requests_per_s: Measured
    rows_per_s: Measured
    rows: int
    share: float
    p50_s: Measured
    p99_s: Measured
    machine: Mapping[str, str | int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that was promised of one model.

    Attributes:
        headline: the name in `metrics` of the one metric that the model was chosen by.
        metrics: by name, on the test rows; calibration errors among them.
        calibration: the reliability curve; empty for a number. For labels, all of them stand in one curve.
        predicted, true: rows by class (a set: by label); None for a number.
        output: confidence in what is answered, or the value for a number; `target` the true value of a number, else None.
        embedding: None where no image, clip or text is read, or the graph has none.
        load: None while it has not been measured.
    """

    kind: str
    classes: tuple[str, ...]
    model_sha256: str
    recipe_sha256: str
    data_sha256: str
    headline: str
    metrics: Mapping[str, Measured]
    calibration: tuple[Bin, ...] = ()
    predicted: Frequencies | None = None
    true: Frequencies | None = None
    output: Histogram
    target: Histogram | None = None
    conformal: Conformal | None = None
    inputs: tuple[ColumnSketch, ...]
    embedding: Embedding | None = None
    price: Price
    load: Load | None = None

    @property
    def promise(self) -> Measured:
        """The headline metric."""
        return self.metrics[self.headline]

    @property
    def of_rows(self) -> Measured | None:
        """What the mean of outcomes, one a row, was on the test rows: accuracy, or the F1 of a row's labels; None: not measured."""
        return self.metrics.get({"category": "accuracy", "set": ROW_F1}.get(self.kind, ""))

    def column(self, name: str) -> ColumnSketch:
        """Return the sketch of an input column. Raises KeyError."""
        found = {one.name: one for one in self.inputs}
        return found[name]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; `from_json` of it is equal."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any) -> Contract:
        """Return the contract. Raises PackageError for a newer format, and for anything that is not exactly one, naming the place."""
        from weighbridge.runtime.contract_form import contract_of

        return contract_of(cls, value)


def read_contract(package: Path) -> Contract | None:
    """Return the contract of a verified package, a folder or a .zip; None for one that was built without. Raises PackageError."""
    content = open_package(package)[1].get(FILE)
    return None if content is None else Contract.from_json(parse_json(content, FILE))
