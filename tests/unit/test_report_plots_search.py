"""Law: a drawing of a search shows every kind of trial by a mark of its own, better values higher where they are ranked, and no value that
would flatten the others; what is absent is not drawn.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from weighbridge.report import plots, plots_search
from weighbridge.report.catalogue_zh_search import ZH
from weighbridge.report.words import speaker

SAY = speaker("en")
KEYS = [
    {"key": "training.optimizer.lr", "low": 1e-4, "high": 0.1, "log": True, "whole": False},
    {"key": "training.model.size", "values": ["xs", "s", "m"]},
    {"key": "training.model.hidden", "values": [[16, 32], None]},
]


def evidence(count: int = 30, *, direction: str = "maximize", metric: str = "accuracy", **changed: Any) -> dict[str, Any]:
    """Return what a search leaves: one in three finished trials was ended early, every tenth failed."""
    random, trials, best, so_far = np.random.default_rng(0), [], None, []
    for number in range(count):
        state = "failed" if number % 10 == 9 else "pruned" if number % 3 == 2 else "finished"
        value = round(float(random.uniform(0.6, 0.9)), 4)
        params = {"training.optimizer.lr": float(10 ** random.uniform(-4, -1)), "training.model.size": str(random.choice(["xs", "s", "m"])),
                  "training.model.hidden": [[16, 32], None][number % 2]}  # fmt: skip
        trials.append(
            {"number": number, "state": state, "own": number == 0, "value": value if state == "finished" else None, "params": params,
             "last": value if state == "pruned" else None, "reason": "", "loss": 0.1, "seconds": 1.0, "reports": {}}
        )  # fmt: skip
        sign = 1 if direction == "maximize" else -1
        if state == "finished" and (best is None or sign * value > sign * trials[best]["value"]):
            best = number
        so_far.append(best)
    shares = {"training.optimizer.lr": 0.7, "training.model.size": 0.2, "training.model.hidden": 0.1}
    return {"metric": metric, "direction": direction, "best": best, "keys": KEYS, "importances": shares, "trials": trials,
            "best_so_far": so_far, **changed}  # fmt: skip


DRAWINGS = {"history": plots_search.history, "importance": plots_search.importance, "parallel": plots_search.parallel_coordinates}


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 30, 1000])
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_small_well_formed_and_the_same_every_time(name: str, count: int) -> None:
    shown = evidence(count)
    svg = plots.drawn(DRAWINGS[name], shown, SAY)
    assert 0 < len(svg.encode()) < plots.MOST_BYTES
    ET.fromstring(svg)
    assert svg == plots.drawn(DRAWINGS[name], shown, SAY)
    assert not re.search(r"#[0-9a-f]{6}", svg), "every colour is one of the page"


def test_each_kind_of_trial_has_a_mark_of_its_own_and_the_best_a_ring() -> None:
    def marks(**states: str) -> int:
        shown = evidence(12)
        for one in shown["trials"]:
            one["state"] = states.get(one["state"], one["state"])
        return len(set(re.findall(r'<path id="([^"]+)" d=', plots_search.history(shown, SAY))))

    assert marks() == marks(failed="gone") + 1 == marks(pruned="gone") + 1
    assert "stroke-dasharray" in plots_search.history(evidence(12), SAY)
    assert "stroke-dasharray" not in plots_search.history(
        evidence(12, trials=[{**one, "own": False} for one in evidence(12)["trials"]]), SAY
    )


def ticks(svg: str) -> list[float]:
    return [float(text) for text in re.findall(r">(\d+\.\d+)<", svg)]


def test_a_value_far_off_does_not_flatten_the_others() -> None:
    shown = evidence(30, direction="minimize", metric="rmse")
    shown["trials"][4]["value"] = 1e6
    assert max(ticks(plots_search.history(shown, SAY))) < 2
    assert "e+06" not in plots_search.parallel_coordinates(shown, SAY)


def test_better_is_higher_whichever_way_the_value_goes() -> None:
    up, down = (plots_search.parallel_coordinates(evidence(30, direction=way), SAY) for way in ("maximize", "minimize"))
    ends = [[text for text in re.findall(r">(0\.\d+)<", svg) if float(text) > 0.5] for svg in (up, down)]
    assert ends[0] == ends[1][::-1]
    assert len(ends[0]) == 2


def test_the_best_trials_are_told_by_more_than_colour() -> None:
    svg = plots_search.parallel_coordinates(evidence(30), SAY)
    assert "stroke-width: 2" in svg
    assert "stroke-width: 0.8" in svg
    assert "<use" in svg, "and have dots"


def test_what_is_absent_is_not_drawn() -> None:
    assert plots_search.importance(evidence(importances=None), SAY) == ""
    none = [{**one, "state": "failed", "value": None} for one in evidence()["trials"]]
    assert plots_search.history(evidence(trials=none), SAY) == ""
    assert plots_search.parallel_coordinates(evidence(trials=none), SAY) == ""
    assert plots.drawn(plots_search.parallel_coordinates, {"trials": [{"state": "finished"}]}, SAY) == ""


def test_a_key_is_cut_at_its_beginning() -> None:
    assert plots_search.short_key("training.optimizer.lr", 20) == "optimizer.lr"
    assert plots_search.short_key("preprocessing.text.longest_of_all_names", 12) == "…f_all_names"


def test_keys_and_words_of_a_recipe_are_text_and_not_markup() -> None:
    shown = evidence(6, keys=[{"key": "training.model.type", "values": ["<b>", "&"]}])
    for place, one in enumerate(shown["trials"]):
        one["params"] = {"training.model.type": ["<b>", "&"][place % 2]}
    svg = plots_search.parallel_coordinates(shown, SAY)
    ET.fromstring(svg)
    assert "&lt;b&gt;" in svg


def test_every_word_of_the_drawings_has_its_chinese() -> None:
    for message in (*plots_search.ON_JUDGING.values(),):
        assert message.template in ZH
