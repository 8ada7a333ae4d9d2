"""Randomness by name: any figure can be measured again alone, in any order."""

from __future__ import annotations

import hashlib

import numpy as np


def key_of(seed: int, *names: str | int) -> int:
    """Return 128 bits that depend on the recipe's seed and the names, and on nothing else."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:16], "little")


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return a counter-based generator (Philox 4x64, Salmon 2011) for one named purpose."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, *names)))


def seed31(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2^31) for a library that takes an integer."""
    return key_of(seed, *names) % 2**31
