"""Law: clips go the whole way: trained on, packaged, answered from files and over HTTP, without torch, as the network hears them."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import weighbridge
from tests.journeys.browser import PROGRAM, browser
from tests.journeys.test_cli import weigh
from tests.journeys.test_text_without_torch import ANSWER
from tests.unit.clips import hostile, tone, wav
from tests.unit.serving_servers import Running, running
from tests.unit.test_serving_plain import form
from weighbridge import lifecycle, preprocessing, training
from weighbridge.findings import by_key, read_findings
from weighbridge.preprocessing.feature import objects
from weighbridge.recipe import parse_recipe
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
PITCHES = {"low": 220.0, "middle": 880.0, "high": 2500.0}
RATES = (8000, 16_000)


def clip(pitch: str, random: np.random.Generator) -> bytes:
    """A tone near the pitch in noise, of some length, loudness and rate."""
    rate, seconds = int(random.choice(RATES)), float(random.uniform(0.15, 0.3))
    samples = tone(PITCHES[pitch] * float(random.uniform(0.9, 1.1)), seconds=seconds, rate=rate)
    samples = float(random.uniform(0.2, 0.9)) * samples + 0.02 * random.standard_normal(len(samples))
    return wav(np.clip(samples, -1, 1), rate=rate)


def write_clips(folder: Path, rows: int, seed: int) -> Path:
    """`folder` holds clips.csv and the WAV files that it names."""
    random, lines = np.random.default_rng(seed), []
    for row in range(rows):
        pitch = list(PITCHES)[row % 3]
        (folder / f"{row}.wav").write_bytes(clip(pitch, random))
        lines.append((f"{row}.wav", pitch))
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("clip", "pitch"), *lines])
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    values = {
        "name": "clips",
        "data": {"source": str(write_clips(folder, 180, 0)), "target": "pitch"},
        "preprocessing": {"audio": {"rate": 8000, "mels": 20}},
        "training": {"model": {"size": "xs"}, "epochs": 8, "batch_size": 16, "threads": 1, "precision": "fp32", "compile": False},
        "optimization": False,
        "evaluation": {"baselines": ["trivial", "linear"], "resamples": 200, "slices": False},
    }
    lifecycle.run(parse_recipe(values), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of clips that the model never heard, beside their files."""
    return write_clips(tmp_path_factory.mktemp("fresh"), 30, 1)


@pytest.fixture(scope="module")
def server(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running([str(finished / "deployment" / "package")], tmp_path_factory.mktemp("state")) as found:
        yield found


def truth(table: Path) -> list[str]:
    with table.open(encoding="utf-8", newline="") as file:
        return [row["pitch"] for row in csv.DictReader(file)]


def test_names_of_clips_are_read_as_clips_and_a_convolutional_network_hears_them(finished: Path) -> None:
    encoder = preprocessing.Encoder.from_json(read_json(finished / "preprocessing" / "encoder.json"))
    (block,) = encoder.blocks
    assert (block.name, block.kind, block.of, block.shape[0]) == ("audio.clip", "image", "audio", 20)
    assert read_json(finished / "training" / "model.json")["spec"]["type"] == "cnn"
    findings = read_findings(finished / "findings.jsonl")
    assert by_key(findings, "preprocessing.audio").value == f"20 x {block.shape[1]}"
    assert by_key(findings, "evaluation.accuracy").value > 0.9


def test_the_package_hears_what_the_network_hears_without_torch(finished: Path, fresh: Path) -> None:
    files = [str(fresh.parent / f"{row}.wav") for row in range(8)]
    script = ANSWER.replace('"review": text', '"clip": text')
    package = finished / "deployment" / "package"
    done = subprocess.run(
        [sys.executable, "-c", script, str(package)], input=json.dumps([*files, None]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    import torch

    encoder = preprocessing.Encoder.from_json(read_json(finished / "preprocessing" / "encoder.json"))
    network = training.Deployable(training.load_network(finished / "training"), encoder.learnt).eval()
    blocks = encoder.encode({"clip": objects([*files, None])})
    with torch.inference_mode():
        expected = network({name: torch.from_numpy(values) for name, values in blocks.items()}).numpy()
    assert np.abs(np.array(json.loads(done.stdout)) - expected).max() < 1e-4


def test_a_table_of_files_is_answered_by_the_command(finished: Path, fresh: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    weigh("predict", finished / "deployment" / "package", fresh, "-o", out)
    with out.open(encoding="utf-8", newline="") as file:
        said = [row["prediction"] for row in csv.DictReader(file)]
    assert np.mean([one == other for one, other in zip(said, truth(fresh), strict=True)]) > 0.9


def test_a_waveform_a_file_and_its_bytes_are_one_clip(finished: Path, fresh: Path) -> None:
    model = weighbridge.load(finished / "deployment" / "package")
    file = fresh.parent / "0.wav"
    from weighbridge.sound import read_clip

    heard = read_clip(str(file), "row 1")
    rows = [{"clip": one} for one in (str(file), file.read_bytes(), {"array": heard.samples, "sampling_rate": heard.rate})]
    said = model.predict(rows).probabilities
    np.testing.assert_allclose(said, said[[0, 0, 0]], atol=1e-6)


def test_a_folder_of_a_class_each_is_a_source_too(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for pitch in PITCHES:
        (tmp_path / "clips" / pitch).mkdir(parents=True)
        for row in range(20):
            (tmp_path / "clips" / pitch / f"{row}.wav").write_bytes(clip(pitch, random))
    values = {"data": {"source": str(tmp_path / "clips")}, "training": {"model": {"size": "xs"}, "epochs": 1}}
    lifecycle.run(parse_recipe(values), tmp_path / "run", until="preprocessing")
    encoder = preprocessing.Encoder.from_json(read_json(tmp_path / "run" / "preprocessing" / "encoder.json"))
    assert [block.name for block in encoder.blocks] == ["audio.audio"]
    assert encoder.learnt.classes == ("high", "low", "middle")


def test_a_clip_is_answered_as_a_file_of_a_form_and_in_json(server: Running, fresh: Path) -> None:
    contents = [(fresh.parent / f"{row}.wav").read_bytes() for row in range(3)]
    body, kind = form([("clip", f"{row}.wav", content) for row, content in enumerate(contents)])
    by_form = server.ask("/predict", body, content_type=kind)
    assert by_form.status == 200, by_form.body
    encoded = [base64.b64encode(content).decode() for content in contents]
    rows = [{"clip": {"bytes": encoded[0]}}, {"clip": f"data:audio/wav;base64,{encoded[1]}"}, {"clip": {"bytes": encoded[2]}}]
    by_json = server.ask("/predict", {"rows": rows})
    assert by_json.status == 200, by_json.body
    assert [one["prediction"] for one in by_form.json()["predictions"]] == truth(fresh)[:3]
    assert by_form.json()["predictions"] == by_json.json()["predictions"]


def test_a_clip_is_answered_as_a_tensor_of_bytes(server: Running, fresh: Path) -> None:
    encoded = base64.b64encode((fresh.parent / "0.wav").read_bytes()).decode()
    (name,) = server.ask("/admin/status").json()["models"]
    tensor = {"name": "clip", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    found = server.ask(f"/v2/models/{name}/infer", {"inputs": [tensor], "outputs": [{"name": "labels"}]})
    assert found.status == 200, found.body
    assert found.json()["outputs"][0]["data"] == [truth(fresh)[0]]


def test_a_path_is_no_clip_for_a_server(server: Running, fresh: Path) -> None:
    found = server.ask("/predict", {"rows": [{"clip": str(fresh.parent / "0.wav")}]})
    assert found.status == 422
    assert "send the clip itself" in found.json()["error"]["message"]


def test_damaged_clips_are_refused_with_their_row_and_nothing_else_happens(server: Running) -> None:
    for name, content in hostile():
        if not content:  # an empty file of a form is a missing value
            continue
        body, kind = form([("clip", "a.wav", content)])
        found = server.ask("/predict", body, content_type=kind)
        assert found.status in (400, 413, 422), (name, found.status, found.body)
        assert "row 1" in found.json()["error"]["message"], (name, found.body)


def test_an_explanation_names_moments_and_bands(server: Running, fresh: Path) -> None:
    encoded = base64.b64encode((fresh.parent / "0.wav").read_bytes()).decode()
    found = server.ask("/explain", {"rows": [{"clip": {"bytes": encoded}}]})
    assert found.status == 200, found.body
    assert json.dumps(found.json()).count('"column": "clip"') == 1


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")
def test_a_person_tries_a_clip_on_the_page_and_sees_its_answer_and_why(server: Running, fresh: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page.look(1100)
        page.open(server.url)
        page.type("#key", server.key)
        page.click("#door button")
        page.wait("!document.querySelector('#desk').hidden && document.querySelector('#field-0')")
        assert page.evaluate("document.querySelector('#field-0').accept") == "audio/*"
        page.give_file("#field-0", fresh.parent / "1.wav")
        page.click("#go")
        page.wait("document.querySelector('p.said')")
        assert page.text("p.said") == truth(fresh)[1]
        page.click("#ask-why")
        page.wait("document.querySelector('.faith') && document.querySelectorAll('.map canvas').length === 2")
