"""Does the model hold when its inputs are damaged by the world, or changed by an adversary? docs/audit-robustness.md"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.damage import Condition, conditions
from weighbridge.audit.damage_findings import Words, beside, damage_findings, units_finding
from weighbridge.audit.damage_losses import Losses, losses
from weighbridge.audit.damage_rows import MOST_S, ROWS, TIMED, Damaged, answers_under, cpu_seconds, sampled
from weighbridge.audit.damage_table import FACTORS, wrong_units
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.evaluation import Predictions
from weighbridge.findings import Finding, Message
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.audit.attack_space import Space
    from weighbridge.preprocessing import Arrays

TITLE = Message("Behaviour under noise, damage and attack")
MOST_COLUMNS = 30  # number columns that are tried in a wrong unit
MOST_SIDE = 48  # pixels of a picture that is shown
CONDITIONS = 40  # about as many are answered, the wrong units included
ATTACKED = (300, 100, 50)  # attacked rows, by what the model takes for a row
LOOKS = 500  # gradients of a row that the attacks take where the row is not broken
MOST_ATTACK_S = 90.0
SWAPPED = (200, 100, 50)  # rows whose words are swapped
SWAP_ROUNDS, SCORE_S = 8, 8e-9  # rounds of swaps; seconds of a processor that a score of one place and token takes
MOST_SWAP_S = 40.0


def seconds(subject: Subject) -> float:
    """About how long it takes."""
    models, rows = 1 if subject.champion is None else 2, len(subject.arrays["test"])
    damaged = models * min(MOST_S, CONDITIONS * cpu_seconds(subject) * min(ROWS[0], rows))
    attacked = min(MOST_ATTACK_S, _attack_seconds(subject) * min(ATTACKED[0], rows)) if subject.is_network else 0.0
    swapped = min(MOST_SWAP_S, _swap_seconds(subject) * min(SWAPPED[0], rows)) if subject.is_network and subject.blocks("text") else 0.0
    return damaged + attacked + swapped + 3.0


def _attack_seconds(subject: Subject) -> float:
    """Return about how many seconds of a processor the attacks on one row take: those of a gradient, so many times."""
    from weighbridge.audit.attacks import LOSSES, Prey

    few = subject.arrays["test"].subset(slice(0, TIMED))
    taken = 0.0
    for space in _spaces(subject, few):
        prey, rows, loss = Prey.of(subject.network(), space, subject.kind), np.arange(len(few)), LOSSES[subject.kind][0]
        prey.look(space.start_ND, rows, loss)
        began = time.process_time()
        prey.look(space.start_ND, rows, loss)
        taken += LOOKS * (time.process_time() - began) / max(1, len(few))
    return taken


def _spaces(subject: Subject, arrays: Arrays) -> list[Space]:
    from weighbridge.audit.attack_space import number_space, picture_space

    return [space for space in (picture_space(arrays, subject.encoder), number_space(arrays, subject.encoder)) if space is not None]


@audit("robustness", TITLE, seconds=seconds)
def robustness(subject: Subject) -> list[Finding]:
    """Return the findings of damage, then of attack; a part that can not be made says why, and the other goes on."""
    made: list[Finding] = []
    parts = (("damage", Message("Behaviour under damage"), damage), ("attack", Message("Behaviour under attack by gradients"), attack))
    for name, title, part in parts:
        try:
            made += part(subject)
        except Unmeasured as error:
            made.append(replace(subject.unmeasured("robustness", title, error.reason), key=f"audit.robustness.{name}"))
    return made


def attack(subject: Subject) -> list[Finding]:
    """Return what attacks cost on pictures, on numbers and on texts, each alone; in attack.json are the curves. Raises Unmeasured."""
    subject.network()
    made, curves = list[Finding](), list[dict[str, Any]]()
    for part in (_moved, _swapped):
        findings, drawn = part(subject)
        made += findings
        curves += drawn
    if not curves and subject.blocks("audio"):
        raise Unmeasured(Message("clips are not attacked: a step of a spectrogram's level is no change that a sound could have"))
    if not curves:
        raise Unmeasured(Message("categories alone have no coordinates that could move by small steps"))
    write_json(subject.place / "attack.json", {"metric": Words(subject=subject, evidence=()).metric, "curves": curves})
    return made


def _moved(subject: Subject) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Return findings and curves of the attacks that move pixels, and those that move numbers."""
    from weighbridge.audit.attack_cascade import Hunter
    from weighbridge.audit.attack_findings import GROUNDS, attack_evidence, attack_findings
    from weighbridge.audit.attacks import Prey

    if not any(block.of in ("image", "number") for block in subject.encoder.blocks):
        return [], []
    chosen = sampled(subject, ATTACKED, _attack_seconds(subject), MOST_ATTACK_S, "attacked rows")
    arrays = subject.arrays["test"].subset(chosen)
    clean = subject.predictions(subject.answer(arrays), arrays)
    made, curves, words = list[Finding](), list[dict[str, Any]](), Words(subject=subject, evidence=("audit/attack.json",))
    for space in _spaces(subject, arrays):
        ground, everywhere = GROUNDS[space.of], np.arange(len(space))
        prey = Prey.of(subject.network(), space, subject.kind)
        hunter = Hunter(prey=prey, answer=subject.answer, scale=_scale(subject), seed=subject.seed, progress=subject.heard)
        hunt = hunter.hunt(ground.epsilons, check=ground.judged, alone=_decides_alone(subject, space))
        said = [subject.predictions(subject.answer(space.sent(level.point_ND, everywhere)), arrays) for level in hunt.levels]
        found = losses(clean, said, list(range(len(said))), subject.how)
        made += attack_findings(words, ground, hunt, found, len(clean))
        curves.append(attack_evidence(ground, hunt, found, len(clean)))
    return made, curves


def _swapped(subject: Subject) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Return findings and the curve of the attack that swaps tokens; nothing where the network looks no text up."""
    from weighbridge.audit.attack_findings import SWAPS, swap_evidence, swap_findings
    from weighbridge.audit.attack_tokens import Swapper, find_readers

    if not subject.blocks("text"):
        return [], []
    chosen = sampled(subject, SWAPPED, _swap_seconds(subject), MOST_SWAP_S, "swapped rows")
    arrays, network = subject.arrays["test"].subset(chosen), subject.network()
    if not (readers := find_readers(network, arrays, subject.encoder)):
        return [], []
    swapper = Swapper(
        network=network, arrays=arrays, readers=readers, kind=subject.kind, answer=subject.answer, scale=_scale(subject),
        progress=subject.heard,
    )  # fmt: skip
    levels = swapper.hunt(SWAPS)
    clean = subject.predictions(subject.answer(arrays), arrays)
    said = [subject.predictions(subject.answer(level.arrays), level.arrays) for level in levels]
    found = losses(clean, said, list(range(len(said))), subject.how)
    words = Words(subject=subject, evidence=("audit/attack.json",))
    return swap_findings(words, found, len(clean)), [swap_evidence(found, len(clean))]


def _swap_seconds(subject: Subject) -> float:
    """Return about how many seconds of a processor it takes to score every swap of a row, by how many there are."""
    scores = sum(block.shape[0] * block.cardinalities[0] for block in subject.encoder.blocks if block.kind == "text")
    return SWAP_ROUNDS * (scores * SCORE_S + 12 * cpu_seconds(subject))


def _scale(subject: Subject) -> Callable[[np.ndarray], np.ndarray]:
    target = subject.encoder.learnt
    return lambda said: (said - target.mean) / target.std


def _decides_alone(subject: Subject, space: Space) -> bool:
    """Whether every input of every row may move: only then must an attack without bounds break all."""
    kinds = {block.kind for block in subject.encoder.blocks}
    types = {feature.type for feature in subject.encoder.features}
    return bool(space.free_ND.all()) and (kinds <= {"image", "present"} if space.of == "image" else types == {"number"})


def damage(subject: Subject) -> list[Finding]:
    """Return what each kind of damage costs; damage.json and pictures.json hold the curves and examples."""
    models = 1 if subject.champion is None else 2
    numbers = sampled(subject, ROWS, models * CONDITIONS * cpu_seconds(subject), MOST_S, "damaged rows")
    rows = Damaged.of(subject, numbers)
    if not rows.kinds:
        raise Unmeasured(Message("no kind of damage is known for these columns"))
    wanted = conditions(rows.kinds)
    clean = rows.said(rows.arrays)
    other = None if subject.champion is None else Damaged.of(subject.champion, numbers)
    pairs = list(answers_under(rows, other, wanted))
    said = [one for one, _ in pairs]
    family = [rows.kinds.index(one.kind) for one in wanted]
    found = losses(clean, said, family, subject.how)
    _write(subject, rows, wanted, found, clean)
    names = ("audit/damage.json", *(["audit/pictures.json"] if subject.blocks("image") else []))
    words = Words(subject=subject, evidence=names)
    made = damage_findings(words, rows.kinds, wanted, clean, found)
    if other is not None:
        theirs = [other.said(other.arrays), *(two for _, two in pairs if two is not None)]
        made[0] = replace(made[0], reference=beside([clean, *said], theirs, other.subject.kept.name, subject.how))
    return made + _units(words, rows, clean)


def _units(words: Words, rows: Damaged, clean: Predictions) -> list[Finding]:
    columns = rows.columns_of("number")
    if not columns:
        return []
    tried: list[tuple[str, float]] = []
    said: list[Predictions] = []
    for name, factor, changed in wrong_units(rows.raw, columns[:MOST_COLUMNS]):
        tried.append((name, factor))
        said.append(rows.said(rows.encoded({name: changed[name]})))
    found = losses(clean, said, [place // len(FACTORS) for place in range(len(tried))], words.subject.how)
    return [units_finding(words, tried, found, len(clean), max(0, len(columns) - MOST_COLUMNS))]


def _write(subject: Subject, rows: Damaged, wanted: Sequence[Condition], found: Losses, clean: Predictions) -> None:
    """damage.json holds the headline by kind and strength with the paired interval of what was lost, pictures.json an example of each."""
    kinds: list[dict[str, Any]] = []
    for kind in rows.kinds:
        levels = [
            {"strength": one.strength, "value": loss.damaged, "lost": loss.value, "low": loss.interval[0], "high": loss.interval[1]}
            for one, loss in zip(wanted, found.each, strict=True)
            if one.kind == kind
        ]
        kinds.append({"key": kind.key, "title": kind.title.template, "unit": kind.unit.template, "levels": levels})
    whole = {"metric": Words(subject=subject, evidence=()).metric, "clean": found.mean.clean, "n": len(clean), "kinds": kinds}
    write_json(subject.place / "damage.json", whole)
    if subject.blocks("image"):
        write_json(subject.place / "pictures.json", _pictures(rows, wanted))


def _pictures(rows: Damaged, wanted: Sequence[Condition]) -> dict[str, Any]:
    """Return one row's picture, undamaged and at each strength of each kind, at most 48 pixels wide."""
    block, place = rows.subject.blocks("image")[0], 0
    few = replace(rows, rows=rows.rows[[place]], arrays=rows.arrays.subset(np.array([place])), raw={})

    def small(values: Any) -> list[Any]:
        step = -(-max(values.shape[:2]) // MOST_SIDE)
        return list(values[::step, ::step].tolist())

    shown = [(one.kind.title.template, small(few.under(one).blocks[block][0])) for one in wanted if one.kind.of == "image"]
    titles = list(dict.fromkeys(title for title, _ in shown))
    strips = [{"title": title, "pictures": [picture for name, picture in shown if name == title]} for title in titles]
    return {"clean": small(few.arrays.blocks[block][0]), "strips": strips}
