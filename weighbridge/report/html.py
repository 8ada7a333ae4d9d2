"""report.html: the balance sheet as one file that opens anywhere, loads nothing, runs nothing, and stays under a megabyte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Finding, Message
from weighbridge.report.evidence import Run
from weighbridge.report.facts import about, facts
from weighbridge.report.line import Line, line
from weighbridge.report.looks import FILE, looks
from weighbridge.report.sheet import Sheet, balance
from weighbridge.report.words import Language, Say, duration, number, plain, speaker

if TYPE_CHECKING:
    from jinja2 import Environment

    from weighbridge.report.figures import Key

PAGE_FOLDER = Path(__file__).parent / "page"
MOST_THUMBNAIL_BYTES = 400_000
MOST_ROWS_A_STAGE = 150
MOST_SHOWN = 10  # of each side of the sheet; the rest is folded
_THUMBNAIL = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")
CHROME = {
    "sheet": Message("Balance sheet"),
    "advantages": Message("Advantages"),
    "limitations": Message("Limitations"),
    "no_advantages": Message("Nothing that was measured counts as an advantage."),
    "no_limitations": Message("Nothing that was measured counts as a limitation; see below what was not measured."),
    "price": Message("Price"),
    "mended": Message("What was mended, and what it cost"),
    "unmeasured": Message("Not measured"),
    "nothing_unmeasured": Message("Nothing that this run knows of was left unmeasured."),
    "evidence": Message("Evidence"),
    "mistakes": Message("Worst mistakes"),
    "mistakes_note": Message("The test rows that the model got wrong while it was most sure, or by the most."),
    "looks": Message("Training rows most worth a human look"),
    "looks_note": Message("Ranked by the audit of quality; a label is not wrong because it stands here."),
    "label": Message("label"),
    "better": Message("others say"),
    "rest": Message("Everything else that was measured"),
    "this_run": Message("This run"),
    "how": Message("how it was measured"),
    "what": Message("what"),
    "value": Message("value"),
    "interval": Message("95 % interval"),
    "n": Message("n"),
    "method": Message("how"),
    "compared": Message("compared with"),
    "difference": Message("paired difference"),
    "source": Message("source"),
    "again": Message("measure it again"),
    "why": Message("why"),
    "before_after": Message("before → after"),
    "truth": Message("truth"),
    "predicted": Message("predicted"),
    "sure": Message("stated probability"),
    "row": Message("row"),
    "key_value": Message("measured value"),
    "key_interval": Message("95 % interval"),
    "key_reference": Message("what it is compared with"),
    "safeguards": Message("Safeguards that the recipe switched off"),
    "lost": Message("Evidence files that are named but could not be read"),
    "files": Message("evidence"),
    "footer": Message(
        "Every figure is a line of findings.jsonl and can be measured again with the command beside it. "
        "This page loads nothing and runs nothing."
    ),
}
STAGE_NAMES = {
    "data": Message("Data"),
    "preprocessing": Message("Preprocessing"),
    "training": Message("Training"),
    "optimization": Message("Optimization"),
    "evaluation": Message("Evaluation"),
    "audit": Message("Audit"),
    "mitigation": Message("Mitigation"),
    "deployment": Message("Deployment"),
    "feedback": Message("Feedback"),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its caption; `key` says which marks the caption explains."""

    name: str
    svg: str
    caption: str
    key: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage measured that weighs on neither side; `hidden` counts findings beyond the page's room."""

    title: str
    count: str
    seconds: str
    lines: tuple[Line, ...]
    hidden: str


@dataclass(frozen=True, kw_only=True)
class Mistake:
    row_id: str
    truth: str
    predicted: str
    probability: str
    thumbnail: str
    text: str


def render_html(run: Run, language: Language) -> str:
    """Return the page of a run in `language`; all text is escaped, drawings are the only markup that is not the template's."""
    from markupsafe import Markup

    say, sheet = speaker(language), balance(run, language)
    figures = [
        {"name": figure.name, "svg": Markup(figure.svg), "caption": figure.caption, "key": figure.key}  # plots.py escapes its text
        for figure in _figures(run, say)
    ]
    return _environment().get_template("balance_sheet.html.j2").render(
        language="zh-Hans" if language == "zh" else "en",
        name=plain(run.name, 80),
        words={name: say(message) for name, message in CHROME.items()},
        verdict=sheet.verdict,
        warning=sheet.warning,
        facts=facts(run, language),
        safeguards=[plain(str(name)) for name in _listed(run.about.get("safeguards_off"))],
        advantages=_lines(sheet.advantages, language),
        most_shown=MOST_SHOWN,
        more_advantages=say(Message("{n} more advantages", n=len(sheet.advantages) - MOST_SHOWN)),
        more_limitations=say(Message("{n} more limitations", n=len(sheet.limitations) - MOST_SHOWN)),
        limitations=_lines(sheet.limitations, language),
        price=_lines(sheet.price, language),
        mended=_lines(sheet.mended, language),
        unmeasured=_lines(sheet.unmeasured, language),
        beside=figures[:1] if sheet.price else [],
        figures=figures[1:] if sheet.price else figures,
        mistakes=_mistakes(run.evidence.get("mistakes.json"), language),
        looks=looks(run.evidence.get(FILE), language),
        stages=list(_stages(run, sheet, language)),
        about=list(about(run, language)),
        lost=[plain(name) for name in run.lost],
    )  # fmt: skip


def stage_name(stage: str, say: Say) -> str:
    """Return the stage's name in the report's language."""
    return say(STAGE_NAMES[stage]) if stage in STAGE_NAMES else plain(stage)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(PAGE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _lines(findings: Sequence[Finding], language: Language) -> list[Line]:
    return [line(finding, language) for finding in findings]


def _figures(run: Run, say: Say) -> Iterator[Figure]:
    """Yield the drawings whose evidence is there, in the order of the run's stages."""
    from weighbridge.report import plots
    from weighbridge.report.figures import SHAPES

    history = run.evidence.get("history.json")
    for metric in plots.curve_metrics(history):
        svg = plots.drawn(partial(plots.training_curve, metric=metric), history, say)
        yield from _figure(f"training-{metric}", svg, _curve_title(metric), say, _curve_key(history, metric))
    for name, draw, file, caption, key in SHAPES:
        yield from _figure(name, plots.drawn(draw, run.evidence.get(file), say), caption, say, key)


def _figure(name: str, svg: str, caption: Message, say: Say, key: Key = ()) -> Iterator[Figure]:
    if svg:
        yield Figure(name=name, svg=svg, caption=say(caption), key=tuple((mark, say(word)) for mark, word in key))


def _curve_title(metric: str) -> Message:
    return (
        Message("Training: loss by epoch") if metric == "loss" else Message("Training: {metric} by epoch", metric=metric.replace("_", " "))
    )


def _curve_key(history: Any, metric: str) -> Key:
    """Return what the marks of a training curve mean; only those that are drawn."""
    trained = any(isinstance(row, Mapping) and f"train_{metric}" in row for row in history["epochs"])
    key: list[tuple[str, Message]] = [("dashed", Message("training rows"))] if trained else []
    key.append(("solid", Message("validation rows")))
    best = history.get("best_epoch")
    return [*key, ("ring", Message("kept: epoch {epoch}", epoch=best))] if isinstance(best, int | float) else key


def _mistakes(evidence: Any, language: Language) -> list[Mistake]:
    """Return the worst mistakes; a thumbnail that is not a small picture as data is left out."""
    rows = evidence.get("mistakes") if isinstance(evidence, Mapping) else None
    room, found = MOST_THUMBNAIL_BYTES, []
    for row in _listed(rows)[:60]:
        if not isinstance(row, Mapping):
            continue
        picture = row.get("thumbnail")
        fits = isinstance(picture, str) and len(picture) <= room and _THUMBNAIL.fullmatch(picture) is not None
        room -= len(picture) if fits and isinstance(picture, str) else 0
        found.append(
            Mistake(
                row_id=plain(str(row.get("row_id", "")), 40),
                truth=_class_or_number(row.get("truth")),
                predicted=_class_or_number(row.get("predicted")),
                probability=number(row.get("probability"), "share", language) if isinstance(row.get("probability"), float | int) else "",
                thumbnail=str(picture) if fits else "",
                text=plain(str(row.get("text") or ""), 240),
            )
        )
    return found


def _class_or_number(value: Any) -> str:
    if isinstance(value, list):
        return plain(", ".join(map(str, value)), 120)
    return number(value) if isinstance(value, float) else plain(str("" if value is None else value), 80)


def _stages(run: Run, sheet: Sheet, language: Language) -> Iterator[Stage]:
    say = speaker(language)
    for stage, findings in sheet.neutral.items():
        seconds = run.stage_seconds(stage)
        over = len(findings) - MOST_ROWS_A_STAGE
        yield Stage(
            title=stage_name(stage, say),
            count=say(Message("{n} figures", n=len(findings))),
            seconds="" if seconds is None else duration(seconds, language),
            lines=tuple(_lines(findings[:MOST_ROWS_A_STAGE], language)),
            hidden=say(Message("{n} more in findings.jsonl", n=over)) if over > 0 else "",
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
