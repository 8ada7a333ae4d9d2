"""Law: the audit says what damage and attack cost for every kind of column and model, each with interval and n, or why it can not."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weighbridge.audit import Subject, Unmeasured, robustness
from weighbridge.audit.damage import Condition
from weighbridge.audit.damage_findings import Words
from weighbridge.audit.damage_rows import Damaged, sampled
from weighbridge.evaluation import predictions_of
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import Finding, by_key
from weighbridge.preprocessing import Arrays, TargetFeature, arrays_of
from weighbridge.preprocessing.category import CategoryFit
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.image import ImageFit
from weighbridge.preprocessing.number import NumberFit
from weighbridge.preprocessing.text import TextFit
from weighbridge.report import plots_audit_robustness as drawn
from weighbridge.report.words import speaker
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

ROWS = 60


@dataclass(frozen=True, kw_only=True)
class Known(Subject):
    """A subject whose network is at hand."""

    behind: nn.Module | None = None

    def network(self) -> nn.Module:
        if self.behind is None:
            return super().network()
        return self.behind


class Columns:
    """A table of raw columns."""

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns

    def column(self, name: str) -> np.ndarray:
        return self.columns[name]


class Network(nn.Module):
    """Adds up what each block says: numbers by weights, pixels by their mean, texts by the first token."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        score = torch.zeros(len(next(iter(batch.values()))))
        for name, values in batch.items():
            if name == "number":
                score = score + 2 * values.float()[:, 0]
            elif name.startswith("image"):
                score = score + (values.float().mean((1, 2, 3)) - 100) / 20
            elif name.startswith("text"):
                score = score + (values[:, 0].float() % 2 - 0.5)
        return score[:, None] if self.outputs == 1 else torch.stack([-score, score, torch.full_like(score, -9.0)][: self.outputs], dim=1)


def answer_of(network: nn.Module, kind: str) -> Any:
    def answer(arrays: Arrays) -> np.ndarray:
        with torch.no_grad():
            out = network({name: torch.from_numpy(np.array(values[:])) for name, values in arrays.blocks.items()}).double()
        made: np.ndarray = (out.softmax(1) if kind == "category" else out[:, 0] if kind == "number" else out.sigmoid()).numpy()
        return made

    return answer


def target_of(kind: str) -> TargetFeature:
    classes = ("no", "yes") if kind == "category" else ("a", "b") if kind == "set" else ()
    return TargetFeature(column="y", kind=kind, classes=classes, counts=(30,) * len(classes), rows=ROWS)  # type: ignore[arg-type]


def subject_of(folder: Path, raw: dict[str, np.ndarray], kind: str = "category", *, network: bool = True, form: str = "recipe") -> Known:
    """Return a subject whose model is right about nearly all of its rows."""
    random = np.random.default_rng(0)
    fits = {
        "number": NumberFit("number", scale="standard", generator=random),
        "colour": CategoryFit("colour", rare=1, most=9),
        "text": TextFit("text", tokens="word", vocabulary=None, length=8, normalize="nfc", lowercase=True, generator=random),
        "image": ImageFit("image", size=None, channels=1, generator=random),
    }
    used = [fits[name] for name in raw]
    for fit, values in zip(used, raw.values(), strict=True):
        fit.add(values)  # type: ignore[attr-defined]
    encoder = Encoder(features=tuple(fit.finish() for fit in used), target=target_of(kind))  # type: ignore[attr-defined]
    model = Network({"category": 2, "number": 1, "set": 2}[kind])
    plain, answer = arrays_of(encoder, raw), answer_of(model, kind)
    ids = np.array([f"r{row:03d}" for row in range(ROWS)], dtype="S8")
    said = answer(plain)
    truth = said.argmax(axis=1) if kind == "category" else said.astype(np.float32) if kind == "number" else (said > 0.5).astype(np.float32)
    wrong = random.random(ROWS) < 0.05
    if kind == "category":
        truth = np.where(wrong, 1 - truth, truth)
    arrays = Arrays(blocks=plain.blocks, target=truth, stored_ids=ids)
    known = predictions_of(said, arrays, encoder, split="test")
    kept = SimpleNamespace(name=form, network="training" if network else "", arrays="x")
    parts: dict[str, Any] = {
        "recipe": SimpleNamespace(seed=0), "folder": folder, "chosen": None, "kept": kept, "splits": None, "test": Columns(raw),
        "arrays": {"test": arrays}, "encoder": encoder, "said": {"test": known}, "answer": answer,
        "how": Resampling(resamples=200, seed=0), "command": "weigh audit run", "progress": silent, "stop": StopRequest(),
    }  # fmt: skip
    return Known(**parts, behind=model if network else None)


RANDOM = np.random.default_rng(5)
NUMBERS = {"number": RANDOM.normal(10, 3, ROWS)}
COLOURS = {"colour": np.array(["red", "green", "blue"] * (ROWS // 3), dtype=object)}
WORDS = ["good", "bad", "你好", "fine"]
TEXTS = {"text": np.array([" ".join(RANDOM.choice(WORDS, 6)) for _ in range(ROWS)], dtype=object)}


def images() -> dict[str, np.ndarray]:
    made = np.empty(ROWS, dtype=object)
    made[:] = [np.full((8, 8), level, np.uint8) for level in RANDOM.integers(40, 160, ROWS)]
    return {"image": made}


def keys(found: list[Finding]) -> list[str]:
    return [one.key.removeprefix("audit.robustness.") for one in found]


def check(found: list[Finding], folder: Path) -> None:
    """Every figure has an interval that holds it, n, a method, and evidence that is there; every gap its reason."""
    assert len(set(keys(found))) == len(found)
    for one in found:
        assert one.command == "weigh audit run --only robustness"
        if one.verdict == "unmeasured":
            continue
        assert one.interval is not None
        assert isinstance(one.value, float)
        assert one.interval[0] <= one.value <= one.interval[1]
        assert one.n == ROWS
        assert one.method.template
        assert one.source
        assert all((folder / name).exists() for name in one.evidence)


def test_a_table_is_damaged_and_attacked(tmp_path: Path) -> None:
    found = robustness.robustness(subject_of(tmp_path, NUMBERS | COLOURS))
    check(found, tmp_path)
    assert keys(found) == [
        "damage", "worst", "table.missing", "table.noise", "table.unseen", "units",
        "attack.table", "attack.table.0_05", "attack.table.0_25", "attack.table.0_5", "gradients.table",
    ]  # fmt: skip
    units, unseen = by_key(found, "audit.robustness.units"), by_key(found, "audit.robustness.table.unseen")
    assert units is not None
    assert units.verdict == "limitation"
    assert "number times" in str(units.title)
    assert unseen is not None
    assert unseen.value == 0.0, "the model does not read the colour"
    assert unseen.verdict == "neutral"


def test_pictures_are_damaged_and_attacked_and_drawn(tmp_path: Path) -> None:
    found = robustness.robustness(subject_of(tmp_path, images()))
    check(found, tmp_path)
    assert keys(found)[:7] == ["damage", "worst", "image.noise", "image.blur", "image.contrast", "image.shift", "image.jpeg"]
    assert keys(found)[7:] == ["attack.image", "attack.image.1", "attack.image.2", "attack.image.8", "gradients.image"]
    jpeg, judged, strong = (by_key(found, f"audit.robustness.{name}") for name in ("image.jpeg", "attack.image", "attack.image.8"))
    assert jpeg is not None
    assert float(jpeg.value or 0) < 0.02, "a flat picture is the same after JPEG, by a grey level"
    assert judged is not None
    assert strong is not None
    assert float(strong.value or 0) <= float(judged.value or 0)
    assert judged.reference is not None
    assert judged.reference.difference == pytest.approx(float(judged.value or 0) - float(judged.reference.value or 0))
    assert "left whole by an attack without bounds: 0" in str(found[-1].reason)
    say = speaker("zh")
    files = {name: json.loads((tmp_path / "audit" / name).read_text()) for name in ("damage.json", "pictures.json", "attack.json")}
    made = [drawn.damage(files["damage.json"], say), drawn.pictures(files["pictures.json"], say), drawn.attack(files["attack.json"], say)]
    assert all(svg.startswith("<svg") and len(svg) < 60_000 for svg in made)


def test_texts_are_damaged_and_their_attack_is_not_measured(tmp_path: Path) -> None:
    found = robustness.robustness(subject_of(tmp_path, TEXTS))
    check(found, tmp_path)
    kinds = [key for key in keys(found) if key.startswith("text.")]
    assert kinds == ["text.typos", "text.case", "text.truncation", "text.dropped_words", "text.homoglyphs"]
    case, attack = by_key(found, "audit.robustness.text.case"), by_key(found, "audit.robustness.attack")
    assert case is not None
    assert case.value == 0.0, "the tokenizer lowers its letters"
    assert attack is not None
    assert attack.verdict == "unmeasured", "this network looks its tokens up in no table"
    assert "no coordinates" in str(attack.reason)


def test_words_are_swapped_where_the_network_looks_them_up(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, TEXTS)
    size = subject.encoder.blocks[0].cardinalities[0]

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(size, 2)

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.table(batch["text.text"]).sum(1)
            return out

    torch.manual_seed(0)
    network = Reading()
    answer = answer_of(network, "category")
    known = replace(subject.arrays["test"], target=answer(subject.arrays["test"]).argmax(axis=1))
    found = robustness.attack(replace(subject, behind=network, answer=answer, arrays={"test": known}))
    check(found, tmp_path)
    assert keys(found) == ["attack.text", "attack.text.1", "attack.text.2", "attack.text.8"]
    assert {one.verdict for one in found} == {"neutral"}
    values = [float(by_key(found, f"audit.robustness.attack.text{tail}").value) for tail in (".1", ".2", "", ".8")]  # type: ignore[arg-type, union-attr]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1
    made = json.loads((tmp_path / "audit" / "attack.json").read_text())
    assert drawn.attack(made, speaker("en")).startswith("<svg")


def test_texts_without_capitals_have_no_case_to_change(tmp_path: Path) -> None:
    chinese = {"text": np.array(["服务很好", "非常差劲", None] * (ROWS // 3), dtype=object)}
    rows = Damaged.of(subject_of(tmp_path, chinese), np.arange(ROWS))
    assert [kind.name for kind in rows.kinds] == ["typos", "truncation", "dropped_words"]


def test_everything_together_is_damaged_in_its_own_way(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, NUMBERS | COLOURS | TEXTS | images())
    rows = Damaged.of(subject, np.arange(0, ROWS, 2))
    assert [kind.key for kind in rows.kinds] == [
        "image.noise", "image.blur", "image.contrast", "image.shift", "image.jpeg",
        "text.typos", "text.case", "text.truncation", "text.dropped_words", "text.homoglyphs",
        "table.missing", "table.noise", "table.unseen",
    ]  # fmt: skip
    for kind in rows.kinds:
        made = rows.under(Condition(kind=kind, level=5))
        touched = {name for name in made.blocks if not np.array_equal(made.blocks[name][:], rows.arrays.blocks[name][:])}
        assert touched <= {"image": {"image.image"}, "text": {"text.text"}, "table": {"number", "category"}}[kind.of]
        assert list(made.row_ids) == list(rows.arrays.row_ids)


@pytest.mark.parametrize("kind", ["number", "set"])
def test_numbers_and_sets_as_targets_have_their_own_headline(tmp_path: Path, kind: str) -> None:
    found = robustness.robustness(subject_of(tmp_path, NUMBERS, kind))
    check(found, tmp_path)
    damage, attack = by_key(found, "audit.robustness.damage"), by_key(found, "audit.robustness.attack.table")
    assert damage is not None
    assert str(damage.reason).startswith("RMSE" if kind == "number" else "F1")
    assert damage.unit == ("" if kind == "number" else "share")
    assert attack is not None
    assert attack.reference is not None
    assert (float(attack.reference.difference or 0) >= 0) == (kind == "number")
    assert "gradients.table" not in keys(found), "only of classes there is a line to cross"


def test_a_model_without_gradients_is_damaged_and_says_why_it_is_not_attacked(tmp_path: Path) -> None:
    found = robustness.robustness(subject_of(tmp_path, NUMBERS, network=False, form="boosting"))
    check(found, tmp_path)
    assert found[-1].key == "audit.robustness.attack"
    assert str(found[-1].reason) == "no gradients: boosting is no single network"
    assert "units" in keys(found)


def test_the_packaged_form_stands_beside_the_most_capable_model(tmp_path: Path) -> None:
    champion = subject_of(tmp_path, NUMBERS)
    form = replace(champion, champion=champion)
    found = robustness.damage(form)
    assert found[0].reference is not None
    assert found[0].reference.value == pytest.approx(float(found[0].value or 0))
    assert found[0].reference.difference == 0.0


def test_a_model_no_better_than_a_constant_is_not_praised_for_what_it_can_not_lose(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, COLOURS)
    target = np.arange(ROWS) % 2
    arrays = replace(subject.arrays["test"], target=target)
    constant = replace(subject, arrays={"test": arrays}, answer=lambda rows: np.tile([0.6, 0.4], (len(rows), 1)))
    found = robustness.damage(constant)
    assert found[0].value == 0.0
    assert found[0].verdict == "neutral"
    assert "a constant answer would be as good" in str(found[0].reason)


def test_equal_seeds_measure_the_same_again(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, NUMBERS | COLOURS)
    assert robustness.robustness(subject) == robustness.robustness(subject)


def test_rows_are_sampled_in_coarse_steps_by_what_they_cost(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, NUMBERS)
    assert len(sampled(subject, (40, 20, 10), 0.0, 1.0, "x")) == 40
    assert len(sampled(subject, (40, 20, 10), 0.03, 1.0, "x")) == 20
    assert len(sampled(subject, (40, 20, 10), 9.0, 1.0, "x")) == 10
    assert len(sampled(subject, (1000, 300), 0.0, 1.0, "x")) == ROWS
    assert robustness.seconds(subject) > 0


def test_rows_whose_columns_no_damage_is_known_for_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Damaged, "kinds", [])
    with pytest.raises(Unmeasured, match="no kind of damage is known"):
        robustness.damage(subject_of(tmp_path, NUMBERS))


@pytest.mark.parametrize("draw", [drawn.damage, drawn.pictures, drawn.attack])
def test_nothing_is_drawn_of_nothing(draw: Any) -> None:
    assert draw({"kinds": [], "strips": [], "curves": [], "metric": "accuracy", "clean": 1.0}, speaker("en")) == ""


def test_number_columns_beyond_the_most_that_are_tried_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of(tmp_path, NUMBERS)
    rows = Damaged.of(subject, np.arange(ROWS))
    monkeypatch.setattr(robustness, "MOST_COLUMNS", 1)
    monkeypatch.setattr(Damaged, "columns_of", lambda self, *types: ["number", "other", "third"])
    found = robustness._units(Words(subject=subject, evidence=()), rows, rows.said(rows.arrays))
    assert "; 2 number columns behind the first were not tried" in str(found[0].method)
