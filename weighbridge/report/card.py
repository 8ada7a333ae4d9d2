"""card.md: a Hugging Face model card whose limitations are filled in by measurement.

Front matter follows https://huggingface.co/docs/hub/model-cards (model-index as in the Papers with Code schema). The licence is the
owner's to choose, so it is `other` with a name that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from weighbridge.findings import Finding, Message
from weighbridge.report.evidence import Run
from weighbridge.report.facts import about
from weighbridge.report.html import CHROME
from weighbridge.report.line import Line, line
from weighbridge.report.sheet import Sheet, balance
from weighbridge.report.whisker import as_number
from weighbridge.report.words import Language, Say, plain, speaker

# What stands for markup, a link, a table or a formula in Markdown: written as an entity, so that a label stays what it is.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>#!|~$&@]|^[-+=:]|--+|(?:www|https?|ftp|mailto|xmpp)(?=[.:])|(?<=\w):(?=\w)", re.IGNORECASE)
PIPELINES = {"number": "tabular-regression", "category": "tabular-classification", "set": "tabular-classification"}
# Names of metrics on the hub that differ from the word in a finding's key.
HUB_METRICS = {
    **{name: name for name in ("accuracy", "balanced_accuracy", "f1", "precision", "recall", "rmse", "mae", "log_loss")},
    "auroc": "roc_auc",
    "r2": "r_squared",
    "brier": "brier_score",
}


def render_card(run: Run, language: Language) -> str:
    """Return the card as Markdown with YAML front matter; every text of the run is escaped, none can open markup or a key."""
    say, sheet = speaker(language), balance(run, language)
    parts = [
        f"---\n{_front_matter(run, sheet, language)}---\n",
        f"# {escaped(run.name)}\n",
        f"{' '.join(map(escaped, sheet.verdict))}\n",
        f"**{escaped(sheet.warning)}**\n",
        *_section(say, Message("What it is"), _what(run, say)),
        *_section(say, Message("Intended use"), _use(run, say)),
        *_section(say, Message("Results"), _table(_results(run), say, language)),
        *_section(say, Message("Limitations, as measured"), _limits(sheet, say, language)),
        *_section(say, Message("Not measured"), _unmeasured(sheet, say, language)),
        *_section(say, Message("Price"), [f"- {escaped(item.title)}: {escaped(item.value)}" for item in _lines(sheet.price, language)]),
        *_section(say, Message("How to measure it again"), _again(run, say)),
        *_section(say, Message("Environment"), _environment(run, language)),
    ]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Return `text` on one line so that Markdown (with HTML, tables, links, formulas) shows it and does nothing with it."""
    flat = " ".join(plain(text, 1000).split())
    return _MARKDOWN.sub(lambda found: "".join(f"&#{ord(character)};" for character in found.group()), flat)


def fenced(text: str) -> str:
    """Return `text` as inline code that no backtick inside can end."""
    flat = " ".join(plain(text).split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {flat} {ticks}" if longest else f"`{flat}`"


def _front_matter(run: Run, sheet: Sheet, language: Language) -> str:
    """Return the YAML block; license other until the owner chooses."""
    import yaml

    results = [finding for finding in _results(run) if _hub_name(finding)]
    values: dict[str, Any] = {
        "license": "other",
        "license_name": "not-chosen-yet",
        "language": [language],
        "library_name": "weighbridge",
        "pipeline_tag": _pipeline(run),
        "tags": ["weighbridge", "onnx", "measured-limitations"],
        "metrics": sorted({_hub_name(finding) for finding in results}),
        "model-index": [{"name": plain(run.name, 120), "results": [_result(run, results)]}] if results else None,
    }
    return str(yaml.safe_dump({key: value for key, value in values.items() if value}, sort_keys=False, allow_unicode=True, width=4096))


def _result(run: Run, results: Sequence[Finding]) -> dict[str, Any]:
    metrics = [
        {"type": _hub_name(finding), "name": plain(str(finding.title)), "value": finding.value}
        | ({"confidence_interval": list(finding.interval)} if finding.interval else {})
        for finding in results
    ]
    dataset = {"name": plain(run.name, 120), "type": "private", "split": "test"}
    revision = run.about.get("data_sha256")
    return {
        "task": {"type": _pipeline(run)},
        "dataset": dataset | ({"revision": plain(str(revision))} if revision else {}),
        "metrics": metrics,
    }


def _pipeline(run: Run) -> str:
    if any(finding.key.startswith("preprocessing.image") for finding in run.findings) and run.task.get("kind") != "number":
        return "image-classification"
    return PIPELINES.get(str(run.task.get("kind")), "other")


def _hub_name(finding: Finding) -> str:
    return HUB_METRICS.get(finding.key.removeprefix("evaluation."), "")


def _results(run: Run) -> list[Finding]:
    """Return the measured numbers of the evaluation, the headline first."""
    found = [finding for finding in run.findings if finding.stage == "evaluation" and as_number(finding.value) is not None]
    return sorted((finding for finding in found if finding.verdict != "unmeasured"), key=lambda finding: not finding.headline)


def _section(say: Say, title: Message, body: Sequence[str]) -> Iterator[str]:
    if body:
        yield f"## {escaped(say(title))}\n"
        yield "\n".join(body) + "\n"


def _what(run: Run, say: Say) -> list[str]:
    kinds = {
        "category": Message("predicts one of {n} classes of {target}"),
        "number": Message("predicts the number {target}"),
        "set": Message("predicts which of {n} labels of {target} hold"),
    }
    classes = run.task.get("classes")
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    kind, target = kinds.get(str(run.task.get("kind"))), str(run.task.get("target", ""))
    if kind is None:
        return [escaped(say(Message("A model that was measured by Weighbridge.")))]
    said = [escaped(say(Message(kind.template, n=len(names), target=target)))]
    if names:
        shown = ", ".join(map(escaped, names[:50])) + (" …" if len(names) > 50 else "")
        said.append(f"\n{escaped(say(Message('Classes')))}: {shown}")
    return said


def _use(run: Run, say: Say) -> list[str]:
    said = [say(Message("Rows like those of the training data; every figure below holds for such rows only."))]
    off = run.about.get("safeguards_off")
    if isinstance(off, list) and off:
        said.append(say(Message("Safeguards that the recipe switched off")) + ": " + ", ".join(map(str, off)))
    return [f"- {escaped(sentence)}" for sentence in said]


def _table(findings: Sequence[Finding], say: Say, language: Language) -> list[str]:
    if not findings:
        return [escaped(say(Message("This run holds no evaluation: how good the model is on unseen rows is not known.")))]
    heads = [say(CHROME[name]) for name in ("what", "value", "interval", "n", "compared")]
    rows = [[item.title, item.value, item.interval, item.n.removeprefix("n = "), item.compared] for item in _lines(findings, language)]
    return [_row(heads), "|" + " --- |" * len(heads), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _limits(sheet: Sheet, say: Say, language: Language) -> list[str]:
    if not sheet.limitations:
        return [escaped(say(CHROME["no_limitations"]))]
    return [_bullet(item) for item in _lines(sheet.limitations, language)]


def _bullet(item: Line) -> str:
    beside = f" ({escaped(item.interval)})" if item.interval else ""
    rest = [part for part in (item.compared, item.n, item.reason) if part]
    return f"- **{escaped(item.title)}**: {escaped(item.value)}{beside}" + "".join(f"; {escaped(part)}" for part in rest)


def _unmeasured(sheet: Sheet, say: Say, language: Language) -> list[str]:
    if not sheet.unmeasured:
        return [escaped(say(CHROME["nothing_unmeasured"]))]
    return [f"- **{escaped(item.title)}**: {escaped(item.reason)}" for item in _lines(sheet.unmeasured, language)]


def _again(run: Run, say: Say) -> list[str]:
    commands = dict.fromkeys(finding.command for finding in run.findings if finding.headline and finding.command)
    start = [escaped(say(Message("The whole run, from its recipe:"))) + " " + fenced(f"weigh run {_place(run)}/recipe.yaml")]
    return [f"- {text}" for text in [*start, *map(fenced, commands)]]


def _place(run: Run) -> str:
    """Return the run folder as it was given, but no path from the root of this machine."""
    return run.folder.name if run.folder.is_absolute() else run.folder.as_posix()


def _environment(run: Run, language: Language) -> list[str]:
    return [f"- {escaped(name)}: {escaped(value)}" for name, value in about(run, language)]


def _lines(findings: Sequence[Finding], language: Language) -> list[Line]:
    return [line(finding, language) for finding in findings]
