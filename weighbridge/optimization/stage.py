"""The optimization stage: who is the most capable, and which is its lightest form that is not measurably worse.

rungs -> search -> ensembles -> the most capable -> its forms -> what each costs -> the choice -> its probabilities adjusted

All of it is judged on validation rows, or out of fold; the test rows are read by the evaluation alone, once, for what was chosen here.
What was trained and built stays in its folder, so a killed stage goes on with the next piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.errors import DataError, DependencyError, FormError, RecipeError, RefusedArtefact, TrainingError
from weighbridge.findings import Finding, Message
from weighbridge.optimization.adjusting import adjusted, is_asked
from weighbridge.optimization.choosing import choose, cost_findings, frontier_json, kept_of, measured_costs
from weighbridge.optimization.chosen import CHOICE, Chosen, Kept, recipe_network
from weighbridge.optimization.contest import RECIPE, Contest, tidy
from weighbridge.optimization.ensembles import average_entry, averages, rows_of, soup_entry
from weighbridge.optimization.forms import form_entry, in_torch, wanted_forms
from weighbridge.optimization.in_torch import torch_findings
from weighbridge.optimization.ladder import Entry, baseline_entry, network_entry, seed_entries
from weighbridge.optimization.rating import Tested, ensemble_finding, ladder_findings, not_made, resampling, tests_of
from weighbridge.optimization.scale import measure_scale
from weighbridge.optimization.search import search
from weighbridge.recipe import varied
from weighbridge.recipe.optimization import BASELINES
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.choice import Choice
    from weighbridge.optimization.cost import Cost
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

FAILS = (RecipeError, DataError, TrainingError, RefusedArtefact, FormError, DependencyError)
TITLE = Message("The form that is packaged")


@dataclass(kw_only=True)
class Field:
    """What stands so far: entries and their answers on the judging rows, in the order in which they came, and what was found."""

    contest: Contest
    command: str
    entries: dict[str, Entry] = field(default_factory=dict)
    said: dict[str, Predictions] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, entry: Entry) -> bool:
        """The entry stands with its answers, or a finding says why it could not be made; returns which."""
        self.contest.progress("optimization", len(self.entries), None, entry.name)
        try:
            entry.graph(entry.own)
            said = entry.judged(self.contest)
        except FAILS as error:
            self.findings.append(not_made(entry.name, error, self.command))
            return False
        self.entries[entry.name], self.said[entry.name] = entry, said
        return True


def prepare(recipe: Recipe, *, folder: Path, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """`folder/optimization` holds choice.json and the graphs of all that stands; returns the findings `optimization.*`.

    Raises Stopped, StorageError, RunError; what is finished is kept. What can not be made is a finding, and the rest goes on.
    """
    contest = Contest(recipe=recipe, folder=folder, progress=progress, stop=stop)
    if not recipe.optimization.enabled:
        kept, found = _as_trained(contest, command)
        tidy(contest)
        _write(folder, Chosen(folder=folder, form=kept, champion=kept))
        reason = Message("the recipe says optimization.enabled: false")
        return [Finding(key="optimization.choice", title=TITLE, verdict="unmeasured", reason=reason, command=command), *found]
    stands = Field(contest=contest, command=command)
    if not _rungs(stands):  # without the recipe's own graph there is nothing to make forms of
        _write(folder, Chosen(folder=folder, form=recipe_network(folder), champion=recipe_network(folder)))
        return [*stands.findings, *measure_scale(contest, command)]
    competing = _competing(stands)
    best = _best(stands, competing)
    tested = _ensembles(stands, competing, best)
    champion = next((one.name for one in sorted(tested, key=lambda one: -one.comparison.difference) if one.kept), best)
    forms = _forms(stands, champion)
    costs = measured_costs(contest, stands.entries[champion], [entry for name, entry in stands.entries.items() if name != champion])
    rivals = [name for name in dict.fromkeys([best, *competing]) if name != champion]
    choice = choose(contest, champion, [*forms, *rivals], stands.said, costs)
    write_json(folder / "optimization" / "frontier.json",
               frontier_json(contest, champion, choice, stands.entries, stands.said, costs, _ladder(stands)))  # fmt: skip
    form, adjustments = adjusted(contest, kept_of(contest, chosen := stands.entries[choice.chosen]), chosen.own, command)
    best_kept = form if choice.chosen == champion else kept_of(contest, stands.entries[champion])
    _write(folder, Chosen(folder=folder, form=form, champion=best_kept, margin=choice.margin, confidence=choice.confidence))
    found = [*_told(stands, competing, best, champion, tested, choice, costs), *adjustments, *measure_scale(contest, command)]
    tidy(contest)
    return found


def _as_trained(contest: Contest, command: str) -> tuple[Kept, list[Finding]]:
    """Return the recipe's network as it was trained, or its graph with what the recipe adjusts in it."""
    if not is_asked(contest):
        return recipe_network(contest.folder), []
    entry = network_entry(contest, RECIPE, contest.recipe)
    try:
        kept = kept_of(contest, entry)
    except FAILS as error:
        return recipe_network(contest.folder), [not_made(RECIPE, error, command)]
    return adjusted(contest, kept, entry.own, command)


def _rungs(stands: Field) -> bool:
    """Baselines, the recipe's network, candidates and the search's best stand; returns whether the recipe's network does."""
    contest, recipe = stands.contest, stands.contest.recipe
    named = [*recipe.evaluation.baselines, *(name for name in recipe.optimization.candidates if name in BASELINES)]
    for name in dict.fromkeys(named):
        stands.add(baseline_entry(contest, name))
    if not stands.add(network_entry(contest, RECIPE, recipe)):
        return False
    for name, changes in recipe.optimization.candidates.items():
        if name not in BASELINES:
            stands.add(network_entry(contest, name, varied(recipe, changes)))
    key = str(read_json(contest.folder / "training" / "stage.json")["key"])
    found = search(contest, command=stands.command, key=key)
    if found is not None:
        stands.findings += found.findings
        if found.variant is not None and not found.own:
            stands.add(network_entry(contest, "search", found.variant))
    return True


def _competing(stands: Field) -> list[str]:
    """Return who may be the most capable: networks, and baselines that the recipe names as candidates."""
    wanted = stands.contest.recipe.optimization.candidates
    return [name for name in stands.entries if name not in BASELINES or name in wanted]


def _best(stands: Field, competing: Sequence[str]) -> str:
    """Return the best single model by its score on the judging rows; equal ones by the order in which they came."""
    from weighbridge.evaluation.metrics import HEADLINES

    headline = HEADLINES[stands.said[RECIPE].kind]
    return max(competing, key=lambda name: headline.sign * headline.value(stands.said[name]))


def _ensembles(stands: Field, competing: Sequence[str], best: str) -> list[Tested]:
    """Averages and the soup stand, tested against the best single model; [] where the recipe asks for none or there are too few members."""
    contest, options = stands.contest, stands.contest.recipe.optimization.ensembles
    if not options.enabled:
        return []
    members = [stands.entries[name] for name in competing]
    if not contest.recipe.optimization.cross_validation.folds:  # seeds are trained on the run's own split only
        members += [entry for entry in seed_entries(contest) if stands.add(entry)]
    standing = [average for average in averages(contest, members) if stands.add(average_entry(contest, average))]
    pairs = [(rows_of(stands.said[one.name], one.judges), rows_of(stands.said[best], one.judges)) for one in standing]
    if options.soup and stands.entries[best].network is not None and stands.add(soup_entry(contest, stands.entries[best])):
        pairs.append((stands.said["soup"], stands.said[best]))
    return tests_of(pairs, resampling(contest))


def _forms(stands: Field, champion: str) -> list[str]:
    """The forms of the most capable model that could be made stand; returns their names."""
    contest = stands.contest
    before = set(stands.entries)
    for steps in wanted_forms(contest.recipe.optimization.compression):
        stands.add(form_entry(contest, stands.entries[champion], steps))
    return [name for name in stands.entries if name not in before]


def _ladder(stands: Field) -> list[str]:
    """Return the rungs in their order: baselines, networks, ensembles; no forms."""
    return [name for name in stands.entries if "+" not in name]


def _told(
    stands: Field, competing: Sequence[str], best: str, champion: str, tested: Sequence[Tested], choice: Choice, costs: Mapping[str, Cost]
) -> list[Finding]:
    """Return all findings of the stage but those of the scale study."""
    from weighbridge.evaluation.choice_verdict import champion_finding, choice_findings
    from weighbridge.evaluation.metrics import HEADLINES
    from weighbridge.evaluation.wording import WORDS

    contest, command, how = stands.contest, stands.command, resampling(stands.contest)
    unit = WORDS[HEADLINES[stands.said[champion].kind].name].unit
    rivals = [stands.said[name] for name in competing if name != champion]
    about = {name: entry.about() for name, entry in stands.entries.items()}
    forms = [name for name in stands.entries if "+" in name]
    found = [
        *choice_findings(choice, original_name=champion, cost=contest.recipe.optimization.choice.cost, command=command),
        champion_finding(stands.said[champion], rivals, how, command=command),
        *(ensemble_finding(one, best, costs, unit, command) for one in tested),
        *ladder_findings(_ladder(stands), stands.said, about, costs, champion, how, command),
        *cost_findings([champion, *forms], costs, champion, command),
    ]
    if in_torch(contest.recipe.optimization.compression):
        found += torch_findings(contest, stands.entries[champion], command)
    return [*found, *stands.findings]


def _write(folder: Path, chosen: Chosen) -> None:
    write_json(folder / "optimization" / CHOICE, chosen.to_json())
