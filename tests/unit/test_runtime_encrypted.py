"""Law: what is computed on ciphertexts is what is computed in the clear, by a side that can open none of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.encrypted_rows import ONE, TWO, circuit_of, weights_of, write_folder
from tests.unit.runtime_packages import encoder_of
from weighbridge.errors import InputError, PackageError
from weighbridge.runtime.circuit import CLIENT, SERVER, WEIGHTS, Circuit
from weighbridge.runtime.ckks import MOST_BITS, Scheme
from weighbridge.runtime.encrypted import EncryptedClient, EncryptedNetwork
from weighbridge.runtime.features import features_of, width_of

pytest.importorskip("tenseal", reason="encrypted rows need tenseal: pip install tenseal")

CIRCUITS = {
    "one map": circuit_of(features=7, hidden=0, outputs=3, along=4),
    "one output": circuit_of(features=2, hidden=0, outputs=1, along=1),
    "two maps": circuit_of(features=5, hidden=6, outputs=3, along=8),
    "every slot": circuit_of(features=64, hidden=64, outputs=10, along=64),
}


def test_the_table_of_the_standard_is_that_of_seal() -> None:
    import tenseal.sealapi as seal

    assert {degree: seal.CoeffModulus.MaxBitCount(degree, seal.SEC_LEVEL_TYPE.TC128) for degree in MOST_BITS} == MOST_BITS


@pytest.mark.parametrize(
    ("degree", "bits", "scale"),
    [(8192, (60, 60, 60, 60), 40), (2048, (27, 27), 20), (8192, (60, 60), 40), (8192, (40, 40, 40), 40), (8192, (61, 40, 60), 40)],
)
def test_parameters_that_are_not_safe_are_no_scheme(degree: int, bits: tuple[int, ...], scale: int) -> None:
    with pytest.raises(ValueError, match=r"degree|primes|scale"):
        Scheme(degree=degree, bits=bits, scale_bits=scale)


@pytest.mark.parametrize(
    ("features", "hidden", "outputs", "along"),
    [(5000, 0, 1, 1), (65, 64, 10, 64), (5, 9, 3, 8), (5, 6, 3, 7), (1, 4096, 2, 4096), (1, 0, 9, 8)],
)
def test_a_circuit_that_does_not_fit_its_slots_is_none(features: int, hidden: int, outputs: int, along: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        circuit_of(features, hidden, outputs, along)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "every slot" else name for name in CIRCUITS])
def test_encrypted_answers_are_those_in_the_clear(name: str, tmp_path: Path) -> None:
    circuit = CIRCUITS[name]
    weights = weights_of(circuit)
    client, server = write_folder(tmp_path, circuit, weights)
    secret, evaluation = client.make_keys()
    keys = server.keys(evaluation)
    rows = np.random.default_rng(1).normal(size=(2, circuit.features))
    found = np.array([client.decrypt(server.evaluate(client.encrypt(row, secret), keys), secret) for row in rows])
    expected = weights.plain(rows)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-3 * max(1.0, np.abs(expected).max())


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncryptedClient, EncryptedNetwork, bytes, bytes]:
    client, server = write_folder(tmp_path_factory.mktemp("encrypted"), CIRCUITS["two maps"], weights_of(CIRCUITS["two maps"]))
    return client, server, *client.make_keys()


def test_the_server_gets_no_secret_key_and_what_it_has_opens_nothing(
    sides: tuple[EncryptedClient, EncryptedNetwork, bytes, bytes],
) -> None:
    client, server, secret, evaluation = sides
    assert len(secret) > 100_000
    pieces = [secret[place : place + 64] for place in range(64, len(secret) - 64, len(secret) // 50)]
    assert not [piece for piece in pieces if piece in evaluation]
    held = [*vars(server).values(), *vars(server.ring).values(), *vars(server.keys(evaluation)).values()]
    seal = server.ring.seal
    assert not [one for one in held if isinstance(one, seal.SecretKey | seal.KeyGenerator | seal.Decryptor)]
    row = np.ones(5)
    answer = server.evaluate(client.encrypt(row, secret), server.keys(evaluation))
    right = client.decrypt(answer, secret)
    other = client.decrypt(answer, client.make_keys()[0])
    assert np.abs(right - weights_of(client.circuit).plain(row[None])[0]).max() < 1e-2
    assert np.abs(other - right).max() > 1e3, "another key gives noise over the whole modulus"


def test_an_answer_holds_nothing_but_the_outputs(sides: tuple[EncryptedClient, EncryptedNetwork, bytes, bytes]) -> None:
    """Partial sums in other slots would tell of the weights."""
    client, server, secret, evaluation = sides
    ring = client.ring
    answer = server.evaluate(client.encrypt(np.ones(5), secret), server.keys(evaluation))
    ciphertext = ring.ciphertext(answer, level=client.circuit.depth, scale=ring.scale, what="x")
    plain = ring.seal.Plaintext()
    key = ring.seal.SecretKey()
    ring.seal.Decryptor(ring.context, ring.loaded(key, secret, most=1 << 24, what="x")).decrypt(ciphertext, plain)
    slots = np.asarray(ring.encoder.decode_double(plain))
    others = np.delete(slots, client.circuit.answer_slots)
    assert np.abs(others).max() < 1e-3 < np.abs(slots).max()


def test_the_same_row_is_never_the_same_ciphertext(sides: tuple[EncryptedClient, EncryptedNetwork, bytes, bytes]) -> None:
    client, _, secret, _ = sides
    first, second = (client.encrypt(np.ones(5), secret) for _ in range(2))
    assert first != second
    assert len(first) <= client.circuit.scheme.ciphertext_bytes


def test_a_row_of_columns_is_checked_before_it_is_encrypted(tmp_path: Path) -> None:
    encoder, table = encoder_of(photos=False)
    blocks = [block for block in encoder.blocks if block.kind != "text"]
    if len(blocks) < len(encoder.blocks):
        with pytest.raises(ValueError, match="no features"):
            features_of(encoder.blocks, encoder.encode(table.columns))
    circuit = circuit_of(features=sum(map(width_of, blocks)), hidden=0, outputs=len(encoder.learnt.classes), along=4)
    client, _ = write_folder(tmp_path, circuit, weights_of(circuit))
    with pytest.raises(InputError, match="missing"):
        client.encrypt_row({}, b"")


def test_features_are_numbers_codes_and_parts_of_255() -> None:
    from weighbridge.preprocessing import Block

    number = Block(name="number", kind="number", shape=(2,), dtype="float32", columns=("a", "b"))
    category = Block(name="category", kind="category", shape=(2,), dtype="int32", columns=("c", "d"), cardinalities=(3, 2))
    image = Block(name="image.e", kind="image", shape=(1, 2, 1), dtype="uint8", columns=("e",))
    arrays = {"number": np.array([[0.5, -1.0]]), "category": np.array([[2, 0]]), "image.e": np.array([[[[255], [51]]]], dtype=np.uint8)}
    assert features_of([number, category, image], arrays).tolist() == [[0.5, -1.0, 0, 0, 1, 1, 0, 1.0, 0.2]]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (SERVER, {"format": 2}), (SERVER, {"circuit": {}}), (SERVER, {"weights_sha256": "0" * 64}), (CLIENT, {"package": {}}),
        (CLIENT, {"circuit": {**CIRCUITS["two maps"].to_json(), "hidden": 10**9}}),
        (CLIENT, {"circuit": {**CIRCUITS["two maps"].to_json(), "scheme": {"degree": 8192, "bits": [60] * 9, "scale_bits": 40}}}),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused(name: str, change: dict[str, object], tmp_path: Path) -> None:
    write_folder(tmp_path, CIRCUITS["two maps"], weights_of(CIRCUITS["two maps"]))
    about = json.loads((tmp_path / name).read_text(encoding="utf-8"))
    (tmp_path / name).write_text(json.dumps({**about, **change}), encoding="utf-8")
    with pytest.raises(PackageError):
        EncryptedNetwork.open(tmp_path) if name == SERVER else EncryptedClient.open(tmp_path / CLIENT)


def test_weights_of_another_circuit_are_refused(tmp_path: Path) -> None:
    from weighbridge.storage import sha256_bytes

    other, own = tmp_path / "other", tmp_path / "own"
    write_folder(other, CIRCUITS["one map"], weights_of(CIRCUITS["one map"]))
    write_folder(own, CIRCUITS["two maps"], weights_of(CIRCUITS["two maps"]))
    content = (other / WEIGHTS).read_bytes()
    (own / WEIGHTS).write_bytes(content)
    about = json.loads((own / SERVER).read_text(encoding="utf-8"))
    (own / SERVER).write_text(json.dumps({**about, "weights_sha256": sha256_bytes(content)}), encoding="utf-8")
    with pytest.raises(PackageError, match="weights of its circuit"):
        EncryptedNetwork.open(own)


def test_a_circuit_comes_back_from_its_json() -> None:
    for circuit in CIRCUITS.values():
        assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit
    assert (ONE.multiplications, TWO.multiplications) == (1, 4)


def test_the_runtime_needs_no_torch_for_it() -> None:
    import subprocess
    import sys

    program = (
        "import sys, weighbridge.runtime.encrypted; print(*(n for n in ('torch', 'tenseal', 'safetensors', 'scipy') if n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == ""
