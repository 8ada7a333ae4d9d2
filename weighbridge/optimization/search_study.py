"""The trials of one search where they are stored: SQLite in the run folder, or a database that several machines share.

A trial is written down with all of its values before it begins, in one transaction; whatever a process knew beside that dies with it. What
was under way when it died stands there as begun, by whom, and is taken up again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weighbridge.errors import DependencyError, RecipeError, RunError
from weighbridge.optimization.search_space import Direction, Params
from weighbridge.storage import make_folder, sha256_bytes

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial, TrialState
    from sqlalchemy import URL

HERE = "here"  # who begins the trials of a study that lies in the run folder, wherever that is moved
OPENINGS, OPENING_PAUSE_S = 5, 0.4  # two machines that make the tables at the same moment disturb each other
ANSWER_S = 10  # of a server that does not answer
LOCKED_S = 60  # that another process may hold an SQLite file
DRIVERS = {"postgresql": ("psycopg", "weighbridge[postgresql]"), "mysql": ("pymysql", "pymysql"), "mariadb": ("pymysql", "pymysql")}
State = Literal["finished", "pruned", "failed", "under way"]
Noted = Literal["seconds", "rungs", "signs", "outcome", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial as the study holds it.

    Attributes:
        params: as search_space.Params.
        value: of the objective, of a finished trial.
        loss: plain loss on the judging rows, which orders equal values.
        own: whether its values are the recipe's own.
        owner: the machine and run folder that began it.
        seconds: that it took so far, over all sittings.
        reason: why it was pruned or failed.
        reports: epochs -> value on the rows that judge the first ground.
        rungs: what the pruner noted of it.
        signs: grows while its owner lives.
    """

    number: int
    state: State
    params: Params
    value: float | None = None
    loss: float | None = None
    own: bool = False
    owner: str = HERE
    seconds: float = 0.0
    reason: str = ""
    reports: dict[int, float] = field(default_factory=dict)
    rungs: dict[str, float] = field(default_factory=dict)
    signs: int = 0


class TrialStore:
    """A study in its storage. Each method raises RunError in one line where the storage does not answer; nothing stored is lost then."""

    def __init__(self, study: Study, storage: RDBStorage, *, shown: str, owner: str, direction: Direction) -> None:
        self.study, self.owner, self.direction = study, owner, direction
        self.shared = owner != HERE
        self._storage, self._shown = storage, shown
        self._handles: dict[int, Trial] = {}

    @property
    def name(self) -> str:
        return self.study.study_name

    def past(self) -> list[FrozenTrial]:
        """Return all trials in their order as the search library knows them."""
        with answering(self._shown):
            return self.study.get_trials(deepcopy=False)

    def tried(self) -> list[Tried]:
        """Return all trials in their order; those that were withdrawn before they began anything are left out."""
        return [_tried(trial) for trial in self.past() if not trial.user_attrs.get("withdrawn")]

    def begin(self, params: Params, distributions: dict[str, BaseDistribution], *, own: bool, most: int) -> Tried | None:
        """A trial with these values is under way; None where another machine was faster: it took the last one, or the same values."""
        from optuna.trial import TrialState, create_trial

        token = secrets.token_hex(8)
        attrs = {"owner": self.owner, "own": own, "token": token}
        with answering(self._shown):
            self.study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attrs))
        frozen = next(trial for trial in self.past() if trial.user_attrs.get("token") == token)
        before = [one for one in self.tried() if one.number < frozen.number]
        if len(before) >= most or any(one.params == params and one.state != "failed" for one in before):
            self.note(frozen.number, "withdrawn", True)
            self._end(frozen.number, TrialState.FAIL)
            return None
        return _tried(frozen)

    def report(self, number: int, epochs: int, value: float) -> None:
        """The trial's value after so many epochs is stored."""
        with answering(self._shown):
            self._handle(number).report(value, epochs)

    def note(self, number: int, name: Noted, value: Any) -> None:
        """The value is stored with the trial: seconds so far, what the pruner notes, signs of life, why it is withdrawn."""
        with answering(self._shown):
            self._handle(number).set_user_attr(name, value)

    def finish(self, number: int, *, value: float, loss: float, seconds: float) -> None:
        """The trial has ended with a value."""
        from optuna.trial import TrialState

        self.note(number, "outcome", {"loss": loss, "seconds": seconds})
        self._end(number, TrialState.COMPLETE, value)

    def prune(self, number: int, *, reason: str, seconds: float) -> None:
        """The trial was ended early."""
        from optuna.trial import TrialState

        self.note(number, "outcome", {"reason": reason, "seconds": seconds})
        self._end(number, TrialState.PRUNED)

    def fail(self, number: int, *, reason: str, seconds: float) -> None:
        """The trial has no value, and why."""
        from optuna.trial import TrialState

        self.note(number, "outcome", {"reason": reason, "seconds": seconds})
        self._end(number, TrialState.FAIL)

    def close(self) -> None:
        """No connection is open."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _end(self, number: int, state: TrialState, value: float | None = None) -> None:
        with answering(self._shown):
            self.study.tell(number, value, state, skip_if_finished=True)
        self._handles.pop(number, None)

    def _handle(self, number: int) -> Trial:
        from optuna.trial import Trial

        if number not in self._handles:
            frozen = next(trial for trial in self.study.get_trials(deepcopy=False) if trial.number == number)
            self._handles[number] = Trial(self.study, frozen._trial_id)
        return self._handles[number]


class Lost(Exception):  # noqa: N818 - another machine has ended the trial
    """The trial was ended by another machine, which took this one for dead."""


def open_store(folder: Path, *, url: str | None, name: str, direction: Direction) -> TrialStore:
    """Return the study of this name, new or as it was left.

    Args:
        folder: of the search, which holds study.db where no URL is given.
    Raises RunError where the database does not answer, DependencyError where its driver is missing, RecipeError for a URL that is none.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make_folder(folder)
    target = _sqlite(folder / "study.db") if url is None else known_url(url)
    shown = shown_url(target)
    with answering(shown):
        storage = _opened(target)
        study = optuna.create_study(
            storage=storage, study_name=name, direction=direction, load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip
    return TrialStore(study, storage, shown=shown, owner=HERE if url is None else owner_of(folder), direction=direction)


def known_url(text: str) -> URL:
    """Return the URL with the driver that is installed. Raises RecipeError, DependencyError."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1) if text.startswith("postgres://") else text)
    except (ArgumentError, ValueError):
        raise RecipeError("optimization.search.storage is no database URL", do="write postgresql://USER@HOST/NAME") from None
    family, _, driver = url.drivername.partition("+")
    if family in DRIVERS:
        default, package = DRIVERS[family]
        driver = driver or default
        if importlib.util.find_spec(driver) is None:
            raise DependencyError(f"optimization.search.storage: {family} needs the library {driver}", do=f"pip install '{package}'")
        url = url.set(drivername=f"{family}+{driver}")
    return url


def shown_url(url: URL) -> str:
    """Return the URL as it may be shown: without password, and without its query, which can hold one."""
    plain = url.create(url.drivername.partition("+")[0], username=url.username, host=url.host, port=url.port, database=url.database)
    return plain.render_as_string()


def owner_of(folder: Path) -> str:
    """Return who begins the trials of a shared study: this machine and this run folder."""
    return f"{socket.gethostname()}:{sha256_bytes(str(folder.resolve()).encode())[:8]}"


@contextlib.contextmanager
def answering(shown: str) -> Iterator[None]:
    """Turn what a storage raises that does not answer into one line; a trial that another machine has ended is Lost."""
    from optuna.exceptions import OptunaError, UpdateFinishedTrialError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except UpdateFinishedTrialError:
        raise Lost from None
    except (OptunaError, SQLAlchemyError) as error:
        beside = ", or remove it to search anew" if shown.startswith("sqlite") else ""
        raise RunError(
            f"the study of the search in {shown} can not be used ({_first_line(error)})",
            do=f"finished trials are kept; see to the database and run the same command again{beside}",
        ) from None


def best_of(tried: Sequence[Tried], direction: Direction) -> Tried | None:
    """Return the finished trial of the best value; equal ones are ordered by loss, then the earlier one is better."""
    sign = 1.0 if direction == "minimize" else -1.0

    def rank(one: Tried) -> tuple[float, float, int]:
        assert one.value is not None
        return sign * one.value, float("inf") if one.loss is None else one.loss, one.number

    return min((one for one in tried if one.state == "finished"), key=rank, default=None)


def _sqlite(path: Path) -> URL:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path))


def _opened(url: URL) -> RDBStorage:
    """Return the storage with its tables; another machine may be making them."""
    from optuna.exceptions import OptunaError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    family = url.drivername.partition("+")[0]
    waits = {"sqlite": {"timeout": LOCKED_S}, "postgresql": {"connect_timeout": ANSWER_S}}.get(family, {})
    for further in range(OPENINGS):
        try:
            text = url.render_as_string(hide_password=False)
            return RDBStorage(text, engine_kwargs={"pool_pre_ping": True, "connect_args": waits})
        except (OptunaError, SQLAlchemyError):
            if further == OPENINGS - 1:
                raise
            time.sleep(OPENING_PAUSE_S)
    raise AssertionError("it was opened or raised")


def _first_line(error: BaseException) -> str:
    """Return what the innermost error says, in one line without addresses of documentation."""
    inner = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    inner = getattr(inner, "orig", None) or inner
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(inner).__name__


def _tried(trial: FrozenTrial) -> Tried:
    from optuna.trial import TrialState

    states: dict[TrialState, State] = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    state, attrs = states.get(trial.state, "under way"), trial.user_attrs
    outcome = dict(attrs.get("outcome", {}))
    return Tried(
        number=trial.number,
        state=state,
        params=trial.params,
        value=trial.value if state == "finished" else None,
        loss=outcome.get("loss"),
        own=bool(attrs.get("own")),
        owner=str(attrs.get("owner", HERE)),
        seconds=float(outcome.get("seconds", attrs.get("seconds", 0.0))),
        reason=str(outcome.get("reason", "")),
        reports=dict(trial.intermediate_values),
        rungs=dict(attrs.get("rungs", {})),
        signs=int(attrs.get("signs", 0)),
    )
