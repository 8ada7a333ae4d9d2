"""Law: the house keeps its shape. What these tests forbid can not come back; each one that reads code also finds a planted case."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import weighbridge
from weighbridge.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "weighbridge"
MODULES = sorted(PACKAGE.rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

MOST_LINES, MOST_FUNCTION_LINES = 400, 60
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "manager", "base", "misc"}
CODE_LOADERS = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
CODE_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "os.system", "os.popen"}
CODE_BUILTINS = {"eval", "exec", "compile", "__import__"}
HEAVY = ("torch", "pandas", "pyarrow", "sklearn", "scipy", "matplotlib", "pydantic")
LIGHT_MODULES = tuple("errors storage findings data preprocessing evaluation runtime feedback serving report lifecycle cli".split())


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of a name or attribute, or an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def imported(node: ast.AST) -> list[str]:
    """Return the dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def code_paths(source: str) -> Iterator[str]:
    """Give each way in which `source` could run code that comes with a file."""
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            if name.split(".")[0] in CODE_LOADERS or name in CODE_CALLS:
                yield f"line {node.lineno}: imports {name}"
        if isinstance(node, ast.Attribute) and dotted(node) in CODE_CALLS:
            yield f"line {node.lineno}: {dotted(node)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CODE_BUILTINS:
            yield f"line {node.lineno}: {node.func.id}()"
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle", "shell") and not _is_false(node.value):
            yield f"line {node.value.lineno}: {node.arg}="


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def broad_excepts(source: str) -> Iterator[int]:
    """Give the line of each bare `except`, `except Exception` and `except BaseException`, alone or in a tuple."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in kinds):
                yield node.lineno


def long_functions(source: str) -> Iterator[str]:
    """Give each function of more than the allowed lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                yield f"{node.name} has {lines} lines"


def over_package(check: object) -> list[str]:
    """Return what a check finds in the package, with the file's name."""
    assert callable(check)
    return [f"{path.relative_to(ROOT)}: {found}" for path in MODULES for found in check(path.read_text(encoding="utf-8"))]


def test_no_file_of_the_package_can_run_code_that_comes_with_a_file() -> None:
    assert over_package(code_paths) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "load = yaml.unsafe_load",
        "eval('1')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "np.load('x', allow_pickle=flag)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_a_planted_path_to_foreign_code_is_found(planted: str) -> None:
    assert list(code_paths(planted))


def test_what_only_looks_like_a_path_to_foreign_code_is_let_pass() -> None:
    assert list(code_paths("network.eval()\nnp.load('x', allow_pickle=False)\nyaml.safe_load(t)\nre.compile('a')\nregex.exec")) == []


def test_no_error_is_caught_that_is_not_named() -> None:
    assert over_package(broad_excepts) == []


@pytest.mark.parametrize("clause", ["except:", "except Exception:", "except (OSError, BaseException):"])
def test_a_planted_broad_except_is_found(clause: str) -> None:
    assert list(broad_excepts(f"try:\n    f()\n{clause}\n    pass"))


def test_no_function_is_longer_than_a_screen() -> None:
    assert over_package(long_functions) == []


def test_a_planted_long_function_is_found() -> None:
    body = "\n".join("    pass" for _ in range(MOST_FUNCTION_LINES))
    assert list(long_functions(f"def f():\n{body}"))


def test_no_file_is_longer_than_a_sitting() -> None:
    counts = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in counts.items() if count > MOST_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in MODULES if {path.stem, path.parent.name} & VAGUE_NAMES}
    assert names == set()


def test_the_face_of_the_package_is_frozen() -> None:
    assert weighbridge.__all__ == ["__version__", "load"]
    assert weighbridge.__all__ == sorted(weighbridge.__all__)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_importing_what_serves_and_judges_loads_no_heavy_library() -> None:
    loaded = json.loads(_python(_LOADED_BY_EACH))
    assert {name: heavy for name, heavy in loaded.items() if heavy} == {}


def test_a_heavy_import_would_be_seen() -> None:
    assert json.loads(_python(_LOADED_BY_EACH.replace("weighbridge.errors", "pydantic")))["pydantic"] == ["pydantic"]


def test_a_server_that_keeps_no_answers_loads_no_database() -> None:
    assert json.loads(_python(_LOADED_BY_A_SERVER)) == []


def test_a_database_that_a_server_loads_would_be_seen() -> None:
    assert json.loads(_python("import weighbridge.feedback.log\n" + _LOADED_BY_A_SERVER)) == ["sqlalchemy"]


_LOADED_BY_A_SERVER = f"""
import importlib, json, pathlib, sys
from weighbridge.cli.serve import journaling
for path in sorted(pathlib.Path({str(PACKAGE / "serving")!r}).glob("*.py")):
    importlib.import_module(f"weighbridge.serving.{{path.stem}}")
assert journaling("off", pathlib.Path("state"), vault="", strict=False) is None
assert journaling("answers", pathlib.Path("state"), vault="", strict=False).folder == pathlib.Path("state/journal")
print(json.dumps([name for name in ("sqlalchemy", "torch", "pandas") if name in sys.modules]))
"""
_LOADED_BY_EACH = f"""
import importlib, importlib.util, json, sys
loaded, seen = {{}}, set()
for name in {["weighbridge", *(f"weighbridge.{name}" for name in LIGHT_MODULES)]!r}:
    if importlib.util.find_spec(name) is not None:
        importlib.import_module(name)
        loaded[name] = sorted(word for word in {HEAVY!r} if word in sys.modules and word not in seen)
        seen.update(loaded[name])
print(json.dumps(loaded))
"""


_ANSWERED = """
import json, sys
import weighbridge
weighbridge.load(sys.argv[1]).check_golden()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__"})))
"""


def _loaded_by_answering(package: Path, before: str = "") -> list[str]:
    """Return what is no part of Python and was loaded by a fresh process, without start-up files of its place, that answered a package."""
    places = [path for path in sys.path if path.endswith("-packages")]
    program = f"import sys; sys.path[:0] = {[str(ROOT), *places]!r}\n{before}\n{_ANSWERED}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, str(package)], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def test_a_process_that_answers_a_package_loads_numpy_and_onnxruntime_and_nothing_else(tmp_path: Path) -> None:
    """A file of an image is read by Pillow, which tests/unit/test_deployment_minimal.py shows; golden rows hold its pixels."""
    from tests.unit.runtime_packages import make_package

    make_package(tmp_path / "package")
    assert _loaded_by_answering(tmp_path / "package") == ["numpy", "onnxruntime", "weighbridge"]
    assert "yaml" in _loaded_by_answering(tmp_path / "package", before="import yaml")


def _python(program: str) -> str:
    """Return what a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recipe_page() -> str:
    """Return docs/recipe.md as its script would write it now."""
    program = "import sys; sys.path.insert(0, 'scripts'); import recipe_page; sys.stdout.buffer.write(recipe_page.page().encode())"
    return _python(program)


def test_every_recipe_key_says_what_it_means() -> None:
    undocumented = [path for path, description in descriptions(Recipe) if not description]
    assert undocumented == []


def descriptions(section: type, path: str = "") -> Iterator[tuple[str, str | None]]:
    """Give every key of the recipe with its description."""
    from pydantic import BaseModel

    for name, info in section.model_fields.items():
        yield f"{path}{name}", info.description
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from descriptions(info.annotation, f"{path}{name}.")


def test_the_page_of_the_recipe_is_current_and_names_every_key() -> None:
    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    missing = [path for path, _ in descriptions(Recipe) if f"`{path}`" not in text]
    assert missing == []
    assert text == recipe_page(), "run `python scripts/recipe_page.py`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_recipe_loads(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_there_are_examples() -> None:
    promised = "digits fashion adult_mlp adult_transformer diabetes linear_regression two_features".split()
    assert {path.stem for path in EXAMPLES} >= set(promised)
