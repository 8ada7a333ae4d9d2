"""Fashion-MNIST in service, in four scenes: nothing changes; the pictures turn; a key lies; a worse model is forced into the canary.

    python examples/fetch.py fashion-mnist
    python examples/feedback_fashion.py quiet rotated liar worse

Each scene starts `weigh watch` on a state folder of its own and is its users: it sends windows of 100 pictures over HTTP, labels what it is
told to, and prints what the server found and did. The first call trains the model (a network of one hidden layer). Only numpy is needed
beside Weighbridge. Times depend on the machine; docs/feedback_example.md has the figures of a whole run.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SOURCE, WORK = Path(".data/fashion-mnist"), Path("runs/feedback_fashion")
TRAIN, TEST, ROWS = 10_000, 2000, 100
KEYS = 5
WAIT_S = 1800.0
Pair = tuple[np.ndarray, np.ndarray]


def idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file (yann.lecun.com/exdb/mnist)."""
    raw = gzip.decompress(path.read_bytes())
    sides = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sides)


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), 1))


def prepared() -> Pair:
    """The recipe's data lie in the work folder; return pictures and labels of the road."""
    images, labels = (idx(SOURCE / f"train-{name}-idx{sides}-ubyte.gz") for name, sides in (("images", 3), ("labels", 1)))
    (WORK / "data").mkdir(parents=True, exist_ok=True)
    for name, sides, values in (("images", 3, images), ("labels", 1, labels)):
        write_idx(WORK / "data" / f"train-{name}-idx{sides}-ubyte.gz", values[:TRAIN])
        write_idx(WORK / "data" / f"t10k-{name}-idx{sides}-ubyte.gz", idx(SOURCE / f"t10k-{name}-idx{sides}-ubyte.gz")[:TEST])
    return images[TRAIN:], labels[TRAIN:]


def weigh(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "weighbridge.cli", *map(str, words)], check=True)


def trained(name: str, *changes: str) -> Path:
    """Return the run folder of the recipe with these changes; it is trained where it is not there."""
    run = WORK / name
    if not (run / "deployment" / "package").exists():
        weigh(
            "run",
            "examples/feedback_fashion.yaml",
            "--runs",
            WORK,
            *(word for one in (f"name={name}", *changes) for word in ("--set", one)),
        )
    return run


@dataclass(kw_only=True)
class Road:
    """Users of a running server, who hold the keys of five experts and an administrator's."""

    url: str
    keys: list[str]
    admin: str
    state: Path
    images: np.ndarray
    labels: np.ndarray
    sent: int = 0
    windows: int = 0
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def ask(self, path: str, body: Any = None, key: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-api-key": key or self.admin, "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=300) as reply:
            return json.load(reply)

    def window(self, *, turned: int = 0, labelled: float = 0.1, lies: float = 0.0) -> float:
        """Send one window, its pictures turned by so many quarters, and label a share of it; return the share of all of it that was right.

        lies: the share of labels that are wrong, all of them given by key 0.
        """
        where = (self.sent + np.arange(ROWS)) % len(self.images)
        self.sent += ROWS
        self.windows += 1
        pictures = np.rot90(self.images[where], turned, axes=(1, 2))
        coded = [{"uint8": base64.b64encode(one.tobytes()).decode(), "shape": [28, 28]} for one in np.ascontiguousarray(pictures)]
        reply = self.ask("/predict?top=1", {"rows": [{"image": one} for one in coded]})
        said, truth = [one["prediction"] for one in reply["predictions"]], [str(one) for one in self.labels[where]]
        for place in np.flatnonzero(self.random.random(ROWS) < labelled):
            lying = self.random.random() < lies
            told = str((int(truth[place]) + 1) % 10) if lying else truth[place]
            key = self.keys[0 if lying else 1 + place % (KEYS - 1)]
            self.ask("/feedback", {"labels": [{"id": f"{reply['id']}/{place}", "label": told}]}, key)
        return float(np.mean(np.array(said) == np.array(truth)))

    def status(self) -> dict[str, Any]:
        return dict(self.ask("/feedback/status"))

    def alarms(self) -> list[str]:
        """What the watch gives an alarm for now; slow answers of a busy machine are left out."""
        found = [one for one in self.status()["findings"] if one["verdict"] == "limitation" and one["key"] != "feedback.latency"]
        return [f"{one['title']}: {one['value']}; {one['reason']}" for one in found]

    def turns(self) -> list[str]:
        return [one["what"] for one in reversed(self.ask("/feedback/decisions")["turns"])]

    def decided(self) -> list[dict[str, Any]]:
        return list(reversed(self.ask("/feedback/decisions")["decisions"]))

    def until(self, come: Callable[[], Any], going: Callable[[], Any] = lambda: time.sleep(1)) -> Any:
        """Return the first true value of `come`; meanwhile `going` goes on."""
        end_s = time.monotonic() + WAIT_S
        while not (found := come()):
            if time.monotonic() > end_s:
                raise TimeoutError(f"nothing within {WAIT_S:g} s; decisions: {self.decided()[-3:]}")
            going()
        return found

    def settled(self) -> None:
        """The watch has seen every label that was given so far: one whole round has begun and ended since now."""
        path = self.state / "watch" / "fashion.jsonl"
        for _ in range(2):
            before = path.stat().st_mtime_ns if path.exists() else 0
            self.until(lambda: path.exists() and path.stat().st_mtime_ns != before, lambda: time.sleep(0.2))  # noqa: B023


@contextmanager
def watching(scene: str, run: Path, road: Pair, *options: str) -> Iterator[Road]:
    """Give users of a new server on its own state folder; it is asked to end afterwards."""
    state = WORK / f"state_{scene}"
    shutil.rmtree(state, ignore_errors=True)
    command = [sys.executable, "-m", "weighbridge.cli", "watch", str(run), "--name", "fashion", "--state", str(state), "--port", "0"]
    log = WORK / f"{scene}.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, "--every", "1", "--nice", "0", "--workers", "1", *options], stdout=file, stderr=subprocess.STDOUT
        )
    try:
        while not (found := re.search(r"^serving  (\S+)$", log.read_text(), re.MULTILINE)):
            if server.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        admin = (state / "first-admin-key").read_text().strip()
        yield Road(url=found[1], keys=list(keys(state)), admin=admin, state=state, images=road[0], labels=road[1])
    finally:
        server.terminate()
        server.wait()


def keys(state: Path) -> Iterator[str]:
    for place in range(KEYS):
        made = subprocess.run(
            [sys.executable, "-m", "weighbridge.cli", "keys", "add", f"expert {place}", "--role", "label", "--state", str(state)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        yield re.search(r"wb_\S+", made.stdout + made.stderr)[0]  # type: ignore[index]  # it is always shown


def quiet(road: Pair, windows: int) -> None:
    """Nothing changes: nothing is to be found."""
    with watching("quiet", trained("first"), road) as users:
        right = [users.window() for _ in range(windows)]
        users.settled()
        said = users.alarms()
        print(
            f"quiet    {windows} windows, {windows * ROWS:,} answers, {np.mean(right):.3f} right; alarms: {said or 'none'}; {users.turns()}"
        )


def rotated(road: Pair, windows: int) -> None:
    """From window 50 on the pictures are turned by a quarter: alarm, labels, a challenger, the gate, the canary, a new champion."""
    with watching("rotated", trained("first"), road) as users:
        before = np.mean([users.window(labelled=0.02) for _ in range(min(50, windows))])
        users.settled()
        print(f"rotated  {users.windows} windows as they were: {before:.3f} right; alarms: {users.alarms() or 'none'}")
        fallen = []
        while not users.alarms():
            fallen.append(users.window(turned=1, labelled=0.02))
            users.settled()
        print(f"rotated  alarm {len(fallen)} windows after the turn ({np.mean(fallen):.3f} right): " + " | ".join(users.alarms()[:4]))
        for _ in range(20):
            users.window(turned=1, labelled=1.0)
        print(f"rotated  {20 * ROWS:,} turned pictures were labelled")
        users.until(lambda: "challenged" in users.turns())
        users.until(lambda: "promoted" in users.turns(), lambda: users.window(turned=1, labelled=1.0))
        after = np.mean([users.window(turned=1, labelled=0.1) for _ in range(10)])
        gate = {one["key"]: one for made in users.decided() for one in made["evidence"] if one["key"].startswith("feedback.gate.")}
        for name in ("recent", "old"):
            one = gate[f"feedback.gate.{name}"]
            print(f"rotated  gate, {name} rows (n = {one['n']}): {one['value']} against {one['against']}")
        print(f"rotated  promoted: {after:.3f} right on turned pictures, {fallen[-1]:.3f} before; {users.turns()}")


def liar(road: Pair, windows: int) -> None:
    """5 % of the labels are wrong and come from one key: nothing is promoted, and the key is not believed any more."""
    with watching("liar", trained("first"), road) as users:
        users.until(lambda: users.status()["quarantine"], lambda: users.window(labelled=1.0, lies=0.05))
        shut, after = users.status()["quarantine"], users.windows
        for _ in range(min(windows, 20)):
            users.window(labelled=1.0, lies=0.05)
        users.settled()
        who, lied = [one["who"] for one in shut], users.keys[0].split("_")[1]
        print(f"liar     after {after} windows not believed: {who} (the liar is {lied}): {shut[0]['reason']}")
        decided = [one["action"] for one in users.decided()]
        print(f"liar     {users.windows} windows; alarms: {users.alarms() or 'none'}; decided: {decided}; {users.turns()}")


def worse(road: Pair, windows: int) -> None:
    """A model that was trained for one epoch at a tiny rate is forced into the canary: it is withdrawn."""
    from weighbridge.deployment import origin
    from weighbridge.feedback.registry import Registry

    bad = trained("worse", "training.epochs=1", "training.optimizer.lr=0.000002")
    with watching("worse", trained("first"), road) as users:
        registry = Registry.open(users.state, "fashion")
        registry.challenge(registry.install(bad / "deployment" / "package", **origin(bad)), 0.3, "forced by hand")
        begun = users.windows
        users.until(lambda: "withdrawn" in users.turns(), lambda: users.window(labelled=0.5))
        print(f"worse    withdrawn after {users.windows - begun} windows; {users.turns()}; {users.decided()[-1]['evidence'][:1]}")


SCENES = {one.__name__: one for one in (quiet, rotated, liar, worse)}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("scenes", nargs="*", choices=[*SCENES, []], default=list(SCENES))
    words.add_argument("--windows", type=int, default=200, help="of the quiet scene; the others use fewer")
    given = words.parse_args()
    road = prepared()
    for name in given.scenes:
        SCENES[name](road, given.windows)


if __name__ == "__main__":
    main()
