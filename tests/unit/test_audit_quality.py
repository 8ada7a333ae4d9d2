"""Law: wrong labels are counted where the models are surest and named no more than counted; rows far out, copies and test rows elsewhere
are found and clean rows pass; every kind of column and target has its answer or a reason, and the rows worth a look say why.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import lifecycle
from weighbridge.audit import quality_labels, quality_look, quality_rows
from weighbridge.audit.controls_quality import clusters, flipped, neighbours, overlapping, said_of, texts
from weighbridge.audit.quality_look import Look
from weighbridge.errors import DependencyError
from weighbridge.evaluation import label_errors
from weighbridge.findings import Finding, Message, by_key
from weighbridge.recipe import parse_recipe
from weighbridge.report.looks import looks
from weighbridge.storage.seeds import rng

PNG = "data:image/png;base64,iVBORw0KGgo="


def test_flipped_labels_are_named_and_counted() -> None:
    random = rng(0, "test", "flips")
    rows, target = clusters(800, random)
    labels, wrong = flipped(target, 0.06, random)
    said = said_of(rows, labels, 0)
    named, rate = quality_labels.suspects(said, labels), quality_labels.noise_rate(said, labels)
    assert wrong[named].mean() > 0.7
    assert rate.interval[0] < 0.06 < rate.interval[1]
    assert rate.n == 160


def test_overlap_alone_is_no_error_although_confident_learning_names_it() -> None:
    rows, target = overlapping(1500, rng(0, "test", "overlap"))
    said = said_of(rows, target, 0, 2)
    assert label_errors._flags(said, target).mean() > 0.04
    assert len(quality_labels.suspects(said, target)) < 0.02 * 1500
    assert quality_labels.noise_rate(said, target).interval[0] < 0.01


def test_without_cleanlab_rows_can_not_be_named_and_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    said = np.full((200, 2), 0.01)
    said[:, 0] = 0.99
    with pytest.raises(DependencyError, match=r"cleanlab"):
        quality_labels.suspects(said, np.ones(200, dtype=np.int64))
    assert len(quality_labels.suspects(said, np.zeros(200, dtype=np.int64))) == 0


def test_groups_stay_together_out_of_fold() -> None:
    random = rng(0, "test", "groups")
    group = np.repeat(np.arange(60), 5)
    target = random.integers(0, 2, 60)[group]
    rows = np.eye(60)[group]  # a group can be learnt by heart, and tells nothing of another one
    apart = quality_labels.out_of_fold([rows], target, 2, 0, group)
    mixed = quality_labels.out_of_fold([rows], target, 2, 0)
    assert (apart.argmax(1) == target).mean() < 0.7 < (mixed.argmax(1) == target).mean()


def test_a_class_with_one_row_and_sparse_rows_are_read() -> None:
    from scipy.sparse import csr_matrix

    rows, target = clusters(120, rng(0, "test", "rare"))
    target[0] = 4
    said = quality_labels.out_of_fold([csr_matrix(np.abs(rows))], target, 6, 0)
    assert said.shape == (120, 6)
    assert said.sum(axis=1) == pytest.approx(1)
    assert said[:, 5].max() == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 10**6))
def test_neighbours_are_the_nearest(n: int, count: int, seed: int) -> None:
    rows = rng(seed, "test", "near").normal(size=(n, 3)).astype(np.float32)
    distance, place = quality_rows.nearest(rows, rows, count, itself=True)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert distance == pytest.approx(np.sort(apart, axis=1)[:, : distance.shape[1]], abs=1e-2)
    assert not (place == np.arange(n)[:, None]).any()


def test_outliers_are_found_also_where_most_rows_are_equal() -> None:
    rows = np.zeros((300, 2))
    rows[:120] = rng(0, "test", "outliers").normal(size=(120, 2))
    rows[0] = [40, -40]
    assert quality_rows.outliers(neighbours(rows)[0])[0]
    assert not quality_rows.outliers(np.zeros((50, 5))).any()


def test_copies_of_pictures_are_found_and_plain_surfaces_are_not() -> None:
    random = rng(0, "test", "pictures")
    pictures = random.integers(0, 255, (6, 24, 24, 1)).astype(np.uint8)
    pictures[3] = np.clip(pictures[0].astype(int) + 2, 0, 255)
    pictures[4], pictures[5] = 90, 91
    alike = quality_rows.alike_images(pictures)
    pairs = np.array([[0, 3], [0, 1], [4, 5]])
    assert alike(pairs).tolist() == [True, False, False]


def test_copies_of_texts_are_found_whatever_their_case() -> None:
    told = texts(3, rng(0, "test", "texts"))
    alike = quality_rows.alike_texts([told[0], told[1], told[0].upper(), None, "short"])
    assert alike(np.array([[0, 2], [0, 1], [3, 4], [3, 3]])).tolist() == [True, False, False, False]


def test_rows_of_several_reasons_stand_once_and_no_reason_takes_all_places() -> None:
    one, many = [Look(row=3, why=[Message("far")])], [Look(row=row, why=[Message("label")]) for row in range(40)]
    found = quality_look.ranked({"label": many, "copies": [], "far": [*one, Look(row=77, why=[Message("far")])], "doubt": []})
    assert len(found) == quality_look.MOST
    assert [str(why) for why in next(look for look in found if look.row == 3).why] == ["label", "far"]
    assert any(look.row == 77 for look in found)
    assert len({look.row for look in found}) == len(found)


def test_a_number_far_from_what_others_say_is_worth_a_look() -> None:
    truth = rng(0, "test", "numbers").normal(size=200)
    said = truth + 0.1 * rng(1, "test", "numbers").normal(size=200)
    truth[7] += 30
    assert [look.row for look in quality_look.by_residual(said, truth, 6.0)] == [7]


@pytest.mark.parametrize(
    "evidence", [None, [], {"rows": "x"}, {"rows": [1, None]}, {"rows": [{"why": [{"template": 3}, 7], "thumbnail": 5}]}]
)
def test_evidence_of_another_form_shows_nothing_or_an_empty_row(evidence: object) -> None:
    assert all(not look.thumbnail and not look.why for look in looks(evidence, "en"))


def test_pictures_that_are_no_data_and_marks_are_not_trusted() -> None:
    rows = [{"row_id": "a", "label": "<b>", "thumbnail": "javascript:alert(1)", "text": "\x1b[31m" + "x" * 999}, {"thumbnail": PNG}]
    first, second = looks({"rows": rows}, "en")
    assert (first.thumbnail, second.thumbnail) == ("", PNG)
    assert len(first.text) <= 300
    assert "\x1b" not in first.text


def run_of(folder: Path, name: str, text: str, **data: object) -> tuple[list[Finding], Path]:
    """Return the findings of the quality audit of a small run on a table, without a network to speak of."""
    (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    off = {one: False for one in ("calibration", "robustness", "explanation", "fairness", "privacy", "generalization", "cost", "security")}
    recipe = parse_recipe(
        {
            "name": name, "optimization": False, "audit": off, "data": {"source": (folder / f"{name}.csv").as_posix(), **data},
            "training": {"model": {"type": "linear"}, "epochs": 2, "batch_size": 64, "threads": 1, "precision": "fp32"},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
        }
    )  # fmt: skip
    made = lifecycle.run(recipe, folder / name, until="audit")
    return [one for one in made if one.key.startswith("audit.quality")], folder / name


def mixed_table(kind: str) -> str:
    """Return 500 rows of a number, a category and a short text; the target a class with flipped labels, a number, or a set of labels."""
    random = np.random.default_rng(3)
    label = random.integers(0, 2, 500)
    shown = np.where(random.random(500) < 0.06, 1 - label, label)
    x = random.normal(size=500) + 6 * label
    words = np.array(["sun", "rain", "wind", "snow", "fog", "hail"])
    lines = ["x,colour,note,y"]
    for row in range(500):
        note = " ".join(random.choice(words, 6))
        target = {"class": "no yes".split()[shown[row]], "number": f"{x[row] + random.normal() / 9:.3f}", "set": f"{'p;' * label[row]}q"}[
            kind
        ]
        lines.append(f"{x[row]:.4f},{'red' if random.random() < 0.5 else 'blue'},{note},{target}")
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_a_table_with_texts_has_every_figure_and_its_flipped_labels_are_named(tmp_path: Path) -> None:
    found, run = run_of(tmp_path, "mixed", mixed_table("class"), target="y", columns={"note": "text"})
    rate, named = by_key(found, "audit.quality.label_errors"), by_key(found, "audit.quality.suspects")
    assert rate is not None
    assert rate.interval is not None
    assert rate.interval[0] < 0.06 < rate.interval[1]
    assert named is not None
    assert isinstance(named.value, int)
    content = json.loads((run / "audit" / "label_errors.json").read_text())
    assert len(content["rows"]) == named.value > 5
    assert all(row["label"] != row["better"] for row in content["rows"])
    shown = json.loads((run / "audit" / "worth_a_look.json").read_text())["rows"]
    assert len(shown) == 20
    assert all(row["why"] and row["text"] for row in shown)
    for key in ("imbalance", "outliers", "copies", "coverage"):
        one = by_key(found, f"audit.quality.{key}")
        assert one is not None
        assert one.interval is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["number", "set"])
def test_other_targets_say_what_can_not_be_told_of_their_labels(tmp_path: Path, kind: str) -> None:
    columns = {"note": "ignore", "y": "set"} if kind == "set" else {"note": "ignore"}
    found, _ = run_of(tmp_path, kind, mixed_table(kind), target="y", columns=columns)
    verdicts = {one.key.split(".")[2]: one.verdict for one in found}
    assert verdicts["label_errors"] == verdicts["imbalance"] == "unmeasured"
    assert verdicts["coverage"] == "neutral"
    assert by_key(found, "audit.quality.rows") is not None


def test_pictures_are_small_in_the_evidence() -> None:
    from PIL import Image

    from weighbridge.stages.evaluation import thumbnail

    stream = io.BytesIO()
    Image.new("L", (3, 3)).save(stream, "PNG")
    assert len(thumbnail(np.zeros((224, 224, 3), np.uint8))) < 20_000
