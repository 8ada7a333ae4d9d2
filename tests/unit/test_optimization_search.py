"""Law: a search tries each combination once, the recipe's own values first, and what it tries follows from the recipe's seed and the trials
before; what fails or falls behind costs its own trial only; the best is chosen on judging rows, and the test rows are never read.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults import small_runs
from weighbridge import lifecycle
from weighbridge.errors import DependencyError, RecipeError, RunError
from weighbridge.findings import Finding, by_key
from weighbridge.optimization import search_sitting, search_study
from weighbridge.optimization.contest import Contest
from weighbridge.optimization.search import Searched, search, search_share
from weighbridge.optimization.search_findings import importance
from weighbridge.optimization.search_pruning import falls_behind, rung_epochs, share_of_epochs
from weighbridge.optimization.search_sitting import Sitting
from weighbridge.optimization.search_space import Params, Variable, changes_of, own_params, propose, size_of, variables_of
from weighbridge.optimization.search_study import Lost, Tried, best_of, known_url, open_store, shown_url
from weighbridge.optimization.search_trial import claim, standing
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage import read_json, sha256_file
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent

LR = {"training.optimizer.lr": {"low": 1e-3, "high": 0.1, "log": True}}
HIDDEN = {"training.model.hidden": [[8], [16, 8], None]}
SECRET = "hunter2"


def with_search(recipe: Recipe, space: dict[str, Any], folds: int = 0, **options: Any) -> Recipe:
    """Return the recipe with a search."""
    section = {"search": {"space": space, **options}, "cross_validation": {"folds": folds}}
    return parse_recipe({**recipe.model_dump(mode="json"), "optimization": section})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A run whose own network is trained: two numbers and a category, three epochs."""
    home = tmp_path_factory.mktemp("search")
    values = small_runs.table(home).model_dump(mode="json")
    values["training"]["epochs"] = 3
    recipe = parse_recipe(values)
    lifecycle.run(recipe, home / "run", until="training")
    return recipe, home / "run"


@pytest.fixture
def run(trained: tuple[Recipe, Path], tmp_path: Path) -> tuple[Recipe, Path]:
    shutil.copytree(trained[1], tmp_path / "run")
    return trained[0], tmp_path / "run"


def searched(recipe: Recipe, folder: Path, progress: Any = silent) -> Searched:
    contest = Contest(recipe=recipe, folder=folder, progress=progress, stop=StopRequest())
    found = search(contest, command="weigh optimize run", key="key")
    assert found is not None
    return found


def trials_of(folder: Path) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = read_json(folder / "optimization" / "search.json")["trials"]
    return trials


def found_by(found: Searched, key: str) -> Finding:
    finding = by_key(list(found.findings), key)
    assert finding is not None, [each.key for each in found.findings]
    return finding


# the space ---------------------------------------------------------------------------------------------------------------------


def variables(space: dict[str, Any]) -> list[Variable]:
    plain = parse_recipe({"data": {"source": "x.csv", "target": "y"}})
    return variables_of(with_search(plain, space))


def test_a_list_may_hold_any_value_that_json_has() -> None:
    values = [[16, 32], None, [8]]
    held = variables({"training.model.hidden": values})
    assert [changes_of(held, {"training.model.hidden": label})["training.model.hidden"] for label in held[0].labels] == values
    assert held[0].distribution.to_internal_repr(held[0].labels[1]) == 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"low": 0.0, "high": 0.5}, optuna.distributions.FloatDistribution(0.0, 0.5)),
        ({"low": 0.1, "high": 0.5, "step": 0.15}, optuna.distributions.FloatDistribution(0.1, 0.4, step=0.15)),
        ({"low": 0.001, "high": 0.5, "log": True}, optuna.distributions.FloatDistribution(0.001, 0.5, log=True)),
    ],
)
def test_a_range_becomes_numbers(given: dict[str, Any], wanted: optuna.distributions.BaseDistribution) -> None:
    assert variables({"training.model.dropout": given})[0].distribution == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"low": 8, "high": 64, "log": True}, optuna.distributions.IntDistribution(8, 64, log=True)),
        ({"low": 8, "high": 20, "step": 8}, optuna.distributions.IntDistribution(8, 16, step=8)),
        ({"low": 1, "high": 2}, optuna.distributions.IntDistribution(1, 2)),  # the key takes whole numbers only
    ],
)
def test_a_range_of_whole_numbers_stays_whole(given: dict[str, Any], wanted: optuna.distributions.BaseDistribution) -> None:
    assert variables({"training.model.convolutions" if given["high"] < 4 else "training.batch_size": given})[0].distribution == wanted


@given(low=st.integers(1, 50), steps=st.integers(2, 40), step=st.sampled_from([1.0, 2.0, 0.25, 0.1]))
@settings(max_examples=60, deadline=None)
def test_every_point_of_a_stepped_range_lies_in_it(low: int, steps: int, step: float) -> None:
    variable = Variable(key="training.l2", low=float(low), high=low + steps * step, step=step)
    points = [variable.at(place) for place in range(variable.count or 0)]
    assert len(points) == steps + 1
    distribution = variable.distribution
    for point in points:
        assert variable.holds(point)
        assert distribution._contains(distribution.to_internal_repr(point))
    assert not variable.holds(low + step / 2)


def test_the_recipes_own_values_are_found_by_what_they_mean_and_by_what_auto_became() -> None:
    plain = parse_recipe({"data": {"source": "x.csv", "target": "y"}, "training": {"epochs": 7}})
    space = {**LR, "training.model": ["cnn", "mlp"], "training.epochs": [5, 7], "training.model.hidden": [None, [8]]}
    held = variables(space)
    auto = {"training.optimizer.lr": 0.004, "training.model": "mlp"}
    own = own_params(plain, held, auto)
    assert own is not None
    assert changes_of(held, own) == {
        "training.optimizer.lr": 0.004,
        "training.model": "mlp",
        "training.epochs": 7,
        "training.model.hidden": None,
    }
    assert own_params(plain, held, {**auto, "training.optimizer.lr": 0.5}) is None
    assert own_params(plain, held, {}) is None


# what is tried next ------------------------------------------------------------------------------------------------------------


def past_of(proposals: Sequence[Params], held: Sequence[Variable], values: Sequence[float]) -> list[optuna.trial.FrozenTrial]:
    distributions = {variable.key: variable.distribution for variable in held}
    return [
        optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        for params, value in zip(proposals, values, strict=True)
    ]


def sequence(method: Any, space: dict[str, Any], count: int, *, seed: int = 3) -> list[Params]:
    """Return what a search of one process would try; the value of a trial is the distance of its rate from 0.02."""
    held, tried, values = variables(space), [], []
    for _ in range(count):
        params = propose(held, past_of(tried, held, values), method=method, direction="minimize", seed=seed, names=())
        if params is None:
            break
        tried.append(params)
        values.append(abs(np.log(params.get("training.optimizer.lr", 1.0) / 0.02)))
    return tried


@pytest.mark.parametrize("method", ["tpe", "random", "grid"])
def test_each_combination_is_tried_once_and_then_the_search_ends(method: str) -> None:
    space = {"training.model.hidden": [[8], [16], None], "training.epochs": [2, 3], "training.l2": {"low": 0.0, "high": 0.2, "step": 0.1}}
    tried = sequence(method, space, 99)
    assert len(tried) == size_of(variables(space)) == 18
    assert len({json.dumps(params) for params in tried}) == 18


@pytest.mark.parametrize("method", ["tpe", "random", "grid"])
def test_what_is_tried_next_follows_from_the_seed_and_the_trials_before(method: str) -> None:
    space = {"training.l2": {"low": 0.0, "high": 1.0, "step": 0.01}} if method == "grid" else {**LR, **HIDDEN}
    first = sequence(method, space, 14)
    assert first == sequence(method, space, 14)
    assert first != sequence(method, space, 14, seed=4)
    held = variables(space)
    values = [abs(np.log(params.get("training.optimizer.lr", 1.0) / 0.02)) for params in first]
    again = propose(held, past_of(first[:13], held, values[:13]), method=method, direction="minimize", seed=3, names=())  # type: ignore[arg-type]
    assert again == first[13], "another process proposes the same from the same trials"


def test_a_sampler_that_is_seeded_once_in_each_process_would_repeat_itself() -> None:
    """The naive way: what a new process draws begins anew, whatever was tried."""
    held = variables(LR)
    drawn = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask({"lr": held[0].distribution}).params for _ in range(2)]
    assert drawn[0] == drawn[1]
    tried = sequence("random", LR, 2)
    assert tried[0] != tried[1]


def test_tpe_comes_nearer_than_random_search() -> None:
    def best(method: str, seed: int) -> float:
        return min(abs(np.log(params["training.optimizer.lr"] / 0.02)) for params in sequence(method, LR, 30, seed=seed)[20:])

    assert np.mean([best("tpe", seed) for seed in range(4)]) < 0.5 * np.mean([best("random", seed) for seed in range(4)])


def test_a_grid_of_a_billion_combinations_is_not_counted_out() -> None:
    space = {f"training.augment.{key}": {"low": 0.0, "high": 0.9, "step": 0.0009} for key in ("noise", "erase", "token_dropout")}
    held = variables(space)
    assert (size_of(held) or 0) > 10**8
    tried = sequence("grid", space, 5)
    assert len({json.dumps(params) for params in tried}) == 5


# what is ended early ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("longest", "rungs"), [(1, []), (2, [1]), (4, [1, 3]), (9, [1, 3]), (30, [3, 9, 27]), (100, [11, 33, 99])])
def test_rungs_follow_from_the_epochs_and_the_last_epoch_is_none(longest: int, rungs: list[int]) -> None:
    assert rung_epochs(longest) == rungs


def first_of_bracket(name: str) -> tuple[int, int]:
    """Return the numbers of two trials that Hyperband compares at the first rung of nine epochs."""
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
    study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
    found = []
    for number in range(40):
        trial = study.ask()
        trial.report(1.0, 1)
        trial.should_prune()
        if "completed_rung_0" in study.get_trials(deepcopy=False)[number].system_attrs:
            found.append(number)
    return found[0], found[1]


def test_a_decision_that_was_cut_off_by_a_kill_is_made_again_as_it_was() -> None:
    """The naive way lets the trial go on: the library has noted the rung before it says what follows from it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strong, weak = first_of_bracket("law")
        known = [Tried(number=number, state="finished", params={}) for number in range(weak)]
        known[strong] = Tried(number=strong, state="finished", params={}, rungs={"completed_rung_0": 0.9})
        ask = {"longest": 9, "direction": "maximize", "name": "law"}
        behind, rungs = falls_behind(known, weak, {1: 0.1}, **ask)  # type: ignore[arg-type]
        assert (behind, rungs) == (True, {"completed_rung_0": 0.1})
        cut_off = Tried(number=weak, state="under way", params={}, reports={1: 0.1}, rungs=rungs)
        assert falls_behind([*known, cut_off], weak, {1: 0.1}, **ask) == (True, rungs)  # type: ignore[arg-type]

        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
        study = optuna.create_study(study_name="law", direction="maximize", pruner=pruner)
        for number in range(weak + 1):
            study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.RUNNING,
                    system_attrs={strong: {"completed_rung_0": 0.9}, weak: rungs}.get(number, {}),
                    intermediate_values={1: 0.1} if number == weak else {},
                )
            )
        naive = optuna.trial.Trial(study, study.trials[weak]._trial_id)
        assert not naive.should_prune()


@pytest.mark.parametrize("longest", [4, 30])
def test_what_hyperband_is_said_to_save_is_about_what_it_saves(longest: int) -> None:
    random, tried, spent, passed = np.random.default_rng(0), [], [], []
    for number in range(120):
        worth, reports, behind, rungs = float(random.normal()), {}, False, {}
        for epochs in rung_epochs(longest):
            reports[epochs] = worth
            behind, rungs = falls_behind(tried, number, reports, longest=longest, direction="maximize", name="shares")
            if behind:
                break
        spent.append(max(reports) / longest if behind else 1.0)
        passed.append(not behind)
        tried.append(Tried(number=number, state="finished", params={}, rungs=rungs))
    share, passing = share_of_epochs(longest)
    assert np.mean(spent) == pytest.approx(share, abs=0.12)
    assert np.mean(passed) == pytest.approx(passing, abs=0.12)


def test_a_trial_stands_where_its_kept_epoch_stands() -> None:
    section = parse_recipe({"data": {"source": "x.csv", "target": "y"}}).training
    epochs = [{"validation_loss": 0.3, "validation_accuracy": 0.8}, {"validation_loss": 0.4, "validation_accuracy": 0.9}]
    assert standing(epochs, section, metric="auto", kind="category") == 0.8
    assert standing(epochs, section, metric="loss", kind="category") == 0.3
    assert standing(epochs, section, metric="auto", kind="set") == -0.3
    assert standing([{"validation_loss": 0.3, "validation_rmse": 2.0}], section, metric="auto", kind="number") == 2.0


# where trials are stored ---------------------------------------------------------------------------------------------------------


def test_equal_values_are_ordered_by_loss_and_then_the_earlier_is_better() -> None:
    def tried(number: int, value: float, loss: float) -> Tried:
        return Tried(number=number, state="finished", params={}, value=value, loss=loss)

    trials = [tried(0, 0.9, 0.3), tried(1, 0.9, 0.2), tried(2, 0.9, 0.2), Tried(number=3, state="pruned", params={}, value=None)]
    best, least = best_of(trials, "maximize"), best_of([*trials, tried(4, 0.1, 9.0)], "minimize")
    assert best is not None
    assert least is not None
    assert (best.number, least.number) == (1, 4)
    assert best_of(trials[3:], "maximize") is None


def test_what_was_stored_is_there_when_the_study_is_opened_again(tmp_path: Path) -> None:
    held = variables(HIDDEN)
    drawn = {variable.key: variable.distribution for variable in held}
    store = open_store(tmp_path, url=None, name="law", direction="maximize")
    first, second = (store.begin({held[0].key: label}, drawn, own=label == "[8]", most=5) for label in held[0].labels[:2])
    assert first is not None
    assert second is not None
    store.report(second.number, 1, 0.5)
    store.note(second.number, "rungs", {"completed_rung_0": 0.5})
    store.finish(first.number, value=0.7, loss=0.4, seconds=2.0)
    store.close()
    again = open_store(tmp_path, url=None, name="law", direction="maximize")
    one, two = again.tried()
    assert (one.state, one.value, one.loss, one.seconds, one.own) == ("finished", 0.7, 0.4, 2.0, True)
    assert (two.state, two.reports, two.rungs, two.own) == ("under way", {1: 0.5}, {"completed_rung_0": 0.5}, False)
    assert again.begin({held[0].key: "[8]"}, drawn, own=False, most=5) is None, "another has these values"
    assert again.begin({held[0].key: "null"}, drawn, own=False, most=2) is None, "another took the last one"
    assert [each.number for each in again.tried()] == [0, 1]
    with pytest.raises(Lost):
        again.report(0, 2, 0.5)
    again.close()


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match=r"study\.db can not be used \(file is not a database\)") as raised:
        open_store(tmp_path, url=None, name="law", direction="maximize")
    assert "remove it" in raised.value.do


def test_a_password_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_study, "OPENING_PAUSE_S", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://me:{SECRET}@127.0.0.1:{port}/studies?password={SECRET}"
    assert shown_url(known_url(url)) == f"postgresql://me@127.0.0.1:{port}/studies"
    with pytest.raises((RunError, DependencyError)) as raised:
        open_store(tmp_path, url=url, name="law", direction="maximize")
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    if isinstance(raised.value, RunError):
        assert "refused" in str(raised.value)


def test_a_missing_driver_is_one_line_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"pip install 'weighbridge\[postgresql\]'"):
        known_url("postgres://me@host/studies")


@pytest.mark.parametrize("url", ["no url", "postgresql://me@host:port/x"])
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(RecipeError, match="is no database URL") as raised:
        known_url(url)
    assert url not in str(raised.value)


# what a search costs -------------------------------------------------------------------------------------------------------------


def test_the_price_of_a_search_is_said_in_trainings() -> None:
    plain = parse_recipe({"data": {"source": "x.csv", "target": "y"}, "training": {"epochs": 30}})
    assert search_share(plain) == 0
    full = {"trials": 12, "pruning": "none"}
    assert search_share(with_search(plain, LR, **full)) == 12
    assert search_share(with_search(plain, {"training.epochs": [20, 30]}, **full)) == 1, "the recipe's own is trained already"
    assert search_share(with_search(plain, LR, folds=5, **full)) == 12 * 5 + 1
    assert 12 * 0.2 < search_share(with_search(plain, LR, trials=12)) < 12 * 0.7


# searches ------------------------------------------------------------------------------------------------------------------------


def test_a_recipe_without_a_space_has_no_search(trained: tuple[Recipe, Path]) -> None:
    contest = Contest(recipe=trained[0], folder=trained[1], progress=silent, stop=StopRequest())
    assert search(contest, command="", key="key") is None


@pytest.mark.slow
def test_the_best_of_a_search_is_kept_and_stands_beside_the_recipes_own(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    ledger = folder / "data" / "test_ledger.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    said: list[set[str]] = []

    def watched(label: str, done: int, total: int | None, note: str = "") -> None:
        place = folder / "optimization" / "search" / "trials"
        said.append({child.name for child in place.iterdir()} if place.exists() else set())

    found = searched(with_search(recipe, {**LR, **HIDDEN}, trials=11, pruning="none"), folder, watched)
    trials = trials_of(folder)
    assert (found.finished, found.pruned, found.failed) == (11, 0, 0)
    assert trials[0]["own"]
    assert [one["own"] for one in trials[1:]] == [False] * 10
    best = max(trials, key=lambda one: (one["value"], -one["loss"]))
    assert (found.number, found.changes) == (best["number"], best["params"])
    assert best["value"] > trials[0]["value"]
    assert max(len(names) for names in said) == 2, "the best so far and the one under way"
    place = folder / "optimization" / "networks" / "own" / "search"
    assert read_json(place / "model.json")["sha256"]
    assert not list((folder / "optimization" / "search" / "trials").iterdir())
    main = found_by(found, "optimization.search")
    assert main.value == best["value"]
    assert main.verdict == "neutral", "chosen on these rows, so it claims nothing"
    assert main.reference is not None
    assert main.reference.value == trials[0]["value"]
    assert main.reference.difference == pytest.approx(best["value"] - trials[0]["value"])
    assert "looks better than it is" in str(main.reason)
    shares = [finding.value for finding in found.findings if finding.key.startswith("optimization.search.importance.")]
    assert sum(float(share) for share in shares if not isinstance(share, str | None)) == pytest.approx(1, abs=1e-4)
    assert (ledger.read_bytes() if ledger.exists() else b"") == before, "the test rows were not read"

    networks = sha256_file(place / "model.safetensors")
    shutil.rmtree(place)
    again = searched(with_search(recipe, {**LR, **HIDDEN}, trials=11, pruning="none"), folder)
    assert again.number == found.number
    assert sha256_file(place / "model.safetensors") == networks, "a network that is gone is trained again as it was"


def test_the_ledger_would_show_a_look_at_the_test_rows(run: tuple[Recipe, Path]) -> None:
    from weighbridge import data

    ledger = run[1] / "data" / "test_ledger.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    data.open_data(run[1] / "data").test("a control", "")
    assert ledger.read_bytes() != before


def test_the_recipes_own_network_is_not_trained_again(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    said: list[str] = []
    found = searched(with_search(recipe, {**LR, **HIDDEN}, trials=1), folder, lambda label, *_: said.append(label))
    assert found.own
    assert found.number == 0
    assert said == [], "nothing was trained"
    own = folder / "training" / "model.safetensors"
    assert sha256_file(folder / "optimization" / "networks" / "own" / "search" / "model.safetensors") == sha256_file(own)
    assert "none of 1 trials is better" in str(found_by(found, "optimization.search").reason)


@pytest.mark.slow
def test_a_trial_that_fails_costs_itself_and_the_search_goes_on(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    space = {"training.model.type": ["mlp", "cnn", "transformer"], "training.loss": ["auto", "mse"]}
    found = searched(with_search(recipe, space, method="grid", trials=6, pruning="none"), folder)
    trials = trials_of(folder)
    assert found.finished == 2
    assert found.failed == 4
    reasons = [one["reason"] for one in trials if one["state"] == "failed"]
    assert all(reasons)
    assert any("mse" in reason for reason in reasons)
    assert reasons[0] in str(found_by(found, "optimization.search.trials").reason)


def test_where_every_trial_fails_it_is_said_and_nothing_is_there(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    found = searched(with_search(recipe, {"training.loss": ["mse", "huber"]}, trials=6), folder)
    assert (found.changes, found.variant, found.number, found.failed) == (None, None, None, 2)
    main = found_by(found, "optimization.search")
    assert main.verdict == "unmeasured"
    assert "none of 2 trials could be trained" in str(main.reason)
    assert not (folder / "optimization" / "networks" / "own" / "search").exists()


def test_a_loss_that_is_not_finite_fails_the_trial(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    values = recipe.model_dump(mode="json")
    values["training"] |= {"optimizer": {"type": "sgd"}, "clip": None, "schedule": {"type": "constant", "warmup": 0.0}}
    wild = with_search(parse_recipe(values), {"training.optimizer.lr": [99.0, 0.01], "training.l2": [1e30, 1e29]}, trials=2)
    found = searched(wild, folder)
    assert found.failed == 2
    assert ["the loss is nan" in one["reason"] for one in trials_of(folder)] == [True, True]


def test_an_impossible_budget_leaves_the_recipes_own_values_and_says_so(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    found = searched(with_search(recipe, LR, budget=1e-6, trials=5), folder)
    assert (found.own, found.finished, found.pruned) == (True, 1, 0)
    main = found_by(found, "optimization.search")
    assert main.verdict == "unmeasured"
    assert "none beside the recipe's own values could end" in str(main.reason)


def test_a_budget_ends_what_is_under_way_and_is_not_given_twice(run: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, folder = run
    now = [0.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            now[0] += 1.0
            return now[0]

    monkeypatch.setattr(search_sitting, "time", Clock)  # a second at each look
    wanted = with_search(recipe, LR, budget=0.5, trials=50, pruning="none")
    first = searched(wanted, folder)
    assert 0 < first.finished < 50
    assert trials_of(folder)[-1]["reason"] in ("budget", "")
    again = searched(wanted, folder)
    assert (again.finished, again.pruned) == (first.finished, first.pruned), "no further trial was begun"
    longer = searched(with_search(recipe, LR, budget=1.0, trials=50, pruning="none"), folder)
    assert longer.finished > first.finished


@pytest.mark.slow
def test_folds_judge_and_the_best_lies_on_every_ground(run: tuple[Recipe, Path]) -> None:
    recipe, folder = run
    found = searched(with_search(recipe, {**LR, **HIDDEN}, folds=2, trials=3, metric="loss"), folder)
    rows = sum(len(np.load(folder / "preprocessing" / split / "target.npy")) for split in ("train", "validation"))
    assert found_by(found, "optimization.search").n == rows, "each row of both is judged once"
    for ground in ("own", "fold-1", "fold-2"):
        assert (folder / "optimization" / "networks" / ground / "search" / "model.json").exists()
    assert (folder / "optimization" / "networks" / "fold-1" / "recipe" / "model.json").exists(), "the recipe's own are kept for the contest"
    finished = [one for one in trials_of(folder) if one["state"] == "finished"]
    assert min(finished, key=lambda one: float(one["value"]))["number"] == found.number


@pytest.mark.slow
def test_numbers_are_searched_for_a_low_error(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(200, 2))
    lines = [f"{a:.4f},{b:.4f},{3 * a - b + 0.1 * e:.4f}" for (a, b), e in zip(x, random.normal(size=200), strict=True)]
    (tmp_path / "numbers.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    values = small_runs.table(tmp_path).model_dump(mode="json")
    plain = parse_recipe(
        {
            "name": "run", "data": {"source": (tmp_path / "numbers.csv").as_posix(), "target": "y"},
            "training": {**values["training"], "epochs": 3, "early_stopping": {}}, "evaluation": {"resamples": 200},
        }
    )  # fmt: skip
    lifecycle.run(plain, tmp_path / "run", until="training")
    found = searched(with_search(plain, LR, trials=4, pruning="none"), tmp_path / "run")
    values_found = [one["value"] for one in trials_of(tmp_path / "run")]
    main = found_by(found, "optimization.search")
    assert main.value == pytest.approx(min(values_found))
    assert main.reference is not None
    assert main.reference.difference is not None
    assert main.reference.difference > 0, "a lower error is better"


def shared(recipe: Recipe, home: Path, **options: Any) -> tuple[Recipe, search_study.TrialStore]:
    """Return the recipe of a study that two machines share, and the study as the other machine has it."""
    wanted = with_search(recipe, LR, storage=f"sqlite:///{home}/shared.db", pruning="none", **options)
    sitting = Sitting(Contest(recipe=wanted, folder=home / "run", progress=silent, stop=StopRequest()), "key")
    other = sitting.store
    other.owner = "elsewhere:1"
    return wanted, other


@pytest.mark.slow
def test_a_trial_of_a_machine_that_gives_no_sign_of_life_has_failed(run: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_sitting, "STALE_S", 0.5)
    monkeypatch.setattr(search_sitting, "POLL_S", 0.1)
    wanted, other = shared(run[0], run[1].parent, trials=3)
    held = variables(LR)
    begun = other.begin({held[0].key: 0.05}, {held[0].key: held[0].distribution}, own=False, most=9)
    assert begun is not None
    signs = iter(range(1, 9))

    def heard(label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "search" and (sign := next(signs, None)) is not None:
            other.note(begun.number, "signs", sign)
            said.append(sign)

    said: list[int] = []
    found = searched(wanted, run[1], heard)
    assert said == list(range(1, 9)), "while it lives it is waited for"
    assert (found.finished, found.failed) == (2, 1)
    assert "elsewhere, which began it, gives no sign of life" in trials_of(run[1])[0]["reason"]
    other.close()


def test_a_trial_that_another_machine_took_for_dead_is_let_go(run: tuple[Recipe, Path]) -> None:
    wanted, other = shared(run[0], run[1].parent, trials=3)
    remarks: list[str] = []

    def heard(label: str, done: int, total: int | None, note: str = "") -> None:
        if label == "search, trial 2 of 3" and note.startswith("epoch 1.0") and other.tried()[1].state == "under way":
            other.fail(1, reason="taken for dead", seconds=0.0)
        if total is None:
            remarks.append(label)

    found = searched(wanted, run[1], heard)
    assert (found.finished, found.failed) == (2, 1)
    assert [one["reason"] for one in trials_of(run[1])] == ["", "taken for dead", ""]
    assert remarks == ["search, trial 2 of 3: another machine took this one for dead and has ended it"]
    other.close()


def test_a_folder_of_another_trial_is_emptied_before_it_is_used(tmp_path: Path) -> None:
    claim(tmp_path / "3", {"study": "one", "trial": 3})
    (tmp_path / "3" / "model.json").write_text("{}")
    claim(tmp_path / "3", {"study": "one", "trial": 3})
    assert (tmp_path / "3" / "model.json").exists()
    claim(tmp_path / "3", {"study": "another", "trial": 3})
    assert not (tmp_path / "3" / "model.json").exists()


def test_the_importance_of_a_key_is_that_of_the_values_it_moves(trained: tuple[Recipe, Path], tmp_path: Path) -> None:
    shutil.copytree(trained[1], tmp_path / "run")
    recipe = with_search(trained[0], {**LR, "training.l2": {"low": 0.0, "high": 1.0}})
    sitting = Sitting(Contest(recipe=recipe, folder=tmp_path / "run", progress=silent, stop=StopRequest()), "key")
    random = np.random.default_rng(0)
    rates, decays = 10 ** random.uniform(-3, -1, 60), random.uniform(0, 1, 60)
    tried = [
        Tried(
            number=number, state="finished", value=float(np.log(rate)), loss=0.0,
            params={"training.optimizer.lr": rate, "training.l2": decay},
        )
        for number, (rate, decay) in enumerate(zip(rates.tolist(), decays.tolist(), strict=True))
    ]  # fmt: skip
    found = importance(sitting, tried)
    assert found is not None
    assert found.shares["training.optimizer.lr"] > 0.9
    assert (found.trials, found.epochs) == (60, None)
    assert found == importance(sitting, tried)
    assert importance(sitting, tried[:9]) is None, "too few to tell"
    early = [replace(one, state="pruned", value=None, reports={1: one.value or 0.0}) for one in tried]
    at_rung = importance(sitting, early)
    assert at_rung is not None
    assert (at_rung.shares, at_rung.epochs) == (found.shares, 1), "where few have finished, by what all were worth at the first rung"
    sitting.store.close()
