"""What anonymisation came to, as findings: what was done, who could still be found again, and what it took from the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from weighbridge.data.anonymize import Coarse, Treatment
from weighbridge.findings import Finding, Message, Reference

if TYPE_CHECKING:
    from weighbridge.recipe.anonymize import AnonymizeOptions

EVIDENCE = "anonymize.json"
CLASSES = Message("training rows that are equal in {columns}, counted")
SOURCE = "Samarati 2001; Sweeney 2002; Fung 2005"


def anonymize_findings(made: Treatment, options: AnonymizeOptions, stored: tuple[str, ...], command: str) -> list[Finding]:
    """Return the findings `data.anonymize.*`; [] where the recipe treats no column."""
    if not made.ways:
        return []
    return [_columns(made, stored, command), _row_ids(made, command), *_coarse(made.coarse, options, command)]


def _finding(name: str, title: Message, value: float | int | str, command: str, **more: Any) -> Finding:
    return Finding(
        key=f"data.anonymize.{name}",
        title=title,
        value=value,
        evidence=(f"data/{EVIDENCE}",),
        command=f"{command} --only anonymize",
        **more,
    )


def _columns(made: Treatment, stored: tuple[str, ...], command: str) -> Finding:
    by_way = {way: [name for name, one in made.ways.items() if one == way] for way in ("drop", "mask", "pseudonym", "generalize")}
    shown = {way: ", ".join(names) or "-" for way, names in by_way.items()}
    reason = Message("dropped: {drop}; masked: {mask}; pseudonyms: {pseudonym}; made coarser: {generalize}", **shown)
    if idle := [name for name, way in made.ways.items() if way != "drop" and name not in stored]:
        reason = Message(
            "dropped: {drop}; masked: {mask}; pseudonyms: {pseudonym}; made coarser: {generalize}; {idle} would not have been kept anyway",
            **shown, idle=", ".join(idle),
        )  # fmt: skip
    method = Message("before anything is written; masks know e-mail, IP, phone, card, account and identity numbers, no names")
    return _finding(
        "columns", Message("Columns that were anonymised"), len(made.ways), command, unit="columns", reason=reason, method=method
    )


def _row_ids(made: Treatment, command: str) -> Finding:
    keyed = made.key is not None
    reason = Message("a row keeps its id when the data grows, and who has not the key can not check a guess")
    if not keyed:
        reason = Message("ids are the rows' numbers: runs on grown data can not be compared row by row; data.anonymize.key would allow it")
    method = Message("HMAC-SHA256 of the hash of the row's values") if keyed else Message("numbered in the order of the source")
    value = "keyed" if keyed else "numbers"
    return _finding("row_ids", Message("What names a row"), value, command, reason=reason, method=method, source="RFC 2104")


def _coarse(one: Coarse | None, options: AnonymizeOptions, command: str) -> Iterator[Finding]:
    if one is None:
        return
    method = Message(CLASSES.template, columns=", ".join(one.columns))
    yield _finding(
        "k", Message("Training rows that share each combination, at least (k)"), one.after.k, command, unit="rows", n=one.after.n,
        verdict="advantage", reference=Reference(name=Message("before"), value=float(one.before.k)), method=method, source=SOURCE,
        reason=Message("{asked} were asked for; {classes} combinations are left of {before}", asked=options.k, classes=one.after.classes,
                       before=one.before.classes),
    )  # fmt: skip
    yield from _diversity(one, options, command, method)
    yield _finding(
        "suppressed", Message("Training rows left out because too few are like them"), one.suppressed / one.before.n, command, unit="share",
        n=one.before.n, method=method, source=SOURCE, verdict="limitation" if one.suppressed else "neutral",
        reason=Message("{rows} rows; the model does not learn from people who are rare in this way", rows=one.suppressed)
        if one.suppressed else Message("none"),
    )  # fmt: skip
    yield _finding(
        "risk", Message("Training rows that would be found again by guessing"), one.after.marketer, command, unit="share", n=one.after.n,
        reference=Reference(name=Message("before"), value=one.before.marketer), method=method, source="El Emam 2013",
        reason=Message(
            "the most exposed row is found with a chance of {now} (before: {then}); {unique} of the rows were alone before",
            now=one.after.prosecutor, then=one.before.prosecutor, unique=one.before.unique,
        ),
    )  # fmt: skip
    yield _elsewhere(one, options, command)
    yield _finding(
        "detail", Message("What is left of the columns that were made coarser"), min(one.bits), command, unit="share", n=one.before.n,
        reason=Message("share of bits, the least first (and steps made coarser): {columns}", columns=", ".join(_by_bits(one))),
        method=Message("entropy of the column after, divided by before"), source="Gionis and Tassa 2009",
    )  # fmt: skip


def _diversity(one: Coarse, options: AnonymizeOptions, command: str, method: Message) -> Iterator[Finding]:
    if not one.after.l:
        return
    told = one.after.told
    reason = Message("no row's value is told by its combination alone")
    if told:
        reason = Message(
            "for a share of {told} of the rows the combination alone tells the value; data.anonymize.l: 2 would not let it", told=told
        )
    yield _finding(
        "l", Message("Values of the sensitive column in each combination, at least (l)"), one.after.l, command, n=one.after.n,
        verdict="limitation" if told else "advantage" if options.l > 1 else "neutral", unit="", reason=reason, method=method,
        reference=Reference(name=Message("before"), value=float(one.before.l)), source="Machanavajjhala 2007",
    )  # fmt: skip


def _elsewhere(one: Coarse, options: AnonymizeOptions, command: str) -> Finding:
    share = one.elsewhere / one.elsewhere_n
    reason = Message("each shares its combination with at least {k} rows of the run", k=options.k) if not one.elsewhere else Message(
        "{rows} rows share their combination with fewer than {k} rows of the run; they stay, since judged rows are not picked",
        rows=one.elsewhere, k=options.k,
    )  # fmt: skip
    return _finding(
        "judged_rows", Message("Validation and test rows that stand out"), share, command, unit="share", n=one.elsewhere_n, source=SOURCE,
        verdict="limitation" if one.elsewhere else "neutral", reason=reason, method=Message("counted over all rows of the run"),
    )  # fmt: skip


def _by_bits(one: Coarse) -> list[str]:
    pairs = sorted(zip(one.bits, one.columns, one.rungs, one.of, strict=True))
    return [f"{name} {bits:.2f} ({rung}/{of - 1})" for bits, name, rung, of in pairs]
