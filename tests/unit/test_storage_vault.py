"""Law: what a vault sealed comes back whole with the right key in its own place, and in no other way; a key is never said."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import VaultError
from weighbridge.storage import vault as vaults
from weighbridge.storage.vault import HEADER_BYTES, OVERHEAD_BYTES, Vault
from weighbridge.storage.vault_keys import add_key, open_vault

KEY, OTHER = bytes(range(32)), bytes(range(100, 132))
VAULT = Vault([KEY])


def text(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in keys)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_sealed_comes_back_whole(plaintext: bytes, context: bytes) -> None:
    sealed = VAULT.seal(plaintext, context)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert Vault([KEY]).open(sealed, context) == plaintext, "another process, which holds the same key, opens it"


def test_a_flipped_bit_at_any_place_is_refused(record: Callable[..., None]) -> None:
    sealed = VAULT.seal(b'{"age": 39, "income": ">50K"}', b"predictions/7/inputs")
    refused = 0
    for at in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(VaultError):
            VAULT.open(bytes(changed), b"predictions/7/inputs")
        refused += 1
    record("vault.flipped", refused, n=len(sealed) * 8)


def test_a_cut_at_any_place_is_refused() -> None:
    sealed = VAULT.seal(b"39", b"row 7")
    for end in range(len(sealed)):
        with pytest.raises(VaultError):
            VAULT.open(sealed[:end], b"row 7")


def test_a_value_that_was_moved_to_another_row_is_refused() -> None:
    sealed = [VAULT.seal(b"39", f"row {row}".encode()) for row in range(20)]
    for at, value in enumerate(sealed):
        for row in range(20):
            if row == at:
                assert VAULT.open(value, f"row {row}".encode()) == b"39"
            else:
                with pytest.raises(VaultError, match="stands where it was not sealed"):
                    VAULT.open(value, f"row {row}".encode())


def test_no_byte_moves_between_the_context_and_the_header() -> None:
    sealed = VAULT.seal(b"", b"ab")
    with pytest.raises(VaultError):
        VAULT.open(sealed + b"a", b"b")


def test_another_key_opens_nothing_and_is_named_by_its_id() -> None:
    sealed = VAULT.seal(b"39", b"")
    with pytest.raises(VaultError, match=VAULT.newest):
        Vault([OTHER]).open(sealed, b"")
    forged = sealed.replace(bytes.fromhex(VAULT.newest), bytes.fromhex(Vault([OTHER]).newest))
    with pytest.raises(VaultError, match="was changed"):
        Vault([OTHER]).open(forged, b"")


def test_equal_values_are_sealed_differently() -> None:
    assert len({VAULT.seal(b"39", b"row 7") for _ in range(1000)}) == 1000
    nonces = {VAULT.seal(b"39", b"row 7")[HEADER_BYTES - 12 : HEADER_BYTES] for _ in range(1000)}
    assert len(nonces) == 1000


def test_the_newest_key_seals_and_the_older_ones_still_open() -> None:
    old = VAULT.seal(b"39", b"row 7")
    both = Vault([OTHER, KEY])
    assert both.stale(old)
    fresh = both.reseal(old, b"row 7")
    assert not both.stale(fresh)
    assert both.reseal(fresh, b"row 7") == fresh
    assert Vault([OTHER]).open(fresh, b"row 7") == both.open(old, b"row 7") == b"39"


def test_what_is_damaged_is_not_resealed() -> None:
    fresh = VAULT.seal(b"39", b"row 7")
    for sealed in (fresh[:-1] + bytes([fresh[-1] ^ 1]), b"39", b""):
        with pytest.raises(VaultError):
            VAULT.reseal(sealed, b"row 7")


def test_a_subkey_seals_no_more_values_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "MESSAGES_A_SUBKEY", 10)
    vault = Vault([KEY])
    sealed = [vault.seal(b"39", b"") for _ in range(35)]
    salts = [value[11:27] for value in sealed]
    assert [salts.count(salt) for salt in dict.fromkeys(salts)] == [10, 10, 10, 5]
    assert all(vault.open(value, b"") == b"39" for value in sealed)
    assert vaults.MESSAGES_A_SUBKEY * 16 <= 2**32


def test_two_vaults_of_one_key_never_share_a_subkey() -> None:
    assert len({Vault([KEY]).seal(b"", b"")[11:27] for _ in range(100)}) == 100


def test_many_threads_may_seal_at_once() -> None:
    vault = Vault([KEY])
    with ThreadPoolExecutor(8) as pool:
        sealed = list(pool.map(lambda at: vault.seal(str(at).encode(), b""), range(500)))
    assert [vault.open(value, b"") for value in sealed] == [str(at).encode() for at in range(500)]


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, b"short"], [KEY, KEY], [KEY + b"x"]], ids=range(5))
def test_keys_that_do_not_fit_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(VaultError):
        Vault(keys)


def test_a_vault_does_not_show_its_keys() -> None:
    shown = repr(VAULT) + str(VAULT)
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown


def test_a_key_file_is_made_for_its_owner_alone_and_grows_on_top(tmp_path: Path) -> None:
    path = tmp_path / "vault.key"
    first = add_key(path)
    sealed = first.seal(b"39", b"")
    assert path.stat().st_mode & 0o777 == 0o600
    second = add_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert second.newest != first.newest
    for source in (str(path), f"file:{path}"):
        assert open_vault(source).newest == second.newest
        assert open_vault(source).open(sealed, b"") == b"39"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o660, 0o777])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "vault.key"
    add_key(path)
    path.chmod(mode)
    with pytest.raises(VaultError, match=r"others may read.*chmod 600"):
        open_vault(str(path))


def test_keys_come_from_the_environment() -> None:
    environment = {"WEIGHBRIDGE_KEY": text(KEY), "MINE": f"{text(OTHER)} {text(KEY)}"}
    assert open_vault("env", environment=environment).newest == VAULT.newest
    assert open_vault("env:MINE", environment=environment).newest == Vault([OTHER]).newest


def kms(tmp_path: Path, program: str) -> str:
    path = tmp_path / "unwrap.py"
    path.write_text(program)
    return f"kms:{sys.executable} {path} a;touch b $(touch c)"


def test_keys_come_from_a_command_that_no_shell_reads(tmp_path: Path) -> None:
    program = (
        "import os, sys; assert sys.argv[1:] == ['a;touch', 'b', '$(touch', 'c)'], sys.argv\n"
        f"assert 'WEIGHBRIDGE_KEY' not in os.environ; print({text(KEY)!r})"
    )
    environment = {**os.environ, "WEIGHBRIDGE_KEY": "secret"}
    assert open_vault(kms(tmp_path, program), environment=environment).newest == VAULT.newest
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('CANARY', file=sys.stderr); sys.exit(3)", "exit code 3"),
        ("import time; time.sleep(30)", "gave no key in 0.3 s"),
        ("print('CANARY')", "not base64"),
        ("print('CANA')", "has 3 bytes"),
        ("print('')", "holds no key"),
        ("print('CANARY' * 100_000)", "holds no keys in base64"),
    ],
)
def test_a_command_that_fails_is_named_without_what_it_printed(tmp_path: Path, program: str, said: str) -> None:
    with pytest.raises(VaultError, match=said) as caught:
        open_vault(kms(tmp_path, program), timeout_s=0.3 if "sleep" in program else 30)
    assert "CANA" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere/vault.key", "No such file"),
        ("fil:vault.key", "did you mean 'file'"),
        ("env:NOT_SET", "NOT_SET holds no key"),
        ("kms:", "needs a program"),
        ("kms:no-such-program-here", "no-such-program-here"),
        ("kms:'open", "open quote"),
        ("", "can not be read"),
    ],
)
def test_a_source_that_gives_no_key_says_so_in_one_line(source: str, said: str) -> None:
    with pytest.raises(VaultError, match=said) as caught:
        open_vault(source, environment={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [bytes(32), b"x" * 32, b"ab" * 16])
def test_a_key_that_someone_made_up_is_refused(key: bytes) -> None:
    with pytest.raises(VaultError, match="not random"):
        open_vault("env", environment={"WEIGHBRIDGE_KEY": text(key)})


def test_no_error_of_a_source_holds_a_part_of_the_key() -> None:
    for bad in (text(KEY)[:-1], text(KEY)[:-4], text(KEY) + " AAAA", "é" + text(KEY), text(KEY, KEY)):
        with pytest.raises(VaultError) as caught:
            open_vault("env", environment={"WEIGHBRIDGE_KEY": bad})
        assert text(KEY)[:8] not in str(caught.value)
