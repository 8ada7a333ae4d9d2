"""Law: a package of texts answers strings without torch and transformers, as the network that was trained answers them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.recipe import parse_recipe
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
WORDS = "film story actor scene plot music end 电影 故事 演员 the a was very not".split()
TEXTS = ["a very good film", "这部电影真差", "", None, "good " * 400, "\x00\ud800 bad\x07", "שלום good", "bad"]

ANSWER = """
import json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("torch", "transformers", "sklearn", "pandas", "pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from weighbridge import runtime

model = runtime.load(sys.argv[1])
model.check_golden()
texts = json.load(sys.stdin)
print(json.dumps(model.predict([{"review": text} for text in texts]).probabilities.tolist()))
"""


def write_texts(path: Path, rows: int = 120) -> Path:
    """`path` is a CSV of short texts of two languages, and a label that a word tells."""
    random = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("review", "label"))
        for row in range(rows):
            positive = bool(random.integers(2))
            words = [*random.choice(WORDS, size=int(random.integers(2, 12))).tolist(), "good" if positive else "差 bad"]
            writer.writerow((" ".join(words) + f" {row}", "yes" if positive else "no"))
    return path


@pytest.fixture(scope="module", params=["bpe", "character", "word"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network over texts, by each kind of token."""
    folder = tmp_path_factory.mktemp("texts")
    model = {
        "bpe": {"type": "transformer", "size": "xs"},
        "character": {"type": "rnn", "size": "xs"},
        "word": {"type": "mlp", "size": "xs"},
    }
    values = {
        "name": "texts",
        "data": {"source": str(write_texts(folder / "rows.csv")), "target": "label", "columns": {"review": "text"}},
        "preprocessing": {"text": {"tokens": request.param, "vocabulary": 400, "length": 40}},
        "training": {"model": model[request.param], "epochs": 2, "batch_size": 16, "threads": 1, "precision": "fp32", "compile": False},
        "evaluation": {"baselines": ["trivial"], "resamples": 200},
    }
    lifecycle.run(parse_recipe(values), folder / "run")
    return folder / "run"


def network_answers(run: Path, texts: list[str | None]) -> np.ndarray:
    """Return what the kept network itself says about the texts, float [n, 2]."""
    import torch

    from weighbridge import preprocessing, training
    from weighbridge.preprocessing.feature import objects

    encoder = preprocessing.Encoder.from_json(read_json(run / "preprocessing" / "encoder.json"))
    network = training.Deployable(training.load_network(run / "training"), encoder.learnt).eval()
    blocks = encoder.encode({"review": objects(texts)})
    with torch.inference_mode():
        return np.asarray(network({name: torch.from_numpy(values) for name, values in blocks.items()}).numpy())


def test_strings_are_answered_without_torch_as_the_network_answers_them(finished: Path) -> None:
    package = finished / "deployment" / "package"
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, str(package)], input=json.dumps(TEXTS), capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    found = np.array(json.loads(done.stdout))
    expected = network_answers(finished, TEXTS)
    assert found.shape == (len(TEXTS), 2)
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(found[0] - found[1]).max() > 1e-6  # texts that differ are told apart


def test_the_hindrance_hinders(finished: Path) -> None:
    script = ANSWER.replace("from weighbridge import runtime", "import torch")
    done = subprocess.run([sys.executable, "-c", script, str(finished)], input="[]", capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "No module named 'torch'" in done.stderr


def test_the_command_answers_rows_without_torch(finished: Path, tmp_path: Path) -> None:
    """`weigh predict` itself, in a process whose torch can not be imported."""
    script = ANSWER.split("from weighbridge import runtime")[0] + "from weighbridge.cli.app import main\nmain()"
    rows = tmp_path / "rows.csv"
    rows.write_text("review\na very good film\n这部电影真差\n", encoding="utf-8")
    package = finished / "deployment" / "package"
    done = subprocess.run(
        [sys.executable, "-c", script, "predict", str(package), str(rows)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    expected = network_answers(finished, ["a very good film", "这部电影真差"])
    answers = list(csv.DictReader(done.stdout.splitlines()))
    assert [answer["prediction"] for answer in answers] == [("no", "yes")[code] for code in expected.argmax(1)]


def test_the_tokenizer_is_json_within_the_packages_own_file_and_small(finished: Path) -> None:
    package = finished / "deployment" / "package"
    assert {path.name for path in package.iterdir()} <= {
        "model.onnx",
        "package.json",
        "golden.json",
        "card.md",
        "contract.json",
        "sbom.cdx.json",
        "manifest.json",
    }
    [feature] = read_json(package / "package.json")["encoder"]["features"]
    assert json.loads(feature["tokenizer"])["model"]["type"] in ("BPE", "WordLevel")
    weights = sum(path.stat().st_size for path in (finished / "training").glob("model.safetensors"))
    whole = sum(path.stat().st_size for path in package.iterdir())
    assert whole < 2 * weights + 1_000_000
