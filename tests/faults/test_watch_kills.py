"""Law: `weigh watch` may be killed at any moment, all of it at once, while it answers, trains, tries or promotes: a restart goes on.

No answer that a client got is missing from the log, no acknowledged label is lost, no decision is carried out twice, and the switch always
says one thing, which is what the server serves; in the end the better model answers.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
import urllib.error
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.conftest import Record
from tests.unit.loop_states import NAME, recipe, rows
from tests.unit.serving_servers import Running, start, stop
from weighbridge import lifecycle
from weighbridge.feedback.decisions import decisions
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.serving.keys import KeyFile

pytestmark = pytest.mark.slow
KILLS = 4
MOST_S = 1000.0
OPTIONS = (
    "--every", "0.2", "--nice", "0", "--policy", "promote=auto", "--set", "retrain.every_h=24", "--set", "retrain.least_labels=300",
    "--set", "gate.margin=0.2", "--set", "canary.share=0.5", "--set", "canary.least_labels=30",
)  # fmt: skip


class Client(threading.Thread):
    """Asks about a world that has moved and says afterwards what was true, under four keys in turn; keeps what it was told."""

    def __init__(self, server: Running, keys: list[str]) -> None:
        super().__init__(daemon=True)
        self.server, self.keys, self.done = server, keys, threading.Event()
        self.answered: list[str] = []
        self.labelled: list[str] = []

    def run(self) -> None:
        turn = 0
        while not self.done.wait(0.4):
            turn += 1
            with contextlib.suppress(OSError, urllib.error.URLError, http.client.HTTPException):
                self._ask(turn)

    def _ask(self, turn: int) -> None:
        asked = rows(20, turn, turned=1.2)
        reply = self.server.ask("/predict", {"rows": [{name: value for name, value in row.items() if name != "y"} for row in asked]})
        if reply.status != 200:
            return
        ids = [f"{reply.json()['id']}/{place}" for place in range(len(asked))]
        self.answered += ids
        labels = [{"id": id_, "label": row["y"]} for id_, row in zip(ids, asked, strict=True)]
        if self.server.ask("/feedback", {"labels": labels}, key=self.keys[turn % len(self.keys)]).status == 200:
            self.labelled += ids


def kill(server: Running) -> None:
    """Server, workers and rounds are gone at once."""
    family = [*psutil.Process(server.process.pid).children(recursive=True), psutil.Process(server.process.pid)]
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    server.process.wait()


def promoted(registry: Registry) -> bool:
    return any(line["what"] == "promoted" for line in registry.history())


def test_killed_again_and_again_it_ends_with_the_better_model_and_lost_nothing(tmp_path: Path, record: Record) -> None:
    lifecycle.run(recipe(tmp_path), tmp_path / NAME)
    state, moments = tmp_path / "state", random.Random(8)
    state.mkdir()
    server = start([str(tmp_path / NAME)], state, *OPTIONS, verb="watch")
    keys = [KeyFile(state).add(f"expert {place}", ["label"])[1] for place in range(4)]
    registry, client, until_s = Registry.open(state, NAME), Client(server, keys), time.monotonic() + MOST_S
    client.start()
    kills = 0
    while not (kills >= KILLS and promoted(registry)):
        assert time.monotonic() < until_s, server.log.read_text()
        assert server.process.poll() is None, server.log.read_text()
        if kills >= KILLS:
            time.sleep(0.2)
            continue
        time.sleep(moments.uniform(1.0, 25.0))
        kill(server)
        kills += 1
        registry.current()  # one thing, whole
        server = client.server = start([str(tmp_path / NAME)], state, *OPTIONS, port=server.port, verb="watch")
    client.done.set()
    client.join()
    current = registry.current()
    assert current is not None
    time.sleep(2.0)
    served = server.ask("/admin/status").json()["models"][NAME]["version"]
    assert stop(server) == 0, server.log.read_text()

    log = Log.open(state)
    log.ingest()
    found = log.window()
    states = dict(zip(found.id.tolist(), found.labelled.tolist(), strict=True))
    log.close()
    assert [id_ for id_ in client.answered if id_ not in states] == []
    assert [id_ for id_ in client.labelled if not states[id_]] == []
    assert max(Counter(found.id.tolist()).values()) == 1
    history = registry.history()
    assert [line["number"] for line in history] == list(range(1, len(history) + 1))
    assert [line["what"] for line in history] == ["released", "challenged", "promoted"]
    assert served == current.champion[:12]
    made = decisions(state, NAME)
    done = Counter(one.decision.action for one in made if one.done is not None and one.decision.action not in ("keep", "labels"))
    assert done == {"retrain": 1, "challenge": 1, "promote": 1}
    assert len([path for path in (state / "retrain").iterdir() if path.name.isdigit()]) == 1
    record("watch.kills", kills, n=kills, answers=len(client.answered), labels=len(client.labelled))
