"""Personal data in the training rows: what has a known form, names where a model is installed, and who stands alone among the others.

audit/privacy_personal.json   what was counted in each column, by pattern; no value, only its form (x for a letter, 9 for a digit)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weighbridge.audit.privacy_columns import Held, Look, look, rows_with
from weighbridge.audit.privacy_known import SMALL, known_columns, stand_alone
from weighbridge.audit.privacy_names import name_persons, pipeline_for
from weighbridge.evaluation.intervals import rate_interval
from weighbridge.findings import Finding, Message, Verdict
from weighbridge.privacy import named_kind, search
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject

EVIDENCE = "privacy_personal.json"
NAME = "privacy.personal"
FORMS = "ISO 7064; ISO/IEC 7812; ISO 13616; GB 11643; ITU-T E.164; RFC 5321"
KNOWN_SOURCE = "Sweeney 2002; El Emam 2013"
CHECKED = Message(
    "forms and checksums in {rows} training rows; a share that passes is held against chance (exact binomial, Holm over columns and kinds)"
)
TITLE = Message("Training rows that hold personal data of a known form")


def personal(subject: Subject) -> list[Finding]:
    """Return the findings `audit.privacy.personal*`; the evidence says which columns they are."""
    table = subject.splits.train
    seen = look(table, subject.seed)
    held, n = seen.held, len(seen.rows)
    named = {name: kind for name in table.names if (kind := named_kind(name))}
    found = [_any(subject, held, n), *_kinds(subject, held, n), *_carried(subject, held)]
    found += [*_by_name(subject, named), *_lost(subject, seen.lost), *_names(subject, seen), *_alone(subject)]
    by_column: dict[str, dict[str, Any]] = {}
    for one in held:
        by_column.setdefault(one.column, {})[one.kind.pattern] = one.to_json()
    known = known_columns(subject.recipe, table)
    write_json(subject.place / EVIDENCE, {"rows": n, "columns": by_column, "named": named, "known": list(known), "lost": list(seen.lost)})
    return found


def personal_seconds(subject: Subject) -> float:
    """Return about how long it takes: texts 0.2 ms each, cells of other columns 2 us."""
    table = subject.splits.train
    texts = sum(table.schema[name].type == "text" for name in table.names)
    return 1.0 + min(len(table), 20_000) * (2e-4 * texts + 2e-6 * len(table.names))


def _finding(subject: Subject, name: str, title: Message, value: float | int, **more: Any) -> Finding:
    key = f"audit.{NAME}{name}"
    return Finding(
        key=key, title=title, value=value, evidence=(f"audit/{EVIDENCE}",), command=f"{subject.command} --only {NAME}{name}", **more
    )


def _any(subject: Subject, held: Sequence[Held], n: int) -> Finding:
    """Return the share of rows with at least one that is more than chance gives."""
    if not n:
        return subject.unmeasured(NAME, TITLE, Message("no stored column holds texts or numbers"))
    sure = [one for one in held if one.found]
    rows = rows_with(sure)
    reason = Message("none is found; names, places and free descriptions of a person have no form that could be looked for")
    if sure:
        kinds, columns = {one.kind.name for one in sure}, {one.column for one in sure}
        reason = Message(
            "{kinds} kinds in {columns} columns ({names}); data.anonymize drops or masks them", kinds=len(kinds), columns=len(columns),
            names=_listed(sorted(columns)),
        )  # fmt: skip
    verdict: Verdict = "limitation" if sure else "neutral"
    method = Message(CHECKED.template, rows=n)
    return _finding(
        subject, "", TITLE, rows / n, interval=rate_interval(rows, n), unit="share", n=n, verdict=verdict, reason=reason, method=method,
        source=FORMS,
    )  # fmt: skip


def _kinds(subject: Subject, held: Sequence[Held], n: int) -> Iterator[Finding]:
    """Yield one finding a kind of which anything passes: a limitation where it is found, else it can not be told from chance."""
    for name in dict.fromkeys(one.kind.name for one in held if one.seen.valid):
        some = [one for one in held if one.kind.name == name and one.seen.valid]
        sure = [one for one in some if one.found]
        shown = sorted(sure or some, key=lambda one: -len(one.seen.rows))
        rows = rows_with(shown)
        verdict: Verdict = "limitation" if sure else "neutral"
        yield _finding(
            subject, f".{name}", Message("Training rows with {kind}", kind=shown[0].kind.title.template), rows / n,
            interval=rate_interval(rows, n), unit="share", n=n, verdict=verdict, reason=_why(shown), source=FORMS,
            method=Message(CHECKED.template, rows=n),
        )  # fmt: skip


def _why(shown: Sequence[Held]) -> Message:
    first = shown[0]
    values: dict[str, Any] = {
        "columns": _listed(list(dict.fromkeys(one.column for one in shown))), "column": first.column, "valid": first.seen.valid,
        "forms": first.seen.forms, "chance": round(first.kind.chance * first.seen.forms, 1), "shape": first.seen.shape,
    }  # fmt: skip
    if first.found and first.p is None:
        return Message("in {columns}; in {column} {valid} different ones, such as {shape} (x a letter, 9 a digit)", **values)
    if first.found:
        return Message(
            "in {columns}; in {column} {valid} of {forms} that have the form pass their check (by chance {chance}), such as {shape}",
            **values,
        )
    if first.p is None:
        return Message("{column}: {valid} of {forms} fit the rules, too few for real ones: it is something else of this form", **values)
    return Message(
        "can not tell: in {column} {valid} of {forms} that have the form pass their check, by chance it would be {chance}", **values
    )


def _carried(subject: Subject, held: Sequence[Held]) -> Iterator[Finding]:
    """Yield the finding that the package carries personal data as known values of categories; nothing where it does not."""
    values = {one.column: list(getattr(one, "values", ())) for one in subject.encoder.features if one.type == "category"}
    counts: dict[str, set[int]] = {}
    for one in held:
        if one.found and one.column in values:
            seen = search(values[one.column]).get(one.kind.pattern)
            counts.setdefault(one.column, set()).update(seen.rows if seen is not None else ())
    counts = {name: places for name, places in counts.items() if places}
    if not counts:
        return
    reason = Message("{columns}: whoever has the package can read them, and the model answers by them", columns=_listed(sorted(counts)))
    yield _finding(
        subject, ".package", Message("Values with personal data that the package carries"), sum(map(len, counts.values())), unit="values",
        verdict="limitation", reason=reason, method=Message("known values of categories in the encoder's state, searched like the rows"),
    )  # fmt: skip


def _by_name(subject: Subject, named: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the columns whose names speak of personal data; nothing where none does."""
    if not named:
        return
    reason = Message("by their names alone: {columns}", columns=_listed(sorted(named)))
    title, method = Message("Columns whose names speak of personal data"), Message("a list of English and Chinese words")
    yield _finding(subject, ".by_name", title, len(named), unit="columns", reason=reason, method=method)


def _lost(subject: Subject, lost: Sequence[str]) -> Iterator[Finding]:
    if lost:
        reason = Message(
            "{columns}: numbers of 16 digits and more, of which the last are lost; data.columns NAME: category keeps them",
            columns=_listed(lost),
        )
        yield subject.unmeasured(f"{NAME}.long_numbers", Message("Check digits of long numbers"), reason)


def _names(subject: Subject, seen: Look) -> Iterator[Finding]:
    """Yield in how many texts a person is named, by the pipeline that is installed; what it overlooks or mistakes is not known here."""
    title = Message("Texts that name a person")
    columns = [name for name in seen.texts if seen.types[name] == "text"]
    if not columns or not len(seen.rows):
        return
    read = [" \n ".join(seen.texts[name][row] or "" for name in columns) for row in seen.rows.tolist()]
    pipeline = pipeline_for(read)
    if pipeline is None:
        reason = Message("no model that knows names is installed (spaCy and a pipeline of the language); names have no form to look for")
        yield subject.unmeasured(f"{NAME}.names", title, reason)
        return
    named = name_persons(read, pipeline)
    yield _finding(
        subject, ".names", title, named.rows / named.n, interval=rate_interval(named.rows, named.n), unit="share", n=named.n,
        reason=Message("as {pipeline} names them; what it overlooks and mistakes is not known on these texts", pipeline=named.pipeline),
        method=Message("named entities PERSON of a spaCy pipeline"), source="spaCy",
    )  # fmt: skip


def _alone(subject: Subject) -> Iterator[Finding]:
    """Yield how many training rows stand alone in what others may know; nothing where no column is of that sort."""
    columns = known_columns(subject.recipe, subject.splits.train)
    if not columns or not len(subject.splits.train):
        return
    asked = subject.recipe.data.anonymize
    promised = asked.k if "generalize" in asked.columns.values() else 0
    seen = stand_alone(subject.splits.train, columns, promised or SMALL)
    share = seen.alone / seen.n
    if seen.few:
        reason = Message(
            "by {columns}; {few} rows share all of them with fewer than {small} rows: who knows them finds the rest of the row",
            columns=_listed(columns), few=seen.few, small=seen.small,
        )  # fmt: skip
    else:
        reason = Message("by {columns}; each combination is shared by at least {k} rows", columns=_listed(columns), k=seen.k)
    yield _finding(
        subject, ".alone", Message("Training rows that stand alone in what others may know of a person"), share, interval=(share, share),
        unit="share", n=seen.n, verdict=_verdict(seen.k, seen.alone, promised), reason=reason, source=KNOWN_SOURCE,
        method=Message("combinations counted over all training rows: no sampling error"),
    )  # fmt: skip


def _verdict(k: int, alone: int, promised: int) -> Verdict:
    """A limitation where a row is alone or the recipe's promise is broken; an advantage where it is kept."""
    if alone or k < promised:
        return "limitation"
    return "advantage" if promised else "neutral"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" + {len(names) - 5}" if len(names) > 5 else "")
