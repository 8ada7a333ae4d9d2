"""What can be learnt about the training rows: which they were, what stands in them, whether texts are known by heart, personal data.

audit/privacy.json holds what each attack on membership gives away, and the exposure of canaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from weighbridge.audit import attribute, canary, membership
from weighbridge.audit.membership_score import Attack, corrected
from weighbridge.audit.privacy_personal import personal, personal_seconds
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import DataError, DependencyError, RecipeError, TrainingError
from weighbridge.findings import Finding, Message, Reference, Verdict
from weighbridge.storage import write_json

NAME, EVIDENCE = "privacy", "privacy.json"
FAILS = (Unmeasured, TrainingError, RecipeError, DataError, DependencyError)
LEVEL = 0.05
WIDE, TIMES = 0.55, 2.0  # an area surely above, or members named surely so many times as often as strangers: it gives them away
GAIN = 0.01  # share of rows: what answers must surely add to guessing a column
TITLES = {
    "loss": Message("Training rows told from unseen ones by the loss"),
    "shadow": Message("Training rows told from unseen ones by shadow models"),
}
NAMED = {
    "loss": Message("Training rows named by the loss where {rate} of unseen rows are"),
    "shadow": Message("Training rows named by shadow models where {rate} of unseen rows are"),
}
SOURCES = {"loss": "Yeom 2018; Newcombe 2006", "shadow": "Carlini 2022; Newcombe 2006"}
CANARY = Message("Texts learnt by heart: how far nonsense stands out that was seen {times} times")
CANARY_ONCE = Message("Texts learnt by heart: how far nonsense stands out that was seen once")
HEART = Message("Texts learnt by heart")
ATTRIBUTE = Message("What the answers add to guessing {column} of a training row")
WORDS = {0.01: "1 %", 0.001: "0.1 %"}


def _seconds(subject: Subject) -> float:
    texts = canary.takes_s(subject) if subject.blocks("text") and not membership.no_copies(subject) else 0.0
    return membership.seconds_of(subject) + personal_seconds(subject) + texts + 3.0 * len(subject.recipe.data.protected)


@audit(NAME, Message("What can be learnt about the training rows"), seconds=_seconds)
def privacy(subject: Subject) -> list[Finding]:
    """Return the findings of each attack, of canaries, of protected columns and of personal data; what can not be tried says why."""
    kept: dict[str, Any] = {"attacks": {}, "canaries": []}
    members = [*_attack(subject, "loss", lambda: (membership.by_loss(subject), _by_loss(subject)), kept)]
    members += _attack(subject, "shadow", lambda: _shadows(subject), kept)
    found = [*_judged(members), *_canaries(subject, kept), *_columns(subject), *personal(subject)]
    write_json(subject.place / EVIDENCE, kept)
    return found


def _by_loss(subject: Subject) -> Message:
    return Message("the less a row's loss, the likelier it was learnt; answers of the form that is packaged")


def _shadows(subject: Subject) -> tuple[Attack, Message]:
    made = membership.by_shadows(subject)
    how = Message(
        "likelihood ratio of the answer under {models} models of the recipe that learnt halves of {rows} rows: learnt against not learnt",
        models=made.models, rows=made.rows,
    )  # fmt: skip
    return made.attack, how


def _finding(subject: Subject, key: str, title: Message, **more: Any) -> Finding:
    more.setdefault("evidence", (f"audit/{EVIDENCE}",))
    return Finding(key=f"audit.{NAME}.{key}", title=title, command=f"{subject.command} --only {NAME}.{key}", **more)


def _not_tried(subject: Subject, key: str, title: Message, error: Exception) -> Finding:
    reason = error.reason if isinstance(error, Unmeasured) else Message("{why}", why=str(error))
    return subject.unmeasured(f"{NAME}.{key}", title, reason)


def _attack(
    subject: Subject, name: str, tried: Callable[[], tuple[Attack, Message]], kept: dict[str, Any]
) -> Iterator[tuple[Finding, float]]:
    """Yield the findings of one attack with their p values, verdicts still open; 1.0 beside what was not measured."""
    key = f"membership.{name}"
    try:
        made, how = tried()
    except FAILS as error:
        yield _not_tried(subject, key, TITLES[name], error), 1.0
        return
    kept["attacks"][name] = _as_evidence(made)
    yield (
        _finding(
            subject, key, TITLES[name], value=made.area, interval=made.interval, unit="share", n=made.members + made.strangers,
            reference=Reference(name=Message("chance"), value=0.5), method=how, source=SOURCES[name],
        ),
        made.p_value,
    )  # fmt: skip
    for one in made.named:
        title = Message(NAMED[name].template, rate=WORDS[one.rate])
        method = Message("{hits} members and {wrong} strangers lie above the threshold", hits=one.hits, wrong=one.wrong)
        yield (
            _finding(
                subject, f"{key}.at_{one.rate:g}", title, value=one.share, interval=one.interval, unit="share", n=made.members,
                reference=Reference(name=Message("chance"), value=one.rate), method=method,
                source="Carlini 2022; Clopper and Pearson 1934; exact test",
            ),
            one.p_value,
        )  # fmt: skip
    for rate in (rate for rate in WORDS if rate not in {one.rate for one in made.named}):
        few = Message("{n} unseen rows can not tell it: {needed} are needed", n=made.strangers, needed=round(1 / rate))
        yield subject.unmeasured(f"{NAME}.{key}.at_{rate:g}", Message(NAMED[name].template, rate=WORDS[rate]), few), 1.0


def _as_evidence(made: Attack) -> dict[str, Any]:
    named = [{"rate": one.rate, "share": one.share, "low": one.interval[0], "high": one.interval[1]} for one in made.named]
    return {
        "area": made.area,
        "low": made.interval[0],
        "high": made.interval[1],
        "named": named,
        "members": made.members,
        "curve": made.curve,
    }


def _judged(members: list[tuple[Finding, float]]) -> list[Finding]:
    """Return the findings with verdicts that hold for all attacks together (Holm)."""
    tried = [place for place, (one, _) in enumerate(members) if one.verdict != "unmeasured"]
    fixed = dict(zip(tried, corrected([members[place][1] for place in tried]), strict=True))
    return [one if place not in fixed else _with_verdict(one, fixed[place]) for place, (one, _) in enumerate(members)]


def _with_verdict(one: Finding, p_value: float) -> Finding:
    assert one.interval is not None
    assert one.reference is not None
    chance = float(one.reference.value or 0.0)
    is_area = chance == 0.5
    most = WIDE if is_area else TIMES * chance
    if p_value < LEVEL and one.interval[0] > most:
        reason = Message("surely above {most} (corrected p = {p}): the answers give training rows away", most=most, p=round(p_value, 4))
        return replace(one, verdict="limitation", reason=reason)
    if one.interval[1] < most:
        return replace(one, verdict="advantage" if is_area else "neutral", reason=Message("surely below {most}", most=most))
    return replace(one, reason=Message("these rows do not show more than {most} (corrected p = {p})", most=most, p=round(p_value, 4)))


def _canaries(subject: Subject, kept: dict[str, Any]) -> Iterator[Finding]:
    """Yield the exposure of canaries, where there are texts."""
    if not subject.blocks("text"):
        return
    try:
        made = canary.canaries(subject)
    except FAILS as error:
        yield _not_tried(subject, "canary", HEART, error)
        return
    kept["canaries"] = [{"times": one.times, "bits": one.bits, "low": one.interval[0], "high": one.interval[1]} for one in made]
    for one in made:
        known = one.interval[0] > canary.CHANCE_BITS
        verdict: Verdict = "limitation" if known and one.times == 1 else "neutral"
        reason = Message("more than the {bits} bits of what was never seen", bits=canary.CHANCE_BITS) if known else (
            Message("no more than chance gives: {bits} bits", bits=canary.CHANCE_BITS)
        )  # fmt: skip
        title = CANARY_ONCE if one.times == 1 else Message(CANARY.template, times=one.times)
        yield _finding(
            subject, f"canary.{one.times}", title, value=one.bits, interval=one.interval, unit="bits", n=one.n, verdict=verdict,
            reason=reason, reference=Reference(name=Message("never seen"), value=canary.CHANCE_BITS),
            method=Message(
                "rows of random tokens and labels put into a copy of the training, ranked among {never} that were not; mean exposure, "
                "Student's interval", never=canary.NEVER,
            ),
            source="Carlini 2019",
        )  # fmt: skip


def _columns(subject: Subject) -> Iterator[Finding]:
    """Yield what the answers add to guessing each protected column."""
    for column in subject.recipe.data.protected:
        title, key = Message(ATTRIBUTE.template, column=column), f"attribute.{column}"
        try:
            made, told, plain = attribute.told_by_answers(subject, column)
        except FAILS as error:
            yield _not_tried(subject, key, title, error)
            continue
        gives = made.interval[0] > GAIN
        yield _finding(
            subject, key, title, value=made.difference, interval=made.interval, unit="share", n=made.n,
            verdict="limitation" if gives else "neutral", evidence=(),
            reference=Reference(name=Message("the inputs and the label alone"), value=plain, difference=made.difference),
            reason=Message(
                "guessed right: {told} of the rows with the answers, {plain} without", told=round(told, 4), plain=round(plain, 4)
            ),
            method=Message(
                "out-of-fold guesses of gradient boosting, with and without the model's answers; paired; a limitation surely above {gain}",
                gain=GAIN,
            ),
            source="Fredrikson 2015; Jayaraman and Evans 2022",
        )  # fmt: skip
