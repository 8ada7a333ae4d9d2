"""Law: a checkpoint or a package of which one bit changed is found before it is used; training goes on from the state before it.

10,000 mutations, half of them of checkpoints and half of packages: bit flips, truncation, blocks of zeros, doubled blocks, swapped files.
The naive way, a safetensors file read without a digest, takes most of the flipped bits for weights.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.runtime_packages import make_package
from weighbridge.errors import PackageError, RunError
from weighbridge.runtime import verify
from weighbridge.storage.seeds import rng
from weighbridge.storage.tensors import load_tensors, save_tensors
from weighbridge.training.checkpoint import BEST, Progressed, Trained, load_state, save_state

CHECKPOINTS, PACKAGES, SWAPS = 5000, 5000, 50
WAYS = ("flip", "truncate", "zeros", "double")
pytestmark = pytest.mark.slow


def mutated(content: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """Return a way and the content changed in that way; never the same content."""
    while True:
        way = WAYS[int(random.integers(len(WAYS)))]
        place, length = int(random.integers(len(content))), int(random.integers(1, 512))
        if way == "flip":
            changed = bytearray(content)
            changed[place] ^= 1 << int(random.integers(8))
            new = bytes(changed)
        elif way == "truncate":
            new = content[:place]
        elif way == "zeros":
            block = content[place : place + length]
            new = content[:place] + bytes(len(block)) + content[place + length :]
        else:
            new = content[: place + length] + content[place:]
        if new != content:
            return way, new


def trained() -> Trained:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(torch.ones(4, 6)).sum().backward()
    optimizer.step()
    return Trained(network=network, optimizer=optimizer)


@pytest.fixture
def states(tmp_path: Path) -> Path:
    """Two states, 10 and 20, with the best weights of step 10 beside them."""
    one, folder = trained(), tmp_path / "checkpoints"
    save_tensors(tmp_path / BEST, one.network.state_dict(), meta={"step": 10})
    for step in (10, 20):
        save_state(folder, one, Progressed(step=step, epochs=[{"epoch": 1.0, "step": 10}]), plan="p")
    return folder


def load(folder: Path, into: Trained) -> tuple[int, list[str]]:
    progressed, warnings = load_state(folder, into, plan="p", device="cpu", best_step=lambda epochs: 10 if epochs else -1)
    return progressed.step, warnings


def test_5000_changes_of_the_newest_checkpoint_are_found_and_the_one_before_it_is_taken(states: Path, record: Callable[..., None]) -> None:
    random, target, ways, unseen = rng(0, "faults", "checkpoint"), trained(), Counter[str](), 0
    path = states / "step-0000000020.safetensors"
    whole = path.read_bytes()
    assert load(states, target) == (20, [])
    for _ in range(CHECKPOINTS - SWAPS):
        way, content = mutated(whole, random)
        path.write_bytes(content)
        step, warnings = load(states, target)
        assert step == 10, way
        assert len(warnings) == 1
        assert str(path) in warnings[0]
        assert "going on from the state before it" in warnings[0]
        ways[way] += 1
        unseen += naively_read(path)
    for _ in range(SWAPS):
        shutil.copyfile(states / "step-0000000010.safetensors", path)
        step, warnings = load(states, target)
        assert (step, len(warnings)) == (10, 1)
    assert min(ways[way] for way in WAYS) > 500
    assert unseen > 500, f"without a digest only {unseen} would have gone unseen: the harness does not bite"
    record("corruption.checkpoints", CHECKPOINTS, n=CHECKPOINTS)


def naively_read(path: Path) -> bool:
    """Whether the library alone takes the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        load_file(path)
    except (SafetensorError, ValueError, OSError, KeyError):
        return False
    return True


def test_best_weights_that_are_damaged_or_gone_send_training_back_to_the_first_step_and_it_says_so(states: Path) -> None:
    best = states.parent / BEST
    whole = best.read_bytes()
    for content in (None, whole[:-3], b"", whole[:100] + b"\x00" + whole[101:]):
        best.unlink(missing_ok=True)
        if content is not None:
            best.write_bytes(content)
        step, warnings = load(states, trained())
        assert step == 0
        assert len(warnings) == 2
        assert BEST in warnings[0]
    best.write_bytes(whole)
    assert load(states, trained()) == (20, [])


def test_a_state_of_another_recipe_or_a_newer_version_is_refused_in_one_line(states: Path) -> None:
    with pytest.raises(RunError, match="made by another recipe, data or code") as other:
        load_state(states, trained(), plan="q", device="cpu", best_step=lambda _: -1)
    assert other.value.exit_code == 2
    path = states / "step-0000000020.safetensors"
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors, meta={**meta, "format": 99})
    with pytest.raises(RunError, match="has format 99, this Weighbridge reads up to 1") as newer:
        load(states, trained())
    assert newer.value.exit_code == 2
    assert "\n" not in str(newer.value)
    assert load_tensors(path)[1]["format"] == 99, "nothing was harmed"


def test_5000_changes_of_a_package_are_refused_before_use(tmp_path: Path, record: Callable[..., None]) -> None:
    random, ways, places = rng(0, "faults", "package"), Counter[str](), Counter[str]()
    folder = tmp_path / "package"
    make_package(folder)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    verify(folder)
    for name, content in [*mutations(whole, random, ways)]:
        (folder / name).write_bytes(content)
        with pytest.raises(PackageError) as found:
            verify(folder)
        assert "\n" not in str(found.value)
        (folder / name).write_bytes(whole[name])
        places[name] += 1
    names = sorted(whole)
    for number in range(SWAPS):
        one, other = names[number % len(names)], names[(number + 1 + number // len(names) % (len(names) - 1)) % len(names)]
        (folder / one).write_bytes(whole[other])
        (folder / other).write_bytes(whole[one])
        with pytest.raises(PackageError):
            verify(folder)
        (folder / one).write_bytes(whole[one])
        (folder / other).write_bytes(whole[other])
    verify(folder)
    assert set(places) == set(whole)
    assert min(ways[way] for way in WAYS) > 500
    record("corruption.packages", sum(places.values()) + SWAPS, n=PACKAGES)


def mutations(whole: dict[str, bytes], random: np.random.Generator, ways: Counter[str]) -> Iterator[tuple[str, bytes]]:
    names = sorted(whole)
    for number in range(PACKAGES - SWAPS):
        way, content = mutated(whole[names[number % len(names)]], random)
        ways[way] += 1
        yield names[number % len(names)], content
