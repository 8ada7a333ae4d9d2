"""Law: bytes that are no ciphertext or key of this side's parameters are refused in a line, before they cost memory, and crash nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.encrypted_rows import circuit_of, weights_of, write_folder
from weighbridge.errors import InputError
from weighbridge.runtime.ckks import PLAIN, SEAL_HEADER, SEAL_MAGIC, ZSTD, check_blob
from weighbridge.runtime.encrypted import KEYS_HEADER, KEYS_MAGIC, EncryptedClient, EncryptedNetwork

pytest.importorskip("tenseal", reason="encrypted rows need tenseal: pip install tenseal")

Sides = tuple[EncryptedClient, EncryptedNetwork, bytes, bytes]
FLIPS = 1_000
MINOR, ZSTD_MAGIC = 3, 0xFD2FB528  # of the SEAL that TenSEAL 0.3.18 brings


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    circuit = circuit_of(features=5, hidden=6, outputs=3, along=8)
    client, server = write_folder(tmp_path_factory.mktemp("encrypted"), circuit, weights_of(circuit))
    return client, server, *client.make_keys()


def blob(body: bytes, mode: int) -> bytes:
    return SEAL_HEADER.pack(SEAL_MAGIC, SEAL_HEADER.size, 4, MINOR, mode, 0, SEAL_HEADER.size + len(body)) + body


def bomb(blocks: int) -> bytes:
    """Return a zstd frame (RFC 8878) of `blocks` blocks that each repeat one byte 128 KiB times."""
    block, last = (((flag | 1 << 1 | (128 << 10) << 3).to_bytes(3, "little") + b"\0") for flag in (0, 1))
    return ZSTD_MAGIC.to_bytes(4, "little") + b"\x00\x58" + block * (blocks - 1) + last


HUGE = {
    "a bomb of 5 GB": lambda _: blob(bomb(40_000), ZSTD),
    "sizes beyond any": lambda good: blob(good[:32] + b"\x01" + (b"\xff" * 7 + b"\x3f") * 3 + bytes(1000), PLAIN),
    "a list of 2^40 keys": lambda _: blob(bytes(32) + (1 << 40).to_bytes(8, "little") + bytes(1000), PLAIN),
}
PROGRAM = """
import pathlib, sys
from weighbridge.errors import InputError
from weighbridge.runtime.circuit import Circuit
from weighbridge.runtime.encrypted import EncryptedNetwork
folder = pathlib.Path(sys.argv[1])
server = EncryptedNetwork.open(folder)
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
content, before, refused = (folder / "hostile").read_bytes(), peak(), 0
ring = server.ring
for thing in (ring.seal.Ciphertext(), ring.seal.GaloisKeys(), ring.seal.RelinKeys()):
    try:
        ring.loaded(thing, content, most=1 << 30, what="it")
    except InputError:
        refused += 1
print(refused, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_what_asks_for_gigabytes_is_refused_and_gets_none(name: str, sides: Sides, tmp_path: Path) -> None:
    client, _, secret, _ = sides
    write_folder(tmp_path, client.circuit, weights_of(client.circuit))
    (tmp_path / "hostile").write_bytes(HUGE[name](client.encrypt(np.ones(5), secret)))
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    refused, grown_kb = map(int, done.stdout.split())
    assert refused == 3
    assert grown_kb < 64_000


@pytest.mark.slow
def test_changed_bytes_are_refused_or_give_noise_and_crash_nothing(sides: Sides, record: Callable[..., None]) -> None:
    client, server, secret, _ = sides
    good, random = client.encrypt(np.ones(5), secret), np.random.default_rng(0)
    taken = refused = 0
    for trial in range(FLIPS):
        content = bytearray(good)
        place = trial if trial < 64 else int(random.integers(len(good)))  # all of the header and of the frame's head
        content[place] ^= 1 << int(random.integers(8))
        try:
            server.ring.ciphertext(bytes(content), level=0, scale=server.ring.scale, what="the encrypted row")
            taken += 1
        except InputError:
            refused += 1
    assert refused > 30
    record("ciphertexts", taken + refused, n=FLIPS)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 100, 5_000, -1])
def test_a_part_of_a_ciphertext_is_refused(sides: Sides, length: int) -> None:
    client, server, secret, evaluation = sides
    with pytest.raises(InputError, match="the encrypted row is refused"):
        server.evaluate(client.encrypt(np.ones(5), secret)[:length], server.keys(evaluation))


def test_more_than_a_ciphertext_is_refused(sides: Sides) -> None:
    client, server, secret, evaluation = sides
    keys, good = server.keys(evaluation), client.encrypt(np.ones(5), secret)
    for content in (good + b"x", good + good, b"\0" * (client.circuit.scheme.ciphertext_bytes + 1)):
        with pytest.raises(InputError):
            server.evaluate(content, keys)


@pytest.mark.slow
def test_what_is_something_else_is_refused(sides: Sides, tmp_path: Path) -> None:
    """A secret key, evaluation keys, an answer in a row's place, a row of other parameters."""
    client, server, secret, evaluation = sides
    keys = server.keys(evaluation)
    answer = server.evaluate(client.encrypt(np.ones(5), secret), keys)
    other, _ = write_folder(tmp_path / "a", circuit_of(5, 0, 3, 4), weights_of(circuit_of(5, 0, 3, 4)))
    for content in (secret, evaluation[KEYS_HEADER.size :], answer, other.encrypt(np.ones(5), other.make_keys()[0])):
        with pytest.raises(InputError):
            server.evaluate(content, keys)
    with pytest.raises(InputError):
        client.decrypt(client.encrypt(np.ones(5), secret), secret)


@pytest.mark.slow
def test_keys_of_other_parameters_or_too_few_rotations_are_refused(sides: Sides, tmp_path: Path) -> None:
    client, server, _, evaluation = sides
    narrow = replace(client.circuit, along=16)
    wide, _ = write_folder(tmp_path / "a", narrow, weights_of(narrow))
    assert server.keys(wide.make_keys()[1]), "all rotations by powers of two are there whatever the table's form"
    one = circuit_of(5, 0, 3, 4)
    linear, linear_server = write_folder(tmp_path / "b", one, weights_of(one))
    for content in (linear.make_keys()[1], b"", evaluation[:-1], evaluation + b"x", KEYS_HEADER.pack(KEYS_MAGIC, 0, 0), b"x" * 100):
        with pytest.raises(InputError, match="key is refused"):
            server.keys(content)
    with pytest.raises(InputError):
        linear_server.keys(evaluation)
    first, second = KEYS_HEADER.unpack_from(evaluation)[1:]
    body = evaluation[KEYS_HEADER.size :]
    with pytest.raises(InputError, match="a rotation that this folder needs is missing"):
        server.keys(KEYS_HEADER.pack(KEYS_MAGIC, first, first) + body[:first] * 2)
    assert second


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_but_those_with_a_whole_header_reach_native_code(content: bytes, headed: bool) -> None:
    framed = SEAL_HEADER.pack(SEAL_MAGIC, SEAL_HEADER.size, 4, MINOR, PLAIN, 0, 1 + SEAL_HEADER.size + len(content)) + content
    with pytest.raises(InputError):
        check_blob(framed if headed else content, most=1 << 20, what="x")
