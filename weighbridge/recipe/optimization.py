"""The section `optimization`: what competes, what is tried to make the winner lighter, and how it is decided."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from weighbridge.errors import did_you_mean
from weighbridge.recipe.section import Key, Section, switch, type_only

BASELINES = ("trivial", "linear", "boosting")
NETWORK_STEPS = ("student", "structured", "magnitude")  # in the order in which a chain may hold them
GRAPH_STEPS = ("int8_weights", "int8_dynamic", "int8_static", "int4", "half")
IN_TORCH = "int8_torch"
STEPS = (*NETWORK_STEPS, *GRAPH_STEPS, IN_TORCH)
SHARES = {"structured": 0.5, "magnitude": 0.8}  # where a step names none
DIALS = ("xs", "s", "m", "l", "xl")
OWN = ("recipe", "search", "soup", "average", "greedy")  # names that contenders have by themselves
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a form: its kind, and the share or the dial that it names (None for the default)."""

    kind: str
    share: float | None = None
    size: str | None = None


def parse_form(text: str) -> tuple[Step, ...]:
    """Return the steps of a form such as `structured:0.5+int8_static`. Raises ValueError that names the step and the rule."""
    steps = tuple(_step(part.strip(), text) for part in text.split("+"))
    if len(steps) > 1 and any(step.kind == IN_TORCH for step in steps):
        raise ValueError(f"form '{text}': {IN_TORCH} stands alone: it is measured in torch for comparison and can not be packaged")
    places = [STEPS.index(step.kind) for step in steps]
    graph = [step.kind for step in steps if step.kind in GRAPH_STEPS and step.kind != "half"]
    if places != sorted(places) or len(set(places)) < len(places):
        raise ValueError(f"form '{text}': steps come once and in the order {', '.join(STEPS[:-1])}")
    if len(graph) > 1:
        raise ValueError(f"form '{text}': {graph[0]} and {graph[1]} contradict each other; weights are quantised in one way")
    return steps


def _step(part: str, text: str) -> Step:
    kind, colon, value = part.partition(":")
    if kind not in STEPS:
        raise ValueError(f"form '{text}': there is no step '{kind}'{did_you_mean(kind, STEPS)}; known: {', '.join(STEPS)}")
    if not colon:
        return Step(kind=kind)
    if kind == "student":
        if value not in DIALS:
            raise ValueError(f"form '{text}': student:{value} is no size; known: {', '.join(DIALS)}")
        return Step(kind=kind, size=value)
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if kind not in SHARES or not 0 < share < 1:
        raise ValueError(f"form '{text}': {kind}{f':{value} is not a share between 0 and 1' if kind in SHARES else ' takes no value'}")
    return Step(kind=kind, share=share)


class Range(Section):
    """Numbers from low to high."""

    low: float = Key(..., "smallest value")
    high: float = Key(..., "largest value")
    log: bool = Key(False, "drawn evenly on a logarithmic scale")
    step: float | None = Key(None, "distance between values; whole numbers where low, high and step are whole", gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} with log: true; a logarithmic scale begins above 0")
        if self.log and self.step is not None:
            raise ValueError("log and step contradict each other")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers: the ends are, and the range is not drawn as fractions."""
        return self.low.is_integer() and self.high.is_integer() and (self.step is None or self.step.is_integer()) and self.high - self.low >= 2


def _form_of(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "list"


Values = Annotated[Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_form_of)]


class SearchOptions(Section):
    space: dict[str, Values] = Key({}, "what is varied: recipe key (of training or preprocessing) to a list of values, or to {low, high, log, step}; empty: no search")
    method: Literal["tpe", "random", "grid"] = Key("tpe", "tpe: tree-structured Parzen estimator (Bergstra 2011); grid needs lists, or ranges with a step")
    pruning: Literal["hyperband", "none"] = Key("hyperband", "hyperband: trials that fall behind are stopped early (Li 2018)")
    trials: int = Key(20, "trainings, at most; a grid ends when it was gone through", ge=1, le=100_000)
    budget: float | None = Key(None, "minutes after which no further trial is begun; those under way are ended", gt=0)
    workers: int = Key(1, "trials at the same time, each in a process of its own; with more than one, which trial sees which result is a matter of time", ge=1, le=64)
    storage: str | None = Key(None, "database URL of the study (postgresql://...), so that several machines share one; default: SQLite in the run folder")
    metric: Literal["auto", "loss"] = Key("auto", "what is sought on the judging rows; auto: the headline metric, equal ones by loss")

    @field_validator("space")
    @classmethod
    def _not_empty(cls, value: dict[str, Values]) -> dict[str, Values]:
        for key, values in value.items():
            if not isinstance(values, Range) and len(values) < 2:
                raise ValueError(f"{key}: a list of {len(values)} is nothing to choose from; give at least two values")
        return value

    @model_validator(mode="after")
    def _countable(self) -> Self:
        open_ends = [key for key, values in self.space.items() if isinstance(values, Range) and values.step is None]
        if self.method == "grid" and open_ends:
            raise ValueError(f"method: grid and space.{open_ends[0]} contradict each other; a grid needs a list of values or a range with a step")
        return self


class CrossValidationOptions(Section):
    folds: int = Key(0, "0: the validation rows judge; 2 or more: training and validation rows together are cut into so many folds, each judged by networks that did not see it (for few rows)", ge=0, le=20)

    @field_validator("folds")
    @classmethod
    def _not_one(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one fold leaves nothing to train on; 0 for none, or at least 2")
        return value


class EnsembleOptions(Section):
    enabled: bool = Key(True, "average what was trained anyway (seeds, candidates, the search's best) and keep the average where it is measurably better")
    most: int = Key(5, "members at most; greedy selection adds the one that helps most, with replacement (Caruana 2004)", ge=2, le=50)
    soup: int = Key(0, "trainings that go on from the most capable network, each from another seed, whose weights are averaged (Wortsman 2022); 0: none", ge=0, le=20)
    soup_epochs: float = Key(0.2, "length of each, as a share of the recipe's epochs", gt=0, le=1)


class ScaleOptions(Section):
    enabled: bool = Key(False, "train the same architecture at several widths and on several parts of the rows: what would doubling buy? weigh optimize RUN --scale")
    widths: list[Annotated[float, Field(gt=0)]] = Key([0.25, 0.5, 1.0, 2.0], "widths relative to the recipe's network", min_length=3, max_length=8)
    fractions: list[Annotated[float, Field(gt=0, le=1)]] = Key([0.125, 0.25, 0.5, 1.0], "parts of the training rows", min_length=3, max_length=8)
    repeats: int = Key(2, "trainings at each point, each from another seed and on other rows", ge=1, le=20)
    rates: list[Annotated[float, Field(gt=0)]] = Key([0.5, 1.0, 2.0], "learning rates tried at each width, relative to the recipe's; the best one on the smallest part is kept", min_length=1, max_length=8)
    budget: float = Key(60.0, "minutes that all of it may take, estimated from the run's own training; beyond that it is not measured", gt=0)


class CompressionOptions(Section):
    forms: Literal["auto", "thorough"] | list[str] = Key("auto", f"an empty list: none; auto: half, int8_dynamic, int8_static, which need no training; thorough: also structured pruning, a student and their int8 forms; or a list of steps joined by +, such as structured:0.5+int8_static. Steps: {', '.join(STEPS)}")
    epochs: float = Key(0.34, "length of fine-tuning after pruning, as a share of the recipe's epochs; a student is trained in full", gt=0, le=2)
    lr: float = Key(0.3, "learning rate of fine-tuning relative to the recipe's", gt=0, le=10)
    calibration_rows: int = Key(512, "training rows that int8_static and structured pruning look at", ge=16, le=100_000)
    student: dict[str, Any] = Key({}, "recipe keys of the student; default: one step down on the dial training.model.size, or half the given widths")
    temperature: float = Key(3.0, "student, and fine-tuning after pruning: softness of the teacher's answers (Hinton 2015)", gt=0)
    teacher: float = Key(0.7, "student, and fine-tuning after pruning (taught by the whole network): weight of the teacher's answers in the loss; the rest is the truth's", ge=0, le=1)
    features: float = Key(0.0, "student, and fine-tuning after pruning: weight of the distance between what both hold before their last layer (Romero 2015); 0: none", ge=0)

    @field_validator("forms")
    @classmethod
    def _known_forms(cls, value: str | list[str]) -> str | list[str]:
        for text in value if isinstance(value, list) else ():
            parse_form(text)
        if isinstance(value, list) and len(set(value)) < len(value):
            raise ValueError("the list holds a form twice")
        return value


class ChoiceOptions(Section):
    margin: float = Key(0.01, "how much worse the kept form may be: 0.01 is 1 point of accuracy or F1, or 1 % of the RMSE", lt=1)
    confidence: float = Key(0.95, "one-sided, over all forms tried together (Holm 1979)", gt=0.5, lt=1)
    cost: Literal["latency", "latency_32", "size", "memory", "speed"] = Key("latency", "what the cheapest is cheapest in: median latency of one row, of 32 rows, bytes, peak memory, or rows a second")

    @field_validator("margin")
    @classmethod
    def _some_margin(cls, value: float) -> float:
        if value <= 0:
            raise ValueError(f"a margin of {value:g} can not be shown by any number of rows of a form that is equal; say how much worse it may be, such as 0.005")
        return value


class ThresholdOptions(Section):
    column: str | None = Key(None, "category column whose groups get a threshold of their own, so that they fare alike (Hardt 2016); it must be an input, for the package decides by it. Two classes only: the second is what is given. none: one threshold for all")
    alike: Literal["equalized_odds", "equal_opportunity", "demographic_parity"] = Key("equalized_odds", "what is to be alike: shares of right and of wrong positives, of right positives, or of positives")


class AdjustOptions(Section):
    probabilities: Literal["none", "temperature", "isotonic"] = Key("none", "what is done to the chosen form's probabilities, fitted on validation rows and part of its graph: temperature divides the log-odds by one number (Guo 2017); isotonic maps each class by rising pieces (Zadrozny 2002; 1,000 rows at least)")
    thresholds: Annotated[ThresholdOptions, type_only("column")] = Key(ThresholdOptions(), "thresholds by group, after the probabilities")


def _named(value: Any) -> Any:
    """Let a list of baselines and network types stand for a mapping."""
    if not isinstance(value, list):
        return value
    named: dict[str, Any] = {}
    for one in value:
        if not isinstance(one, str):
            raise ValueError(f"{one!r} has no name; write candidates as a mapping of a name to recipe keys")
        named[one] = {} if one in BASELINES else {"training.model.type": one}
    return named


class OptimizationSection(Section):
    enabled: bool = Key(True, "false: the recipe's network is judged and packaged as it was trained")
    candidates: Annotated[dict[str, dict[str, Any]], BeforeValidator(_named)] = Key({}, "what competes with the recipe's network: a name to recipe keys (training or preprocessing); linear and boosting name the baselines; a list of network types is enough")
    search: SearchOptions = Key(SearchOptions(), "which values of recipe keys are best")
    cross_validation: CrossValidationOptions = Key(CrossValidationOptions(), "which rows judge")
    ensembles: Annotated[EnsembleOptions, switch] = Key(EnsembleOptions(), "several networks as one")
    scale: Annotated[ScaleOptions, switch] = Key(ScaleOptions(), "what more parameters and more rows buy")
    compression: CompressionOptions = Key(CompressionOptions(), "forms of the most capable network that may be lighter")
    choice: ChoiceOptions = Key(ChoiceOptions(), "how the form that is packaged is decided")
    adjust: AdjustOptions = Key(AdjustOptions(), "what the chosen form's probabilities pass before they leave it")

    @field_validator("candidates")
    @classmethod
    def _known_names(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, keys in value.items():
            if not NAME.fullmatch(name) or name in OWN:
                raise ValueError(f"'{name}' can not name a candidate; use small letters, digits, - and _, and none of {', '.join(OWN)}")
            if name in BASELINES and keys:
                raise ValueError(f"'{name}' is a baseline and takes no recipe keys; give the network another name")
            if name not in BASELINES and not keys:
                raise ValueError(f"'{name}' changes nothing; name the recipe keys in which it differs")
        return value
