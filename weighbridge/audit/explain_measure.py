"""Explanations of a sample of test rows by every method that the model allows, and the checks of each method.

n rows, U parts of a row, S networks with other weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit import explain_checks as checks
from weighbridge.audit.explain_checks import Mean, Status
from weighbridge.audit.explain_methods import MOST_COLUMNS, shapley
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import DependencyError
from weighbridge.findings import Message
from weighbridge.preprocessing import Ragged
from weighbridge.runtime.curves import Curves, curves, lead, order_of
from weighbridge.runtime.explained import Explained
from weighbridge.runtime.occlusion import Attributions, occlusion
from weighbridge.runtime.parts import background_of
from weighbridge.storage import read_json
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.preprocessing import Arrays

ROWS, FEWER_ROWS, FEWEST_ROWS = 100, 24, 10  # test rows that are explained; where the network is large; at least
LARGE = 2_000_000  # parameters
BACKGROUND = 6  # training rows whose columns take the place of those that are switched off
RANDOM_ORDERS = 4
NETS, REDRAWN_ROWS = 8, 24  # weights are drawn anew so often, for so many rows
FEWER_NETS, FEWER_REDRAWN = 4, 12  # where the network is large
UNSIGNED = ("attention_rollout",)
NAMES = {
    "integrated_gradients": "integrated gradients",
    "gradient_input": "gradient times input",
    "occlusion": "occlusion",
    "shapley": "Shapley values",
    "attention_rollout": "attention rollout",
}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A method's attributions of all rows and what its checks say; `redrawn` None where there are no weights to draw anew.

    `curves` are the means over rows of the method's own order, `random` those of random orders.
    """

    method: str
    attributions: Attributions
    lead: Mean
    curves: Curves
    random: Curves
    redrawn: Mean | None = None

    @property
    def faithful(self) -> Status:
        return checks.faithful(self.lead)

    @property
    def status(self) -> Status:
        """Holds where every check that was made does; fails where one does."""
        made = [self.faithful, *([] if self.redrawn is None else [checks.follows_weights(self.redrawn)])]
        return "fails" if "fails" in made else "holds" if set(made) == {"holds"} else "open"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What all methods say of the same rows; `missing` says why a method says nothing."""

    rows: Explained
    groups: np.ndarray | None
    methods: Mapping[str, Checked]
    missing: Mapping[str, Message]
    no_weights: Message | None
    left_out: Mean | None
    nets: int = NETS
    agreement: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)


def background(subject: Subject) -> dict[str, np.ndarray]:
    """Return the columns of a few training rows."""
    train = subject.arrays["train"]
    picked = np.sort(rng(subject.seed, "audit", "explanation", "background").choice(len(train), min(BACKGROUND, len(train)), replace=False))
    return background_of(subject.encoder, train, picked)


def explained(subject: Subject, places: np.ndarray) -> Explained:
    """Return these test rows before the packaged form."""
    return Explained.of(subject.encoder, subject.answer, subject.arrays["test"].subset(places), background(subject))


def sampled(subject: Subject) -> np.ndarray:
    """Return the places of the test rows that are explained, drawn at random and rising. Raises Unmeasured where too few have two parts."""
    fit = np.flatnonzero(parts_of(subject) >= 2)
    if len(fit) < FEWEST_ROWS:
        if int(parts_of(subject).max(initial=0)) < 2:
            raise Unmeasured(Message("a row has one part only: there is nothing to rank"))
        raise Unmeasured(Message("{n} test rows have two parts or more, {least} are needed", n=len(fit), least=FEWEST_ROWS))
    most = FEWER_ROWS if parameters(subject) > LARGE else ROWS
    return np.sort(rng(subject.seed, "audit", "explanation", "rows").choice(fit, min(most, len(fit)), replace=False))


def drawings(subject: Subject) -> tuple[int, int]:
    """Return how often weights are drawn anew, and for how many rows."""
    return (FEWER_NETS, FEWER_REDRAWN) if parameters(subject) > LARGE else (NETS, REDRAWN_ROWS)


def parameters(subject: Subject) -> int:
    """Return the number of values in the network behind the form; 0 for none."""
    if not subject.is_network:
        return 0
    return int(read_json(subject.folder / subject.kept.network / "model.json").get("all_parameters", 0))


def parts_of(subject: Subject) -> np.ndarray:
    """Return the number of parts of each test row, int [n]; of runs of tokens the tokens, which are as many or more."""
    test = subject.arrays["test"]
    fixed = sum(1 for feature in subject.encoder.features if feature.kind in ("number", "category") and feature.names)
    fixed += sum(64 for _ in (*subject.blocks("image"), *subject.blocks("audio")))
    texts = [values.lengths for values in test.blocks.values() if isinstance(values, Ragged)]
    return np.full(len(test), fixed) + (np.sum(texts, axis=0) if texts else 0)


def attributions_of(rows: Explained, network: nn.Module | None, *, seed: int, anew: bool = False) -> tuple[
    dict[str, Attributions], dict[str, Message], tuple[np.ndarray, np.ndarray] | None
]:  # fmt: skip
    """Return what each method says of the rows, why others say nothing, and integrated gradients' sums with what they should be.

    `anew`: fewer steps, for networks whose weights were drawn anew.
    """
    made: dict[str, Attributions] = {}
    missing: dict[str, Message] = {}
    sums = None
    if network is not None:
        from weighbridge.audit import explain_attention, explain_gradients

        try:
            steps = explain_gradients.FEWER_STEPS if anew else explain_gradients.PATH_STEPS
            found = explain_gradients.gradients(network, rows, steps=steps)
            made["integrated_gradients"], made["gradient_input"], sums = found.integrated, found.times_input, (found.summed, found.wanted)
        except DependencyError as error:
            missing["integrated_gradients"] = Message("{why}", why=str(error))
        if explain_attention.has_attention(network):
            made["attention_rollout"] = explain_attention.rollout(network, rows)
    made["occlusion"] = occlusion(rows)
    if all(layout.columns_only for layout in rows.layouts):
        if len(rows.layouts[0]) > MOST_COLUMNS:
            reason = Message("{n} columns: beyond {most} Shapley values take too long", n=len(rows.layouts[0]), most=MOST_COLUMNS)
            return made, missing | {"shapley": reason}, sums
        try:
            made["shapley"] = shapley(rows, seed=seed)
        except DependencyError as error:
            missing["shapley"] = Message("{why}", why=str(error))
    return made, missing, sums


def measured(subject: Subject) -> Told:
    """Return every method's explanations of the sampled rows and the checks. Raises Unmeasured, Stopped."""
    places = sampled(subject)
    rows, network, no_weights = explained(subject, places), None, None
    try:
        network = subject.network()
    except Unmeasured as error:
        no_weights = error.reason
    groups = groups_of(subject, rows.arrays)
    subject.heard("explain test rows", 0, 3)
    made, missing, sums = attributions_of(rows, network, seed=seed31(subject.seed, "audit", "explanation", "shapley"))
    subject.heard("explain test rows", 1, 3)
    found = {checked.method: checked for checked in faithfulness(rows, made, groups, subject.seed, subject.heard)}
    subject.heard("explain test rows", 2, 3)
    if network is not None:
        for method, mean in redrawn_weights(subject, rows, made, network, groups).items():
            found[method] = replace(found[method], redrawn=mean)
    subject.heard("explain test rows", 3, 3)
    left_out = None
    if sums is not None and np.abs(sums[1]).mean() > 0:
        left_out = checks.mean_over(np.abs(sums[0] - sums[1]) / np.abs(sums[1]).mean(), groups)
    alike = agreements({name: one.attributions for name, one in found.items()})
    return Told(
        rows=rows, groups=groups, methods=found, missing=missing, no_weights=no_weights, left_out=left_out, nets=drawings(subject)[0],
        agreement=alike,
    )  # fmt: skip


def groups_of(subject: Subject, arrays: Arrays) -> np.ndarray | None:
    """Return the group of each row, None where rows stand alone."""
    known = subject.said["test"]
    return None if known.group is None else np.asarray(known.group[np.searchsorted(known.row_id, arrays.row_ids)])


def faithfulness(
    rows: Explained, made: Mapping[str, Attributions], groups: np.ndarray | None, seed: int, heard: Callable[..., None]
) -> list[Checked]:
    """Return the lead of each method over random orders, the same ones for all methods."""
    by: dict[str, list[Curves]] = {method: [] for method in made}
    chance: list[list[Curves]] = []
    for place, layout in enumerate(rows.layouts):
        generator = rng(seed, "audit", "explanation", "orders", place)
        orders = [order_of(found[place], generator) for found in made.values()]
        orders += [generator.permutation(len(layout)) for _ in range(RANDOM_ORDERS)]
        found_here = curves(lambda keep, place=place: rows.answers(place, keep).share, np.stack(orders))  # type: ignore[misc]
        for method, found in zip(made, found_here, strict=False):
            by[method].append(found)
        chance.append(found_here[len(made) :])
        heard("take parts out and put them in", place + 1, len(rows))
    return [
        Checked(
            method=method, attributions=made[method], curves=_mean_curves(own), random=_mean_curves([one for row in chance for one in row]),
            lead=checks.mean_over(np.array([lead(one, row) for one, row in zip(own, chance, strict=True)]), groups),
        )
        for method, own in by.items()
    ]  # fmt: skip


def _mean_curves(found: Sequence[Curves]) -> Curves:
    return Curves(
        deletion=float(np.mean([one.deletion for one in found])), insertion=float(np.mean([one.insertion for one in found])),
        deletion_curve=np.mean([one.deletion_curve for one in found], axis=0),
        insertion_curve=np.mean([one.insertion_curve for one in found], axis=0),
    )  # fmt: skip


def redrawn_weights(
    subject: Subject, rows: Explained, made: Mapping[str, Attributions], network: nn.Module, groups: np.ndarray | None
) -> dict[str, Mean | None]:
    """Return the rank correlation of each method's explanations with those of networks whose weights were drawn anew (Adebayo 2018).

    None where too few rows can be ranked.
    """
    from weighbridge import training
    from weighbridge.audit.explain_gradients import redrawn

    nets, most = drawings(subject)
    picked = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
    few = rows.subset(picked)
    table: dict[str, list[list[float]]] = {method: [] for method in made}
    for draw in range(nets):
        subject.heard("draw the weights anew", draw, nets)
        net = redrawn(network, seed31(subject.seed, "audit", "explanation", "redrawn", draw))
        other = replace(few, answer=partial(training.forward_all, training.Deployable(net, subject.encoder.learnt).eval()))
        theirs, _, _ = attributions_of(other, net, seed=draw, anew=True)
        for method, found in theirs.items():
            table[method].append(
                [checks.rank_correlation(made[method][row], found[place]) for place, row in enumerate(picked)]
            )  # fmt: skip
    return {method: _ranked_mean(np.array(found).T, None if groups is None else groups[picked]) for method, found in table.items()}


def _ranked_mean(values_nS: np.ndarray, groups: np.ndarray | None) -> Mean | None:
    """Return the mean over rows in which every draw can be ranked; None for fewer than 10."""
    whole = np.isfinite(values_nS).all(axis=1)
    if int(whole.sum()) < FEWEST_ROWS:
        return None
    return checks.mean_over(values_nS[whole], None if groups is None else groups[whole])


def agreements(made: Mapping[str, Attributions]) -> dict[tuple[str, str], np.ndarray]:
    """Return the rank correlation of each pair of methods in each row, float64 [n], NaN where it can not be ranked.

    Where a method knows no sign, sizes are compared.
    """
    names, found = list(made), {}
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            size = one in UNSIGNED or other in UNSIGNED
            pairs = zip(made[one], made[other], strict=True)
            found[one, other] = np.array([checks.rank_correlation(*((np.abs(a), np.abs(b)) if size else (a, b))) for a, b in pairs])
    return found


def agreement(told: Told) -> tuple[Mean, tuple[str, str]] | None:
    """Return the mean agreement of the methods that hold, and the pair that agrees least; None for fewer than two or too few rows."""
    held = {name for name, one in told.methods.items() if one.status == "holds"}
    pairs = {pair: values for pair, values in told.agreement.items() if set(pair) <= held}
    if not pairs:
        return None
    table = np.stack(list(pairs.values()), axis=1)
    whole = np.isfinite(table).all(axis=1)
    if int(whole.sum()) < FEWEST_ROWS:
        return None
    least = min(pairs, key=lambda pair: float(pairs[pair][whole].mean()))
    mean = checks.mean_over(table[whole].mean(axis=1), None if told.groups is None else told.groups[whole])
    return (mean, least) if math.isfinite(mean.value) else None
