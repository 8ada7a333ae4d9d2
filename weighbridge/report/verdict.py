"""The sentences at the top of the balance sheet, composed from findings: is it worth it, how good is it, where not to use it."""

from __future__ import annotations

from collections.abc import Sequence

from weighbridge.findings import Finding, Message, by_key
from weighbridge.report.whisker import as_number
from weighbridge.report.words import Language, interval, number, points, translate, word

AGAINST = "evaluation.against."
CHOICE = "optimization.choice"
BASELINES = {
    "trivial": Message("a constant answer"),
    "linear": Message("a linear model"),
    "boosting": Message("gradient boosting"),
}
NOT_WHERE: tuple[tuple[str, Message], ...] = (
    ("evaluation.calibration", Message("where its probabilities are taken at face value")),
    ("evaluation.interval_coverage", Message("where its ranges are taken at face value")),
    ("evaluation.balanced_accuracy", Message("where rare classes matter")),
    ("evaluation.slice", Message("on its weak slices, which are listed, without a second look")),
    ("evaluation.test_reads", Message("as proof of its score, since the test rows were read too often")),
    ("evaluation.gap", Message("where the scores on training rows are expected to hold")),
    ("evaluation.auroc", Message("where rows must be ranked by their score")),
    ("audit.robustness.attack", Message("where inputs may be tampered with")),
    ("audit.robustness.gradients", Message("where inputs may be tampered with")),
    ("audit.robustness", Message("where inputs come damaged")),
    ("audit.privacy", Message("where membership in the training data is secret")),
    ("audit.fairness", Message("where its groups must be treated alike")),
    ("data.leak.target", Message("before it is known that no input comes after the outcome")),
    ("data.leak.outcome", Message("before it is known that no input comes after the outcome")),
    ("data.leak", Message("before the leak between the splits is mended")),
    ("data.conflicts", Message("where equal inputs must get equal answers")),
    ("deployment.latency", Message("where an answer is needed sooner")),
    ("deployment.first_answer", Message("where the first answer is needed sooner")),
    ("deployment.parity", Message("through the package, before its difference from the model is understood")),
)


def verdict(findings: Sequence[Finding], language: Language) -> tuple[str, ...]:
    """Return one to three sentences: is the model worth it against the baselines, its headline with interval and n, and its form."""
    headline = headline_of(findings)
    worth = _packaged_baseline(findings, language) or _worth(findings, headline, language)
    said = [translate(worth, language)] if worth else []
    if headline is not None:
        said.append(_headline(headline, language))
    if headline is not None and (form := _form(findings)):
        said.append(translate(form, language))
    if not said:
        said.append(translate(Message("This run holds no evaluation: how good the model is on unseen rows is not known."), language))
    return tuple(said)


def warning(findings: Sequence[Finding], language: Language) -> str:
    """Return the sentence that says where not to use the model, or that nothing measured speaks against it."""
    limits = [finding for finding in findings if finding.verdict == "limitation" and not finding.key.startswith(AGAINST)]
    places = list(dict.fromkeys(translate(place, language) for finding in limits if (place := _place(finding.key))))
    # The headline has a sentence of its own.
    others = [finding for finding in limits if _place(finding.key) is None and not finding.headline]
    unmeasured = sum(finding.verdict == "unmeasured" for finding in findings)
    said = []
    if places:
        said.append(translate(Message("Do not use it {places}.", places=_either(places, language)), language))
    if others:
        titles = _listed([translate(finding.title, language) for finding in others[:3]], language)
        more = Message("Mind also: {titles}.", titles=titles) if places else Message("Mind: {titles}.", titles=titles)
        said.append(translate(more, language))
    if not limits:
        said.append(translate(Message("What was measured shows no limitation; {n} things were not measured.", n=unmeasured), language))
    return _joined(said, language)


def headline_of(findings: Sequence[Finding]) -> Finding | None:
    """Return the evaluation's headline with a number, else the first headline of any stage, else None."""
    marked = [finding for finding in findings if finding.headline and as_number(finding.value) is not None]
    return next((finding for finding in marked if finding.stage == "evaluation"), marked[0] if marked else None)


def _worth(findings: Sequence[Finding], headline: Finding | None, language: Language) -> Message | None:
    """Return the sentence about the comparison that decides: beaten by it, then undecided, then the smallest lead."""
    against = [finding for finding in findings if finding.key.startswith(AGAINST) and finding.verdict != "unmeasured"]
    if not against:
        return None
    deciding = min(against, key=_standing)
    values = {"model": "A deep model" if _is_deep(findings) else "This model", "baseline": _opponent(deciding, language)}
    if not _is_decided(deciding):
        return Message("{model} is not shown to be needed here: the data can not tell it from {baseline}.", **values)
    values["amount"] = _amount(deciding, headline, language)
    if deciding.verdict == "advantage":
        return Message("{model} is worth it here: {amount} better than {baseline}, the strongest baseline.", **values)
    return Message("{model} is not worth it here: {baseline} is {amount} better.", **values)


def _packaged_baseline(findings: Sequence[Finding], language: Language) -> Message | None:
    """Return the sentence that says that a baseline is the model, None where it is not."""
    name = _base_of(findings)
    if name not in BASELINES:
        return None
    said = translate(BASELINES[name], language)
    return Message("The model is {baseline}: on the rows that chose it no network was better.", baseline=said)


def _form(findings: Sequence[Finding]) -> Message | None:
    """Return the sentence about a lighter form that is packaged in place of the most capable model, None where none is."""
    choice = by_key(findings, CHOICE)
    if choice is None or choice.verdict != "advantage":
        return None
    return Message("What is packaged is {form}, the lightest form tried that is not measurably worse.", form=str(choice.value))


def _base_of(findings: Sequence[Finding]) -> str:
    """Return the contender of which the packaged model is a form; "recipe" where nothing was chosen."""
    choice = by_key(findings, CHOICE)
    return str(choice.value).split("+")[0] if choice is not None and choice.value is not None else "recipe"


def _headline(finding: Finding, language: Language) -> str:
    values = {"title": translate(finding.title, language), "value": number(finding.value, finding.unit, language, spread=width(finding))}
    if finding.interval is None:
        return translate(Message("{title}: {value} (no interval).", **values), language)
    values["interval"] = interval(*finding.interval, finding.value, finding.unit, language)
    if finding.n is None:
        return translate(Message("{title}: {value} (95 % interval {interval}).", **values), language)
    return translate(Message("{title}: {value} (95 % interval {interval}, n = {n}).", **values, n=finding.n), language)


def width(finding: Finding) -> float | None:
    """Return the width of the interval, which decides how many digits a value is worth."""
    return finding.interval[1] - finding.interval[0] if finding.interval else None


def _standing(finding: Finding) -> tuple[int, float]:
    """Rank a comparison: 0 beaten (by the most first), 1 undecided, 2 ahead (by the least first)."""
    size = abs(_difference(finding) or 0.0)
    if not _is_decided(finding):
        return (1, size)
    return (0, -size) if finding.verdict == "limitation" else (2, size)


def _is_decided(finding: Finding) -> bool:
    """Did the paired test tell the two apart? A limitation may also say that the model is not measurably better than a cheaper one."""
    if finding.verdict == "neutral":
        return False
    if finding.verdict == "advantage" or finding.reference is None:
        return True
    low_high, p_value = finding.reference.difference_interval, finding.reference.p_value
    spans = low_high is not None and low_high[0] <= 0 <= low_high[1]
    return not spans and (p_value is None or p_value < 0.05)


def _difference(finding: Finding) -> float | None:
    """Return the paired difference, however the comparison holds it."""
    if finding.reference is None:
        return as_number(finding.value)
    if finding.reference.difference is not None:
        return finding.reference.difference
    value, other = as_number(finding.value), as_number(finding.reference.value)
    return value - other if value is not None and other is not None else value


def _amount(finding: Finding, headline: Finding | None, language: Language) -> str:
    """Return the size of the difference: percentage points for shares, else in the finding's own unit."""
    size = abs(_difference(finding) or 0.0)
    unit = finding.unit or (headline.unit if headline else "")
    if unit == "share":
        return translate(Message("{points} points", points=points(size)), language)
    return number(size, unit, language)


def _opponent(finding: Finding, language: Language) -> str:
    """Return the baseline in words; another model keeps its own name."""
    name = finding.key.removeprefix(AGAINST)
    if name in BASELINES:
        return translate(BASELINES[name], language)
    named = translate(finding.reference.name, language) if finding.reference else ""
    return named or word(name.replace("_", " "), language)


def _is_deep(findings: Sequence[Finding]) -> bool:
    """Is this run's own model a network with hidden layers? Predictions made elsewhere and linear models are not called deep."""
    trained = [finding for finding in findings if finding.stage == "training"]
    linear = any("linear" in (finding.method.values.get("type"), finding.value) for finding in trained)
    return bool(trained) and not linear


def _place(key: str) -> Message | None:
    return next((place for prefix, place in NOT_WHERE if key.startswith(prefix)), None)


def _either(places: Sequence[str], language: Language) -> str:
    """Return the places joined by "or"."""
    *most, last = places
    comma, either = ("、", "，或") if language == "zh" else (", ", ", or ")
    return f"{comma.join(most)}{either}{last}" if most else last


def _listed(titles: Sequence[str], language: Language) -> str:
    return ("；" if language == "zh" else "; ").join(titles)


def _joined(sentences: Sequence[str], language: Language) -> str:
    return ("" if language == "zh" else " ").join(sentences)
