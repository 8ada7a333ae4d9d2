"""Law: code in a file, a known hole, a planted trigger and inputs that bring a package down are found; what is clean passes, and what can
not be looked at is said to be unmeasured.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.payloads import Payload, corpus
from tests.unit.runtime_packages import make_package
from weighbridge.audit import backdoor_findings, dependencies, scan
from weighbridge.audit.backdoor import anomalies
from weighbridge.audit.controls_security import apart, pictures_of, taught
from weighbridge.audit.inputs import RUN, input_findings, try_all
from weighbridge.audit.inputs_cases import VALUES, cases
from weighbridge.audit.inputs_child import ANSWERED, FAILED, REFUSED, judge
from weighbridge.audit.scan import FORMS, artefact_findings, scan_folder, suspicion
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import InputError
from weighbridge.preprocessing import Arrays
from weighbridge.recipe.audit import SecurityOptions
from weighbridge.storage.control import StopRequest

VALID = ("notebook", "expression in JSON")  # JSON like any other: they run where a program reads them as code, and nothing of ours does


class Model:
    """What the audit asks of a subject: a black box or a network over pictures."""

    unmeasured = Subject.unmeasured
    kind, slow = "category", 1e-6

    def __init__(self, folder: Path, answer: Any = None, *, kinds: tuple[str, ...] = ("image",), classes: int = 6, **options: Any) -> None:
        self.folder, self.command, self.seed, self.stop = folder, "weigh audit r", 0, StopRequest()
        self.recipe = SimpleNamespace(audit=SimpleNamespace(security=SecurityOptions(**options)))
        self.encoder = SimpleNamespace(learnt=SimpleNamespace(classes=tuple("abcdefghij"[:classes])))
        self.kinds, self.answer, self.is_network, self.made = kinds, answer, False, None
        random = np.random.default_rng(0)
        rows = Arrays(
            blocks={"image.x": random.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)}, target=None, stored_ids=np.arange(60).astype("S4")
        )
        self.arrays = {"validation": rows, "test": rows}

    def blocks(self, kind: str) -> list[str]:
        return ["image.x"] if kind == "image" and kind in self.kinds else []

    def seconds_of(self, rows: int) -> float:
        return rows * self.slow

    def network(self) -> Any:
        return self.made


# --- files


@pytest.fixture(scope="module")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Payload], Path]:
    """Every payload, and the file that one of them would leave if it ran."""
    canary = tmp_path_factory.mktemp("payloads") / "canary"
    return corpus(canary), canary


@pytest.mark.parametrize("suffix", sorted(set(FORMS) - {".html", ".md", ".csv"}))
def test_every_payload_is_suspected_whatever_it_is_called(suffix: str, payloads: tuple[list[Payload], Path], tmp_path: Path) -> None:
    missed = []
    for number, payload in enumerate(payloads[0]):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(payload.content)
        own = {".json": VALID, ".yaml": VALID, ".jsonl": VALID}.get(suffix, ())
        if not suspicion(path) and payload.name not in own:
            missed.append(payload.name)
    assert missed == []
    assert not payloads[1].exists()


def test_what_is_not_a_plain_file_of_a_known_form_is_suspected(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("a.json")
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "run.json").chmod(0o755)
    (tmp_path / "hook.py").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "folder")
    (tmp_path / ".lock").write_text("")
    found = dict(scan_folder(tmp_path))
    assert found.pop("a.json") == found.pop(".lock") == ""
    assert set(found) == {"link.json", "run.json", "hook.py", "elsewhere"}
    assert all(found.values())


def test_a_package_is_clean_and_a_changed_byte_or_a_payload_in_the_run_is_named(tmp_path: Path) -> None:
    package = tmp_path / "deployment" / "package"
    make_package(package)
    (tmp_path / "recipe.yaml").write_text("data: {source: a.csv, target: y}\n")
    (tmp_path / "tracking" / "tensorboard").mkdir(parents=True)
    (tmp_path / "tracking" / "tensorboard" / "events.out.1").write_bytes(b"\0")
    model: Any = Model(tmp_path)
    clean = artefact_findings(model, package)[0]
    assert (clean.verdict, clean.value, clean.n) == ("advantage", 0, 6)
    hashes = json.loads((tmp_path / scan.EVIDENCE).read_text())["hashes"]
    assert set(hashes) == {"model.onnx", "package.json", "golden.json", "card.md"}
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "model.safetensors").write_bytes(b"\x80\x04\x95")
    (package / "card.md").write_text("# other\n")
    bad = artefact_findings(model, package)[0]
    assert (bad.verdict, bad.value) == ("limitation", 2)
    assert "training/model.safetensors" in str(bad.reason)
    assert "card.md" in str(bad.reason)


# --- versions


def record(**affected: Any) -> dict[str, Any]:
    return {
        "id": "OSV-1",
        "modified": "2026-01-02T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "NumPy"}, **affected}],
    }


@pytest.mark.parametrize(
    ("version", "affected", "named"),
    [
        ("1.5", {"versions": ["1.5"]}, True), ("1.6", {"versions": ["1.5"]}, False),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}, True),
        ("1.10", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"fixed": "1.10"}]}]}, False),
        ("1.9.9", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"fixed": "1.10"}]}]}, True),
        ("1.10", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.2"}, {"last_affected": "1.10"}]}]}, True),
        ("2.1", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}]}]}, True),
        ("1.5", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}]}]}, False),
        ("1.5", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
        ("not a version", {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}, False),
    ],
)  # fmt: skip
def test_a_version_is_named_where_a_record_lists_it_or_its_range_holds_it(version: str, affected: dict[str, Any], named: bool) -> None:
    assert bool(list(dependencies.vulnerable("numpy", version, [record(**affected)]))) == named


@given(st.lists(st.integers(0, 30), min_size=2, max_size=2, unique=True).map(sorted), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_range_holds_exactly_what_lies_between_its_ends(ends: list[int], version: int) -> None:
    range_ = {"type": "ECOSYSTEM", "events": [{"fixed": f"1.{ends[1]}"}, {"introduced": f"1.{ends[0]}"}]}
    assert dependencies.is_affected(f"1.{version}", {"ranges": [range_]}) == (ends[0] <= version < ends[1])


def test_without_a_list_vulnerabilities_are_not_measured_and_the_versions_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured, match=r"audit\.security\.advisories"):
        dependencies.dependency_findings(Model(tmp_path))  # type: ignore[arg-type]
    kept = json.loads((tmp_path / dependencies.EVIDENCE).read_text())
    assert {"numpy", "onnxruntime", "pillow"} <= set(kept["serving"]) <= set(kept["versions"])
    assert "tokenizers" not in kept["serving"]


@pytest.mark.parametrize("form", ["records.json", "records.jsonl", "one.json", "all.zip", "folder", "audit.json"])
def test_each_form_of_a_list_is_read(form: str, tmp_path: Path) -> None:
    held, place = record(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]), tmp_path / form
    withdrawn = {**held, "id": "OSV-2", "withdrawn": "2026-01-01T00:00:00Z"}
    npm = {"id": "OSV-3", "affected": [{"package": {"ecosystem": "npm", "name": "numpy"}, "versions": ["1"]}]}
    if form == "records.json":
        place.write_text(json.dumps([held, withdrawn, npm]))
    elif form == "records.jsonl":
        place.write_text("\n".join(map(json.dumps, [held, withdrawn, npm])))
    elif form == "one.json":
        place.write_text(json.dumps(held))
    elif form == "all.zip":
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("OSV-1.json", json.dumps(held))
            archive.writestr("OSV-3.json", json.dumps(npm))
    elif form == "folder":
        (place / "PyPI").mkdir(parents=True)
        (place / "PyPI" / "OSV-1.json").write_text(json.dumps(held))
    else:
        hole = {"name": "numpy", "version": np.__version__, "vulns": [{"id": "OSV-1", "fix_versions": []}]}
        place.write_text(json.dumps({"dependencies": [hole, {"name": "pillow", "version": "1", "vulns": []}]}))
    model: Any = Model(tmp_path, advisories=str(place))
    found = dependencies.dependency_findings(model)[0]
    assert (found.verdict, found.value) == ("limitation", 1)
    assert f"numpy {np.__version__}: OSV-1" in str(found.reason)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"dependencies": 3}', '[{"id": "x", "affected": 3}]', "[" * 100_000])
def test_a_list_that_says_nothing_or_can_not_be_read_is_said(content: str, tmp_path: Path) -> None:
    place = tmp_path / "list.json"
    place.write_text(content)
    model: Any = Model(tmp_path, advisories=str(place))
    with pytest.raises(Unmeasured, match=r"list\.json"):
        dependencies.dependency_findings(model)
    model = Model(tmp_path, advisories=str(tmp_path / "absent.json"))
    with pytest.raises(Unmeasured, match="absent"):
        dependencies.dependency_findings(model)


def test_versions_that_no_record_names_are_neutral_and_say_how_new_the_list_is(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps(record(versions=["0.0.1"])))
    found = dependencies.dependency_findings(Model(tmp_path, advisories=str(tmp_path / "list.json")))[0]  # type: ignore[arg-type]
    assert (found.verdict, found.value) == ("neutral", 0)
    assert "2026-01-02" in str(found.reason)


# --- inputs

GOOD = {"a": 1.0}


def judged(predict: Any, name: str = "request: nothing") -> dict[str, Any]:
    case = next(one for one in cases([("a", "number")], GOOD) if one.name == name)
    return judge(case, predict)


def test_an_answer_and_a_refusal_in_one_line_are_fine_and_everything_else_is_not() -> None:
    def fails(error: BaseException) -> Any:
        def predict(rows: Any) -> Any:
            raise error

        return predict

    assert judged(lambda rows: [0.5])["outcome"] == ANSWERED
    assert judged(fails(InputError("row 1 is no row", do="give one")))["outcome"] == REFUSED
    for error in (ValueError("x"), MemoryError(), RecursionError(), SystemError("native"), InputError("x" * 5000)):
        assert judged(fails(error))["outcome"] == FAILED
    with pytest.raises(KeyboardInterrupt):
        judged(fails(KeyboardInterrupt()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_memory_beyond_the_limit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from weighbridge.audit import inputs_child

    monkeypatch.setattr(inputs_child, "MOST_GROWTH", 50 << 20)
    assert judged(lambda rows: np.ones(20 << 20).sum())["outcome"] == FAILED
    assert judged(lambda rows: np.ones(1 << 20).sum())["outcome"] == ANSWERED


def test_each_type_of_column_has_cases_and_each_can_be_made() -> None:
    assert set(VALUES) == {"number", "category", "text", "image", "audio", "date", "set"}
    for kind in VALUES:
        assert len(cases([("c", kind)], {"c": None})) > 20
    wide = cases([(f"n{place}", "number") for place in range(100)], {f"n{place}": 1.0 for place in range(100)})
    assert len(wide) == len(cases([("n0", "number")], GOOD)) + 2 * len(VALUES["number"])


CHILD = """
import json, os, sys, time
first = int(sys.argv[1])
print(json.dumps({"cases": 5}), flush=True)
for number in range(first, 5):
    print(json.dumps({"begins": number, "name": f"case {number}"}), flush=True)
    if number == 1: os._exit(11)
    if number == 3: time.sleep(60)
    print(json.dumps({"ends": number, "outcome": "refused", "what": "no", "seconds": 0.0, "bytes": 0}), flush=True)
print(json.dumps({"all": 5}), flush=True)
"""


def test_a_process_that_dies_or_falls_silent_fails_its_case_and_the_next_ones_are_tried() -> None:
    tried, planned = try_all([sys.executable, "-c", CHILD], case_s=1.0)
    assert planned == 5
    assert [one.outcome for one in tried] == [REFUSED, FAILED, REFUSED, FAILED, REFUSED]
    assert "died (11)" in tried[1].what
    assert "silent" in tried[3].what


def test_a_package_that_does_not_start_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured, match="process of its own"):
        try_all([sys.executable, "-c", RUN, str(tmp_path / "absent")])


@pytest.mark.parametrize("kind", ["category", pytest.param("number", marks=pytest.mark.slow), pytest.param("set", marks=pytest.mark.slow)])
def test_our_packages_answer_or_refuse_every_strange_input(kind: str, tmp_path: Path) -> None:
    make_package(tmp_path / "package", kind)
    found = input_findings(Model(tmp_path), tmp_path / "package")[0]  # type: ignore[arg-type]
    assert (found.verdict, found.value) == ("advantage", 0.0), str(found.reason)
    assert found.n is not None
    assert found.n > 80
    assert found.interval is not None
    assert found.interval[1] < 0.06


# --- triggers


def test_a_planted_patch_is_suspected_and_the_network_without_it_is_not() -> None:
    found, target = apart(1, planted=True)
    assert found.argmax() == target
    assert found[target] > backdoor_findings.SUSPECT
    assert apart(1, planted=False)[0].max() <= backdoor_findings.SUSPECT


@given(st.lists(st.floats(0.5, 60), min_size=5, max_size=30), st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_how_far_apart_classes_are_does_not_depend_on_the_size_of_pictures(pixels: list[float], factor: float) -> None:
    values = np.array(pixels)
    assert np.allclose(anomalies(values), anomalies(values * factor), atol=1e-6)
    assert anomalies(values)[values.argmin()] == anomalies(values).max()  # sizes a rounding apart may have one logarithm


def test_classes_without_any_trigger_are_not_suspected() -> None:
    assert anomalies(np.array([np.inf] * 5)).tolist() == [0.0] * 5
    assert anomalies(np.array([3.0, np.inf, 11.0, 10.0, 9.0, 12.0])).argmax() == 0
    assert np.abs(anomalies(np.full(6, 4.0))).max() == 0


def patched(x: np.ndarray) -> np.ndarray:
    return np.asarray((x[:, :2, :2] == 255).all(axis=(1, 2, 3)))


def test_a_black_box_that_a_white_patch_turns_is_found_and_one_that_it_does_not_turn_passes(tmp_path: Path) -> None:
    def planted(rows: Arrays) -> np.ndarray:
        x = np.asarray(rows.blocks["image.x"])
        return np.eye(6)[np.where(patched(x), 2, x.reshape(len(x), -1)[:, 40].astype(int) % 6)]

    model: Any = Model(tmp_path, planted)
    found = backdoor_findings.backdoor_findings(model)[0]
    assert found.verdict == "limitation"
    assert "-> c" in str(found.reason)

    def clean(rows: Arrays) -> np.ndarray:
        x = np.asarray(rows.blocks["image.x"])
        return np.eye(6)[x.reshape(len(x), -1).sum(axis=1) % 6]

    assert backdoor_findings.backdoor_findings(Model(tmp_path, clean))[0].verdict == "neutral"  # type: ignore[arg-type]


def test_without_pictures_classes_or_enough_of_them_there_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unmeasured, match="no column"):
        backdoor_findings.backdoor_findings(Model(tmp_path, kinds=("text",)))  # type: ignore[arg-type]
    few: Any = Model(tmp_path, classes=3)
    few.is_network = True
    with pytest.raises(Unmeasured, match="too few"):
        backdoor_findings.backdoor_findings(few)
    number: Any = Model(tmp_path)
    number.kind = "number"
    with pytest.raises(Unmeasured, match="no class"):
        backdoor_findings.backdoor_findings(number)
    assert backdoor_findings.seconds(number) == 0.0


def test_a_slow_network_is_asked_fewer_rows_and_says_how_long_it_takes(tmp_path: Path) -> None:
    model: Any = Model(tmp_path, classes=10)
    model.is_network = True
    assert backdoor_findings.rows_of(model) == backdoor_findings.ROWS
    model.slow = 1.0
    assert backdoor_findings.rows_of(model) == backdoor_findings.FEWEST_ROWS
    assert backdoor_findings.seconds(model) > 1000


def test_only_rows_that_hold_a_picture_are_asked() -> None:
    random = np.random.default_rng(0)
    blocks: dict[str, Any] = {
        "image.x": random.integers(0, 256, (9, 4, 4, 1), dtype=np.uint8),
        "present.x": np.array([[place % 3 == 0] for place in range(9)], dtype=np.float32),
    }
    rows = Arrays(blocks=blocks, target=None, stored_ids=np.arange(9).astype("S4"))
    assert backdoor_findings.some(rows, 32, "image.x").row_ids.tolist() == ["0", "3", "6"]
    assert len(backdoor_findings.some(rows, 2, "image.x")) == 2
    with pytest.raises(Unmeasured, match="no row"):
        backdoor_findings.some(rows.subset(np.array([1, 2])), 32, "image.x")


def test_a_network_with_a_planted_patch_is_a_limitation_that_the_packaged_form_confirms(tmp_path: Path) -> None:
    import torch

    forward, target = taught(0, planted=True)

    class Network(torch.nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return forward(batch["image.x"].float(), np.arange(0))

    def answer(rows: Arrays) -> np.ndarray:
        return forward(torch.from_numpy(np.asarray(rows.blocks["image.x"])).float(), np.arange(0)).softmax(1).numpy()

    pictures = pictures_of(0, 300, "asked")[0].astype(np.uint8)
    model: Any = Model(tmp_path, answer, classes=10)
    model.arrays["validation"] = model.arrays["test"] = Arrays(
        blocks={"image.x": pictures}, target=None, stored_ids=np.arange(300).astype("S4")
    )
    model.is_network, model.made = True, Network()
    found = backdoor_findings.backdoor_findings(model)[0]
    assert found.verdict == "limitation", str(found.reason)
    assert f"into {'abcdefghij'[target]}" in str(found.reason)
    kept = json.loads((tmp_path / backdoor_findings.EVIDENCE).read_text())
    assert kept["smallest"] == "abcdefghij"[target]
    assert min(kept["pixels"]) < kept["suspected_below"]
