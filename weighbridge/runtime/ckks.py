"""CKKS: arithmetic on encrypted numbers (Cheon, Kim, Kim and Song, ASIACRYPT 2017) by Microsoft SEAL, which TenSEAL brings along.

A ciphertext holds N/2 slots (N: degree of the ring). A multiplication uses up one prime of the modulus. Every parameter is held against the
table of the Homomorphic Encryption Standard (Albrecht and others 2018): 128 bits against classical attacks, ternary secret.

What comes from another side is measured before native code reads it: its length, and that SEAL's header speaks of just so many bytes. SEAL
then reads as much as the parameters of this side allow, whatever the bytes could unfold to, and checks every coefficient against them.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from weighbridge.errors import DependencyError, InputError, UsageError

MOST_BITS = {4096: 109, 8192: 218, 16384: 438}  # table 1 of the standard: largest modulus for 128 bits
SEAL_MAGIC, SEAL_HEADER, SEAL_MAJOR = 0xA15E, struct.Struct("<HBBBBHQ"), 4
PLAIN, ZSTD = 0, 2
ROOM = 1 << 16  # bytes of headers and of what zstd adds to what can not be made smaller


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Parameters: degree N of the ring, bits of the primes (the base, one for each multiplication, the special one), bits of the scale.

    A number x is held as the whole number x 2^scale_bits; a result must stay below 2^(bits[0] - scale_bits - 1).
    Raises ValueError when they are not within the standard's table.
    """

    degree: int
    bits: tuple[int, ...]
    scale_bits: int

    def __post_init__(self) -> None:
        if self.degree not in MOST_BITS:
            raise ValueError(f"degree {self.degree} is not one of {', '.join(map(str, MOST_BITS))}")
        if not 3 <= len(self.bits) <= 12 or not all(20 <= bits <= 60 for bits in self.bits) or sum(self.bits) > MOST_BITS[self.degree]:
            raise ValueError(f"primes of {self.bits} bits: degree {self.degree} is safe up to {MOST_BITS[self.degree]} bits in all")
        if not 20 <= self.scale_bits < self.bits[0]:
            raise ValueError(f"scale of {self.scale_bits} bits is not between 20 and {self.bits[0] - 1}")

    @property
    def slots(self) -> int:
        return self.degree // 2

    @property
    def multiplications(self) -> int:
        """How many can follow one another."""
        return len(self.bits) - 2

    @property
    def ciphertext_bytes(self) -> int:
        """The most that a fresh ciphertext takes: two polynomials over all primes but the special one."""
        return 2 * (len(self.bits) - 1) * self.degree * 8 + ROOM

    def keys_bytes(self, count: int) -> int:
        """The most that `count` evaluation keys take."""
        return count * 2 * (len(self.bits) - 1) * len(self.bits) * self.degree * 8 + count * ROOM

    def to_json(self) -> dict[str, Any]:
        return {"degree": self.degree, "bits": list(self.bits), "scale_bits": self.scale_bits}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the scheme of `to_json`. Raises ValueError, KeyError or TypeError."""
        return cls(degree=int(value["degree"]), bits=tuple(int(bits) for bits in value["bits"]), scale_bits=int(value["scale_bits"]))


class Ring:
    """A scheme made ready: encoding, and the loading and saving of what both sides send. It holds no key."""

    def __init__(self, scheme: Scheme) -> None:
        """Raises DependencyError without TenSEAL, UsageError when SEAL does not take the parameters."""
        self.seal = seal = _seal()
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(scheme.degree)
        parameters.set_coeff_modulus(seal.CoeffModulus.Create(scheme.degree, list(scheme.bits)))
        self.context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise UsageError(f"SEAL does not take {scheme} ({self.context.parameters_error_name()})", do="make the folder again")
        self.scheme = scheme
        self.primes = tuple(float(prime.value()) for prime in parameters.coeff_modulus())
        self.levels = _levels(self.context)
        self.encoder, self.evaluator = seal.CKKSEncoder(self.context), seal.Evaluator(self.context)

    @property
    def scale(self) -> float:
        return float(2.0**self.scheme.scale_bits)

    def plaintext(self, values: np.ndarray, *, level: int, scale: float) -> Any:
        """Return slots float64 [n <= N/2] encoded at a level, 0 being the fresh one."""
        out = self.seal.Plaintext()
        self.encoder.encode(np.asarray(values, dtype=np.float64).tolist(), self.levels[level], scale, out)
        return out

    def times(self, ciphertext: Any, plaintext: Any) -> Any:
        """Return the product by slots, one level further down."""
        out = self.seal.Ciphertext()
        self.evaluator.multiply_plain(ciphertext, plaintext, out)
        self.evaluator.rescale_to_next_inplace(out)
        return out

    def folded(self, ciphertext: Any, steps: Sequence[int], keys: Any) -> Any:
        """Return the sum over all ways to rotate left by some of the steps or none of them."""
        for step in steps:
            turned = self.seal.Ciphertext()
            self.evaluator.rotate_vector(ciphertext, step, keys, turned)
            self.evaluator.add_inplace(turned, ciphertext)
            ciphertext = turned
        return ciphertext

    def element(self, step: int) -> int:
        """Return the Galois element of a rotation to the left: 3^step modulo 2N."""
        return pow(3, step, 2 * self.scheme.degree)

    def saved(self, thing: Any) -> bytes:
        """Return a key or ciphertext as bytes."""
        with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:  # readable by this user alone; SEAL writes to named files only
            path = Path(folder) / "x"
            thing.save(str(path))
            return path.read_bytes()

    def loaded(self, thing: Any, content: bytes, *, most: int, what: str) -> Any:
        """Return the empty key or ciphertext `thing`, filled with what another side sent. Raises InputError."""
        check_blob(content, most=most, what=what)
        with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
            path = Path(folder) / "x"
            path.write_bytes(content)
            try:
                thing.load(self.context, str(path))
            except (ValueError, RuntimeError, IndexError, MemoryError) as error:
                raise refused(what, str(error)) from None
        return thing

    def ciphertext(self, content: bytes, *, level: int, scale: float, what: str) -> Any:
        """Return the ciphertext of another side, of two polynomials at this level and scale. Raises InputError."""
        out = self.loaded(self.seal.Ciphertext(), content, most=self.scheme.ciphertext_bytes, what=what)
        if out.size() != 2 or list(out.parms_id()) != self.levels[level] or not out.is_ntt_form() or out.is_transparent():
            raise refused(what, "it is not of two polynomials at the level that was asked for")
        if not abs(out.scale - scale) <= 1e-9 * scale:
            raise refused(what, f"its scale is {out.scale:g}, not {scale:g}")
        return out


def check_blob(content: bytes, *, most: int, what: str) -> None:
    """Raise InputError unless the bytes are what SEAL saves, at most `most` of them."""
    if len(content) > most:
        raise refused(what, f"it has {len(content):,} bytes, at most {most:,} are read")
    if len(content) < SEAL_HEADER.size:
        raise refused(what, f"it has {len(content)} bytes, fewer than its header")
    magic, header, major, _, mode, _, size = SEAL_HEADER.unpack_from(content)
    if magic != SEAL_MAGIC or header != SEAL_HEADER.size or major != SEAL_MAJOR or size != len(content) or mode not in (PLAIN, ZSTD):
        raise refused(what, "its header is not that of SEAL 4, uncompressed or zstd, over the whole of it")


def refused(what: str, why: str) -> InputError:
    """Return the one kind of refusal of what another side sent."""
    return InputError(
        f"{what} is refused: {' '.join(why.split())[:120]}", do="send what this version's client makes, with keys of the same folder"
    )


def _levels(context: Any) -> list[list[int]]:
    """Return the name of each level's parameters, the fresh one first."""
    found, data = [], context.first_context_data()
    while data is not None:
        found.append(list(data.parms_id()))
        data = data.next_context_data()
    return found


def _seal() -> Any:
    try:
        import tenseal.sealapi as seal
    except ImportError:
        raise DependencyError("encrypted rows are computed with by TenSEAL", do="pip install tenseal") from None
    return seal
