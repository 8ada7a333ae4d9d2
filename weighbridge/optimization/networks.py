"""Steps that change a network and train it on: a student of it, fewer channels, zeros among its weights, and the soup of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import RecipeError
from weighbridge.recipe import varied
from weighbridge.recipe.optimization import DIALS, SHARES
from weighbridge.storage import read_json
from weighbridge.storage.seeds import seed31

if TYPE_CHECKING:
    from torch import Tensor, nn

    from weighbridge.models import NetworkSpec
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ground import Ground
    from weighbridge.recipe import Recipe, Step, TrainingSection
    from weighbridge.training import Course, Lesson, Start

BATCH_ROWS = 128  # of training rows that say which channels matter
LEAST_STUDENT = 8  # a width that is halved does not fall below it


@dataclass(frozen=True, kw_only=True)
class Made:
    """A network of the contest on one ground: its name, the recipe that it follows, and its training folder; None for what is none.

    `of` names what the steps began with; `teacher` returns what a student learns from where that is not the network in the folder.
    """

    name: str
    variant: Recipe
    ground: Ground
    folder: Path | None
    of: str
    teacher: Callable[[Ground], nn.Module] | None = None

    def network(self) -> nn.Module:
        """Return the network itself. Raises RecipeError for an average."""
        from weighbridge.training import load_network

        return load_network(self.there())

    def there(self) -> Path:
        """Return the training folder. Raises RecipeError for what is no single network."""
        if self.folder is None:
            raise RecipeError(
                f"{self.of} is no single network", do="pruning and students are for networks; of an average, begin with student"
            )
        return self.folder


def stepped(contest: Contest, made: Made, steps: Sequence[Step]) -> Path:
    """Return the training folder of a network after these steps, trained on its ground.

    Raises RecipeError for a step that this network does not allow, TrainingError, Stopped, StorageError.
    """
    for step in steps:
        name = f"{made.name}+{step_name(step)}"
        folder = _STEPS[step.kind](contest, replace(made, name=name), step)
        variant = student_recipe(contest.recipe, made.variant, step) if step.kind == "student" else made.variant
        made = Made(name=name, variant=variant, ground=made.ground, folder=folder, of=made.of)
    return made.there()


def step_name(step: Step) -> str:
    """Return the step as a recipe writes it, its share named."""
    if step.size is not None:
        return f"{step.kind}:{step.size}"
    if step.kind in SHARES:
        return f"{step.kind}:{step.share if step.share is not None else SHARES[step.kind]:g}"
    return step.kind


def student_recipe(recipe: Recipe, variant: Recipe, step: Step) -> Recipe:
    """Return the recipe of a contender's student: the keys that the recipe gives, else a smaller network of the same kind."""
    changes = dict(recipe.optimization.compression.student)
    if step.size is not None:
        changes = {"training.model.size": step.size}
    if not changes:
        changes = smaller(variant)
    made = varied(variant, changes, where="optimization.compression.student")
    if made.preprocessing != variant.preprocessing:
        raise RecipeError(
            "optimization.compression.student changes preprocessing: a student reads the very rows that its teacher reads",
            do="name keys of training only",
        )
    return made


def smaller(variant: Recipe) -> dict[str, Any]:
    """Return the changes that make a network smaller: given widths are halved, else the dial goes one step down."""
    model = variant.training.model
    halved: dict[str, Any] = {}
    for key in ("hidden", "channels"):
        if (widths := getattr(model, key)) is not None:
            halved[f"training.model.{key}"] = [max(LEAST_STUDENT, width // 2) for width in widths]
    if model.width is not None:
        halved["training.model.width"] = max(LEAST_STUDENT, model.width // 2)
    if halved:
        return halved
    place = DIALS.index(model.size)
    if not place or model.type in ("linear", "pretrained"):
        raise RecipeError(
            f"optimization.compression: a student of training.model.type: {model.type}, size: {model.size} can not be guessed",
            do="name its keys in optimization.compression.student",
        )
    return {"training.model.size": DIALS[place - 1]}


def _student(contest: Contest, made: Made, step: Step) -> Path:
    teacher = made.network() if made.teacher is None else made.teacher(made.ground)
    course = contest.course(made.name, student_recipe(contest.recipe, made.variant, step), made.ground)
    return contest.train(replace(course, lesson=_lesson(contest, made, teacher)), made.ground, _label(made))


def _structured(contest: Contest, made: Made, step: Step) -> Path:
    from weighbridge.models import build_network
    from weighbridge.models.shrink import hold_gradients, renew_statistics, shrink

    network, spec = made.network(), spec_of(made.there())
    course = _fine_tuning(contest, made)
    hold_gradients(network, _batches(contest, made.ground), seed=course.seed)
    small, tensors = shrink(network, spec, keep=step.share if step.share is not None else SHARES["structured"])
    begun = build_network(small)
    begun.load_state_dict(tensors)
    renew_statistics(begun, _batches(contest, made.ground))
    return contest.train(replace(course, start=_start(small, begun.state_dict())), made.ground, _label(made))


def _batches(contest: Contest, ground: Ground) -> Iterator[dict[str, Tensor]]:
    """Yield some hundred training rows in batches."""
    import torch

    from weighbridge.training.batches import each_once

    for batch, _ in each_once(contest.some_rows(ground), torch.device("cpu"), size=BATCH_ROWS):
        yield batch


def _magnitude(contest: Contest, made: Made, step: Step) -> Path:
    from weighbridge.models.magnitude import apply, masks

    network, spec = made.network(), spec_of(made.there())
    apply(network, masks(network, step.share if step.share is not None else SHARES["magnitude"]))
    begun = replace(_fine_tuning(contest, made), start=_start(spec, network.state_dict()), keep_zeros=True)
    return contest.train(begun, made.ground, _label(made))


def _label(made: Made) -> str:
    return f"training, {made.name}" if made.ground.name == "own" else f"training, {made.name}, {made.ground.name}"


_STEPS = {"student": _student, "structured": _structured, "magnitude": _magnitude}


def soup(contest: Contest, name: str, variant: Recipe, folder: Path, ground: Ground) -> tuple[NetworkSpec, dict[str, Tensor]]:
    """Return the mean of the weights of networks that went on from the one in `folder`, each from another seed, and of its own weights.

    Raises TrainingError, Stopped, StorageError.
    """
    options = contest.recipe.optimization.ensembles
    begun = _start(spec_of(folder), _tensors(folder))
    section = _shortened(variant.training, options.soup_epochs, contest.recipe.optimization.compression.lr * _rate_of(folder))
    members = [begun.tensors]
    for number in range(1, options.soup + 1):
        member = f"{name}-{number}"
        course = replace(contest.course(member, variant, ground), section=section, start=begun)
        course = replace(course, seed=seed31(contest.recipe.seed, "soup", number))
        members.append(_tensors(contest.train(course, ground, f"{member}, {ground.name}")))
    return begun.spec, _mean(members)


def _mean(members: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each tensor over the members; what is no floating-point number is the first one's."""
    import torch

    return {
        name: torch.stack([member[name] for member in members]).mean(0) if value.is_floating_point() else value
        for name, value in members[0].items()
    }


def spec_of(folder: Path) -> NetworkSpec:
    """Return what the network in a training folder is built from."""
    from weighbridge.models import NetworkSpec

    return NetworkSpec.from_json(read_json(folder / "model.json")["spec"])


def parameters_of(folder: Path) -> int:
    """Return all values of the network in a training folder."""
    return int(read_json(folder / "model.json")["all_parameters"])


def hash_of(folder: Path) -> str:
    """Return the hash that names the weights of the network in a training folder."""
    return str(read_json(folder / "model.json")["sha256"])


def seconds_of(folder: Path) -> float:
    """Return what its training took."""
    return float(read_json(folder / "history.json")["seconds"])


def _tensors(folder: Path) -> dict[str, Tensor]:
    from weighbridge.storage.tensors import load_tensors

    return load_tensors(folder / "model.safetensors")[0]


def _start(spec: NetworkSpec, tensors: dict[str, Tensor]) -> Start:
    from weighbridge.storage.tensors import digest_tensors
    from weighbridge.training import Start

    return Start(spec=spec, tensors=tensors, sha256=digest_tensors(tensors))


def _fine_tuning(contest: Contest, made: Made) -> Course:
    """Return the course of what goes on after weights were left out: shorter, slower, and taught by the network that was whole.

    The whole network's answers bring back more of what it could than the truth alone does (Muralidharan 2024, Minitron).
    """
    options = contest.recipe.optimization.compression
    course = contest.course(made.name, made.variant, made.ground)
    section = _shortened(made.variant.training, options.epochs, options.lr * _rate_of(made.there()))
    return replace(course, section=section, lesson=_lesson(contest, made, made.network()))


def _lesson(contest: Contest, made: Made, teacher: nn.Module) -> Lesson | None:
    """Return what is learnt from the teacher beside the truth; None where the recipe gives it no weight."""
    from weighbridge.storage.tensors import digest_tensors
    from weighbridge.training import Lesson

    options = contest.recipe.optimization.compression
    if not options.teacher and not options.features:
        return None
    return Lesson(
        teacher=teacher, kind=made.ground.encoder.learnt.kind, sha256=digest_tensors(teacher.state_dict()),
        weight=options.teacher, temperature=options.temperature, features=options.features,
    )  # fmt: skip


def _shortened(section: TrainingSection, share: float, rate: float) -> TrainingSection:
    """Return the section with a share of its epochs at another learning rate."""
    return section.model_copy(
        update={
            "epochs": max(1, round(share * section.epochs)),
            "budget": None if section.budget is None else share * section.budget,
            "optimizer": section.optimizer.model_copy(update={"lr": rate}),
        }
    )


def _rate_of(folder: Path) -> float:
    """Return the learning rate that the network in a training folder was trained with."""
    return float(read_json(folder / "plan.json")["lr"])
