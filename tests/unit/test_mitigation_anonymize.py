"""Law: the remedy against personal data mends what the audit measures, is priced row by row, and leaves no raw value in its run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_audit_privacy_personal import people
from weighbridge import lifecycle
from weighbridge.audit import registry
from weighbridge.audit.privacy_personal import personal, personal_seconds
from weighbridge.findings import Finding, Message, by_key
from weighbridge.recipe import parse_recipe

pytestmark = pytest.mark.slow  # a run and its remedy

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Finding]]:
    """A run whose only audit is that of personal data, and its remedy."""
    folder = tmp_path_factory.mktemp("hidden")
    content = people()
    lines = [",".join(content)] + [",".join(str(value) for value in row) for row in zip(*content.values(), strict=True)]
    (folder / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "run", "optimization": False, "deployment": {"enabled": False}, "mitigation": ["anonymize"],
            "data": {"source": (folder / "people.csv").as_posix(), "target": "y", "protected": ["sex"], "columns": {"paid_by": "category"}},
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 2},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "PLACES", ())
        patch.setattr(registry, "_AUDITS", {})
        registry.audit("privacy", Message("What can be learnt about the training rows"), seconds=personal_seconds)(personal)
        return folder / "run", lifecycle.run(recipe, folder / "run", until="mitigation")


def row(found: list[Finding], key: str) -> Finding:
    finding = by_key(found, f"mitigation.anonymize.audit.privacy.personal{key}")
    assert finding is not None, [one.key for one in found if one.stage == "mitigation"]
    return finding


def test_what_was_found_is_mended_beyond_what_the_rows_leave_open(run: tuple[Path, list[Finding]]) -> None:
    for key in ("", ".alone"):
        one = row(run[1], key)
        assert (one.value, one.verdict) == (0, "advantage"), key
        assert one.reference is not None
        assert one.reference.value is not None
        assert one.reference.value > 0.1


def test_its_price_is_taken_row_by_row_though_its_rows_have_other_names(run: tuple[Path, list[Finding]]) -> None:
    price = row(run[1], "").reason.values
    low, shown, high = (price[name] for name in ("low", "difference", "high"))
    assert isinstance(low, float)
    assert isinstance(shown, float)
    assert isinstance(high, float)
    assert low <= shown <= high
    assert high - low < 0.5  # two figures of 50 rows each would leave more open


def test_no_raw_value_is_in_the_remedys_run(run: tuple[Path, list[Finding]]) -> None:
    content = people()
    planted = [f"planted{number}@" for number in range(240)] + [*map(str, content["paid_by"]), *map(str, content["number"])]
    for path in (run[0] / "mitigation").rglob("*"):
        if path.is_file():
            blob = path.read_bytes()
            assert [value for value in planted if value.encode() in blob] == [], path.name


def test_a_report_of_raw_rows_shows_no_address(run: tuple[Path, list[Finding]]) -> None:
    mistakes = (run[0] / "evaluation" / "mistakes.json").read_text(encoding="utf-8")
    assert "[email]" in mistakes
    assert "mail.example.org" not in mistakes + (run[0] / "report.html").read_text(encoding="utf-8")


def test_a_run_that_hides_its_columns_later_keeps_no_raw_value(tmp_path: Path) -> None:
    content = people()
    lines = [",".join(content)] + [",".join(str(value) for value in row) for row in zip(*content.values(), strict=True)]
    (tmp_path / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    candidates = {"other": {"preprocessing.number.scale": "quantile"}}  # its rows are encoded beside the run's own
    ways = {"note": "mask", "paid_by": "drop", "number": "drop", "age": "generalize", "sex": "generalize"}
    values = [f"planted{number}@" for number in range(240)] + [*map(str, content["paid_by"])]
    held = []
    for anonymize in ({}, {"columns": ways}):
        section = {
            "source": (tmp_path / "people.csv").as_posix(),
            "target": "y",
            "columns": {"paid_by": "category"},
            "anonymize": anonymize,
        }
        recipe = parse_recipe(
            {
                "name": "run", "data": section, "preprocessing": {"category": {"rare": 1}}, "audit": False,
                "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 1},
                "optimization": {"candidates": candidates, "ensembles": False, "compression": {"forms": []}},
                "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
            }
        )  # fmt: skip
        lifecycle.run(recipe, tmp_path / "run")
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        held.append({path.parent.name for path in files if any(value.encode() in path.read_bytes() for value in values)})
    assert {"data", "preprocessing", "own", "package"} <= held[0]
    assert held[1] == set()
