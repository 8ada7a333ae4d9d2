"""Law: a program of ExecuTorch answers as its network does, row by row and at any length of a text; else it says why it can not."""

from __future__ import annotations

import gc
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.unit.form_graphs import KINDS, network, rows
from weighbridge.errors import DependencyError, FormError, PackageError
from weighbridge.export.executorch import Colder, export_executorch, export_executorch_int8
from weighbridge.export.program import Program
from weighbridge.runtime.session import each_once

needs_executorch = pytest.mark.skipif(find_spec("executorch") is None, reason="executorch is not installed")


def answers(program: Program, kind: str, count: int) -> np.ndarray:
    arrays = rows(kind, count)
    parts = {tuple(places): program.run(blocks) for blocks, places in each_once(arrays)}
    return np.concatenate([parts[key] for key in parts])[np.argsort(np.concatenate([list(key) for key in parts]))]


def expected(kind: str, count: int, **more: str) -> np.ndarray:
    from weighbridge.training import forward_all

    return forward_all(network(kind, **more), rows(kind, count))


def opened(path: Path, kind: str) -> Program:
    return Program.open(path, [block.name for block in KINDS[kind][1]], threads=1)


def test_without_the_library_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*(name for name in sys.modules if name.partition(".")[0] == "executorch"), "executorch"]:
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    with pytest.raises(DependencyError, match="pip install 'executorch"):
        export_executorch(network("mlp"), KINDS["mlp"][1], tmp_path / "model.pte")
    with pytest.raises(DependencyError, match="pip install 'executorch"):
        Program.open(b"", ["number"])
    assert not (tmp_path / "model.pte").exists()


def test_integers_without_rows_to_look_at_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormError, match="no rows to calibrate"):
        export_executorch_int8(network("mlp"), KINDS["mlp"][1], tmp_path / "model.pte", rows("mlp", 1).subset(slice(0)))


@pytest.mark.parametrize("kind", ["category", "set"])
def test_a_temperature_in_torch_is_that_of_the_evaluation(kind: str) -> None:
    import torch

    from weighbridge.evaluation.adjustment import Temperature

    class Given(torch.nn.Module):
        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["said"]

    said = np.random.default_rng(0).dirichlet(np.full(4, 0.2), 50)
    found = Colder(Given(), 1.7, kind)({"said": torch.from_numpy(said)}).numpy()
    assert np.abs(found - Temperature(value=1.7).applied(said, kind)).max() < 1e-6  # type: ignore[arg-type]


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "target"), [("mlp", "category"), ("mlp", "number"), ("cnn", "category"), ("texts", "category")])
def test_a_program_answers_as_its_network(kind: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    export_executorch(network(kind, target=target), KINDS[kind][1], path)
    program = opened(path, kind)
    gc.collect()  # what a program is read from must live as long as it
    scale = 20.0 if target == "number" else 1.0
    assert np.abs(answers(program, kind, 40) - expected(kind, 40, target=target)).max() / scale < 1e-4
    assert b"/site-packages/" not in path.read_bytes()


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_a_program_in_integers_is_near_its_network_and_smaller(kind: str, tmp_path: Path) -> None:
    plain, small = tmp_path / "plain.pte", tmp_path / "small.pte"
    export_executorch(network(kind), KINDS[kind][1], plain)
    export_executorch_int8(network(kind), KINDS[kind][1], small, rows(kind, 64, seed=5))
    apart = np.abs(answers(opened(small, kind), kind, 40) - expected(kind, 40)).max()
    assert 0 < apart < 0.1
    assert small.stat().st_size < plain.stat().st_size


@needs_executorch
@pytest.mark.slow
def test_a_damaged_program_and_one_of_other_blocks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    export_executorch(network("mlp"), KINDS["mlp"][1], path)
    with pytest.raises(PackageError, match="can not be loaded"):
        Program.open(b"not a program", ["number", "category"])
    with pytest.raises(PackageError, match="does not take the 1 blocks"):
        Program.open(path, ["number"])
    with pytest.raises(PackageError, match="can not be read"):
        Program.open(tmp_path / "absent.pte", ["number"])
