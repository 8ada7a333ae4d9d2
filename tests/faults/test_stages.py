"""Law: a stage that is finished and whole is not run again, one that is not is, and says so; a change runs again what depends on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.faults import small_runs
from weighbridge import lifecycle
from weighbridge.errors import RunError, Stopped, TrainingError
from weighbridge.recipe import Recipe
from weighbridge.stages import station
from weighbridge.stages.manifest import SMALL_BYTES, damaged, listed, well_formed
from weighbridge.storage import read_json, sha256_file, write_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.tensors import load_tensors, save_tensors
from weighbridge.training.plan import Plan

STAGES = [stage.name for stage in lifecycle.STAGES]


class Said:
    """Remarks that a run makes."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def __call__(self, label: str, done: int, total: int | None, note: str = "") -> None:
        if not done and total is None and not note:
            self.remarks.append(label)


def marks(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/stage.json")}


def again(recipe: Recipe, folder: Path, until: str = "evaluation") -> tuple[set[str], list[str]]:
    """Run; return the stages that ran now, and the remarks."""
    before, said = marks(folder), Said()
    lifecycle.run(recipe, folder, until=until, progress=said)
    return {name for name, time_ns in marks(folder).items() if before.get(name) != time_ns}, said.remarks


def hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    folder = tmp_path_factory.mktemp("stages")
    recipe = small_runs.table(folder)
    lifecycle.run(recipe, folder / "run", until="evaluation")
    return recipe, folder / "run"


@pytest.fixture
def run(finished: tuple[Recipe, Path], tmp_path: Path) -> tuple[Recipe, Path]:
    shutil.copytree(finished[1], tmp_path / "run")
    return finished[0], tmp_path / "run"


# what is listed ------------------------------------------------------------------------------------------------------------


def test_a_missing_changed_or_cut_file_is_found_and_a_touched_or_added_one_is_none(tmp_path: Path) -> None:
    for name in ("a", "b", "c/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 100)
    large = tmp_path / "large"
    large.write_bytes(b"y" * (SMALL_BYTES + 1))
    files = listed(tmp_path, but=("b",))
    assert set(files) == {"a", "c/d", "large"}
    (tmp_path / "new").touch()
    (tmp_path / "b").unlink()
    os.utime(tmp_path / "a", (0, 0))
    os.utime(large, ns=(time.time_ns() + 10**18, time.time_ns() + 10**18))
    assert damaged(tmp_path, files) == {}
    (tmp_path / "a").write_bytes(b"x" * 99 + b"z")
    os.utime(tmp_path / "a", ns=(0, files["a"]["changed_ns"]))
    (tmp_path / "c" / "d").unlink()
    large.write_bytes(b"y" * SMALL_BYTES + b"z")
    assert damaged(tmp_path, files) == {"a": "was changed", "c/d": "is missing", "large": "was changed"}


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "link/outside"])
def test_a_list_that_names_a_file_outside_its_folder_is_not_believed(tmp_path: Path, name: str) -> None:
    """A changed file is removed before the stage runs again: a run folder from elsewhere must not choose which."""
    home = tmp_path / "stage"
    home.mkdir()
    (home / "link").symlink_to(tmp_path)
    (tmp_path / "outside").touch()
    known = {"size_bytes": 1, "changed_ns": 1, "sha256": "0"}
    assert not well_formed(home, {name: known})
    assert well_formed(home, {"inside": known})
    assert not well_formed(home, {"inside": {"size_bytes": 1}})
    assert not well_formed(home, ["inside"])


def test_a_folder_in_which_the_first_write_was_killed_is_no_foreign_one(tmp_path: Path) -> None:
    for name in (".lock", ".lock-holder.json", ".recipe.yaml.0a1b2c3d.part"):
        (tmp_path / name).touch()
    station.refuse_foreign(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="not a run"):
        station.refuse_foreign(tmp_path)


def test_a_plan_of_other_keys_is_one_line() -> None:
    with pytest.raises(RunError, match=r"plan\.json is not a plan of this Weighbridge"):
        Plan.from_json({"device": "cpu", "warp": 9})


# the key --------------------------------------------------------------------------------------------------------------------


def test_the_code_of_every_module_counts_but_not_what_only_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "weighbridge"
    shutil.copytree(Path(lifecycle.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(station, "__file__", str(copy / "stages" / "station.py"))
    before = station.code_version()
    for name, counts in {"findings.py": True, "training/loop.py": True, "report/html.py": False, "cli/app.py": False}.items():
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b"\n# changed\n")
        assert (station.code_version() != before) == counts, name
        (copy / name).write_bytes(content)


def test_the_code_of_a_plugin_model_counts_for_training_and_what_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The plugin is a real installed distribution: metadata with an entry point, and a package."""
    (tmp_path / "odd_nets-1.0.dist-info").mkdir()
    (tmp_path / "odd_nets-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-nets\nVersion: 1.0\n")
    (tmp_path / "odd_nets-1.0.dist-info" / "entry_points.txt").write_text("[weighbridge.models]\nodd = odd_nets.nets:build\n")
    (tmp_path / "odd_nets").mkdir()
    (tmp_path / "odd_nets" / "__init__.py").touch()
    (tmp_path / "odd_nets" / "nets.py").write_text("def build(spec): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = small_runs.table(tmp_path)
    odd = small_runs.changed(recipe, "training", model={"type": "odd"})
    plain, before = station.stage_keys(lifecycle.STAGES, recipe), station.stage_keys(lifecycle.STAGES, odd)
    (tmp_path / "odd_nets" / "nets.py").write_text("def build(spec): return None\n")
    after = station.stage_keys(lifecycle.STAGES, odd)
    assert {name for name in STAGES if before[name] != after[name]} == set(STAGES[STAGES.index("training") :])
    assert station.stage_keys(lifecycle.STAGES, recipe) == plain


CHANGES = {
    "data.clean.duplicates": ("data", {"clean": {"duplicates": "keep"}}, STAGES),
    "preprocessing.number.scale": ("preprocessing", {"number": {"scale": "robust"}}, STAGES[STAGES.index("preprocessing") :]),
    "training.epochs": ("training", {"epochs": 2}, STAGES[STAGES.index("training") :]),
    "evaluation.resamples": ("evaluation", {"resamples": 201}, STAGES[STAGES.index("evaluation") :]),
    "deployment.margin": ("deployment", {"margin": 0.01}, ["deployment"]),
    "report.language": ("report", {"language": "zh"}, []),
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_key_changes_the_keys_of_what_depends_on_it_only(tmp_path: Path, key: str) -> None:
    section, values, expected = CHANGES[key]
    recipe = small_runs.table(tmp_path)
    before, after = (station.stage_keys(lifecycle.STAGES, one) for one in (recipe, small_runs.changed(recipe, section, **values)))
    assert [name for name in STAGES if before[name] != after[name]] == expected


# whole runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in CHANGES if not key.startswith("deployment")])
def test_a_changed_recipe_runs_again_what_depends_on_it_only(run: tuple[Recipe, Path], key: str) -> None:
    section, values, expected = CHANGES[key]
    ran, remarks = again(small_runs.changed(run[0], section, **values), run[1])
    assert ran == set(expected) & set(STAGES[: STAGES.index("evaluation") + 1])
    assert remarks == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("data/train.arrow", "data"),
        ("data/schema.json", "data"),
        ("preprocessing/encoder.json", "preprocessing"),
        ("preprocessing/train/number.npy", "preprocessing"),
        ("training/model.safetensors", "training"),
        ("training/plan.json", "training"),
        ("evaluation/test.parquet", "evaluation"),
        ("evaluation/findings.jsonl", "evaluation"),
        ("evaluation/stage.json", "evaluation"),
    ],
)
def test_a_stage_whose_file_is_gone_or_changed_runs_again_and_says_so(run: tuple[Recipe, Path], name: str, stage: str) -> None:
    recipe, folder = run
    whole = small_runs.what_must_be_equal(folder, commands=False)
    for ruin in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-2] + b"zz")):
        ruin(folder / name)
        ran, remarks = again(recipe, folder)
        assert ran == {stage}
        if not name.endswith("stage.json"):
            assert len(remarks) == 1
            assert remarks[0].startswith(f"{stage} runs again: {name.split('/', 1)[1]} ")
        assert small_runs.what_must_be_equal(folder, commands=False) == whole
        assert again(recipe, folder) == (set(), [])


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["data", "preprocessing", "evaluation", "deployment"])
def test_a_stop_within_a_stage_is_heeded_there_and_the_run_goes_on(run: tuple[Recipe, Path], stage: str) -> None:
    """Training saves and is tested apart (test_resume.py). The others stop at the next thing that they tell; their mark is not there."""
    recipe, folder = run
    request, told = StopRequest(), []

    def listener(label: str, done: int, total: int | None, note: str = "") -> None:
        if (folder / stage / "under_way.json").exists():
            told.append(label)
            request.signal = signal.SIGTERM

    before = small_runs.what_must_be_equal(folder, commands=False)
    with pytest.raises(Stopped) as stopped:
        lifecycle.run(recipe, folder, again=(stage,), progress=listener, stop=request)
    assert stopped.value.exit_code == 143
    assert len(told) == 1, "it went on after the stop was asked for"
    assert stage not in marks(folder)
    ran, _ = again(recipe, folder, until=stage)
    assert ran == {stage}
    assert small_runs.what_must_be_equal(folder, commands=False) == before


@pytest.mark.slow
def test_half_a_folder_is_made_whole_or_refused_in_one_line(run: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, folder = run
    whole = small_runs.what_must_be_equal(folder, commands=False)
    random = np.random.default_rng(3)
    for number in range(6):
        half = tmp_path / f"half-{number}"
        shutil.copytree(folder, half)
        files = sorted(path for path in half.rglob("*") if path.is_file() and path.name != "test_ledger.jsonl")
        gone = [path for path in files if random.random() < 0.5]
        for path in gone:
            path.unlink()
        if half / "recipe.yaml" in gone:
            kept = {path: sha256_file(path) for path in half.rglob("*") if path.is_file()}
            with pytest.raises(RunError, match="holds files that are not a run") as refused:
                lifecycle.run(recipe, half, until="evaluation")
            assert refused.value.exit_code == 2
            assert {path: sha256_file(path) for path in half.rglob("*") if path.is_file()} == kept
            shutil.copyfile(folder / "recipe.yaml", half / "recipe.yaml")
        lifecycle.run(recipe, half, until="evaluation")
        made = small_runs.what_must_be_equal(half, commands=False)
        spare = {name for name, value in made.items() if value == small_runs.NO_STATE}  # checkpoints of a finished training may go
        assert {name: value for name, value in made.items() if name not in spare} == {
            name: value for name, value in whole.items() if name not in spare
        }, number


@pytest.mark.slow
def test_a_clock_that_jumped_changes_nothing(run: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder = run
    for years in (-30, 30):
        jump = years * 365 * 86400 * 10**9
        for path in folder.rglob("*"):
            os.utime(path, ns=(max(0, time.time_ns() + jump), max(0, time.time_ns() + jump)))
        real = time.time()
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda jump=jump, real=real: max(0.0, real + jump / 1e9))
            assert again(recipe, folder) == (set(), [])


@pytest.mark.slow
def test_a_state_of_another_recipe_or_a_newer_version_is_one_line_and_harms_nothing(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    training = folder / "training"
    last = max((training / "checkpoints").iterdir())
    mark = read_json(training / "stage.json")
    tensors, meta = load_tensors(last)
    for name, planted in {"made by another recipe, data or code": {"plan": "0"}, "this Weighbridge reads up to": {"format": 99}}.items():
        (training / "stage.json").unlink(missing_ok=True)
        write_json(training / "under_way.json", {name: mark[name] for name in ("key", "core", "made_with")})
        save_tensors(last, tensors, meta={**meta, **planted})
        before = {path: sha256_file(path) for path in training.rglob("*") if path.is_file()}
        with pytest.raises(RunError, match=name) as refused:
            lifecycle.run(recipe, folder, until="training")
        assert refused.value.exit_code == 2
        assert "\n" not in str(refused.value)
        assert {path: sha256_file(path) for path in training.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_row_that_is_not_finite_stops_before_the_update_and_is_named(run: tuple[Recipe, Path]) -> None:
    """Planted after encoding, where nothing checks any more: the loss itself must find it. What was trained before comes back."""
    recipe, folder = run
    path = folder / "preprocessing" / "train" / "number.npy"
    values = np.load(path)
    values[17, 0] = np.inf
    np.save(path, values)
    shutil.copytree(folder / "training", folder.parent / "before")
    lines = read_json(folder / "preprocessing" / "stage.json")
    write_json(folder / "preprocessing" / "stage.json", {**lines, "files": listed(folder / "preprocessing", but=("stage.json",))})
    with pytest.raises(TrainingError, match=r"step \d+: the loss is .*row 17 of the training split .*stopped before the update") as found:
        lifecycle.run(recipe, folder, until="training", again=("training",))
    assert found.value.exit_code == 1
    assert hashes(folder / "training") == hashes(folder.parent / "before")
    shutil.rmtree(folder / "training")
    with pytest.raises(TrainingError, match="stopped before the update"):
        lifecycle.run(recipe, folder, until="training")
    states = sorted((folder / "training" / "checkpoints").glob("*"))
    for state in states:
        assert all(np.isfinite(value.numpy()).all() for value in load_tensors(state)[0].values()), "only good steps were saved"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals to a process group need POSIX")
def test_a_whole_run_killed_in_each_stage_goes_on_and_repeats_no_finished_stage(tmp_path: Path) -> None:
    """Real `weigh run` processes; each is killed as soon as the stage's folder says that it is under way, then once more at random."""
    recipe = small_runs.table(tmp_path)
    from weighbridge.recipe import resolved_yaml

    for place in ("calm", "stormy"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "run.yaml").write_text(resolved_yaml(recipe), encoding="utf-8")
    assert weigh(tmp_path / "calm").wait() == 0
    expected = small_runs.what_must_be_equal(tmp_path / "calm" / "runs" / "run")
    folder = tmp_path / "stormy" / "runs" / "run"
    for stage in STAGES:
        before = marks(folder)
        process = weigh(tmp_path / "stormy")
        while not (folder / stage / "under_way.json").exists():
            assert process.poll() is None, f"the run ended before {stage} began"
            time.sleep(0.001)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        now = marks(folder)
        assert stage not in now
        assert {name: now.get(name) for name in before} == before, "a finished stage ran again"
    before = marks(folder)
    assert weigh(tmp_path / "stormy").wait() == 0
    now = marks(folder)
    assert {name: now[name] for name in before} == before
    assert set(now) == set(STAGES)
    assert small_runs.what_must_be_equal(folder) == expected


def weigh(place: Path) -> subprocess.Popen[bytes]:
    program = "from weighbridge.cli import main; main()"
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(Path(lifecycle.__file__).parents[1])}
    with open(place / "log.txt", "ab") as log:
        return subprocess.Popen([sys.executable, "-c", program, "run", "run.yaml"], cwd=place, env=environment, stdout=log, stderr=log)
