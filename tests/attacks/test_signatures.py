"""A signature that does not verify is refused whoever is trusted; where keys are trusted, nothing that none of them signed is loaded."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

import weighbridge
from tests.unit.runtime_packages import make_package
from weighbridge.deployment.signing import make_key, read_private_key, sign_package
from weighbridge.errors import PackageError, UsageError
from weighbridge.runtime import Model, verify, write_manifest
from weighbridge.runtime.package import MANIFEST
from weighbridge.runtime.signature import FILE, key_of_pem, pem_of_key, read_keys, signature_json, statement
from weighbridge.storage import canonical_json, read_json, sha256_bytes, write_json

Folder = Path
FILES = ("model.onnx", "package.json", "golden.json", "card.md", MANIFEST, FILE)
MAKER, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))
MAKERS, STRANGERS = (key.public_key().public_bytes_raw() for key in (MAKER, STRANGER))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A package that its maker signed."""
    folder = tmp_path_factory.mktemp("signed") / "tiny"
    make_package(folder, photos=False)
    sign_package(folder, MAKER)
    return folder


@pytest.fixture
def package(whole: Folder, tmp_path: Path) -> Folder:
    return Path(shutil.copytree(whole, tmp_path / "p"))


def packed(folder: Folder) -> Path:
    """Return a .zip of the package."""
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.iterdir()):
            archive.write(one, f"tiny/{one.name}")
    return path


FORMS: list[Callable[[Folder], Path]] = [lambda folder: folder, packed]


@pytest.mark.parametrize("form", FORMS, ids=["folder", "zip"])
def test_a_signed_package_says_whose_it_is_and_loads_for_who_trusts_the_key(package: Folder, form: Callable[[Folder], Path]) -> None:
    place = form(package)
    by_anyone, by_trust = Model.load(place).info.signature, weighbridge.load(place, trust=[STRANGERS, MAKERS]).info.signature
    name = sha256_bytes(MAKERS)[:32]
    assert str(by_anyone) == f"signed by {name}, not on a trust list"
    assert str(by_trust) == f"signed by {name}"
    Model.load(place, trust=[MAKERS]).check_golden()


def test_trust_takes_files_of_public_keys(package: Folder, tmp_path: Path) -> None:
    (tmp_path / "maker.pem").write_text(pem_of_key(MAKERS))
    (tmp_path / "other.pem").write_text(pem_of_key(STRANGERS))
    assert verify(package, trust=[tmp_path / "other.pem", str(tmp_path / "maker.pem")]).signature is not None
    with pytest.raises(PackageError, match="a key that is not trusted here"):
        verify(package, trust=[tmp_path / "other.pem"])


@pytest.mark.parametrize("trust", [None, [MAKERS]], ids=["anyone", "trusted"])
@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_anywhere_is_refused_and_the_file_named(package: Folder, name: str, trust: list[bytes] | None) -> None:
    content = (package / name).read_bytes()
    places = np.random.default_rng(0).choice(len(content), min(len(content), 30), replace=False)
    for place in sorted({0, len(content) - 1, *places.tolist()}):
        bad = bytearray(content)
        bad[place] ^= 1 + 31 * (place % 2)
        (package / name).write_bytes(bytes(bad))
        with pytest.raises(PackageError) as refused:
            verify(package, trust=trust)
        foreign = name == FILE and "not trusted here" in str(refused.value)  # another key was spelt
        assert name in str(refused.value) or foreign


@pytest.mark.parametrize("name", FILES[:4])
def test_a_consistent_manifest_over_a_changed_file_does_not_carry_the_old_signature(package: Folder, name: str) -> None:
    (package / name).write_bytes((package / name).read_bytes() + b" ")
    write_manifest(package)
    with pytest.raises(PackageError, match=r"signature\.json of .* does not sign its manifest\.json"):
        verify(package)
    (package / FILE).unlink()
    assert verify(package).signature is None  # an unsigned package, as anyone can make one
    with pytest.raises(PackageError, match="is not signed"):
        verify(package, trust=[MAKERS])


def test_the_signature_of_another_package_is_refused(package: Folder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_package(other, "number", photos=False)
    sign_package(other, MAKER)
    shutil.copy(other / FILE, package / FILE)
    for trust in (None, [MAKERS]):
        with pytest.raises(PackageError, match=r"signature\.json of .* belongs to another package"):
            verify(package, trust=trust)


@pytest.mark.parametrize("form", FORMS, ids=["folder", "zip"])
def test_a_stripped_signature_and_a_strangers_are_refused_where_keys_are_trusted(package: Folder, form: Callable[[Folder], Path]) -> None:
    (package / FILE).unlink()
    with pytest.raises(PackageError, match=r"is not signed \(signature\.json is missing\)"):
        verify(form(package), trust=[MAKERS])
    sign_package(package, STRANGER)
    with pytest.raises(PackageError, match="a key that is not trusted here"):
        verify(form(package), trust=[MAKERS])
    with pytest.raises(PackageError, match="no key is trusted"):
        verify(form(package), trust=[])


def test_a_key_put_in_place_of_the_makers_does_not_verify(package: Folder) -> None:
    signature = base64.b64decode(read_json(package / FILE)["signature"])
    for key in (STRANGERS, bytes(32), b"\x01" + bytes(31), b"\xff" * 32):
        (package / FILE).write_text(signature_json(key, signature))
        with pytest.raises(PackageError, match=r"signature\.json of .* does not sign"):
            verify(package)
        with pytest.raises(PackageError, match="a key that is not trusted here"):
            verify(package, trust=[MAKERS])


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "none"}, {"algorithm": "ed25519"}, {"algorithm": "HS256"}, {"algorithm": "Ed25519ph"}, {"algorithm": None},
        {"algorithm": ["Ed25519"]},
        {"format": 2}, {"format": 0}, {"format": True}, {"format": "1"}, {"signature": ""}, {"signature": None}, {"public_key": ""},
        {"public_key": [1]}, {"further": 1}, {"signature": "A" * 86 + "=="}, {"signature": "A" * 5000}, {"alg": "Ed25519"},
    ],
    ids=str,
)  # fmt: skip
def test_another_algorithm_form_or_format_is_refused(package: Folder, change: dict[str, object]) -> None:
    content = {**read_json(package / FILE), **change}
    (package / FILE).write_text(canonical_json(content) + "\n")
    for trust in (None, [MAKERS]):
        with pytest.raises(PackageError, match=r"signature\.json"):
            verify(package, trust=trust)


def test_a_signature_made_with_another_algorithm_or_for_another_purpose_is_refused(package: Folder) -> None:
    manifest = (package / MANIFEST).read_bytes()
    other_purposes = [manifest, sha256_bytes(manifest).encode(), statement(manifest)[:-1], statement(manifest).replace(b"package", b"card")]
    for message in other_purposes:
        (package / FILE).write_text(signature_json(MAKERS, MAKER.sign(message)))
        with pytest.raises(PackageError, match="does not sign"):
            verify(package, trust=[MAKERS])
    longer = ed448.Ed448PrivateKey.generate()
    (package / FILE).write_text(signature_json(longer.public_key().public_bytes_raw(), longer.sign(statement(manifest))))
    with pytest.raises(PackageError, match="the form of a signature"):
        verify(package)


def test_base64_has_one_spelling(package: Folder) -> None:
    text = (package / FILE).read_text()
    last = read_json(package / FILE)["signature"][-3]  # carries two bits that decoding drops
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for other in letters[letters.index(last) // 16 * 16 :][:16]:
        spelt = text.replace(f'{last}=="}}', f'{other}=="}}')
        (package / FILE).write_text(spelt)
        if other != last:
            with pytest.raises(PackageError, match=r"signature\.json"):
                verify(package)


def test_files_beside_the_signed_ones_are_refused(package: Folder) -> None:
    for name in ("signature.json.bak", "signature2.json", "extra.bin", "SIGNATURE.JSON"):
        (package / name).write_bytes(b"{}")
        with pytest.raises(PackageError, match=name.replace(".", r"\.")):
            verify(package, trust=[MAKERS])
        (package / name).unlink()


def test_a_signature_that_the_manifest_lists_is_refused(package: Folder) -> None:
    files = {**read_json(package / MANIFEST)["files"], FILE: {"sha256": "0" * 64, "size_bytes": 1}}
    content = {"files": files, "format": 1, "sha256": sha256_bytes(canonical_json(files).encode())}
    manifest = (canonical_json(content) + "\n").encode()
    (package / MANIFEST).write_bytes(manifest)
    (package / FILE).write_text(signature_json(MAKERS, MAKER.sign(statement(manifest))))
    with pytest.raises(PackageError, match=r"signature\.json"):
        verify(package, trust=[MAKERS])


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_or_a_pipe_in_place_of_the_signature_is_refused(package: Folder) -> None:
    shutil.move(package / FILE, package.parent / "s.json")
    (package / FILE).symlink_to(package.parent / "s.json")
    with pytest.raises(PackageError, match=r"signature\.json in .* is a link"):
        verify(package)
    (package / FILE).unlink()
    os.mkfifo(package / FILE)
    with pytest.raises(PackageError, match="not a regular file"):
        verify(package)


def test_nothing_of_a_package_is_parsed_before_its_signature_was_verified(package: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / MANIFEST).write_bytes(b"[" * 100_000)
    with pytest.raises(PackageError, match="does not sign"):
        verify(package)
    sign_package_by_hand(package, STRANGER)
    with pytest.raises(PackageError, match="not trusted"):
        verify(package, trust=[MAKERS])
    with pytest.raises(PackageError, match="not valid JSON"):
        verify(package)


def sign_package_by_hand(package: Folder, key: Ed25519PrivateKey) -> None:
    """`package` bears a signature of whatever its manifest.json holds."""
    content = signature_json(key.public_key().public_bytes_raw(), key.sign(statement((package / MANIFEST).read_bytes())))
    (package / FILE).write_text(content)


def test_an_unsigned_package_needs_no_library_and_a_signed_one_is_refused_without_it(package: Folder) -> None:
    program = "import sys; sys.modules['cryptography'] = None\nfrom pathlib import Path\nfrom weighbridge.runtime import verify"
    asked = [sys.executable, "-c", f"{program}\nverify(Path(sys.argv[1]))", str(package)]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "signatures are verified by cryptography: pip install cryptography" in refused.stderr
    (package / FILE).unlink()
    assert subprocess.run(asked, capture_output=True, text=True, check=False).returncode == 0


def test_what_is_damaged_is_not_signed_and_what_stood_there_is_left(package: Folder) -> None:
    before = (package / FILE).read_bytes()
    (package / "card.md").write_text("# other\n")
    with pytest.raises(PackageError, match=r"card\.md"):
        sign_package(package, STRANGER)
    assert (package / FILE).read_bytes() == before
    write_manifest(package)
    now, replaced = sign_package(package, STRANGER)  # the maker's no longer verified
    assert replaced is None
    assert verify(package, trust=[STRANGERS]).signature == now
    assert sign_package(package, MAKER)[1] is not None


def test_a_zip_is_signed_in_place_and_again(package: Folder) -> None:
    (package / FILE).unlink()
    path = packed(package)
    for key in (MAKER, STRANGER, MAKER):
        sign_package(path, key)
        info = verify(path, trust=[key.public_key().public_bytes_raw()])
        assert info.package_sha256 == verify(package).package_sha256
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted(f"tiny/{one}" for one in (*(p.name for p in package.iterdir()), FILE))


def test_a_new_private_key_is_its_owners_alone_and_no_key_is_overwritten(tmp_path: Path) -> None:
    pair = make_key(tmp_path / "maker")
    assert os.name == "nt" or stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    key = read_private_key(pair.private)
    assert read_keys([pair.public]) == {key.public_key().public_bytes_raw()}
    content = pair.private.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        make_key(tmp_path / "maker")
    assert pair.private.read_bytes() == content
    pair.private.unlink()
    with pytest.raises(UsageError, match=r"maker\.public\.pem exists"):
        make_key(tmp_path / "maker")


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_private_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    pair = make_key(tmp_path / "maker")
    pair.private.chmod(0o640)
    with pytest.raises(UsageError, match=r"read by others.*chmod 600"):
        read_private_key(pair.private)


def pem(key: object, password: bytes | None = None) -> bytes:
    """Return a private key as PEM."""
    sealed = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "hold a private key"), (b"x" * 100_000, "hold a private key"), (pem(MAKER)[:60], "hold a private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "another kind"), (pem(rsa.generate_private_key(65537, 2048)), "another kind"),
        (pem(ed448.Ed448PrivateKey.generate()), "another kind"), (pem(MAKER, b"secret"), "is encrypted"),
        (pem_of_key(MAKERS).encode(), "hold a private key"),
    ],
    ids=["empty", "long", "cut", "ec", "rsa", "ed448", "encrypted", "public"],
)  # fmt: skip
def test_what_is_no_private_key_for_signing_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match=line) as refused:
        read_private_key(path)
    assert content == b"" or content.decode()[30:60] not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", pem(MAKER).decode(), pem_of_key(MAKERS)[:-30], pem_of_key(MAKERS) * 2,
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        pem_of_key(MAKERS[:31]), pem_of_key(MAKERS + b"x"),
    ],
    ids=["empty", "letter", "private", "cut", "two", "ec", "short", "long"],
)  # fmt: skip
def test_what_is_no_public_key_is_one_line_and_trusts_nobody(package: Folder, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pem").write_text(text)
    with pytest.raises(UsageError, match=r"key\.pem"):
        verify(package, trust=[tmp_path / "key.pem"])
    with pytest.raises(UsageError):
        read_keys([tmp_path / "missing.pem"])
    with pytest.raises(UsageError):
        read_keys([MAKERS[:31]])


def test_a_public_key_is_what_the_library_writes(tmp_path: Path) -> None:
    written = MAKER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert written == pem_of_key(MAKERS)
    assert key_of_pem(written, "key.pem") == MAKERS


def test_the_json_of_a_signature_is_plain(package: Folder) -> None:
    json.dumps(read_json(package / FILE), allow_nan=False)
    write_json(package / FILE, read_json(package / FILE))  # the same values in another spelling
    with pytest.raises(PackageError, match="the form of a signature"):
        verify(package)
