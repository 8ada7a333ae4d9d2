"""Law: a run of pictures, and one of texts and columns with a protected one, have figures of every audit that fits them, each with what a
reader needs; the report stays small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.findings import Finding
from weighbridge.recipe import parse_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

AUDITS = {"cost", "security", "quality", "fairness", "calibration", "generalization", "robustness", "explanation", "privacy"}
MOST_BYTES = 1_500_000
PLAIN: dict[str, Any] = {
    "optimization": False, "audit": {"budget": 20}, "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
}  # fmt: skip


def run(folder: Path, **sections: Any) -> list[Finding]:
    return lifecycle.run(parse_recipe({"name": "run", **PLAIN, **sections}), folder / "run")


def measured(found: list[Finding]) -> set[str]:
    """Return the audits that gave a figure, which each must say how it was measured."""
    audited = [one for one in found if one.stage == "audit" and one.verdict != "unmeasured"]
    for one in audited:
        assert one.command, one.key
        assert "--only" in one.command, one.key
        assert str(one.method) or one.interval is None, one.key
        if one.verdict == "limitation":
            assert str(one.reason), one.key
    return {one.key.split(".")[1] for one in audited}


def test_every_audit_of_pictures_has_figures(tmp_path: Path) -> None:
    training = {"model": {"type": "cnn", "size": "xs", "convolutions": 1}, "epochs": 4, "threads": 1, "precision": "fp32"}
    found = run(tmp_path, data={"source": "sklearn://digits", "target": "target", "limit": 500}, training=training)
    assert measured(found) == AUDITS - {"fairness"}
    page = (tmp_path / "run" / "report.html").read_bytes()
    assert len(page) < MOST_BYTES
    for name in ("damage.json", "attack.json", "privacy.json"):
        assert json.loads((tmp_path / "run" / "audit" / name).read_text(encoding="utf-8"))


def test_every_audit_of_texts_and_columns_has_figures(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = [f"word{number}" for number in range(600)]
    lines = ["text,age,sex,label"]
    for row in range(500):
        label = row % 2
        text = " ".join(random.choice(words[:350] if label else words[250:], 7))
        lines.append(f"{text},{random.normal(40 + 3 * label, 9):.1f},{random.choice(['m', 'w'])},{'good' if label else 'bad'}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = {"source": (tmp_path / "t.csv").as_posix(), "target": "label", "columns": {"text": "text"}, "protected": ["sex"]}
    training = {"model": {"type": "mlp", "size": "xs"}, "epochs": 4, "threads": 1, "precision": "fp32", "batch_size": 32}
    assert measured(run(tmp_path, data=data, training=training)) == AUDITS
    assert (tmp_path / "run" / "report.html").stat().st_size < MOST_BYTES
