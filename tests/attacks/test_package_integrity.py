"""A package that is not byte for byte what its manifest lists, or that could reach beyond itself, is refused before it is used."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.unit.runtime_packages import encoder_of, make_package, network
from weighbridge.errors import PackageError
from weighbridge.runtime import Model, resolve, verify, write_manifest
from weighbridge.runtime.graph import check_graph
from weighbridge.storage import canonical_json, read_json, sha256_json, write_json

FILES = ("model.onnx", "package.json", "golden.json", "card.md", "manifest.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    make_package(folder, photos=False)
    return folder


@pytest.fixture
def package(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "p"))


def test_an_untouched_package_is_loaded(package: Path) -> None:
    info = verify(package)
    assert (info.name, info.kind, info.classes) == ("tiny", "category", ("no", "yes"))
    assert info.package_sha256 == read_json(package / "manifest.json")["sha256"]
    Model.load(package)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_anywhere_is_refused_and_the_file_named(package: Path, name: str) -> None:
    content = (package / name).read_bytes()
    places = np.random.default_rng(0).choice(len(content), min(len(content), 120), replace=False)
    for place in [0, len(content) - 1, *places.tolist()]:
        for bit in (1, 32):
            bad = bytearray(content)
            bad[place] ^= bit
            (package / name).write_bytes(bytes(bad))
            with pytest.raises(PackageError, match=name.replace(".", r"\.")):
                verify(package)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_grown_or_gone_is_named(package: Path, name: str) -> None:
    content = (package / name).read_bytes()
    for bad in (content[:-1], content + b"\n", b""):
        (package / name).write_bytes(bad)
        with pytest.raises(PackageError, match=name.replace(".", r"\.")):
            verify(package)
    (package / name).unlink()
    with pytest.raises(PackageError, match=name.replace(".", r"\.")):
        verify(package)


@pytest.mark.parametrize("name", ["weights.bin", ".hidden", "model.onnx.data", "code.py", "manifest.json.bak", "Model.onnx"])
def test_an_extra_file_is_named_and_a_manifest_over_it_is_not_written(package: Path, name: str) -> None:
    (package / name).write_bytes(b"x")
    with pytest.raises(PackageError, match=name.replace(".", r"\.")):
        verify(package)
    with pytest.raises(PackageError, match=name.replace(".", r"\.")):
        write_manifest(package)


def _rewrite(package: Path, change: dict[str, object]) -> None:
    """Write a manifest that is consistent in itself, as an attacker would."""
    files = {**read_json(package / "manifest.json")["files"], **change}
    content = {"format": 1, "files": files, "sha256": sha256_json(files)}
    (package / "manifest.json").write_text(canonical_json(content) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["evil.bin", "../evil.bin", "/etc/passwd"])
def test_a_file_that_packages_do_not_hold_is_refused_even_when_listed(package: Path, name: str) -> None:
    (package / "evil.bin").write_bytes(b"x")
    (package.parent / "evil.bin").write_bytes(b"x")
    _rewrite(package, {name: {"sha256": "0" * 64, "size_bytes": 1}})
    with pytest.raises(PackageError):
        verify(package)


@pytest.mark.parametrize("kind", ["file", "folder", "inside", "dangling"])
def test_links_are_refused(package: Path, kind: str) -> None:
    target = package / "card.md"
    moved = shutil.move(target, package.parent / "card.md")
    places = {"file": Path(moved), "folder": package.parent, "inside": Path("package.json"), "dangling": Path("nowhere")}
    target.symlink_to(places[kind])
    with pytest.raises(PackageError, match=r"card\.md in .* is a link"):
        verify(package)


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in the file system of Windows")
def test_a_pipe_in_place_of_a_file_does_not_hang(package: Path) -> None:
    (package / "card.md").unlink()
    os.mkfifo(package / "card.md")
    with pytest.raises(PackageError, match="not a regular file"):
        verify(package)


def test_a_folder_in_place_of_a_file_is_refused(package: Path) -> None:
    (package / "card.md").unlink()
    (package / "card.md").mkdir()
    with pytest.raises(PackageError, match="a folder"):
        verify(package)


def test_no_package_and_half_a_package_are_one_line(tmp_path: Path, package: Path) -> None:
    for path in (tmp_path / "no", package / "model.onnx", tmp_path):
        with pytest.raises(PackageError):
            Model.load(path)


def _names() -> list[str]:
    """2,000 names that lead elsewhere or nowhere, from pieces that have done so before."""
    random = np.random.default_rng(0)
    fixed = ["", ".", "..", "...", "/", "\\", "C:", "C:model.onnx", "\\\\host\\share", "con", "NUL.json", "aux.onnx", "a\0b", "-", "a b"]
    fixed += ["a ", "a.", "~", "~/x", "model.onnx ", "model.onnx\n", "model.onnx:stream", "mödel.onnx", "model\u2024onnx", "model.onnx/"]
    fixed += ["./model.onnx", "a" * 300]
    climbs = ["..", "../..", "..\\", "%2e%2e", ".", "", "/", "//", "\\", "....//", "\u2025", "\uff0e\uff0e"]
    seps = ["/", "\\", "//", "/./", "\\/", "\u2215", "\uff0f", ":", "\0", "\r\n"]
    ends = ["etc/passwd", "model.onnx", "package.json", "x", "windows\\win.ini", ".ssh/id", "a.b.c"]
    while len(fixed) < 2000:
        steps = range(random.integers(1, 5))
        pieces = [climbs[random.integers(len(climbs))] + seps[random.integers(len(seps))] for _ in steps]
        fixed.append("".join(pieces) + ends[random.integers(len(ends))])
    return fixed


def test_2000_names_that_lead_elsewhere_are_refused(package: Path) -> None:
    names = _names()
    refused = 0
    for name in names:
        with pytest.raises(PackageError, match="is not a name"):
            resolve(package, name)
        refused += 1
    assert refused == len(names) == 2000
    assert resolve(package, "model.onnx") == package / "model.onnx"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"5", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}', b'{"format": NaN}',
        b'{"format": 1, "files": [], "sha256": ""}',
        b'{"format": 1, "files": {"model.onnx": {}}, "sha256": ""}', b'{"format": true, "files": {}, "sha256": ""}', b" " * (2 << 20),
        b'{"format": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_hostile_manifest_is_refused(package: Path, content: bytes) -> None:
    (package / "manifest.json").write_bytes(content)
    with pytest.raises(PackageError, match=r"manifest\.json"):
        verify(package)


def test_a_newer_format_is_said_to_be_newer(package: Path) -> None:
    manifest = read_json(package / "manifest.json")
    (package / "manifest.json").write_text(canonical_json({**manifest, "format": 3}) + "\n")
    with pytest.raises(PackageError, match=r"manifest\.json has format 3.*install a newer"):
        verify(package)
    about = read_json(package / "package.json")
    for change, line in (({"format": 7}, "format 7"), ({"encoder": {**about["encoder"], "format": 3}}, "format 3")):
        write_json(package / "package.json", {**about, **change})
        write_manifest(package)
        with pytest.raises(PackageError, match=line):
            Model.load(package)


@pytest.mark.parametrize("key", ["kind", "classes", "inputs", "encoder", "output"])
@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [5], ["no"], [{"name": "age", "type": "category"}], "gone"])
def test_a_package_that_contradicts_itself_is_refused(package: Path, key: str, value: object) -> None:
    about = read_json(package / "package.json")
    about[key] = value
    if value == "gone":
        del about[key]
    write_json(package / "package.json", about)
    write_manifest(package)
    with pytest.raises(PackageError):
        Model.load(package)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(tmp_path: Path, location: str) -> None:
    from onnx.external_data_helper import set_external_data

    encoder, _ = encoder_of(photos=False)
    model = network(encoder)
    set_external_data(model.graph.initializer[0], location)
    make_package(tmp_path / "p", photos=False, model=model)
    with pytest.raises(PackageError, match="external data"):
        Model.load(tmp_path / "p")


def test_external_weights_are_found_in_attributes_subgraphs_and_sparse_tensors() -> None:
    from onnx import TensorProto, helper, numpy_helper

    def hidden() -> TensorProto:
        tensor = numpy_helper.from_array(np.zeros(3, np.float32), "t")
        tensor.data_location = TensorProto.EXTERNAL
        return tensor

    sparse = helper.make_sparse_tensor(hidden(), numpy_helper.from_array(np.zeros(3, np.int64)), [3])
    constant = helper.make_node("Constant", [], ["c"], value=hidden())
    branch = helper.make_graph([constant], "branch", [], [])
    nodes = [
        constant,
        helper.make_node("If", ["x"], ["y"], then_branch=branch),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse),
    ]
    for node in nodes:
        model = helper.make_model(helper.make_graph([node], "g", [], []))
        with pytest.raises(PackageError, match="external data"):
            check_graph(model.SerializeToString())
    held = helper.make_model(helper.make_graph([], "g", [], [], sparse_initializer=[sparse]))
    with pytest.raises(PackageError, match="external data"):
        check_graph(held.SerializeToString())


@pytest.mark.parametrize("domain", ["evil.ops", "com.microsoft", "ai.onnx.contrib"])
def test_custom_operators_are_refused(tmp_path: Path, domain: str) -> None:
    from onnx import helper

    encoder, _ = encoder_of(photos=False)
    model = network(encoder, nodes=[helper.make_node("PyOp", ["number"], ["unused"], domain=domain)], domains=("", domain))
    make_package(tmp_path / "p", photos=False, model=model)
    with pytest.raises(PackageError, match=f"'PyOp' of the domain '{domain}'"):
        Model.load(tmp_path / "p")


def test_a_model_for_other_columns_is_refused(tmp_path: Path, package: Path) -> None:
    other, _ = encoder_of("set")
    (package / "model.onnx").write_bytes(network(other).SerializeToString())
    write_manifest(package)
    with pytest.raises(PackageError, match="its encoder gives"):
        Model.load(package)


def test_mutated_models_are_refused_or_run_and_nothing_else(package: Path) -> None:
    random = np.random.default_rng(0)
    content = (package / "model.onnx").read_bytes()
    refused = 0
    for _ in range(150):
        bad = bytearray(content)
        for _ in range(int(random.integers(1, 4))):
            bad[int(random.integers(0, len(bad)))] = int(random.integers(0, 256))
        (package / "model.onnx").write_bytes(bytes(bad))
        write_manifest(package)
        try:
            Model.load(package, threads=1).check_golden(tolerance=np.inf)
        except PackageError:
            refused += 1
    assert refused > 50


def test_golden_rows_that_do_not_fit_are_refused(package: Path) -> None:
    golden = read_json(package / "golden.json")
    for bad in (
        {},
        {"columns": 5, "outputs": []},
        {**golden, "outputs": [["x"]]},
        {**golden, "outputs": [1]},
        {"columns": {"age": ["x"]}, "outputs": []},
    ):
        write_json(package / "golden.json", bad)
        write_manifest(package)
        with pytest.raises(PackageError, match=r"golden\.json"):
            Model.load(package).check_golden()


def test_json_of_a_package_is_plain_json(whole: Path) -> None:
    for name in ("package.json", "golden.json", "manifest.json"):
        json.dumps(read_json(whole / name), allow_nan=False)
