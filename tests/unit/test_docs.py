"""What the pages say can be done: verbs exist, links lead somewhere, recipes load, both READMEs say the same, examples run."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from weighbridge.recipe import parse_recipe

ROOT = Path(__file__).resolve().parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PAGES = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
VERB = re.compile(r"(?<![\w./-])weigh ([a-z]+)")
HEADING = re.compile(r"^(#+) ", re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    return [body for word, body in FENCE.findall(path.read_text(encoding="utf-8")) if word == language]


def code(path: Path) -> Iterator[str]:
    """Give every block and every span of code; a screen only up to what was typed."""
    text = path.read_text(encoding="utf-8")
    for word, body in FENCE.findall(text):
        yield "\n".join(line for line in body.splitlines() if line.startswith("$")) if word == "console" else body
    yield from re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def plain(block: str) -> str:
    """Return a block without its comments, which each language writes for itself."""
    return re.sub(r"\s*#.*$", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_that_a_page_names_exists(page: Path) -> None:
    from typer.main import get_command

    from weighbridge.cli.app import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]  # a group has commands
    named = {verb for text in code(page) for verb in VERB.findall(text)}
    assert named - known == set()


def test_every_verb_is_in_the_readme() -> None:
    from typer.main import get_command

    from weighbridge.cli.app import app

    text = READMES[0].read_text(encoding="utf-8")
    assert [verb for verb in get_command(app).commands if f"`weigh {verb}" not in text] == []  # type: ignore[attr-defined]


def test_an_invented_verb_would_be_seen() -> None:
    assert VERB.findall("weigh run x; .venv/bin/weigh y; weigh fly z") == ["run", "fly"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as MkDocs and GitHub make them for words of ASCII."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_recipe_on_a_page_loads(page: Path) -> None:
    for block in blocks(page, "yaml"):
        parse_recipe(yaml.safe_load(block), where=page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_program_on_a_page_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_of_one_machine_or_a_registry(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"/work/|/tmp/|/root/|/home/|pypi\.org|pythonhosted|registry\.npmjs|deb\.debian", text) == []


def test_both_readmes_have_the_same_commands_and_programs() -> None:
    ours, theirs = ([(word, plain(body)) for word, body in FENCE.findall(page.read_text(encoding="utf-8"))] for page in READMES)
    assert ours == theirs


def test_both_readmes_have_the_same_shape() -> None:
    texts = [page.read_text(encoding="utf-8") for page in READMES]
    shapes = [
        (HEADING.findall(FENCE.sub("", text)), [line.count(" | ") for line in text.splitlines() if line.startswith("| --- |")],
         sum(line.startswith("| ") for line in text.splitlines()), sum(line.startswith("- ") for line in text.splitlines()))
        for text in texts
    ]  # fmt: skip
    assert shapes[0] == shapes[1]


def test_both_readmes_have_the_same_figures() -> None:
    figures = [sorted(re.findall(r"\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+", page.read_text(encoding="utf-8"))) for page in READMES]
    assert figures[0] == figures[1]


def test_the_site_lists_every_page() -> None:
    listed = set(re.findall(r"([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}


def plugin(folder: Path) -> Path:
    """`folder` holds the plugin of docs/models.md as an installed package: its module and its entry point."""
    page = ROOT / "docs" / "models.md"
    (program,) = (block for block in blocks(page, "python") if "nn.Module" in block)
    (project,) = (tomllib.loads(block) for block in blocks(page, "toml"))
    (folder / "gated_network.py").write_text(program, encoding="utf-8")
    points = project["project"]["entry-points"]["weighbridge.models"]
    installed = folder / "gated_network-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: gated-network\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (installed / "entry_points.txt").write_text(f"[weighbridge.models]\n{lines}", encoding="utf-8")
    return folder


def python(program: str, folder: Path, *arguments: str) -> str:
    """Return what a fresh Python prints in `folder`, with the plugin and the package on its path."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=False,
        env={"PATH": "", "PYTHONPATH": f"{folder}:{ROOT}", "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


WEIGH = "from weighbridge.cli import main; main()"


@pytest.mark.slow
def test_the_plugin_of_the_page_trains_and_is_packaged(tmp_path: Path) -> None:
    plugin(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (recipe,) = (block for block in blocks(ROOT / "docs" / "models.md", "yaml") if "gated" in block)
    (tmp_path / "gated.yaml").write_text(recipe, encoding="utf-8")
    python(WEIGH, tmp_path, "run", "gated.yaml", "--set", "training.epochs=2", "--set", "evaluation.resamples=200")
    assert (tmp_path / "runs" / "gated" / "deployment" / "package" / "model.onnx").exists()


@pytest.mark.slow
def test_the_programs_of_the_pages_run_after_the_first_run(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    python(WEIGH, tmp_path, "run", "examples/two_features.yaml", "--set", "training.epochs=2", "--set", "evaluation.resamples=200")
    for page in ("README.md", "README.zh-CN.md", "docs/deployment.md", "docs/report.md", "docs/evaluation.md"):
        for block in blocks(ROOT / page, "python"):
            python(block, tmp_path)
    python(WEIGH, tmp_path, "evaluate", "predictions.parquet", "--only", "accuracy")
