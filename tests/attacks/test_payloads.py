"""Law: there is no code path that runs what a file brings.

Each payload is put wherever a user would meet it and goes through the verb that a user would type: one line, exit code 2, and its canary is
never made. The naive way to open the same file makes it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import weighbridge
from tests.attacks.payloads import Payload, corpus
from tests.unit.runtime_packages import make_package
from weighbridge.cli.app import app
from weighbridge.errors import WeighbridgeError
from weighbridge.runtime import write_manifest

pytestmark = pytest.mark.slow

CSV = "x,z,y\n" + "".join(f"{i % 17},{i % 5},{'ab'[i % 2]}\n" for i in range(120))
RECIPE = """
name: victim
data: {{source: {source}, target: y, clean: {{duplicates: keep}}}}
training: {{epochs: 1, batch_size: 32, threads: 1, precision: fp32, memory_format: contiguous}}
evaluation: {{resamples: 200, baselines: [trivial]}}
"""
LONGEST_S = 20.0  # for one refusal, on a busy machine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, a package and rows for it: what the payloads are put into."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "rows.csv").write_text(CSV)
    (folder / "good.yaml").write_text(RECIPE.format(source=folder / "rows.csv"))
    done = CliRunner().invoke(app, ["run", str(folder / "good.yaml"), "--runs", str(folder / "runs"), "--until", "evaluation"])
    assert done.exit_code == 0, done.output
    make_package(folder / "package", photos=False)
    return folder


def refused(command: list[str]) -> str | None:
    """Return what is wrong with the way in which `weigh` refuses, or None: exit code 2, one line, no traceback, in time."""
    started = time.monotonic()
    done = CliRunner().invoke(app, command)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return f"{type(done.exception).__name__}: {str(done.exception)[:200]}"
    lines = [line for line in done.stderr.splitlines() if line.startswith("weigh:")]
    if done.exit_code != 2 or len(lines) != 1 or "Traceback" in done.output:
        return f"exit code {done.exit_code}, {done.stderr[-300:]!r}"
    return "it took too long" if time.monotonic() - started > LONGEST_S else None


Attack = Callable[[Path, bytes, int], list[str | None]]


def two(places: Sequence[str], number: int) -> list[str]:
    """Return two of the places, in turn: over the corpus each place meets dozens of payloads."""
    return [places[number % len(places)], places[(number + 1) % len(places)]]


def as_package(world: Path, content: bytes, number: int) -> list[str | None]:
    """The payload is given as the package itself, by the names under which models travel."""
    found = []
    for ending in two(("pkl", "pt", "joblib", "onnx", "safetensors", "zip"), number):
        path = world / f"model.{ending}"
        path.write_bytes(content)
        found.append(refused(["predict", str(path), str(world / "rows.csv")]))
    return found


def in_package(world: Path, content: bytes, number: int) -> list[str | None]:
    """The payload replaces a file of a package, and the attacker has written a manifest that fits."""
    found: list[str | None] = []
    for name in two(("model.onnx", "package.json", "golden.json", "manifest.json"), number):
        package = world / "attacked"
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(world / "package", package)
        (package / name).write_bytes(content)
        if name != "manifest.json":
            write_manifest(package)
        try:
            weighbridge.load(package)
            found.append(f"{name} was loaded")
        except WeighbridgeError:
            found.append(None)
    return [*found, refused(["predict", str(package), str(world / "rows.csv")])]


def as_rows(world: Path, content: bytes, number: int) -> list[str | None]:
    found = []
    for ending in two(("csv", "jsonl", "parquet", "arrow"), number):
        path = world / f"hostile.{ending}"
        path.write_bytes(content)
        found.append(refused(["predict", str(world / "package"), str(path)]))
    return found


SOURCES = ("data.csv", "data.jsonl", "data.parquet", "data.arrow", "data", "data.csv.gz", "data.csv.zip", "t-images-idx3-ubyte")


def as_source(world: Path, content: bytes, number: int) -> list[str | None]:
    found = []
    for name in two(SOURCES, number):
        path = world / "sources" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        (world / "hostile.yaml").write_text(RECIPE.format(source=path))
        found.append(refused(["run", str(world / "hostile.yaml"), "--runs", str(world / "others")]))
        path.unlink()
    return found


def as_recipe(world: Path, content: bytes, number: int) -> list[str | None]:
    path = world / "payload.yaml"
    path.write_bytes(content)
    return [refused([two(("run", "check"), number)[0], str(path)])]


def as_predictions(world: Path, content: bytes, number: int) -> list[str | None]:
    path = world / "predictions.parquet"
    path.write_bytes(content)
    return [refused(["evaluate", str(path)])]


IN_RUN = {"recipe.yaml": "train", "findings.jsonl": "report", "run.json": "report"}


def in_run(world: Path, content: bytes, number: int) -> list[str | None]:
    """The payload replaces a file of a finished run that a verb reads as it is."""
    found = []
    for name in two(tuple(IN_RUN), number):
        if name == "run.json" and content.startswith(b'{"') and content.endswith(b"}"):
            continue  # an object with other keys is shown as a run that says nothing of itself
        path = world / "runs" / "victim" / name
        kept = path.read_bytes()
        path.write_bytes(content)
        problem = refused([IN_RUN[name], str(world / "runs" / "victim")])
        found.append(problem and f"{name}: {problem}")
        path.write_bytes(kept)
    return found


def readers(run: Path) -> dict[str, Callable[[], object]]:
    """File of a finished stage -> what reads it, called as the stages call it, without the hash that is looked at before."""
    from weighbridge import data, evaluation, preprocessing, training
    from weighbridge.storage import read_json
    from weighbridge.storage.tensors import load_tensors
    from weighbridge.training.plan import Plan

    place = run / "training"
    state = f"training/{max((place / 'checkpoints').iterdir()).relative_to(place).as_posix()}"
    return {
        "training/model.safetensors": lambda: training.load_network(place),
        "training/model.json": lambda: training.load_network(place),
        "training/plan.json": lambda: Plan.from_json(read_json(place / "plan.json")),
        state: lambda: load_tensors(run / state),
        "training/best.safetensors": lambda: load_tensors(place / "best.safetensors"),
        "preprocessing/encoder.json": lambda: preprocessing.Encoder.from_json(read_json(run / "preprocessing" / "encoder.json")),
        "preprocessing/train/number.npy": lambda: preprocessing.open_arrays(run / "preprocessing" / "train"),
        "data/schema.json": lambda: data.open_data(run / "data"),
        "data/train.arrow": lambda: data.open_data(run / "data").train.column("x"),
        "evaluation/test.parquet": lambda: evaluation.read_predictions(run / "evaluation" / "test.parquet"),
    }


def in_stage(world: Path, content: bytes, number: int) -> list[str | None]:
    """The payload replaces a file of a finished stage, and whoever reads it has not looked at its hash."""
    found: list[str | None] = []
    reads = readers(world / "runs" / "victim")
    for name in reads:
        path = world / "runs" / "victim" / name
        kept = path.read_bytes()
        path.write_bytes(content)
        try:
            found.append(f"{name} was read: {reads[name]()!r}")
        except WeighbridgeError as error:
            found.append(None if error.exit_code == 2 and "\n" not in str(error) else f"{name}: {error}")
        path.write_bytes(kept)
    return found


ATTACKS: tuple[Attack, ...] = (as_package, in_package, as_rows, as_source, as_recipe, as_predictions, in_run, in_stage)
Answers = dict[str, list[str | None]]


@pytest.fixture(scope="module")
def answers(world: Path) -> Callable[[Attack], Answers]:
    """Give what each payload's attack ended with, tried once: payload -> what was wrong with each refusal, None for nothing."""
    canary, known = world / "canary", dict[str, Answers]()

    def tried(attack: Attack) -> Answers:
        if attack.__name__ not in known:
            found: Answers = {}
            for number, payload in enumerate(corpus(canary)):
                found[payload.name] = attack(world, payload.content, number)
                assert not canary.exists(), f"{payload.name} was executed"
            known[attack.__name__] = found
        return known[attack.__name__]

    return tried


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_payload_is_refused_in_one_line_and_none_runs(answers: Callable[[Attack], Answers], attack: Attack) -> None:
    found = answers(attack)
    assert len(found) >= 60
    wrong = [f"{name}: {answer}" for name, each in found.items() for answer in each if answer is not None]
    assert not wrong, f"{len(wrong)} of {sum(map(len, found.values()))}:\n" + "\n".join(wrong[:60])


MADE_AGAIN = ("training/model.safetensors", "training/model.json", "preprocessing/encoder.json", "data/train.arrow", "data/schema.json")


def test_a_payload_among_the_files_of_a_stage_is_thrown_away_and_made_again(world: Path, tmp_path: Path) -> None:
    """`weigh run` looks at hashes before it opens anything: what was changed is removed, said, and comes out as it was."""
    canary, run = tmp_path / "canary", world / "runs" / "victim"
    chosen = [payload for payload in corpus(canary) if payload.naive is not None][:: len(MADE_AGAIN)]
    assert len(chosen) >= 10
    for number, payload in enumerate(chosen):
        path = run / MADE_AGAIN[number % len(MADE_AGAIN)]
        genuine = path.read_bytes()
        path.write_bytes(payload.content)
        done = CliRunner().invoke(app, ["run", str(world / "good.yaml"), "--runs", str(world / "runs"), "--until", "training"])
        assert done.exit_code == 0, done.output
        stage, name = path.relative_to(run).parts
        assert f"{stage} runs again: {name} " in done.stderr
        assert path.read_bytes() == genuine
        assert not canary.exists(), f"{payload.name} was executed"


def test_the_naive_way_runs_every_payload_that_holds_code(
    tmp_path: Path, record: Callable[..., None], answers: Callable[[Attack], Answers]
) -> None:
    canary = tmp_path / "canary"
    holding = [payload for payload in corpus(canary) if payload.naive is not None]
    assert [payload.name for payload in holding if not _runs(payload, canary)] == []
    assert len(holding) >= 60
    refused = sum(all(answer is None for attack in ATTACKS for answer in answers(attack)[payload.name]) for payload in holding)
    assert refused == len(holding)
    record("payloads", refused, n=len(holding))


def _runs(payload: Payload, canary: Path) -> bool:
    canary.unlink(missing_ok=True)
    assert payload.naive is not None
    payload.naive(payload.content)
    return canary.exists()
