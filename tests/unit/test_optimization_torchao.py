"""Law: integer weights in torch are a comparison: near the network's answers, timed beside it, named when the library is not there."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.unit.form_graphs import network, rows
from weighbridge.errors import DependencyError, FormError
from weighbridge.optimization.torchao import int8_in_torch, measure_in_torch

needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed")


def test_without_the_library_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*(name for name in sys.modules if name.startswith("torchao")), "torchao", "torchao.quantization"]:
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    with pytest.raises(DependencyError, match=r"pip install 'weighbridge\[torchao\]'"):
        int8_in_torch(network("mlp"))


def test_a_network_without_linear_layers_is_refused() -> None:
    from torch import nn

    with pytest.raises(FormError, match="no linear layer"):
        int8_in_torch(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))


def test_a_network_is_timed_beside_another_and_answers_its_rows_in_order() -> None:
    made, arrays = network("texts"), rows("texts", 70)
    found = measure_in_torch({"a": made, "b": network("texts", seed=2)}, arrays, seconds=0.05)
    assert found["a"].answers.shape == (70, 4)
    assert np.abs(found["a"].answers - found["b"].answers).max() > 0.01
    assert (found["a"].latency.ratio, found["a"].latency.ratio_interval) == (1, (1, 1))
    assert 0 < found["a"].latency.value < found["a"].latency_32.value
    alone = measure_in_torch({"a": made}, arrays.subset(np.array([69])), seconds=0.01)["a"].answers
    assert np.abs(alone[0] - found["a"].answers[69]).max() < 1e-5


@needs_torchao
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "columns", "cnn", "lstm"])
def test_integer_weights_are_near_the_network_and_leave_it_as_it_is(kind: str) -> None:
    made, arrays = network(kind), rows(kind)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    found = measure_in_torch({"float32": made, "int8": int8_in_torch(made)}, arrays, seconds=0.05)
    apart = np.abs(found["int8"].answers - found["float32"].answers).max()
    assert 0 < apart < 0.1
    assert all((tensor == before[name]).all() for name, tensor in made.state_dict().items())


QUIET = """
import torch
from weighbridge.optimization.torchao import int8_in_torch
int8_in_torch(torch.nn.Sequential(torch.nn.Linear(64, 64)))
"""


@needs_torchao
@pytest.mark.slow
def test_what_the_library_says_on_import_is_not_shown() -> None:
    root = Path(__file__).parents[2]
    naive = subprocess.run([sys.executable, "-c", "import torchao.quantization"], capture_output=True, text=True, check=True)
    quiet = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True, cwd=root)
    assert (naive.stderr != "", quiet.stdout + quiet.stderr) == (True, "")
