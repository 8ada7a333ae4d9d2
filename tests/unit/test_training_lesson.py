"""Law: a student learns what its teacher says beside the truth and is a plain network afterwards; zeros stay; a start is gone on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.faults import small_runs
from weighbridge import lifecycle, preprocessing, training
from weighbridge.errors import RunError
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.storage.tensors import digest_tensors, load_tensors
from weighbridge.training.lesson import Lesson, Taught, Teaching, last_linear


class Flat(nn.Module):
    """A network on one block of numbers."""

    def __init__(self, width: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, outputs)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.out(torch.relu(self.hidden(batch["x"])))


def lesson(teacher: nn.Module, kind: str, **more: float) -> Lesson:
    return Lesson(teacher=teacher, kind=kind, sha256="t", **more)


def truth(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.zeros(())


@pytest.mark.parametrize(("kind", "outputs"), [("category", 3), ("set", 3), ("number", 1)])
def test_the_teachers_own_answer_is_the_least_loss(kind: str, outputs: int) -> None:
    torch.manual_seed(0)
    teacher, batch = Flat(4, outputs, 8), {"x": torch.randn(16, 4)}
    teaching = Teaching(lesson(teacher, kind, weight=1.0), Flat(4, outputs, 8), truth)
    said = teaching.ask(batch)
    target = torch.zeros(16, dtype=torch.long)
    least = teaching(said, target, said)
    for _ in range(20):
        assert teaching(said + 0.3 * torch.randn_like(said), target, said) > least
    if kind != "set":  # the entropy of the teacher's labels is left
        assert float(least) == pytest.approx(0, abs=1e-6)


def test_the_share_of_the_truth_is_what_the_lesson_leaves() -> None:
    teacher, batch = Flat(4, 2, 8), {"x": torch.randn(8, 4)}
    teaching = Teaching(lesson(teacher, "category", weight=0.25), Flat(4, 2, 4), lambda out, target: torch.tensor(2.0))
    said = teaching.ask(batch)
    assert float(teaching(said, torch.zeros(8, dtype=torch.long), said)) == pytest.approx(0.75 * 2.0, abs=1e-6)


def test_the_teacher_does_not_learn_and_is_in_evaluation_mode() -> None:
    teacher = nn.Sequential(nn.Dropout(0.9))
    Teaching(lesson(Flat(4, 2, 8), "category"), Flat(4, 2, 4), truth)
    taught = lesson(Flat(4, 2, 8).train(), "category")
    Teaching(taught, Flat(4, 2, 4), truth)
    assert not taught.teacher.training
    assert not any(parameter.requires_grad for parameter in taught.teacher.parameters())
    assert teacher.training


def test_features_pull_what_both_hold_before_their_last_layer_together() -> None:
    torch.manual_seed(1)
    teacher, student, batch = Flat(4, 2, 8), Flat(4, 2, 3), {"x": torch.randn(64, 4)}
    taught = Taught(student, teacher)
    assert (taught.project.in_features, taught.project.out_features) == (3, 8)
    teaching = Teaching(lesson(teacher, "category", weight=0.0, features=1.0), taught, truth)
    optimizer = torch.optim.Adam(taught.parameters(), lr=0.02)
    losses = []
    for _ in range(200):
        out = taught(batch)
        loss = teaching(out, torch.zeros(64, dtype=torch.long), teaching.ask(batch))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_the_last_linear_layer_is_found_or_said_not_to_be_there() -> None:
    network = Flat(4, 2, 8)
    assert last_linear(network) is network.out
    with pytest.raises(ValueError, match="no linear layer"):
        last_linear(nn.Dropout())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, training.Course]:
    """A small run that has trained its network, and the course that did."""
    folder = tmp_path_factory.mktemp("lesson")
    recipe = small_runs.table(folder)
    lifecycle.run(recipe, folder / "run", until="training")
    arrays = folder / "run" / "preprocessing"
    course = training.Course(
        section=recipe.training, seed=0, folder=folder / "run" / "training",
        encoder=preprocessing.Encoder.from_json(read_json(arrays / "encoder.json")),
        train=preprocessing.open_arrays(arrays / "train"), validation=preprocessing.open_arrays(arrays / "validation"),
    )  # fmt: skip
    return folder, course


def train(course: training.Course) -> Path:
    plan = training.Plan.from_json(read_json(course.folder.parent / "run" / "training" / "plan.json"))
    training.train_like(course, plan, label="test", progress=silent, stop=StopRequest())
    return course.folder


def test_a_student_with_features_is_kept_as_a_plain_network(trained: tuple[Path, training.Course]) -> None:
    folder, course = trained
    section = course.section.model_copy(update={"model": course.section.model.model_copy(update={"hidden": [8]})})
    teacher = training.load_network(course.folder)
    taught = Lesson(teacher=teacher, kind="category", sha256=training.model_hash(course.folder), features=0.5)
    place = train(replace(course, section=section, folder=folder / "student", lesson=taught))
    student = training.load_network(place)
    assert not any("project" in name or name.startswith("student.") for name in student.state_dict())
    assert read_json(place / "model.json")["parameters"] == sum(value.numel() for value in student.parameters())
    untaught = train(replace(course, section=section, folder=folder / "untaught"))
    assert training.model_hash(untaught) != training.model_hash(place)


def test_a_course_goes_on_from_its_start_and_holds_its_zeros(trained: tuple[Path, training.Course]) -> None:
    folder, course = trained
    tensors, _ = load_tensors(course.folder / "model.safetensors")
    pruned = {name: torch.where(value.abs() < 0.1, 0.0, value) if value.ndim >= 2 else value for name, value in tensors.items()}
    start = training.Start(spec=course.spec, tensors=pruned, sha256=digest_tensors(pruned))
    kept, _ = load_tensors(train(replace(course, folder=folder / "zeros", start=start, keep_zeros=True)) / "model.safetensors")
    free, _ = load_tensors(train(replace(course, folder=folder / "free", start=start)) / "model.safetensors")
    held = [(pruned[name] == 0, kept[name], free[name]) for name in pruned if pruned[name].ndim >= 2]
    assert sum(int(zero.sum()) for zero, _, _ in held) > 100
    assert all((value[zero] == 0).all() for zero, value, _ in held)
    assert any((value[zero] != 0).any() for zero, _, value in held)  # the naive way: they come back
    assert any((value[~zero] != pruned_value).any() for (zero, value, _), pruned_value in zip(held, _others(pruned), strict=True))


def test_a_start_that_is_taught_learns_from_its_teacher_and_is_kept_as_a_plain_network(trained: tuple[Path, training.Course]) -> None:
    folder, course = trained
    tensors, _ = load_tensors(course.folder / "model.safetensors")
    start = training.Start(spec=course.spec, tensors=tensors, sha256=digest_tensors(tensors))
    teacher = training.load_network(course.folder)
    taught = Lesson(teacher=teacher, kind="category", sha256="t", weight=1.0, features=0.5)
    begun = replace(course, start=start, lesson=taught, folder=folder / "taught-start")
    assert isinstance(begun.first_network(), Taught)
    assert all((value == tensors[name]).all() for name, value in begun.first_network().student.state_dict().items())  # type: ignore[union-attr]
    kept, _ = load_tensors(train(begun) / "model.safetensors")
    assert kept.keys() == tensors.keys()
    free, _ = load_tensors(train(replace(course, start=start, folder=folder / "free-start")) / "model.safetensors")

    def away(values: dict[str, torch.Tensor]) -> float:
        return sum(float((values[name] - value).square().sum()) for name, value in tensors.items() if value.is_floating_point())

    assert away(kept) < away(free)  # who is taught by itself alone has little to learn


def _others(pruned: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [value[value != 0] for value in pruned.values() if value.ndim >= 2]


def test_a_state_of_another_lesson_is_not_gone_on_from(trained: tuple[Path, training.Course]) -> None:
    folder, course = trained
    tensors, _ = load_tensors(course.folder / "model.safetensors")
    first = training.Start(spec=course.spec, tensors=tensors, sha256="one")
    place = train(replace(course, folder=folder / "other", start=first))
    (place / "model.json").unlink()
    with pytest.raises(RunError, match="made by another recipe"):
        train(replace(course, folder=place, start=replace(first, sha256="two")))


def test_answers_of_an_untouched_start_are_those_of_the_network(trained: tuple[Path, training.Course]) -> None:
    _, course = trained
    tensors, _ = load_tensors(course.folder / "model.safetensors")
    begun = replace(course, start=training.Start(spec=course.spec, tensors=tensors, sha256="x")).first_network()
    assert np.array_equal(
        training.forward_all(begun, course.validation), training.forward_all(training.load_network(course.folder), course.validation)
    )
